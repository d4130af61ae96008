"""Tables of the study of ALSDGC: records in, data frames out."""

from collections.abc import Iterable
from statistics import fmean

import pandas as pd

from regrad.report.outcomes import Outcomes
from regrad.report.tables import interval_text, significant, typical
from regrad.results import Record
from regrad.statistics.intervals import Interval
from regrad.statistics.tuning import Choice
from regrad.studies.alsdgc.arms import ARMS
from regrad.studies.alsdgc.quantities import best_fixed, runs, target, tasks, time_to
from regrad.studies.alsdgc.sizes import TITLES

CORE = ("none", "clip-1", "best-clip", "V0", "V4", "autoclip-10")
CONTROLS = (
    ("adam", "none", "Adam, untuned"),
    ("fp16", "grad_scaler", "float16"),
    ("fp16-resnet", "grad_scaler", "float16, ResNet"),
    ("fp16-rnn", "grad_scaler", "float16, RNN"),
)


def gap(outcomes: Outcomes, arm: str, part: str, *, than: str) -> Interval | None:
    """Return the paired interval of an arm's test loss less another's; None for itself or without a shared seed."""
    return None if arm == than else runs(outcomes, part, arm).gap(runs(outcomes, part, than))


def outcome_cells(outcomes: Outcomes, part: str, arm: str, *, than: str, called: str) -> dict[str, str]:
    return {
        "test loss [95 %]": interval_text(runs(outcomes, part, arm).mean(), "diverged"),
        f"minus {called} [95 %]": interval_text(gap(outcomes, arm, part, than=than)),
    }


def diverged_cell(results: Outcomes) -> str:
    return f"{results.diverged}/{len(results)}"


def results_table(records: Iterable[Record], part: str = "plain") -> pd.DataFrame:
    outcomes = Outcomes(records)
    choices = outcomes.part(part).choices()
    reference, level = best_fixed(outcomes, part), target(outcomes, part)
    lines = []
    for arm in outcomes.part(part).arms:
        results = runs(outcomes, part, arm)
        steps = [time_to(run, level) for run in results if not run.diverged]
        lines.append(
            {"arm": ARMS[arm].label + (" (best norm)" if arm == reference else ""), "LR": rate(choices[arm])}
            | outcome_cells(outcomes, part, arm, than=reference, called="best norm")
            | {"steps": typical(steps), "div.": diverged_cell(results)}
        )
    return pd.DataFrame(lines)


def tasks_table(records: Iterable[Record]) -> pd.DataFrame:
    """Return test losses by task, a column an arm; BLEU after the slash where there is one."""
    outcomes = Outcomes(records)
    lines = []
    for task in tasks(outcomes):
        best = best_fixed(outcomes, task)
        line = {"task": TITLES[task], "best norm": f"{ARMS[best].max_norm:g}"}
        for name in CORE:
            heading = "loss, best norm" if name == "best-clip" else ARMS[name].label
            line[heading] = loss_and_bleu(runs(outcomes, task, best if name == "best-clip" else name))
        lines.append(line)
    return pd.DataFrame(lines)


def loss_and_bleu(results: Outcomes) -> str:
    ends, bleu = results.ends(), results.ends("test_bleu")
    text = f"{fmean(ends.values()):.3f}" if ends else "diverged"
    return text + (f" / {fmean(bleu.values()):.1f}" if bleu else "")


def control_table(records: Iterable[Record]) -> pd.DataFrame:
    outcomes = Outcomes(records)
    return pd.DataFrame(
        {"setting": title, "arm": ARMS[arm].label}
        | outcome_cells(outcomes, part, arm, than=reference, called="reference")
        | {"div.": diverged_cell(runs(outcomes, part, arm))}
        for part, reference, title in CONTROLS
        for arm in outcomes.part(part).arms
    )


def rate(choice: Choice) -> str:
    return "diverged" if choice.best is None else significant(choice.best, 2)


def tuning_table(records: Iterable[Record]) -> pd.DataFrame:
    """Return the learning rate chosen for each arm on each task, its trials, and * if on the edge of the grid."""
    outcomes = Outcomes(records)
    choices = {task: outcomes.part(task).choices() for task in tasks(outcomes)}

    def cell(choice: Choice | None) -> str:
        return f"{rate(choice)}{'*' if choice.edge else ''} ({choice.trials})" if choice else ""

    return pd.DataFrame(
        {"arm": ARMS[arm].label} | {TITLES[task]: cell(of_task.get(arm)) for task, of_task in choices.items()}
        for arm in outcomes.tuning.arms
    )
