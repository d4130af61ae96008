"""Where a reproduction runs: time zone, locale, path and folder change no byte; a folder or disk that cannot be
written is one line with its path, exit code 3 or 1, and nothing half written; the next call goes on.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tiny_reproduction import checkout, specs

pytestmark = pytest.mark.reliability
HERE = Path(__file__).parent
PATHS = [str(HERE.parent), str(HERE)]
# argv: checkout, cache, then where to import from. Runs the command line in the folder it is started in.
CALL = """
import json, sys
from pathlib import Path
root, cache = Path(sys.argv[1]), Path(sys.argv[2])
sys.path[:0] = sys.argv[3:]
import tiny_reproduction as tiny
from regrad import cli
folders = tiny.Folders(root, cache)
tiny.install(folders)
cli.select = lambda *_: ([tiny.STUDY], ["paper"])
BEFORE
code = cli.main(["--quick", "--jobs", "1", "--device", "cpu", "--offline"])
print(json.dumps([code, tiny.contents(folders) if code == 0 else {}]))
"""
# Reproduces elsewhere first, so that all is imported and the data is parsed, and goes on as nobody if it was root.
NOBODY = """
import os
warm = tiny.checkout(Path(WARM), cache)
tiny.install(warm)
os.chdir(warm.root)
assert cli.main(["--quick", "--jobs", "1", "--device", "cpu", "--offline"]) == 0
os.chdir(root)
tiny.install(folders)
for path in [cache, *cache.rglob("*")]:
    path.chmod(0o777 if path.is_dir() else 0o666)
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
"""
PLACES = {
    "here": ("checkout", {}),
    "another time zone": ("checkout", {"TZ": "Pacific/Kiritimati"}),
    "locale C": ("checkout", {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "a path with spaces and letters": ("a checkout, Grüße – 模型 'x'", {}),
    "all at once": ("Ünï cödé $HOME", {"LC_ALL": "POSIX", "TZ": "America/St_Johns", "PYTHONUTF8": "0"}),
}


def call(root, cache, *, before="", cwd=None, environment=None):
    """Start the command line; return exit code, checksums and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", CALL.replace("BEFORE", before), str(root), str(cache), *PATHS],
        cwd=cwd or root, capture_output=True, text=True, timeout=200,
        env={**os.environ, "REGRAD_CACHE": str(cache), "OMP_NUM_THREADS": "1", **(environment or {})},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    code, found = json.loads(done.stdout.splitlines()[-1])
    return code, found, done.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def made(root):
    """A checkout's sources, before any call."""
    return checkout(root, root / "cache").root


def test_place_time_zone_and_locale_change_no_byte(tmp_path, cache, figure):
    found = {}
    for number, (name, (folder, environment)) in enumerate(PLACES.items()):
        root = made(tmp_path / str(number) / folder)
        below = root / "notebooks"  # the command line finds the checkout above it
        code, found[name], said = call(root, cache, cwd=below, environment=environment)
        assert (code, "Traceback" in said) == (0, False), said
    assert len(found["here"]) > len(specs())
    assert {name: sums for name, sums in found.items() if sums != found["here"]} == {}
    figure("time zone, locale, path, folder", "same bytes", f"{len(PLACES)} places, {len(found['here'])} files each")


def test_a_file_size_limit_fails_runs_with_their_paths_and_the_next_call_goes_on(tmp_path, cache, figure):
    root = made(tmp_path / "checkout")
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (400, r.getrlimit(r.RLIMIT_FSIZE)[1]))"
    code, _, said = call(root, cache, before=limit)
    assert code in (1, 3), said
    line = next(line for line in said.splitlines() if "File too large" in line)
    assert f"{root}/results/" in line
    assert "Traceback" not in said
    left = [path for path in (root / "results").rglob("*") if path.is_file() and path.stat().st_size >= 400]
    assert left == []
    assert not list((root / "results" / "runs").rglob(".tmp-*"))
    code, after, said = call(root, cache)
    assert code == 0, said
    assert after == call(made(tmp_path / "undisturbed"), cache)[1]
    figure("RLIMIT_FSIZE", "message with path, no half file, next call goes on", "one line, 0 half files, same bytes")


@pytest.mark.parametrize("part", ["", "results", "results/runs", "paper/generated"])
def test_a_folder_that_nobody_may_write_is_one_line_with_its_path(part, figure):
    """As the user nobody where the test runs as root, whom no permission stops."""
    base = Path(tempfile.mkdtemp(prefix="regrad-read-only-"))
    try:
        base.chmod(0o755)
        root = made(base / "checkout")
        for path in [root, *root.rglob("*")]:
            path.chmod(0o777 if path.is_dir() else 0o666)
        (root / part).mkdir(parents=True, exist_ok=True)
        for folder in (root / "results", root / "results" / "runs"):
            if folder.exists():
                folder.chmod(0o777)
        closed = root / part
        closed.chmod(0o555)
        before = NOBODY.replace("WARM", repr(str(base / "warm")))
        code, _, said = call(root, base / "cache", before=before)
        assert code in (1, 3), said
        assert "Permission denied" in said
        assert str(closed) in said
        assert "Traceback" not in said
        closed.chmod(0o777)
        for path in closed.rglob("*"):
            path.chmod(0o777 if path.is_dir() else 0o666)
        shutil.rmtree(base / "warm")
        code, _, said = call(root, base / "cache", before=before)
        assert code == 0, said
    finally:
        shutil.rmtree(base)
    where = part or "the checkout"
    figure(f"read-only folder: {where}", "one line with the path, nothing lost", f"exit {code} once it is writable")
