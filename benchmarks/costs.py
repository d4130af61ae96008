"""What the runs of a published set take on a machine that does nothing else, beside what was recorded of them.

    export OMP_NUM_THREADS=1
    python benchmarks/costs.py --sample 14 --jobs 2 --out results/reference/benchmarks/costs-cpu.json

Times are recorded while runs are made, and a machine that makes them for hours does other work too. This draws runs of
preset medium, each with a chance in proportion to what runs of its kind took, so that the mean ratio of both times is
that of the whole set; runs them again in an empty store, as many at a time as asked; and prints JSON: of each run what
was recorded and what it takes, in seconds, then the mean ratio and its standard error. Five minutes on two cores.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from statistics import fmean, stdev

from regrad.pipeline.folders import checkout
from regrad.pipeline.order import Order
from regrad.pipeline.sweep import Sweep, known, restore, times_of
from regrad.pipeline.targets import select
from regrad.report.benchmarks import write
from regrad.runner.ensure import Task, carry_out
from regrad.store import Store

PRESET, SEED = "medium", 7


def main() -> None:
    """Run, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sample", type=int, default=14)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    folders = checkout(Path.cwd())
    restore(folders, f"{PRESET}-cpu")
    sweep = Sweep(folders, Order(select(None, folders.notebooks)[0], [], PRESET, "cpu", options.jobs, False, None))
    kept, times = Store(sweep.bench.store), times_of(folders)
    runs = [r for plan in sweep.plans.values() for r in known(plan, PRESET, sweep.bench)[0] if r.run_id in kept]
    weights, drawn = [times.expected(run.spec) for run in runs], random.Random(SEED)
    sample = {}
    while len(sample) < options.sample:
        [run] = drawn.choices(runs, weights)
        sample[run.run_id] = run
    with tempfile.TemporaryDirectory() as folder:
        bench = sweep.bench._replace(store=Path(folder), jobs=options.jobs)
        tasks = [Task(run.spec, run.fingerprint, bench, times.expected(run.spec)) for run in sample.values()]
        carry_out(tasks, bench, title="again")
        stores = {"recorded": kept, "alone": Store(bench.store)}
        found = {name: {key: s.circumstances(name).seconds for key, s in stores.items()} for name in sample}
    ratios = [one["alone"] / one["recorded"] for one in found.values()]
    result = {"runs": found, "ratio": fmean(ratios), "error": stdev(ratios) / len(ratios) ** 0.5}
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        write(options.out, text + "\n")


if __name__ == "__main__":
    main()
