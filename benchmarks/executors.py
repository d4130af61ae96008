"""What each executor costs a run, and how much two workers of this machine gain over one.

    export OMP_NUM_THREADS=1
    python benchmarks/executors.py --out results/reference/benchmarks/executors-cpu.json --docs docs/executors.md

Wall time (processes that wait for each other show in nothing else), so: on a machine with nothing else to do. In each
round the executors come in a shuffled order; medians over rounds. Per executor:

* start: from nothing to the first outcomes, one empty task a worker (Slurm: submitit's local executor, whose jobs
  are processes of this machine, so a cluster's queue is not in it);
* overhead a run: what one more empty task adds to a call, with workers that are there already;
* sweep: short training runs through the store, as studies do them, with workers that have torch loaded (Slurm's jobs
  load it anew, as they would on a cluster); efficiency is the sweep's time inline over workers x time.

"inline" is the executor local with one worker, which starts no process.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

from regrad.executors.choice import VARIABLE, map_tasks
from regrad.report.benchmarks import write
from regrad.results import Part, Schedule, Spec
from regrad.runner.ensure import Bench, missing, perform

ARMS = {"inline": ("local", 1), "local": ("local", 2), "ray": ("ray", 2), "slurm (local executor)": ("slurm", 2)}
PACKAGES = {"local": "joblib", "ray": "ray", "slurm": "submitit"}
WANTED = 0.9  # efficiency of two local workers
BEGIN, END = "<!-- executors:begin -->", "<!-- executors:end -->"


def nothing(number: int) -> int:
    """Do nothing, elsewhere."""
    return number


def spec(seed: int, steps: int) -> Spec:
    """A short training run: the smallest decoder on Python's help topics."""
    data = {"corpus": "python-topics", "model": "0.1M", "sequence_length": 32, "evaluation_sequences": 16}
    return Spec(
        problem=Part(name="language", options=data),
        optimizer=Part(name="adam", options={"lr": 1e-3}),
        schedule=Schedule(shape="constant", warmup=0),
        steps=steps,
        batch_size=8,
        seed=seed,
        evaluations=1,
    )


def seconds(function: Callable[[int], int], count: int, workers: int) -> float:
    """Wall seconds of one call with ``count`` tasks."""
    begin = time.perf_counter()
    found = list(map_tasks(function, list(range(count)), workers))
    spent = time.perf_counter() - begin
    if len(found) != count:
        raise RuntimeError(f"{count} tasks, {len(found)} outcomes")
    return spent


def sweep(workers: int, runs: int, steps: int, cache: Path) -> float:
    """Wall seconds of a sweep into an empty store."""
    with tempfile.TemporaryDirectory(prefix="regrad-executors-") as store:
        tasks = missing([spec(seed, steps) for seed in range(runs)], Bench(Path(store), cache))
        begin = time.perf_counter()
        found = list(map_tasks(perform, tasks, workers))
        spent = time.perf_counter() - begin
    if [outcome.status for outcome in found] != ["finished"] * runs:
        raise RuntimeError(f"a run failed: {found}")
    return spent


def end_workers() -> None:
    """Let no executor have workers left."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    if find_spec("ray"):
        from regrad.executors.ray import disconnect

        disconnect()


def measured(arm: str, options: argparse.Namespace, cache: Path) -> dict[str, float]:
    """One round of one executor."""
    os.environ[VARIABLE], workers = ARMS[arm]
    end_workers()
    start = seconds(nothing, workers, workers)
    end_workers()  # loky takes the memory of torch, loaded after an empty task, for a leak, and replaces the worker
    for _ in range(2):  # each worker loads torch
        sweep(workers, workers, 1, cache)
    spent = sweep(workers, options.runs, options.steps, cache)
    few = seconds(nothing, workers, workers)
    many = seconds(nothing, workers + options.tasks, workers)
    end_workers()
    return {"start": start, "overhead": (many - few) / options.tasks, "sweep": spent}


def environment() -> dict[str, object]:
    """Machine and software."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        **{name: importlib.metadata.version(name) for name in PACKAGES.values() if find_spec(name)},
        "time": "wall",
    }


def summary(rounds: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """Every round and the medians of each executor."""
    found: dict[str, object] = {}
    inline = [one["sweep"] for one in rounds["inline"]]
    for arm, ones in rounds.items():
        workers = ARMS[arm][1]
        gains = [alone / (workers * one["sweep"]) for alone, one in zip(inline, ones, strict=True)]
        columns = {name: [one[name] for one in ones] for name in ones[0]} | {"efficiency": gains}
        medians = {name: statistics.median(values) for name, values in columns.items()}
        found[arm] = {"workers": workers, "median": medians, "rounds": columns}
    return found


def table(record: dict) -> str:
    """The record's medians in Markdown; an overhead below the noise is 0."""
    head = "| executor | workers | start, s | overhead a run, ms | sweep, s | efficiency |"
    lines = [head, "|---|---|---|---|---|---|"]
    for arm, found in record["executors"].items():
        of = found["median"]
        cells = f"{of['start']:.2f} | {max(0.0, 1e3 * of['overhead']):.2f} | {of['sweep']:.1f} | {of['efficiency']:.2f}"
        lines.append(f"| {arm} | {found['workers']} | {cells} |")
    asked, place = record["asked"], record["environment"]
    lines += [
        "",
        f"Medians of {asked['rounds']} rounds on {place['cpu']}, {place['cores']} cores, torch {place['torch']}: "
        f"a sweep is {asked['runs']} training runs of {asked['steps']} steps, {asked['run_seconds']:.1f} s each.",
    ]
    return "\n".join(lines)


def into(page: Path, text: str) -> None:
    """Put the table between a page's marks."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    """Measure, print the table, and say whether two workers gain enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=500, help="empty ones")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--docs", type=Path, help="the page whose table is brought up to date")
    options = parser.parse_args()
    torch.set_num_threads(1)
    place = environment()
    os.environ["REGRAD_SLURM_CLUSTER"] = "local"
    arms = [arm for arm, (executor, _) in ARMS.items() if find_spec(PACKAGES[executor])]
    rounds: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    shuffle = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="regrad-executors-") as folder:
        os.environ["REGRAD_SLURM_FOLDER"] = f"{folder}/slurm"
        os.environ[VARIABLE] = "local"
        sweep(1, 1, 1, Path(folder))  # reads the data and loads everything once
        for _ in range(options.rounds):
            for arm in shuffle.sample(arms, len(arms)):
                rounds[arm].append(measured(arm, options, Path(folder)))
    asked = {name: getattr(options, name) for name in ("rounds", "tasks", "runs", "steps")}
    asked["run_seconds"] = statistics.median(one["sweep"] for one in rounds["inline"]) / options.runs
    record = {"environment": place, "asked": asked, "executors": summary(rounds)}
    gain = record["executors"]["local"]["median"]["efficiency"]
    record["limits"] = {f"efficiency of two local workers >= {WANTED}": gain >= WANTED}
    print(table(record))
    print(json.dumps(record["limits"]))
    if options.out:
        write(options.out, json.dumps(record, indent=1) + "\n")
    if options.docs:
        into(options.docs, table(record))


if __name__ == "__main__":
    main()
