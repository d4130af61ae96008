"""A record browser on a set as large as a night's runs: it reads one study's file, and stays below half a gigabyte."""

import hashlib
import json
import lzma
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from regrad.playground.shelf import lines
from regrad.published import SET
from regrad.results import canonical

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "reference" / SET
FILE = "sign_placement.jsonl.xz"
STEPS = [float(step) for step in range(5000)]  # of a curve: hundreds of times what the small set has

LOOK = """
    import json, sys, time
    from pathlib import Path
    from regrad.playground import browser
    from regrad.playground.explore import Explored
    from regrad.playground.shelf import Shelf, lines

    opened = []
    import regrad.playground.shelf as module
    module.lines = lambda path: (opened.append(path.name), lines(path))[1]
    start = time.process_time()
    explored = Explored(browser, Shelf(Path(sys.argv[1])), {"study": "sign_placement"})
    explored.first
    first = time.process_time() - start
    start = time.process_time()
    explored.change(run=explored.controls(explored.values)["run"].options[-1])
    explored.png()
    again = time.process_time() - start
    status = Path("/proc/self/status").read_text()  # of this program: ru_maxrss begins at its parent's
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1e3
    print(json.dumps({"opened": opened, "first": first, "again": again, "peak": peak}))
"""


def lengthened(line, numbers):
    """A run's line with five curves more, of thousands of points that do not compress."""
    parsed = json.loads(line)
    for k in range(5):
        curve = {"x": STEPS, "y": [numbers.random() for _ in STEPS]}
        parsed["record"]["curves"][f"noise/{k}"] = curve
    return canonical(parsed) + "\n"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A set of one study whose file is twenty megabytes, and of another whose file must not be read."""
    folder = tmp_path_factory.mktemp("large") / SET / "runs"
    folder.mkdir(parents=True)
    numbers = random.Random(0)
    body = "".join(lengthened(line, numbers) for line in lines(PUBLISHED / "runs" / FILE))
    seal = {"runs": body.count("\n"), "sha256": hashlib.sha256(body.encode()).hexdigest()}
    (folder / FILE).write_bytes(lzma.compress((body + canonical(seal) + "\n").encode(), preset=0))
    (folder / "micro_adam.jsonl.xz").write_bytes(b"not to be read")
    return folder.parent


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
def test_one_study_s_file_is_read_and_memory_stays_below_half_a_gigabyte(large):
    assert (large / "runs" / FILE).stat().st_size > 18e6
    command = [sys.executable, "-c", textwrap.dedent(LOOK), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["opened"] == [FILE]
    assert found["peak"] < 500
    assert found["again"] < 2.0
