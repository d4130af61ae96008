"""ALSDGC over all of its tasks at once: differences with every task weighed alike, and a performance profile."""

from collections.abc import Sequence

from regrad.report.tables import with_interval
from regrad.results import Record
from regrad.statistics.bootstrap import stratified_interval
from regrad.statistics.curves import performance_profile
from regrad.studies.alsdgc.rows import best_fixed, end_losses, fresh, steps_to, target, tasks

PROFILED = ("none", "clip-1", "V0", "V4")
FACTOR = 2.0
TOO_FEW = "no number, for want of seeds,"


def task_differences(records: Sequence[Record], arm: str, than: str) -> dict[str, list[float]]:
    """Return an arm's test loss less another's by task, one difference a shared seed; tasks with fewer than 2 left out.

    Args:
        records: Records of the study.
        arm: The arm.
        than: The other arm; ``"best-clip"`` is each task's best fixed norm.
    """
    found = {}
    for task in tasks(records):
        mine = end_losses(records, arm, task)
        other = end_losses(records, best_fixed(records, task) if than == "best-clip" else than, task)
        differences = [mine[seed] - other[seed] for seed in sorted(set(mine) & set(other))]
        if len(differences) > 1:
            found[task] = differences
    return found


def times(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return each arm's steps to the target loss by task and seed; inf for a miss or a run without a number."""
    found: dict[str, dict[str, float]] = {arm: {} for arm in PROFILED}
    for task in tasks(records):
        loss = target(records, task)
        runs = {arm: {r.spec.seed: r for r in fresh(records, arm, task)} for arm in PROFILED}
        for seed in sorted(set.intersection(*(set(of_arm) for of_arm in runs.values()))):
            for arm, of_arm in runs.items():
                found[arm][f"{task}/{seed}"] = steps_to(of_arm[seed], loss)
    return found


def numbers(records: Sequence[Record]) -> dict[str, str]:
    """Return what the prose cites over all tasks, by key."""
    found = {"alsdgc/across/tasks": str(len(tasks(records))), "alsdgc/across/factor": f"{FACTOR:g}"}
    for than in ("best-clip", "none"):
        differences = task_differences(records, "V4", than)
        interval = stratified_interval(differences) if differences else None
        text = with_interval(interval.estimate, interval.low, interval.high) if interval else TOO_FEW
        found[f"alsdgc/across/V4-{than}"] = text
    paired = times(records)
    shares = performance_profile(paired, [FACTOR]) if paired[PROFILED[0]] else {}
    for arm in PROFILED:
        found[f"alsdgc/profile/{arm}"] = f"{100 * shares[arm][0]:.0f}\\,\\%" if shares else "none"
    return found
