"""What this study reads from its records beside final losses: tasks, speed, matched losses, widths, recovery."""

import math
from collections.abc import Mapping

import numpy as np

from regrad.report.outcomes import Outcomes, steps_to
from regrad.results import Curve, Record
from regrad.statistics.curves import lr_width, steps_to_target
from regrad.studies.alsdgc.arms import ARMS
from regrad.studies.alsdgc.plan import best_norm

COMPARED = ("none", "clip-1", "V4")
TARGET_SLACK = 0.05  # nats above what the slowest of COMPARED ends at in tuning, so that all can get there
TOLERANCE = 0.05  # of the arm's best loss: inside it a learning rate counts as good
RECOVERED = 0.02  # nats above the loss before a bad batch
ARCHITECTURES = ("plain", "resnet", "translation")  # tasks over which an arm's excess is averaged


def tasks(outcomes: Outcomes) -> list[str]:
    """Return the tasks that ran: the parts in which learning rates are tuned."""
    return outcomes.tuning.values("part")


def runs(outcomes: Outcomes, part: str, arm: str) -> Outcomes:
    return outcomes.part(part).arm(arm).results


def best_fixed(outcomes: Outcomes, task: str) -> str:
    """Return the fixed norm that tuned best on a task; the default where none ended in a number."""
    return best_norm(outcomes, task) or "clip-1"


def runs_by_seed(outcomes: Outcomes, task: str, arm: str) -> dict[int, Record | None]:
    """Return an arm's runs of a task by fresh seed.

    An arm that diverged at every learning rate of its tuning has no such runs, and has failed at the seeds of the
    others: None. Were it left out, the worst would not count.
    """
    own = outcomes.part(task)
    if arm in own.untrainable:
        return dict.fromkeys(sorted({run.spec.seed for run in own.results}))
    return dict(own.arm(arm).results.by_seed)


def target(outcomes: Outcomes, task: str) -> float:
    """Return the validation loss to reach on a task, fixed by tuning runs; inf where none ended in a number."""
    return outcomes.part(task).target(COMPARED, TARGET_SLACK)


def time_to(run: Record | None, loss: float) -> float:
    """Return after how many steps, at least 1, a run's validation loss falls to ``loss``; else inf."""
    # At least 1: ratios of times are taken, and a run may start below the target.
    return math.inf if run is None else max(1.0, steps_to(run, loss))


def value_at(curve: Curve, place: float) -> float:
    """Return a curve's value at ``place``, linear between its points; inf beyond them."""
    return float(np.interp(place, curve.x, curve.y, left=math.inf, right=math.inf))


def matched(by_arm: Mapping[str, Record]) -> dict[str, float]:
    """Return each arm's test loss where its training loss first falls to one level, for runs of one seed.

    The level is the highest final training loss among the runs that did not diverge.
    """
    ended = {arm: run.curves for arm, run in by_arm.items() if not run.diverged and "train_loss" in run.curves}
    level = max((min(curves["train_loss"].y) for curves in ended.values()), default=math.inf)
    places = {arm: steps_to_target(c["train_loss"].x, c["train_loss"].y, level) for arm, c in ended.items()}
    return {arm: value_at(test_curve(ended[arm]), place) for arm, place in places.items()}


def test_curve(curves: Mapping[str, Curve]) -> Curve:
    """Return the test loss along a run: on a sample of the split where its end alone is taken on the whole."""
    return curves["sampled_test_loss"] if "sampled_test_loss" in curves else curves["test_loss"]


def multiple(record: Record) -> float:
    """Return a run's learning rate over its arm's optimum; 1 for a fresh-seed run."""
    return float(record.spec.tags.get("multiple", "1"))


def rates_by_seed(outcomes: Outcomes, arm: str) -> dict[int, list[Record]]:
    """Return an arm's runs over learning rates on the plain network, the fresh-seed runs among them, by seed."""
    over_rates = outcomes.part("width", "plain").arm(arm).results.grouped(lambda run: run.spec.seed)
    return {seed: sorted(of_seed, key=multiple) for seed, of_seed in over_rates.items() if len(of_seed) > 1}


def width(runs_of_seed: list[Record]) -> float:
    """Return the decades around one arm's and seed's best loss within 5 % of it, at most the grid's."""
    losses = [math.inf if r.diverged else r.curves["validation_loss"].y[-1] for r in runs_of_seed]
    # Of this arm and seed: a width is about how sharp an arm's own valley is, not how deep.
    best = min(losses)
    return lr_width([*map(multiple, runs_of_seed)], losses, TOLERANCE * best).decades if best < math.inf else 0.0


def widths(outcomes: Outcomes, arm: str) -> dict[int, float]:
    return {seed: width(of_seed) for seed, of_seed in rates_by_seed(outcomes, arm).items()}


def recovery(record: Record) -> float:
    """Return the mean steps, over bad batches, until the validation loss is back within 0.02 nats of before.

    Infinitely many for a run that does not come back from one of them.
    """
    curve = record.curves["validation_loss"]
    by_step = dict(zip(curve.x, curve.y, strict=True))
    waits = []
    for spike in spike_steps(record):
        before = by_step.get(spike, -math.inf)
        back = [x for x, y in by_step.items() if x > spike and y <= before + RECOVERED]
        waits.append(min(back, default=math.inf) - spike)
    return sum(waits) / len(waits)


def spike_steps(record: Record) -> list[float]:
    steps = record.spec.problem.options["spike_steps"]
    return [float(step) for step in steps if isinstance(step, int | float)] if isinstance(steps, list) else []


def clipping(arm: str) -> bool:
    """Whether an arm clips at a fixed norm, and has no other constant."""
    return ARMS[arm].max_norm is not None


def settings_range(outcomes: Outcomes, arm: str) -> dict[int, float]:
    """Return an arm's largest less its smallest test loss over its constants, by seed; inf if a run diverged.

    The run at the arm's own constants is one of them, and a seed without it has no range.
    """
    own = runs(outcomes, "plain", arm).by_seed
    moved = runs(outcomes, "sensitivity", arm).grouped(lambda run: run.spec.seed)
    found = {}
    for seed, others in moved.items():
        if seed in own:
            over = [own[seed], *others]
            losses = [math.inf if run.diverged else run.metrics["test_loss"] for run in over]
            found[seed] = max(losses) - min(losses) if math.inf not in losses else math.inf
    return found


def acted(results: Outcomes) -> list[float]:
    """Return the share of steps that each run of a rung clipped; empty for arms that do not record it."""
    return [run.metrics["scaler/clipped"] for run in results if "scaler/clipped" in run.metrics]
