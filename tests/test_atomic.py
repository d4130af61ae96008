"""Files that are replaced whole: who may read them, and what a failure leaves."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from regrad.atomic import write_atomically
from regrad.pipeline import verdicts
from regrad.pipeline.folders import Folders

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, "-rw-r--r--"), (0o002, "-rw-rw-r--"), (0o077, "-rw-------")])
def test_the_user_s_umask_decides_who_may_read_a_file(tmp_path, umask, mode):
    code = (
        f"import os; from pathlib import Path; from regrad.atomic import write_atomically; os.umask({umask})\n"
        "for data in (b'x', b'y'): write_atomically(Path('new/a.json'), data)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    path = tmp_path / "new" / "a.json"
    assert stat.filemode(path.stat().st_mode) == mode
    assert path.read_bytes() == b"y"


def test_everybody_may_read_site_verdicts_and_records_who_may_read_any_new_file(small_site, tmp_path):
    """Executed notebooks and the PDF have their own line in the tests that make them."""
    folders = Folders(tmp_path, tmp_path / "cache")
    folders.paper.mkdir()
    shutil.copy(ROOT / "paper" / "claims.toml", folders.paper)
    verdicts.write(folders, preset="smoke", device="cpu")
    files = [path for root in (tmp_path, small_site.parent) for path in root.rglob("*") if path.is_file()]
    (tmp_path / "any").touch()
    usual = (tmp_path / "any").stat().st_mode
    assert [path for path in files if path.stat().st_mode != usual] == []
    assert {"index.html", "claims.json", "tab-claims.tex"} < {path.name for path in files}


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])
