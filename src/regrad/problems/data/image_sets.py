"""Image sets as arrays per split, with the statistics for normalising them, cached."""

from pathlib import Path
from typing import Literal

import numpy as np

from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.cifar import cifar10, cifar100
from regrad.problems.data.grey_images import digits, fashion_mnist, mnist_5k
from regrad.problems.data.sources import fingerprint
from regrad.problems.data.splits import hash_share

ImageSet = Literal["fashion-mnist", "mnist-5k", "digits", "cifar10", "cifar100"]
FORMAT = 1
HELD_OUT = 10
READERS = {
    "fashion-mnist": fashion_mnist,
    "mnist-5k": mnist_5k,
    "digits": digits,
    "cifar10": cifar10,
    "cifar100": cifar100,
}
CLASSES = {"fashion-mnist": 10, "mnist-5k": 10, "digits": 10, "cifar10": 10, "cifar100": 100}


def split_images(arrays: Arrays) -> Arrays:
    """Images and labels per split, and channel statistics of the training split.

    10 % of the training images are held out for validation by the hash of their pixels; where a set has no
    test images of its own, another 10 % are held out for test.

    Args:
        arrays: "images" [N, C, H, W], "labels" [N], and perhaps "test_images", "test_labels".

    Returns:
        "train_images", "train_labels", the same for "validation" and "test", and "mean", "std" [C], float64.
    """
    shares = np.array([hash_share(image.tobytes()) for image in arrays["images"]])
    members = {"validation": shares < HELD_OUT}
    if "test_images" not in arrays:
        members["test"] = (shares >= HELD_OUT) & (shares < 2 * HELD_OUT)
    members["train"] = ~np.logical_or.reduce(list(members.values()))
    names = ("images", "labels")
    parts = {f"{kind}_{name}": arrays[name][mask] for kind, mask in members.items() for name in names}
    parts |= {name: array for name, array in arrays.items() if name.startswith("test_")}
    train = parts["train_images"]
    mean, std = train.mean(axis=(0, 2, 3), dtype=np.float64), train.std(axis=(0, 2, 3), dtype=np.float64)
    return parts | {"mean": mean, "std": std}


def load_images(images: ImageSet, cache: Path) -> Arrays:
    """The arrays of `split_images` for a named set, memory-mapped from the cache, made on first use."""
    key = {"what": f"images-{images}", "format": FORMAT, "data": fingerprint(images)}
    return derived(cache, key, lambda: split_images(READERS[images](cache)))
