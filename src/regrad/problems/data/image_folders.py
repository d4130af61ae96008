"""Photographs in folders, one a class, as ImageNet is kept: ``train/<class>/*.JPEG`` and ``val/<class>/*.JPEG``.

Nothing is fetched: whoever has the images says where they lie, in the environment variable ``REGRAD_IMAGENET``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regrad.problems.data.errors import DataError

VARIABLE = "REGRAD_IMAGENET"
ENDINGS = (".jpeg", ".jpg")
REMEDY = f"unpack ImageNet's archives to train/<class>/*.JPEG and val/<class>/*.JPEG and set {VARIABLE} to that folder"


class Tree(NamedTuple):
    """The images of one folder of classes, in the order of their names."""

    paths: list[Path]  # files, [N]
    labels: np.ndarray  # number of each file's class, [N] int64; classes are numbered by the alphabet
    classes: list[str]


def image_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that the environment variable names, with ``train`` and ``val`` in it, or raise `DataError`."""
    named = environment.get(VARIABLE, "")
    if not named:
        raise DataError(f"imagenet: {VARIABLE} is not set; {REMEDY}")
    root = Path(named)
    if not (root / "train").is_dir() or not (root / "val").is_dir():
        raise DataError(f"imagenet: {root} has no folders train and val; {REMEDY}")
    return root


def read_tree(folder: Path, *, classes: int, images: int) -> Tree:
    """Return the images under ``folder/<class>/``, refusing a tree of another size than was asked for.

    Raises:
        DataError: The numbers differ, as after an archive that was unpacked in part.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    found = [(path, k) for k, name in enumerate(names) for path in sorted((folder / name).iterdir()) if is_image(path)]
    if (len(names), len(found)) != (classes, images):
        raise DataError(
            f"imagenet: {folder} has {len(names)} classes and {len(found)} images, not {classes} and {images}; {REMEDY}"
        )
    return Tree([path for path, _ in found], np.array([k for _, k in found], dtype=np.int64), names)


def is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def read_image(path: Path, size: int) -> np.ndarray:
    """Return the middle square of a photograph, uint8 [3, size, size] (DataError: no Pillow, or no readable image)."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise DataError("imagenet: photographs need the package Pillow; pip install Pillow") from None
    try:
        with Image.open(path) as opened:
            photograph = opened.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"imagenet: {path} cannot be read ({error}); unpack its archive again") from error
    side = min(photograph.size)
    left, top = ((length - side) // 2 for length in photograph.size)
    # Cropped first: a resize with a box would mix in pixels from beyond its edges.
    square = photograph.crop((left, top, left + side, top + side))
    return np.moveaxis(np.asarray(square.resize((size, size), Image.Resampling.BILINEAR)), -1, 0)
