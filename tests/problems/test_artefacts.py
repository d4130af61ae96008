"""Cached arrays: verified on every load, built again when damaged, never half-written."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regrad.problems.data import artefacts
from regrad.problems.data.artefacts import derived, locked, write_atomically

KEY = {"what": "tiny", "size": 3}
ARRAYS = {"a": np.arange(60, dtype=np.uint16), "b": np.linspace(0, 1, 7)}


class Builder:
    """Builds ARRAYS and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return ARRAYS


def load(cache: Path, builder, **changes):
    arrays = derived(cache, KEY | changes, builder)
    assert arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)
    return arrays


def test_arrays_are_built_once_and_then_mapped_read_only(tmp_path):
    builder = Builder()
    load(tmp_path, builder)
    arrays = load(tmp_path, builder)
    assert builder.calls == 1
    assert isinstance(arrays["a"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        arrays["a"][0] = 1


def test_another_key_is_another_entry(tmp_path):
    builder = Builder()
    load(tmp_path, builder)
    load(tmp_path, builder, size=4)
    assert builder.calls == 2


def test_an_undamaged_entry_of_another_key_is_not_taken_for_this_one(tmp_path):
    builder = Builder()
    load(tmp_path, builder)
    load(tmp_path, builder, size=4)
    first, second = sorted((tmp_path / "derived").iterdir())
    shutil.rmtree(second)
    shutil.copytree(first, second)
    load(tmp_path, builder)
    load(tmp_path, builder, size=4)
    assert builder.calls == 3
    assert len(list((tmp_path / "quarantine").iterdir())) == 1


def test_no_flip_and_no_truncation_of_a_cached_file_goes_unnoticed(tmp_path, caplog):
    builder = Builder()
    load(tmp_path, builder)
    (folder,) = (tmp_path / "derived").iterdir()
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["a.npy", "b.npy", "manifest.json"]
    generator = random.Random(0)
    for trial in range(120):
        path = files[trial % 3]
        content = bytearray(path.read_bytes())
        at = generator.randrange(len(content))
        if trial < 90:
            content[at] ^= 1 << generator.randrange(8)
        else:
            del content[at:]
        path.write_bytes(bytes(content))
        load(tmp_path, builder)
    assert builder.calls == 121
    assert len(caplog.messages) == 120


@pytest.mark.parametrize("name", ["a.npy", "manifest.json"])
def test_a_missing_file_is_noticed(name, tmp_path):
    builder = Builder()
    load(tmp_path, builder)
    (folder,) = (tmp_path / "derived").iterdir()
    (folder / name).unlink()
    load(tmp_path, builder)
    assert builder.calls == 2


def test_a_pickle_in_place_of_an_array_is_never_unpickled(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    # Even with a valid seal, as somebody who can write the cache could make it.
    monkeypatch.setattr(np, "save", lambda stream, array, allow_pickle: np.lib.format.write_array(stream, array))
    evil = {"a": np.array([Evil()], dtype=object)}
    with pytest.raises(artefacts.DataError, match="damaged right after"):
        derived(tmp_path, KEY, lambda: evil)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "os.open", "numpy.save"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_failure_at_any_call_leaves_nothing_half_written(call, number, tmp_path, monkeypatch):
    module, _, name = call.partition(".")
    real = getattr({"os": os, "numpy": np}[module], name)
    count = 0

    def failing(*args, **kwargs):
        nonlocal count
        count += "tiny" in str(args) or isinstance(args[0], int) or call == "numpy.save"
        if count == number:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    builder = Builder()
    with monkeypatch.context() as patched:
        patched.setattr({"os": os, "numpy": np}[module], name, failing)
        failed = False
        try:
            load(tmp_path, builder)
        except OSError:
            failed = True
    assert failed or count < number
    assert not list((tmp_path / "derived").glob(".*"))
    load(tmp_path, builder)
    (folder,) = (tmp_path / "derived").iterdir()
    assert not list((tmp_path / "derived").glob(".*"))
    assert len(list(folder.iterdir())) == 3


def test_killed_while_building_the_next_process_builds_and_the_lock_is_free(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; import numpy as np;"
        "from regrad.problems.data import artefacts; real = artefacts.write_atomically\n"
        "def killed(*args): os.kill(os.getpid(), signal.SIGKILL)\n"
        "artefacts.write_atomically = killed\n"
        f"artefacts.derived(Path(sys.argv[1]), {KEY!r}, lambda: {{'a': np.arange(9)}})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True)
    assert done.returncode == -9
    assert list((tmp_path / "derived").glob(".tiny*"))
    builder = Builder()
    load(tmp_path, builder)
    assert builder.calls == 1
    assert not list((tmp_path / "derived").glob(".*"))


def test_reading_an_entry_writes_nothing_so_that_a_read_only_cache_will_do(tmp_path, monkeypatch):
    load(tmp_path, Builder())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(artefacts, "locked", None)
    load(tmp_path, None)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_lock_that_is_never_given_back_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(artefacts, "LOCK_SECONDS", 0.05)
    code = (
        "import sys, time; from pathlib import Path; from regrad.problems.data.artefacts import locked\n"
        "with locked(Path(sys.argv[1]), 'x'): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(artefacts.DataError, match=r"x: another process has held .*x\.lock"), locked(tmp_path, "x"):
            pass
        holder.kill()
    with locked(tmp_path, "x"):
        pass


def test_an_atomic_write_that_fails_keeps_the_old_bytes(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_manifest_is_plain_json_after_its_seal(tmp_path):
    load(tmp_path, Builder())
    (manifest,) = (tmp_path / "derived").glob("*/manifest.json")
    seal, body = manifest.read_text().splitlines()
    assert len(seal) == 64
    assert json.loads(json.loads(body)["key"]) == KEY
