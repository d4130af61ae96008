"""Tables of the study of ALSDGC: records in, data frames out."""

import math
from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from regrad.report.style import method
from regrad.report.tables import significant, with_interval
from regrad.results import Record
from regrad.statistics.intervals import Interval, paired_interval
from regrad.studies.alsdgc.figures import NAMES
from regrad.studies.alsdgc.rows import (
    arms,
    best_fixed,
    choices,
    diverged,
    end_losses,
    fresh,
    rank,
    steps_to,
    target,
    tasks,
)

CORE = ("none", "clip-1", "best-clip", "V0", "V4", "autoclip-10")


def text_of(interval: Interval | None, absent: str = "", digits: int = 3) -> str:
    """Return an estimate with its interval, or what is printed where there is none."""
    return with_interval(interval.estimate, interval.low, interval.high, digits) if interval else absent


def gap(records: Sequence[Record], arm: str, part: str, *, than: str) -> Interval | None:
    """Return the paired interval of an arm's test loss less another's, None without a shared seed."""
    mine, reference = end_losses(records, arm, part), end_losses(records, than, part)
    shared = sorted(set(mine) & set(reference))
    return paired_interval([mine[s] - reference[s] for s in shared]) if shared and arm != than else None


def mean_loss(records: Sequence[Record], arm: str, part: str) -> Interval | None:
    """Return the interval of an arm's test loss over fresh seeds, None if all diverged."""
    values = list(end_losses(records, arm, part).values())
    return paired_interval(values) if values else None


def typical(values: Sequence[float]) -> str:
    """Return the geometric mean in words; a miss (inf) is counted beside it, never averaged."""
    finite = [value for value in values if math.isfinite(value)]
    missed = len(values) - len(finite)
    text = significant(math.exp(fmean(map(math.log, finite))), 3) if finite else ""
    return text + (f" ({missed} missed)" if missed else "")


def results_table(records: Sequence[Record], part: str = "plain") -> pd.DataFrame:
    """Return each arm's outcome on a task: learning rate, test loss, difference to the best norm, speed."""
    best, reference, level = choices(records, part), best_fixed(records, part), target(records, part)
    return pd.DataFrame(
        {
            "arm": method(arm)["label"] + (" (best norm)" if arm == reference else ""),
            "LR": significant(best[arm].best or math.nan, 2),
            "test loss [95 %]": text_of(mean_loss(records, arm, part), "diverged"),
            "minus best norm [95 %]": text_of(gap(records, arm, part, than=reference)),
            "steps": typical([steps_to(run, level) for run in fresh(records, arm, part) if not diverged(run)]),
            "div.": f"{sum(map(diverged, fresh(records, arm, part)))}/{len(fresh(records, arm, part))}",
        }
        for arm in arms(records, part)
    )


def tasks_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return test losses by task, a column an arm; BLEU after the slash where there is one."""
    lines = []
    for task in tasks(records):
        line = {"task": NAMES[task], "best norm": best_fixed(records, task).removeprefix("clip-")}
        for name in CORE:
            arm = best_fixed(records, task) if name == "best-clip" else name
            ends = list(end_losses(records, arm, task).values())
            bleu = [r.metrics["test_bleu"] for r in fresh(records, arm, task) if "test_bleu" in r.metrics]
            text = f"{fmean(ends):.3f}" if ends else "diverged"
            line["loss, best norm" if name == "best-clip" else method(name)["label"]] = text + (
                f" / {fmean(bleu):.1f}" if bleu else ""
            )
        lines.append(line)
    return pd.DataFrame(lines)


CONTROLS = (
    ("adam", "none", "Adam, untuned"),
    ("fp16", "grad_scaler", "float16"),
    ("fp16-resnet", "grad_scaler", "float16, ResNet"),
    ("fp16-rnn", "grad_scaler", "float16, RNN"),
)


def control_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return test losses on Adam at one untuned rate, and in float16, each less that of its own reference."""
    lines = []
    for part, reference, title in CONTROLS:
        for arm in arms(records, part):
            lines.append(
                {
                    "setting": title,
                    "arm": "learning rate x 2" if arm == "lr-x2" else method(arm)["label"],
                    "test loss [95 %]": text_of(mean_loss(records, arm, part), "diverged"),
                    "minus reference [95 %]": text_of(gap(records, arm, part, than=reference)),
                    "div.": f"{sum(map(diverged, fresh(records, arm, part)))}/{len(fresh(records, arm, part))}",
                }
            )
    return pd.DataFrame(lines)


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return the learning rate chosen for each arm on each task, its trials, and * if on the edge of the grid."""
    everywhere = tasks(records)
    found = {task: choices(records, task) for task in everywhere}
    names = sorted({arm for task in everywhere for arm in arms(records, task)}, key=rank)

    def cell(task: str, arm: str) -> str:
        choice = found[task].get(arm)
        if choice is None:
            return ""
        return f"{significant(choice.best or math.nan, 2)}{'*' if choice.edge else ''} ({choice.trials})"

    return pd.DataFrame(
        {"arm": method(arm)["label"]} | {NAMES[task]: cell(task, arm) for task in everywhere} for arm in names
    )
