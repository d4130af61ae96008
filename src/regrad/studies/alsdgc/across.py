"""ALSDGC over all of its tasks at once: differences with every task weighed alike, and a performance profile."""

from collections.abc import Iterable

from regrad.report.outcomes import Outcomes
from regrad.report.tables import with_interval
from regrad.results import Record
from regrad.statistics.bootstrap import stratified_interval
from regrad.statistics.curves import performance_profile
from regrad.studies.alsdgc.quantities import best_fixed, runs, runs_by_seed, target, tasks, time_to

PROFILED = ("none", "clip-1", "V0", "V4")
FACTOR = 2.0
TOO_FEW = "no number, for want of seeds,"


def task_differences(records: Iterable[Record], arm: str, than: str) -> dict[str, list[float]]:
    """Return an arm's test loss less another's, by task and shared seed; tasks that share fewer than 2 are left out."""
    outcomes = Outcomes(records)
    by_task = {}
    for task in tasks(outcomes):
        other = best_fixed(outcomes, task) if than == "best-clip" else than
        by_task[task] = runs(outcomes, task, arm).differences(runs(outcomes, task, other))
    return {task: differences for task, differences in by_task.items() if len(differences) > 1}


def times(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """Return each arm's steps to the target loss by task and seed; inf for a miss or a run without a number."""
    outcomes = Outcomes(records)
    by_arm: dict[str, dict[str, float]] = {arm: {} for arm in PROFILED}
    for task in tasks(outcomes):
        loss = target(outcomes, task)
        seeds = {arm: runs_by_seed(outcomes, task, arm) for arm in PROFILED}
        # Seeds that all have: a profile compares solvers on the same instances.
        for seed in sorted(set.intersection(*(set(by_seed) for by_seed in seeds.values()))):
            for arm, by_seed in seeds.items():
                by_arm[arm][f"{task}/{seed}"] = time_to(by_seed[seed], loss)
    return by_arm


def numbers(records: Iterable[Record]) -> dict[str, str]:
    outcomes = Outcomes(records)
    texts = {"alsdgc/across/tasks": str(len(tasks(outcomes))), "alsdgc/across/factor": f"{FACTOR:g}"}
    for than in ("best-clip", "none"):
        differences = task_differences(outcomes, "V4", than)
        interval = stratified_interval(differences) if differences else None
        text = with_interval(interval.estimate, interval.low, interval.high) if interval else TOO_FEW
        texts[f"alsdgc/across/V4-{than}"] = text
    paired = times(outcomes)
    shares = performance_profile(paired, [FACTOR]) if paired[PROFILED[0]] else {}
    for arm in PROFILED:
        texts[f"alsdgc/profile/{arm}"] = f"{100 * shares[arm][0]:.0f}\\,\\%" if shares else "none"
    return texts
