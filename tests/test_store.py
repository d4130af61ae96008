"""The store loses nothing, believes no damaged byte and needs no torch. Its checksum is one of the seeded
faults: with ``seal(...) == data`` in ``unseal`` taken out, the test of every flipped byte fails.
"""

import errno
import json
import logging
import math
import os
import signal
import subprocess
import sys
import time

import pytest

from regrad.atomic import write_atomically
from regrad.results import Circumstances, canonical, run_id
from regrad.store import Store, seal, unseal
from tiny_runs import FINGERPRINT, record, spec

CIRCUMSTANCES = Circumstances(seconds=1.5, peak_bytes=10, threads=1, commit="abc", machine="a processor")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def stored(store, made):
    store.put(made)
    return store.path(made.run_id)


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_what_is_put_comes_back(store):
    made = record()
    store.put(made, CIRCUMSTANCES)
    assert store.get(made.run_id) == made
    assert store.circumstances(made.run_id) == CIRCUMSTANCES
    assert made.run_id in store
    assert list(store) == [made]


def test_what_was_never_put_is_none_without_a_word(store, caplog):
    assert store.get("0" * 64) is None
    assert store.circumstances("0" * 64) is None
    assert list(store) == []
    assert caplog.records == []


def test_a_file_is_the_canonical_payload_and_its_checksum():
    # sha256 of the nine bytes {"a":[1]}, taken with sha256sum.
    digest = "ff5464c34287e9ec505b9f76573a4cb0bd408c96c6537b458fdd993fc7c615ce"
    line = seal({"a": [1]}).decode()
    outer = json.loads(line)
    assert outer["payload"] == {"a": [1]}
    assert line == canonical(outer) + "\n"
    assert outer["sha256"] == digest


def test_equal_records_give_equal_bytes_whatever_their_tags(store, tmp_path):
    other = Store(tmp_path / "other")
    first = stored(store, record(spec(tags={"arm": "a"}))).read_bytes()
    assert first == stored(other, record(spec(tags={"arm": "b"}))).read_bytes()
    assert store.get(run_id(spec(), FINGERPRINT)).spec.tags == {}


def test_every_flipped_byte_is_noticed():
    data = seal(record().model_dump(mode="json"))
    for place in range(len(data)):
        for mask in (1, 32):
            damaged = bytearray(data)
            damaged[place] ^= mask
            with pytest.raises(ValueError, match=r"checksum mismatch|not a sealed JSON file"):
                unseal(bytes(damaged))


def test_every_truncation_and_every_addition_is_noticed():
    data = seal(record().model_dump(mode="json"))
    damaged = [data[:length] for length in range(len(data))]
    damaged += [data + b"\n", data + b"x", b" " + data, data + data, b"", b"null", b"[]", b"{}", b"\xff", b"7\n"]
    damaged += [b"[" * 100_000, b'{"payload":NaN,"sha256":""}', b'{"payload":1}', data.replace(b":", b": ", 1)]
    for bad in damaged:
        with pytest.raises(ValueError, match=r"checksum mismatch|not a sealed JSON file"):
            unseal(bad)


@pytest.mark.parametrize("place", [0, 40, 200, -40, -2])
def test_a_damaged_record_is_set_aside_said_once_and_then_simply_missing(store, caplog, place):
    path = stored(store, record())
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert store.get(record().run_id) is None
        assert store.get(record().run_id) is None
        assert list(store) == []
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    assert "the run will be repeated" in caplog.text
    assert (store.root / "quarantine" / path.name).read_bytes() == bytes(data)
    assert not path.exists()
    store.put(record())
    assert store.get(record().run_id) == record()


def test_an_entry_that_lies_under_another_name_is_not_believed(store):
    one, two = record(), record(spec(seed=1), metrics={"validation_loss": 3.0})
    first, second = stored(store, one), stored(store, two)
    first_bytes, second_bytes = first.read_bytes(), second.read_bytes()
    first.write_bytes(second_bytes)
    second.write_bytes(first_bytes)
    assert store.get(one.run_id) is None
    assert store.get(two.run_id) is None


def test_a_record_of_another_configuration_is_not_believed_even_with_a_right_checksum(store):
    """The name is a hash of the content: a record cannot be passed off as that of another spec."""
    made = record()
    passed_off = made.model_copy(update={"spec": spec(seed=9)})
    path = store.path(made.run_id)
    write_atomically(path, seal(passed_off.model_dump(mode="json", exclude={"spec": {"tags"}})))
    assert store.get(made.run_id) is None


@pytest.mark.parametrize("change", [{"schema_version": 0}, {"status": "fine"}, {"extra": 1}, {"run_id": "f" * 64}])
def test_a_record_of_another_schema_is_not_believed(store, change):
    path = stored(store, record())
    payload = unseal(path.read_bytes()) | change
    path.write_bytes(seal(payload))
    assert store.get(record().run_id) is None
    assert not path.exists()


def test_an_older_schema_is_read_through_every_migration_and_its_file_stays(store, monkeypatch):
    """Version 1 called metrics ``numbers`` here, and version 2 had no count of parameters."""
    path = stored(store, record())
    old = unseal(path.read_bytes()) | {"schema_version": 1}
    old["numbers"] = old.pop("metrics")
    del old["parameters"]
    path.write_bytes(seal(old))
    before = path.read_bytes()
    monkeypatch.setattr("regrad.store.SCHEMA_VERSION", 3)
    steps = {1: lambda p: {k: v for k, v in p.items() if k != "numbers"} | {"metrics": p["numbers"]},
             2: lambda p: p | {"parameters": 7}}  # fmt: skip
    monkeypatch.setattr("regrad.store.MIGRATIONS", steps)
    assert store.get(record().run_id) == record().model_copy(update={"schema_version": 3})
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [2, 0, None, "1", 1.5])
def test_a_newer_or_unknown_schema_is_set_aside_and_named(store, caplog, version):
    path = stored(store, record())
    path.write_bytes(seal(unseal(path.read_bytes()) | {"schema_version": version}))
    assert store.get(record().run_id) is None
    assert (store.root / "quarantine" / path.name).exists()
    assert f"schema_version={version!r}; allowed: 1; moved to " in caplog.text


def test_a_damaged_note_of_circumstances_leaves_the_record_alone(store):
    made = record()
    store.put(made, CIRCUMSTANCES)
    beside = store.path(made.run_id).with_suffix(".circumstances.json")
    beside.write_bytes(beside.read_bytes()[:-9])
    assert store.circumstances(made.run_id) is None
    assert store.get(made.run_id) == made
    beside.write_bytes(seal({"seconds": 1}))
    assert store.circumstances(made.run_id) is None


def test_nan_cannot_be_sealed():
    with pytest.raises(ValueError, match="JSON"):
        seal({"x": math.nan})


def failing(call, error, monkeypatch, after=0):
    """Make ``os.<call>`` raise ``error`` after it worked ``after`` times."""
    real, calls = getattr(os, call), []

    def hook(*arguments, **options):
        calls.append(arguments)
        if len(calls) > after:
            raise OSError(error, os.strerror(error), str(arguments[0]))
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, hook)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["fsync", "replace", "fdopen"])
def test_a_failing_system_call_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch, call, error):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        failing(call, error, patch)
        with pytest.raises(OSError, match=os.strerror(error)):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert files_below(tmp_path) == ["file"]


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_disk_that_fills_up_in_the_middle_leaves_the_old_file(tmp_path, monkeypatch, written):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    real = os.fdopen

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[:written])
            self.file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdopen", lambda *a: Full(real(*a)))
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert files_below(tmp_path) == ["file"]


def test_the_new_bytes_are_on_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    order = []
    for call in ("fsync", "replace"):
        real = getattr(os, call)
        monkeypatch.setattr(os, call, lambda *a, real=real, call=call: (order.append(call), real(*a))[1])
    write_atomically(tmp_path / "file", b"new")
    assert order == ["fsync", "replace", "fsync"]


def test_a_failing_last_fsync_is_reported_and_the_file_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "file"
    failing("fsync", errno.EIO, monkeypatch, after=1)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_failure_that_names_no_file_is_named(store, monkeypatch):
    def full(path, data):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("regrad.store.write_atomically", full)
    with pytest.raises(OSError, match="Input/output error") as caught:
        store.put(record())
    assert caught.value.filename == str(store.path(record().run_id))


KILLED = """
import os, signal, sys
from pathlib import Path
from regrad.atomic import write_atomically
call, path = sys.argv[1], Path(sys.argv[2])
real = getattr(os, call)
setattr(os, call, lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))
write_atomically(path, b"new")
"""


@pytest.mark.parametrize("call", ["fdopen", "fsync", "replace"])
def test_a_writer_killed_at_any_call_leaves_the_old_file(tmp_path, call):
    path = tmp_path / "ab" / "file"
    write_atomically(path, b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, call, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    store = Store(tmp_path)
    assert list(store) == []
    assert store.sweep(older_than_seconds=3600) == 0, "a writer may still be at work"
    old = time.time() - 7200
    left = list(path.parent.glob(".tmp-*"))
    for rubbish in left:
        os.utime(rubbish, (old, old))
    assert store.sweep(older_than_seconds=3600) == len(left) == 1
    assert files_below(tmp_path) == ["ab/file"]


def test_the_store_needs_no_torch():
    code = (
        "import sys, regrad.store, regrad.results, regrad.fingerprint; assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
