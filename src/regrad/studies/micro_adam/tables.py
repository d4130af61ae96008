"""Tables of the study of Adam's preconditioner: records in, data frames out."""

import math
from collections.abc import Sequence

import pandas as pd

from regrad.report.outcomes import Outcomes
from regrad.report.tables import interval_text, significant, typical
from regrad.report.tuning import tuning_row
from regrad.results import Record
from regrad.studies.micro_adam.arms import ADAM, ARMS, ROOT, RULES, TUNED
from regrad.studies.micro_adam.claims import stable_limits, target
from regrad.studies.micro_adam.scaling import by_batch_size, shares, spread_interval


def diverged_text(runs: Outcomes) -> str:
    return f"{runs.diverged}/{len(runs)}" if len(runs) else ""


def results_table(records: Sequence[Record], part: str = "language") -> pd.DataFrame:
    outcomes, lines = Outcomes(records), []
    task, loss = outcomes.part(part), target(outcomes)
    choices, adam = task.choices(), task.fresh.arm(ADAM.name)
    for arm in task.arms:
        fresh = task.fresh.arm(arm)
        line = {
            "arm": ARMS[arm].label,
            "LR": significant(choices[arm].best or math.nan, 2),
            "test loss [95 %]": interval_text(fresh.mean(), "diverged"),
            "minus Adam [95 %]": interval_text(fresh.gap(adam) if arm != ADAM.name else None),
            "div.": diverged_text(fresh),
        }
        if part == "language":
            line["steps"] = typical(list(fresh.steps_to(loss).values()))
            line["div. above"] = diverged_text(outcomes.part("stability").arm(arm))
            line["stable LR"] = typical(list(stable_limits(outcomes, arm).values()))
        lines.append(line)
    return pd.DataFrame(lines)


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    return pd.DataFrame(
        {"task": part, "arm": ARMS[arm].label} | tuning_row(choice, decades=True)
        for part in TUNED
        for arm, choice in Outcomes(records).part(part).choices().items()
    )


def scaling_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return, a line a batch size, the mean squared's share and the final loss under each rule; last, spreads."""
    outcomes = Outcomes(records)
    of_size = shares(outcomes)
    sizes = list(by_batch_size(outcomes, ROOT))
    led = [significant(of_size[size], 2) if size in of_size else "" for size in sizes]
    columns = {"B": [*map(str, sizes), "spread"], "share of μ²": [*led, ""]}
    for rule in RULES.values():
        means = [runs.mean() for runs in by_batch_size(outcomes, rule).values()]
        losses = [f"{mean.estimate:.3f}" if mean else "diverged" for mean in means]
        spread = spread_interval(outcomes, rule)
        columns[rule.heading] = [*losses, f"{spread.estimate:.3f}" if spread else "infinite"]
    return pd.DataFrame(columns)
