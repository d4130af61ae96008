"""Tables and numbers of the study of Adam's preconditioner: records in, data frame or texts out."""

import math
from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from regrad.report.style import method
from regrad.report.tables import significant, with_interval
from regrad.results import Record
from regrad.statistics.intervals import Interval, paired_interval
from regrad.studies.micro_adam.rows import (
    arms,
    choices,
    diverged,
    end_losses,
    fresh,
    largest_stable,
    stability,
    steps_to,
    target,
)
from regrad.studies.micro_adam.scaling import scaling, shares
from regrad.studies.micro_adam.split import RULES, spread_interval

HEADINGS = {"lr~B^0": "LR fixed", "lr~B^0.5": "LR ~ root of B", "lr~B^1": "LR ~ B"}


def interval_text(interval: Interval | None, absent: str = "", digits: int = 3) -> str:
    """Return an estimate with its interval, or what is printed where there is none."""
    return with_interval(interval.estimate, interval.low, interval.high, digits) if interval else absent


def gap(records: Sequence[Record], arm: str, part: str = "language", *, than: str = "adam") -> Interval | None:
    """Return the paired interval of an arm's test loss less another's, None without a shared seed."""
    mine, reference = end_losses(records, arm, part), end_losses(records, than, part)
    shared = sorted(set(mine) & set(reference))
    return paired_interval([mine[s] - reference[s] for s in shared]) if shared and arm != than else None


def mean_loss(records: Sequence[Record], arm: str, part: str = "language") -> Interval | None:
    """Return the interval of an arm's test loss over fresh seeds, None if all diverged."""
    values = list(end_losses(records, arm, part).values())
    return paired_interval(values) if values else None


def count(runs: Sequence[Record]) -> str:
    """Return how many of how many runs diverged; nothing where there are none."""
    return f"{sum(map(diverged, runs))}/{len(runs)}" if runs else ""


def typical(values: Sequence[float]) -> str:
    """Return the geometric mean in words; a miss (inf) is counted beside it, never averaged."""
    finite = [value for value in values if math.isfinite(value)]
    missed = len(values) - len(finite)
    text = significant(math.exp(fmean(map(math.log, finite))), 3) if finite else ""
    return text + (f" ({missed} missed)" if missed else "")


def results_table(records: Sequence[Record], part: str = "language") -> pd.DataFrame:
    """Return each arm's outcome: learning rate, test loss, difference to Adam, speed and stability."""
    best, loss = choices(records, part), target(records)
    lines = []
    for arm in arms(records, part):
        line = {
            "arm": method(arm)["label"],
            "LR": significant(best[arm].best or math.nan, 2),
            "test loss [95 %]": interval_text(mean_loss(records, arm, part), "diverged"),
            "minus Adam [95 %]": interval_text(gap(records, arm, part)),
            "div.": count(fresh(records, arm, part)),
        }
        if part == "language":
            by_seed = stability(records, arm)
            line["steps"] = typical([steps_to(run, loss) for run in fresh(records, arm)])
            line["div. above"] = count([run for runs in by_seed.values() for run in runs])
            line["stable LR"] = typical([largest_stable(runs) for runs in by_seed.values()])
        lines.append(line)
    return pd.DataFrame(lines)


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return the tuning of each arm on both tasks: grid, trials, choice, edge, diverged runs."""
    return pd.DataFrame(
        {
            "task": part,
            "arm": method(arm)["label"],
            "lowest LR": significant(min(choice.means), 2),
            "highest LR": significant(max(choice.means), 2),
            "decades": f"{choice.decades:.2f}",
            "trials": choice.trials,
            "best LR": significant(choice.best or math.nan, 2),
            "on edge": choice.edge or "no",
            "div.": sum(choice.diverged.values()),
        }
        for part in ("language", "images")
        for arm, choice in ((arm, choices(records, part)[arm]) for arm in arms(records, part))
    )


def scaling_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return, a line a batch size, the mean squared's share and the final loss under each rule; last, spreads."""
    of_size = shares(records)
    sizes = list(scaling(records, RULES[0]))
    lines = []
    for size in sizes:
        line = {"B": str(size), "share of μ²": significant(of_size[size], 2) if size in of_size else ""}
        for rule in RULES:
            ends = [r.metrics["test_loss"] for r in scaling(records, rule)[size] if not diverged(r)]
            line[HEADINGS[rule]] = f"{fmean(ends):.3f}" if ends else "diverged"
        lines.append(line)
    spread = {"B": "spread", "share of μ²": ""}
    found = {rule: spread_interval(records, rule) for rule in RULES}
    spread |= {HEADINGS[rule]: f"{i.estimate:.3f}" if i else "infinite" for rule, i in found.items()}
    return pd.DataFrame([*lines, spread])
