"""Photographs in folders: the tree, the middle square, splits, and the remedy where something is missing. By hand."""

import numpy as np
import pytest
import torch

from regrad.problems.data import image_folders
from regrad.problems.data.errors import DataError
from regrad.problems.imagenet import ImageNetOptions, ImageNetProblem, held_out
from regrad.problems.options import OptionError
from regrad.results import Part
from regrad.runner.build import build_problem
from regrad.runner.dependencies import fingerprint
from regrad.studies.alsdgc import plan as study
from regrad.studies.alsdgc.sizes import IMAGENET_VARIABLE

image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
EACH = 40
SMALL = {"classes": 3, "train_images": 3 * EACH, "test_images": 6, "size": 8, "depth": 8, "width": 4, "groups": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Classes cat, dog and eel; a photograph of class k has k * 100 in every pixel."""
    folder = tmp_path_factory.mktemp("photographs")
    for split, count in (("train", EACH), ("val", 2)):
        for k, name in enumerate(("cat", "dog", "eel")):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                image.new("RGB", (12, 10), (k * 100,) * 3).save(place / f"{number}.JPEG", quality=95)
            (place / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def problem(root, monkeypatch):
    monkeypatch.setenv(image_folders.VARIABLE, str(root))
    return ImageNetProblem.from_options(ImageNetOptions(**SMALL), cache=root)


def test_the_middle_square_is_kept(tmp_path):
    """Twelve columns of 0, 90, 180 by fours: of height 4 the middle square is all 90."""
    pixels = np.repeat(np.array([0, 90, 180], dtype=np.uint8), 4)[None, :, None].repeat(4, axis=0).repeat(3, axis=2)
    image.fromarray(pixels).save(tmp_path / "a.png")
    found = image_folders.read_image(tmp_path / "a.png", 2)
    assert found.shape == (3, 2, 2)
    assert found.dtype == np.uint8
    assert (found == 90).all()


def test_a_label_is_the_place_of_its_folder_in_the_alphabet(problem):
    batch = problem.batch(0, 24)
    assert batch.inputs.shape == (24, 3, 8, 8)
    grey = (batch.inputs[:, 0] * 0.229 + 0.485) * 255
    assert torch.allclose(grey.mean(dim=(1, 2)), batch.targets * 100.0, atol=2)
    assert set(batch.targets.tolist()) == {0, 1, 2}


def test_validation_is_held_out_of_train_by_name_and_test_is_val(problem, root):
    tree = image_folders.read_tree(root / "train", classes=3, images=3 * EACH)
    parts = held_out(tree)
    names = [set(parts[f"{split}_paths"]) for split in ("train", "validation")]
    assert names[0].isdisjoint(names[1])
    assert len(names[0]) + len(names[1]) == 3 * EACH
    assert 0 < len(names[1]) < 0.1 * 3 * EACH
    assert problem.size("test") == 6


def test_it_trains_and_is_evaluated(problem):
    model = problem.init_model()
    losses = problem.losses(model, problem.batch(0, 4))
    assert losses.shape == (4,)
    losses.mean().backward()
    found = problem.evaluate(model, "test")
    assert set(found) == {"loss", "accuracy"}
    assert found["accuracy"] in {k / 6 for k in range(7)}


def test_what_is_missing_is_said_in_one_line_with_the_remedy(root, tmp_path, monkeypatch):
    monkeypatch.delenv(image_folders.VARIABLE, raising=False)
    with pytest.raises(DataError, match="REGRAD_IMAGENET is not set; unpack") as unset:
        ImageNetProblem.from_options(ImageNetOptions(**SMALL), cache=root)
    monkeypatch.setenv(image_folders.VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match="has no folders train and val; unpack") as empty:
        ImageNetProblem.from_options(ImageNetOptions(**SMALL), cache=root)
    monkeypatch.setenv(image_folders.VARIABLE, str(root))
    with pytest.raises(DataError, match="3 classes and 120 images, not 1000 and 1281167") as other:
        ImageNetProblem.from_options(ImageNetOptions(), cache=root)
    (tmp_path / "a.JPEG").write_bytes(b"not an image")
    with pytest.raises(DataError, match="cannot be read") as damaged:
        image_folders.read_image(tmp_path / "a.JPEG", 8)
    for error in (unset, empty, other, damaged):
        assert "\n" not in str(error.value)


def test_the_study_plans_imagenet_at_preset_paper_where_the_folder_is_named(root, monkeypatch):
    assert IMAGENET_VARIABLE == image_folders.VARIABLE
    monkeypatch.setenv(image_folders.VARIABLE, str(root))
    for preset in ("smoke", "small", "full"):
        assert not [s for s in study.specs(preset, []) if s.tags["part"] == "imagenet"]
    found = [s for s in study.specs("paper", []) if s.tags["part"] == "imagenet"]
    assert {"V4", "clip-1", "none"} < {s.tags["arm"] for s in found}
    assert fingerprint(found[0], "cpu").code
    small = found[0].model_copy(update={"problem": Part(name="imagenet", options=SMALL)})
    assert build_problem(small, cache=root, device="cpu").size("test") == 6
    monkeypatch.delenv(image_folders.VARIABLE)
    assert not [s for s in study.specs("paper", []) if s.tags["part"] == "imagenet"]


def test_options_out_of_range_are_refused_by_name():
    for wrong in ({"size": 4}, {"classes": 0}, {"depth": 21}, {"packages": ["x"]}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            ImageNetOptions(**wrong)
