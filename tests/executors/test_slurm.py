"""The Slurm executor under submitit's debug and local executors, and against a Slurm of shell scripts."""

import importlib.util
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from slurm_tasks import (
    Errand,
    diary,
    die_at_two,
    perform_and_die_once,
    preempted_at_two,
    raise_at_three,
    square,
    visit,
)

from regrad.executors import choice, slurm
from regrad.executors.slurm import Chunk, chunks, map_slurm
from regrad.executors.slurm_settings import settings
from regrad.runner.ensure import Bench, ensure
from regrad.store import Store
from tiny_runs import spec

pytestmark = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")
HERE = Path(__file__).parent
GOLDEN = HERE / "sweep.sbatch"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for submissions; jobs find our modules."""
    for name in [n for n in os.environ if n.startswith("REGRAD_SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REGRAD_SLURM_FOLDER", str(tmp_path / "slurm"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parents[1] / "src"))))
    return tmp_path


@pytest.fixture(params=["debug", "local"])
def cluster(request, folder, monkeypatch):
    monkeypatch.setenv("REGRAD_SLURM_CLUSTER", request.param)
    return folder


@pytest.fixture
def local(folder, monkeypatch):
    monkeypatch.setenv("REGRAD_SLURM_CLUSTER", "local")
    # submitit's local executor cancels by SIGINT, which a shell's background jobs are born ignoring, and pass on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield folder
    signal.signal(signal.SIGINT, before)


def left_over(folder):
    """What submissions left in their folder."""
    return [path.name for path in (folder / "slurm").glob("*/*")]


def test_every_task_has_its_outcome_and_nothing_is_left_over(cluster):
    assert sorted(map_slurm(square, list(range(7)), 2)) == [0, 1, 4, 9, 16, 25, 36]
    assert left_over(cluster) == []
    assert list(map_slurm(square, [], 2)) == []
    assert list(map_slurm(square, [3], 2)) == [9]


def test_a_task_that_raises_has_no_outcome_and_costs_its_neighbours_nothing(cluster):
    assert sorted(map_slurm(raise_at_three, list(range(5)), 1)) == [0, 1, 2, 4]


def test_a_preempted_job_goes_on_with_what_it_has_left(local):
    errands = [Errand(number, local) for number in range(5)]
    assert sorted(map_slurm(preempted_at_two, errands, 1)) == [0, 1, 2, 3, 4]
    begun = [line for line in diary(local) if line.startswith("begun")]
    # 2 was stopped and begun again by the requeued job; 0 and 1 were not
    assert begun == ["begun 0", "begun 1", "begun 2", "begun 2", "begun 3", "begun 4"]


def test_a_job_that_dies_costs_what_it_had_not_finished(local):
    errands = [Errand(number, local) for number in range(6)]
    found = list(map_slurm(die_at_two, errands, 2))  # dealt out: 0, 2, 4 and 1, 3, 5
    assert sorted(found) == [1, 3, 5]
    assert "done 0" in diary(local)
    assert not {"done 2", "begun 4"} & set(diary(local))
    assert any(name.endswith("_log.err") for name in left_over(local)), "its log is kept"


def test_records_have_the_bytes_of_the_local_executor_and_a_dead_job_is_made_good(local, monkeypatch):
    specs = [spec(seed=seed) for seed in range(4)]
    expected = ensure(specs, Bench(local / "here", local / "cache", jobs=1))
    monkeypatch.setenv(choice.VARIABLE, "slurm")
    monkeypatch.setattr(sys.modules["regrad.runner.ensure"], "perform", perform_and_die_once)
    assert ensure(specs, Bench(local / "there", local / "cache", jobs=2)) == expected
    lines = sorted(diary(local))  # seed 2 is the second of the first job, which dies of it
    assert [line for line in lines if line.startswith("begun")] == [f"begun {n}" for n in (0, 1, 2, 2, 3)]
    assert [line for line in lines if line.startswith("done")] == [f"done {n}" for n in (0, 1, 2, 3)]
    for record in expected:
        here, there = (Store(local / name).path(record.run_id) for name in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()


DRIVER = """
import sys
from pathlib import Path
from regrad.executors.slurm import map_slurm
from slurm_tasks import Errand, visit
list(map_slurm(visit, [Errand(number, Path(sys.argv[1]), 1.0) for number in range(8)], 2))
"""


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def jobs_of(folder):
    """Processes whose command line names the folder."""
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(folder) in w for w in p.info["cmdline"] or [])]


def test_a_killed_driver_is_followed_by_one_that_repeats_nothing_finished_and_shares_nothing_with_its_jobs(local):
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(local)])
    try:
        wait_for(lambda: sum(line.startswith("done") for line in diary(local)) >= 2)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    before = {line for line in diary(local) if line.startswith("done")}
    missing = [n for n in range(8) if f"done {n}" not in before]
    assert missing
    assert sorted(map_slurm(visit, [Errand(number, local) for number in missing], 2)) == missing
    wait_for(lambda: not jobs_of(local / "slurm"))
    lines = diary(local)
    assert {line for line in lines if line.startswith("done")} == {f"done {number}" for number in range(8)}
    assert all(lines.count(line) == 1 for line in before), "what was finished is not done again"
    twice = [n for n in range(8) if lines.count(f"done {n}") > 1]
    assert len(twice) <= 2, "the first driver's two jobs may end what they were at, and begin nothing more"


def test_a_driver_that_leaves_early_cancels_its_jobs(local):
    errands = [Errand(number, local, 0.0 if number == 0 else 600.0) for number in range(2)]
    outcomes = map_slurm(visit, errands, 2)
    assert next(outcomes) == 0
    wait_for(lambda: "begun 1" in diary(local))
    outcomes.close()
    wait_for(lambda: not jobs_of(local / "slurm"))
    assert not list((local / "slurm").glob("*/driver"))


def test_a_chunk_that_nobody_waits_for_begins_nothing(tmp_path):
    assert Chunk(square, [1, 2], wanted=tmp_path / "driver")() == []


def test_a_chunk_whose_requeue_was_refused_stops_there(tmp_path):
    """submitit refuses by an exception out of the signal handler, which a run reports as its own failure."""
    (tmp_path / "driver").touch()

    def refused_at_two(number):
        if number == 2:
            chunk.checkpoint()
        return number

    chunk = Chunk(refused_at_two, [1, 2, 3], wanted=tmp_path / "driver")
    assert chunk() == [1]


def test_what_a_chunk_has_left_is_what_had_no_outcome(tmp_path):
    (tmp_path / "driver").touch()
    chunk = Chunk(square, [1, 2, 3], wanted=tmp_path / "driver", found=([1],))
    again = chunk.checkpoint().function
    assert again.found == [[1]]
    assert again() == [1, 4, 9]


# -- how tasks are dealt to jobs


@pytest.mark.parametrize(
    ("tasks", "workers", "jobs", "largest"),
    [
        (1000, 8, 63, 16),  # runs of 3 s: not 1,000 jobs, and none of more than CHUNK
        (20, 8, 7, 3),  # 3 = ceil(20 / 8): work for (almost) every worker rather than full chunks
        (7, 10, 7, 1),
        (1, 4, 1, 1),
        (40_000, 8, 1000, 40),  # an array has at most 1,001 elements
    ],
)
def test_many_short_runs_become_few_jobs(folder, tasks, workers, jobs, largest):
    dealt = chunks(list(range(tasks)), workers, settings())
    assert len(dealt) == jobs
    assert max(map(len, dealt)) == largest
    assert sorted(n for part in dealt for n in part) == list(range(tasks))


def test_local_jobs_are_as_many_as_workers(local):
    assert [len(part) for part in chunks(list(range(100)), 2, settings())] == [50, 50]


def test_submissions_go_below_the_nearest_results(tmp_path, monkeypatch):
    monkeypatch.delenv("REGRAD_SLURM_FOLDER", raising=False)
    (tmp_path / "results").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert slurm.submissions() == tmp_path / "results" / "slurm"


# -- settings: one line with the variable, its value and what is allowed


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *((name, value, "at least 1") for name in ("TIME", "CPUS", "CHUNK", "MEMORY") for value in ("0", "-1", "1.5")),
        *((name, value, "at least 0") for name in ("GPUS", "REQUEUES") for value in ("-1", "nan", "")),
        ("TIME", "1:00", "at least 1"),
        ("PARTITION", "gpu\n#SBATCH --wrap=rm", "letters, digits"),
        ("ACCOUNT", "", "letters, digits"),
        ("CLUSTER", "slrum", "slurm, local, debug"),
    ],
)
def test_a_wrong_setting_is_one_line(folder, monkeypatch, name, value, allowed):
    monkeypatch.setenv(f"REGRAD_SLURM_{name}", value)
    with pytest.raises(ValueError, match="allowed") as raised:
        settings()
    text = str(raised.value)
    assert text.startswith(f"REGRAD_SLURM_{name} is {value!r}; allowed: ")
    assert allowed in text
    assert "\n" not in text


def test_a_gpu_that_no_job_asks_for_is_refused_before_any_work(local, monkeypatch):
    with pytest.raises(ValueError, match="REGRAD_SLURM_GPUS is 0"):
        slurm.check("cuda")
    monkeypatch.setenv("REGRAD_SLURM_GPUS", "1")
    slurm.check("cuda")
    assert not slurm.gives_gpus(), "the machine's own GPUs are looked for as ever"


def test_a_machine_without_slurm_is_refused_before_any_work(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(choice.ExecutorError, match="needs sbatch, which is not on PATH"):
        slurm.check("cpu")


# -- a Slurm of shell scripts: what is handed to sbatch, and what its jobs make of it

NUMBERS = itertools.count(4711)  # of jobs: submitit remembers how a number's job ended, in all of a process
SBATCH = """#!/bin/bash
echo "sbatch $*" >> {world}/calls
cp "$1" {world}/script
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
for k in $(seq 0 "$last"); do
  (
    export SLURM_JOB_ID=$(({job} + k)) SLURM_ARRAY_JOB_ID={job} SLURM_ARRAY_TASK_ID=$k
    while bash {world}/script || true; do rm {world}/requeue-{job}_$k || break; done
    echo "{job}_$k|FAILED|node" >> {world}/ended
  ) < /dev/null > /dev/null 2>&1 &
done
echo "Submitted batch job {job}"
"""
PROGRAMS = {
    "sbatch": SBATCH,
    "srun": '#!/bin/bash\nshift 5\nexec "$@"\n',  # --unbuffered --output X --error Y
    "sacct": "#!/bin/bash\necho 'JobID|State|NodeList'\ncat {world}/ended\n",
    "scontrol": '#!/bin/bash\ntouch "{world}/$1-$2"\n',  # requeue JOB
    "scancel": '#!/bin/bash\necho "scancel $*" >> {world}/calls\n',
}


@pytest.fixture
def world(folder, monkeypatch):
    """A cluster whose nodes are this machine; it asks for two workers' worth of everything."""
    made, job = folder / "world", str(next(NUMBERS))
    made.mkdir()
    (made / "ended").touch()
    for name, text in PROGRAMS.items():
        (made / name).write_text(text.replace("{world}", str(made)).replace("{job}", job))
        (made / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{made}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(slurm.GRACE_SECONDS, "slurm", 0.0)
    monkeypatch.setitem(slurm.POLL_SECONDS, "slurm", 0.1)
    return made


def normalised(world):
    text = (world / "script").read_text()
    (submission,) = {line.split("=", 1)[1].rsplit("/", 1)[0] for line in text.splitlines() if "--output=" in line}
    return text.replace(submission, "FOLDER").replace(sys.executable, "PYTHON")


def test_the_file_handed_to_sbatch_is_the_golden_one_and_its_jobs_give_all_outcomes(world, monkeypatch):
    chosen = {"PARTITION": "gpu", "ACCOUNT": "lab", "TIME": "240", "CPUS": "4", "GPUS": "1", "MEMORY": "16"}
    for name, value in (chosen | {"CHUNK": "3"}).items():
        monkeypatch.setenv(f"REGRAD_SLURM_{name}", value)
    slurm.check("cuda")
    assert slurm.gives_gpus()
    assert sorted(map_slurm(square, list(range(7)), 2)) == [0, 1, 4, 9, 16, 25, 36]
    text = normalised(world)
    assert text == GOLDEN.read_text()
    for line in ("--array=0-2%2", "--time=240", "--requeue", "--signal=USR2@120", "--gpus-per-node=1"):
        assert f"#SBATCH {line}\n" in text


def test_a_cluster_s_preempted_job_goes_on_with_what_it_has_left(world, folder):
    errands = [Errand(number, folder) for number in range(6)]
    assert sorted(map_slurm(preempted_at_two, errands, 2)) == list(range(6))
    lines = diary(folder)
    assert [lines.count(f"begun {number}") for number in range(6)] == [1, 1, 2, 1, 1, 1]
    assert [lines.count(f"done {number}") for number in range(6)] == [1] * 6
    assert not (world / "calls").read_text().count("scancel")


def test_a_cluster_s_job_that_dies_costs_what_it_had_not_finished_and_is_cancelled(world, folder):
    errands = [Errand(number, folder) for number in range(6)]
    assert sorted(map_slurm(die_at_two, errands, 2)) == [1, 3, 5]
    calls = (world / "calls").read_text()
    assert re.search(r"^scancel \d+_0$", calls, re.MULTILINE), "or Slurm might start it again beside ours"


def test_jobs_that_are_still_queued_when_time_is_over_are_cancelled(world, monkeypatch):
    monkeypatch.setattr(slurm, "QUEUED", 1.0)
    (world / "sbatch").write_text(f"#!/bin/bash\necho sbatch >> {world}/calls\necho Submitted batch job 4711\n")
    began = time.monotonic()
    assert list(map_slurm(square, list(range(7)), 2, time.time())) == []
    assert time.monotonic() - began < 30.0
    assert re.search(r"^scancel 4711_0 4711_1$", (world / "calls").read_text(), re.MULTILINE)


def test_the_jobs_of_a_killed_driver_are_cancelled_by_the_next_one(world, folder):
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name, host, process in (("dead", socket.gethostname(), ended.pid), ("live", socket.gethostname(), os.getpid())):
        (folder / "slurm" / name).mkdir(parents=True)
        (folder / "slurm" / name / "driver").write_text(f"{host} {process} slurm\n12_0\n12_1\n")
    (folder / "slurm" / "far").mkdir()
    (folder / "slurm" / "far" / "driver").write_text(f"elsewhere {ended.pid} slurm\n13\n")
    slurm.end_orphans(folder / "slurm")
    assert (world / "calls").read_text() == "scancel 12_0 12_1\n"
    assert sorted(p.parent.name for p in (folder / "slurm").glob("*/driver")) == ["far", "live"]


def test_what_sbatch_complains_of_is_one_line(world):
    (world / "sbatch").write_text("#!/bin/bash\necho 'sbatch: error: invalid partition\nspecified: gpu' >&2\nexit 1\n")
    with pytest.raises(choice.ExecutorError) as raised:
        list(map_slurm(square, [1, 2, 3], 2))
    assert "could not submit its jobs: " in str(raised.value)
    assert "sbatch: error: invalid partition specified: gpu" in str(raised.value)
    assert "\n" not in str(raised.value)
