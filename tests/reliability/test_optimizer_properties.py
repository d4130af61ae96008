"""The optimizers' properties, and seeded mutants of optimizers and store, as rows of the table."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import TABLE
from conformance_properties import BEYOND, TORCH_LIST
from test_mutants import BOOKKEEPING, MUTANTS

pytestmark = pytest.mark.reliability
TESTS = Path(__file__).parents[1]
STORE_MUTANTS = [
    ("store.py", "outer[\"payload\"]) == data", "outer[\"payload\"]) != b''"),
    ("store.py", "if {named, record.run_id} != {run_id}:", "if record.run_id != run_id:"),
    ("store.py", "    if version != SCHEMA_VERSION:", "    if False:"),
    ("store.py", "MIGRATIONS[version](payload) |", "payload |"),
    ("atomic.py", "isinstance(error, OSError) and error.filename is None", "False"),
    ("store.py", "        os.replace(path, target)\n", "        pass\n"),
    ("store.py", "logger.warning(", "logger.debug("),
    ("store.py", "if error.filename is None:", "if False:"),
    ("store.py", "st_mtime > older_than_seconds", "st_mtime > -1"),
    ("store.py", 'exclude={"spec": {"tags"}}', "exclude=set()"),
    ("atomic.py", "            os.fsync(file.fileno())\n", ""),
    ("atomic.py", "    sync_folder(path.parent)\n", ""),
    ("atomic.py", "        os.replace(temporary, path)\n", "        path.write_bytes(data)\n"),
    ("atomic.py", "        temporary.unlink(missing_ok=True)\n", ""),
    ("atomic.py", "        raise\n", ""),
]


def test_every_optimizer_has_every_property_or_a_reason(figure):
    properties = {**TORCH_LIST, **BEYOND}
    pairs, skips, failures = 0, [], []
    for entry in TABLE:
        for name, prop in properties.items():
            pairs += 1
            if name in entry.skips:
                skips.append(entry.skips[name])
                continue
            try:
                prop(entry, "cpu")
            except Exception as error:  # noqa: BLE001 - all failures are listed, not the first
                failures.append((entry.name, name, str(error)[:80]))
    assert failures == []
    assert all(len(reason.split()) >= 3 for reason in skips)
    controls = sum(entry.name.startswith("torch-") for entry in TABLE)
    figure("properties of each optimizer", "every applicable one; every skip has a reason",
           f"{len(properties)} properties x {len(TABLE)} settings ({controls} of torch's as control): "
           f"{pairs - len(skips)} hold, {len(skips)} skipped with a reason")  # fmt: skip


def test_the_mutants_of_optimizers_are_caught(figure):
    """test_mutants.py seeds them: each is one of its cases, and a mutant that lives is a failure there."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS / "test_mutants.py")],
        capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    total = len(MUTANTS) + len(BOOKKEEPING)
    assert total >= 20
    figure("seeded mutants: optimizers", ">= 20 together, >= 95 % caught", f"{total} of {total} caught")


def test_the_mutants_of_the_store_are_caught(tmp_path, figure):
    """Each in a copy of the package that the store's own tests import in place of the real one."""
    caught = []
    for number, (name, old, new) in enumerate([("store.py", "", ""), *STORE_MUTANTS]):
        folder = tmp_path / str(number) / "regrad"
        folder.mkdir(parents=True)
        for part in ("__init__.py", "store.py", "atomic.py", "results.py", "fingerprint.py"):
            shutil.copy(TESTS.parent / "src" / "regrad" / part, folder)
        source = (folder / name).read_text()
        assert old in source, f"nothing to replace in {name}: {old}"
        (folder / name).write_text(source.replace(old, new, 1))
        code = (
            f"import sys; sys.path.insert(0, {str(folder.parent)!r}); import os, regrad.store, pytest;"
            f"os.environ['PYTHONPATH'] = {str(folder.parent)!r};"
            f"assert regrad.store.__file__.startswith({str(folder.parent)!r});"
            f"sys.exit(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', {str(TESTS / 'test_store.py')!r}]))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
        caught.append(done.returncode == 1)
        assert number or done.returncode == 0, done.stdout[-2000:]
    alive = [STORE_MUTANTS[k - 1] for k, was in enumerate(caught) if k and not was]
    assert len(alive) <= 0.05 * len(STORE_MUTANTS), alive
    figure("seeded mutants: store", ">= 20 together, >= 95 % caught",
           f"{sum(caught)} of {len(STORE_MUTANTS)} caught")  # fmt: skip
