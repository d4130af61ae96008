"""The image problem: batches, normalisation, augmentation, splits and evaluation."""

import math

import numpy as np
import pytest
import torch

from regrad.problems.data.image_sets import split_images
from regrad.problems.images import ImageOptions, ImageProblem
from regrad.problems.options import OptionError

OPTIONS = ImageOptions(images="digits", depth=8, width=4, norm="group", groups=2)


def numbered(count: int = 10, **changes) -> ImageProblem:
    """A problem whose image k is all k and whose label is k % 10."""
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 8, 8), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    parts = {f"{split}_images": pixels for split in ("train", "validation", "test")}
    parts |= {f"{split}_labels": labels for split in ("train", "validation", "test")}
    arrays = parts | {"mean": np.array([4.0]), "std": np.array([2.0])}
    return ImageProblem(ImageOptions(**(OPTIONS.model_dump() | changes)), arrays)


def test_images_are_normalised_by_hand():
    batch = numbered().batch(0, 3)
    # Mean 4, standard deviation 2: image k becomes (k - 4) / 2 and keeps its label k.
    for image, label in zip(batch.inputs, batch.targets, strict=True):
        assert (image == (label.item() - 4) / 2).all()


def test_every_augmented_image_is_a_shifted_and_perhaps_mirrored_copy_with_zeros_around_it():
    problem = numbered(augment=True)
    image = torch.arange(1.0, 65).reshape(1, 1, 8, 8)
    seen = set()
    for number in range(400):
        (view,) = problem._augmented(image, range(number, number + 1))[:, 0]
        seen.add(next(place for place in all_places(image[0, 0]) if torch.equal(place[1], view))[0])
    # 9 · 9 · 2 = 162 views; 400 draws leave out 162 · e^(-400/162) = 14 of them on average.
    assert 135 <= len(seen) <= 160


def all_places(image):
    padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
    for mirrored in (False, True):
        for down in range(9):
            for right in range(9):
                view = padded[down : down + 8, right : right + 8]
                yield (mirrored, down, right), view.flip(1) if mirrored else view


def test_evaluation_by_hand():
    problem = numbered(8)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    torch.nn.init.zeros_(model[1].weight)
    torch.nn.init.zeros_(model[1].bias)
    with torch.no_grad():
        model[1].bias[3] = math.log(11)
    # Class 3 has probability 11/20, every other 1/20; of the labels 0 … 7, one is 3.
    expected = (7 * math.log(20) + math.log(20 / 11)) / 8
    assert problem.evaluate(model) == pytest.approx({"loss": expected, "accuracy": 1 / 8})


def test_split_holds_out_a_tenth_by_hash_and_measures_the_training_part_alone():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (2000, 3, 4, 4), dtype=np.uint8)
    labels = generator.integers(0, 10, 2000).astype(np.uint8)
    parts = split_images({"images": pixels, "labels": labels})
    sizes = [len(parts[f"{split}_labels"]) for split in ("train", "validation", "test")]
    assert sum(sizes) == 2000
    assert sizes == pytest.approx([1600, 200, 200], rel=0.2)
    train = parts["train_images"].astype(np.float64)
    np.testing.assert_allclose(parts["mean"], [train[:, channel].mean() for channel in range(3)])
    np.testing.assert_allclose(parts["std"], [train[:, channel].std() for channel in range(3)])
    shuffled = generator.permutation(2000)
    again = split_images({"images": pixels[shuffled], "labels": labels[shuffled]})
    assert sorted(map(bytes, again["test_images"])) == sorted(map(bytes, parts["test_images"]))


def test_a_set_with_test_images_of_its_own_keeps_them_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 256, (500, 1, 4, 4), dtype=np.uint8)
    labels = np.zeros(500, dtype=np.uint8)
    own = {"test_images": pixels[:9], "test_labels": labels[:9]}
    parts = split_images({"images": pixels, "labels": labels} | own)
    assert np.array_equal(parts["test_images"], pixels[:9])
    assert len(parts["train_labels"]) + len(parts["validation_labels"]) == 500


def test_gradient_descent_learns_the_digits(tmp_path):
    options = ImageOptions(images="digits", depth=8, width=8, norm="group")
    problem = ImageProblem.from_options(options, cache=tmp_path, seed=0)
    model = problem.init_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(60):
        optimizer.zero_grad()
        problem.losses(model, problem.batch(step, 32)).mean().backward()
        optimizer.step()
    assert problem.evaluate(model, "test")["accuracy"] > 0.85


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image": "digits"}, "unknown key 'image'; did you mean 'images'"),
        ({"images": "cifar-10"}, "images = 'cifar-10'.*did you mean 'cifar10'"),
        ({"depth": 21}, "depth=21 must be 6n"),
        ({"norm": "group", "groups": 5}, "groups=5 must divide width=16"),
        ({"width": float("nan")}, "width = nan"),
        ({"augment": "yes"}, "augment = 'yes'"),
        ({"memory_format": "nhwc"}, "memory_format = 'nhwc'.*'contiguous' or 'channels_last'"),
    ],
)
def test_a_bad_option_is_refused_in_one_line(values, message):
    with pytest.raises(OptionError, match=message) as refusal:
        ImageOptions(**values)
    assert "\n" not in str(refusal.value)
