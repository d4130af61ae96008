"""Tables of the study of Adam's preconditioner: records in, data frames out."""

import math
from collections.abc import Sequence

import pandas as pd

from regrad.claims.tasks import Task
from regrad.report.budgets import budgets, longer_cells
from regrad.report.gates import gate_text
from regrad.report.outcomes import Outcomes
from regrad.report.tables import GATE_WORDS, NOT_RUN, diverged_text, end_text, interval_text, significant, typical
from regrad.report.tuning import rate, tuning_row
from regrad.results import Record
from regrad.statistics.intervals import Interval
from regrad.studies.micro_adam.arms import ADAM, ARMS, ROOT, RULES, TUNED
from regrad.studies.micro_adam.claims import multiple, stable_limits, target
from regrad.studies.micro_adam.scaling import by_batch_size, regret_interval, shares, spread_interval, tuned_elsewhere


def results_table(records: Sequence[Record], part: str = "language", tasks: Sequence[Task] = ()) -> pd.DataFrame:
    outcomes, lines = Outcomes(records), []
    task, loss = outcomes.part(part), target(outcomes)
    choices, adam = task.choices(), task.fresh.arm(ADAM.name)
    for arm in task.arms:
        fresh = task.fresh.arm(arm)
        line = {
            "arm": ARMS[arm].label,
            "LR": rate(choices[arm].best),
            "test loss [95 %]": end_text(task.arm(arm)),
            "minus Adam [95 %]": interval_text(fresh.gap(adam) if arm != ADAM.name else None),
            "div.": diverged_text(fresh),
        }
        if part == "language":
            line |= longer_cells(budgets(outcomes, part), arm, ADAM.name)
            line["steps"] = typical(list(fresh.steps_to(loss).values()))
            line["div. above"] = diverged_text(outcomes.part("stability").arm(arm))
            line["stable LR"] = stable_text(outcomes, arm)
        lines.append(line)
    lines += [{"arm": GATE_WORDS, "test loss [95 %]": gate_text(task, 2)} for task in tasks]
    return pd.DataFrame(lines or [{"arm": "not run at this preset"}]).fillna("")


def stable_text(outcomes: Outcomes, arm: str) -> str:
    """Return the largest stable rate over the optimum, as a bound where the search ended before a run diverged."""
    limits = list(stable_limits(outcomes, arm).values())
    end = max(map(multiple, outcomes.part("stability").arm(arm)), default=math.inf)
    return ("≥ " if end in limits else "") + typical(limits)


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    return pd.DataFrame(
        {"task": part, "arm": ARMS[arm].label if arm in ARMS else f"Adam, {arm}"} | tuning_row(choice, decades=True)
        for part in (*TUNED, "batches")
        for arm, choice in Outcomes(records).part(part).choices().items()
    )


def scaling_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return, a line a batch size, the mean squared's share and the final loss under each rule; last, spreads.

    Where Adam was tuned at each batch size its losses there have a column, and the rules' regrets a line.
    """
    outcomes = Outcomes(records)
    of_size, tuned = shares(outcomes), tuned_elsewhere(outcomes)
    sizes = list(by_batch_size(outcomes, ROOT))
    led = [significant(of_size[size], 2) if size in of_size else "" for size in sizes]
    rules = [rule for rule in RULES.values() if by_batch_size(outcomes, rule)]
    if not rules:
        return pd.DataFrame([{"B": NOT_RUN} | {rule.heading: "" for rule in RULES.values()}])
    columns = {"B": [*map(str, sizes), "spread"], "share of μ²": [*led, ""]}
    if tuned:
        tuned |= outcomes.part("language").fresh.arm(ADAM.name).grouped(lambda run: run.spec.batch_size)
        columns["tuned LR"] = [*(loss_text(tuned[size]) if size in tuned else "" for size in sizes), ""]
    for rule in rules:
        losses = [loss_text(runs) for runs in by_batch_size(outcomes, rule).values()]
        columns[rule.heading] = [*losses, mean_text(spread_interval(outcomes, rule))]
    if not tuned:
        return pd.DataFrame(columns)
    regret = {rule.heading: mean_text(regret_interval(outcomes, rule)) for rule in rules}
    return pd.concat([pd.DataFrame(columns), pd.DataFrame([{"B": "regret"} | regret])]).fillna("")


def loss_text(runs: Outcomes) -> str:
    return f"{mean.estimate:.3f}" if (mean := runs.mean()) else "diverged"


def mean_text(interval: Interval | None) -> str:
    return f"{interval.estimate:.3f}" if interval else "infinite"
