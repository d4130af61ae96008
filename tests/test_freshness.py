"""A target is made again exactly if what it was made from, or what it consists of, has changed in content."""

import os

import pytest

from regrad.pipeline.folders import cache_folder, checkout
from regrad.pipeline.freshness import Freshness, file_hash, inputs_hash


@pytest.fixture
def made(tmp_path):
    """A folder with one target ``t``, up to date: made from inputs ``in``, two files."""
    outputs = [tmp_path / "out" / name for name in ("a.txt", "b.txt")]
    for path in outputs:
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.name)
    freshness = Freshness(tmp_path / "state", tmp_path)
    freshness.remember("t", "in", outputs)
    return freshness


def test_what_was_made_and_not_touched_is_fresh(made):
    assert made.why_stale("t", "in") is None


def test_what_was_never_made_is_stale(made):
    assert made.why_stale("other", "in") == "never made here"


def test_other_inputs_make_it_stale(made):
    assert "changed" in made.why_stale("t", "other")


def test_a_touched_file_is_fresh(made):
    os.utime(made.root / "out" / "a.txt", (1, 1))
    assert made.why_stale("t", "in") is None


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
def test_a_changed_or_missing_output_makes_it_stale_and_is_named(made, name):
    path = made.root / "out" / name
    path.write_text(path.name + " ")
    assert made.why_stale("t", "in") == f"out/{name} is missing or was changed"
    path.unlink()
    assert made.why_stale("t", "in") == f"out/{name} is missing or was changed"
    path.write_text(path.name)
    assert made.why_stale("t", "in") is None


def test_every_damage_of_the_state_makes_it_stale_and_none_an_error(made):
    path = made.folder / "t.json"
    data = path.read_bytes()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert made.why_stale("t", "in") == "its state file is damaged"
        path.write_bytes(data[:place])
        assert made.why_stale("t", "in") == "its state file is damaged"


def test_what_is_forgotten_is_stale_and_forgetting_twice_is_no_error(made):
    made.forget("t")
    made.forget("t")
    assert made.why_stale("t", "in") == "never made here"


def test_a_moved_checkout_stays_fresh(made, tmp_path_factory):
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    made.root.rename(moved)
    assert Freshness(moved / "state", moved).why_stale("t", "in") is None


def test_inputs_are_hashed_by_content_under_their_names(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("2")
    first = inputs_hash({"x": 1}, [a, b])
    os.utime(a, (1, 1))
    assert inputs_hash({"x": 1}, [b, a]) == first
    assert inputs_hash({"x": 2}, [a, b]) != first
    a.write_text("2")
    b.write_text("1")
    assert inputs_hash({"x": 1}, [a, b]) != first, "swapped contents are a change"
    a.unlink()
    assert file_hash(a) == "absent"
    assert inputs_hash({"x": 1}, [a, b]) != first


def test_files_of_one_name_in_two_folders_both_count(tmp_path):
    paths = [tmp_path / folder / "same.tex" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        path.write_text("1")
    before = inputs_hash({}, paths)
    for path in paths:
        path.write_text("2")
        assert inputs_hash({}, paths) != before
        path.write_text("1")


def test_a_checkout_is_found_from_any_folder_below_it(tmp_path):
    for name in ("notebooks", "paper", "a/b"):
        (tmp_path / name).mkdir(parents=True)
    assert checkout(tmp_path / "a" / "b").root == tmp_path.resolve()
    assert checkout(tmp_path / "notebooks").paper == tmp_path.resolve() / "paper"


def test_outside_a_checkout_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="not inside a regrad checkout"):
        checkout(tmp_path)


def test_the_cache_is_where_the_user_says_and_outside_git_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("REGRAD_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("REGRAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "regrad"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "regrad"
