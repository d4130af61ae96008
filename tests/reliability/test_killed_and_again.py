"""``kill -9`` in the middle of runs, notebook and report, then again: the same bytes, no finished run repeated.

A process that has imported everything forks one reproduction a trial, with tiny runs, a real exporter in place
of papermill and a copy in place of LaTeX, and kills it at a moment that moves through the whole reproduction.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.reliability
ROOT = Path(__file__).parents[2]
TRIALS = 24
KILLS = """
import hashlib, json, os, shutil, signal, sys, time
from importlib import import_module
from pathlib import Path
root, cache, trials = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
sys.path.insert(0, sys.argv[4])
import regrad.provenance
regrad.provenance.commit = lambda: "abc"  # stamps name it, and a commit in the middle would change them
import torch
import regrad.runner.train
from regrad.atomic import write_atomically
from regrad.pipeline.folders import Folders
from regrad.pipeline.targets import Target
from regrad.report.export import Exporter
from regrad.store import Store
from tiny_runs import spec
from test_pipeline import SOURCE
torch.set_num_threads(1)
module, ensure = import_module("regrad.pipeline.reproduce"), import_module("regrad.runner.ensure")
STUDY = Target("study", "01_study", "tiny", ("tab-study",))
specs = [spec(seed=seed) for seed in range(4)]
def execute(path, output, parameters, *, timeout, live=True):
    records = list(Store(folders.runs))
    made = Exporter(folders.generated, notebook=path.stem, preset="smoke", records=records)
    made.table("tab-study", "a table")
    made.numbers({"a/b": str(len(records))})
    made.finish()
    write_atomically(output, path.read_bytes())
def typeset(folder):
    write_atomically(folder / "report.pdf", b"".join(p.read_bytes() for p in sorted(folder.rglob("*.tex"))))
    return []
real = ensure.perform
def perform(task):
    with open(folders.root / "begun", "a") as file:
        file.write(f"{task.spec.seed}\\n")
    return real(task)
module.execute, module.plan_of, ensure.perform = execute, lambda target: lambda preset, records: specs, perform
module.paper.tex_is_there, module.paper.typeset = lambda: True, typeset
def checkout(name):
    made = root / name
    for part in ("notebooks", "paper"):
        (made / part).mkdir(parents=True)
    (made / "paper" / "claims.toml").write_text("")
    (made / "paper" / "report.tex").write_text("x")
    (made / "notebooks" / "01_study.ipynb").write_text(json.dumps(SOURCE))
    return Folders(made, cache)
def reproduce():
    child = os.fork()
    if child:
        return child
    sys.stderr = open(folders.root / "said", "a")
    order = module.Order([STUDY], ["paper"], "smoke", "cpu", 1, True)
    code = module.reproduce(folders, order)
    sys.stderr.flush()
    os._exit(code)
def contents():
    kept = [folders.runs, folders.generated, folders.executed, folders.claims, folders.paper / "report.pdf"]
    files = [p for k in kept for p in ([k] if k.is_file() else k.rglob("*")) if p.is_file()]
    kept = [p for p in files if "circumstances" not in p.name and not p.name.startswith(".tmp")]
    names = {p.relative_to(folders.root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}
    return dict(sorted(names.items()))
folders = checkout("warm")
os.waitpid(reproduce(), 0)
folders = checkout("undisturbed")
start = time.monotonic()
assert os.waitstatus_to_exitcode(os.waitpid(reproduce(), 0)[1]) == 0, (folders.root / "said").read_text()
seconds, wanted = time.monotonic() - start, contents()
for number in range(trials):
    folders = checkout(f"trial-{number}")
    child = reproduce()
    time.sleep(seconds * number / trials)
    os.kill(child, signal.SIGKILL)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    finished = {r.spec.seed for r in Store(folders.runs)}
    begun = folders.root / "begun"
    begun.unlink(missing_ok=True)
    code = os.waitstatus_to_exitcode(os.waitpid(reproduce(), 0)[1])
    again = {int(line) for line in begun.read_text().split()} if begun.exists() else set()
    found = contents()
    different = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
    print(json.dumps([killed, code, sorted(finished & again), len(finished), different]), flush=True)
    shutil.rmtree(folders.root)
"""


def test_killed_at_any_moment_the_same_call_finishes_with_the_same_bytes(tmp_path, figure):
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path), str(tmp_path / "cache"), str(TRIALS), str(ROOT / "tests")],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(trials) == TRIALS >= 20
    for _, code, repeated, _, different in trials:
        assert code == 0
        assert repeated == []
        assert different == []
    killed = sum(trial[0] for trial in trials)
    assert killed >= 15, "the others had finished"
    kept = sorted({trial[3] for trial in trials})
    figure("kill -9 end to end, then again", ">= 20 trials, same bytes, no finished run repeated",
           f"{TRIALS} trials, {killed} killed in the middle with {kept} runs finished")  # fmt: skip
