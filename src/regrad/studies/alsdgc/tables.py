"""Tables of the study of ALSDGC: records in, data frames out."""

from collections.abc import Iterable
from statistics import fmean

import pandas as pd

from regrad.claims.tasks import Task
from regrad.report.gates import gate_text
from regrad.report.outcomes import Outcomes
from regrad.report.tables import GATE_WORDS, diverged_text, end_text, interval_text, significant, typical, why_no_end
from regrad.results import Record
from regrad.statistics.intervals import Interval
from regrad.statistics.tuning import Choice
from regrad.studies.alsdgc.arms import ARMS
from regrad.studies.alsdgc.quantities import acted, best_fixed, runs, target, tasks, time_to
from regrad.studies.alsdgc.scale import by_budget
from regrad.studies.alsdgc.sizes import TITLES

CORE = ("none", "clip-1", "best-clip", "V0", "V4", "autoclip-10")
GATE = f"norm 1 ({GATE_WORDS})"
CONTROLS = (
    ("adam", "none", "Adam, untuned"),
    ("adam-lstm", "none", "Adam's rate, LSTM"),
    ("adam-translation", "none", "Adam's rate, translation"),
    ("fp16", "grad_scaler", "float16"),
    ("fp16-resnet", "grad_scaler", "float16, ResNet"),
    ("fp16-rnn", "grad_scaler", "float16, RNN"),
)


def gap(outcomes: Outcomes, arm: str, part: str, *, than: str) -> Interval | None:
    """Return the paired interval of an arm's test loss less another's; None for itself or without a shared seed."""
    return None if arm == than else runs(outcomes, part, arm).gap(runs(outcomes, part, than))


def outcome_cells(outcomes: Outcomes, part: str, arm: str, *, than: str, called: str) -> dict[str, str]:
    return {
        "test loss [95 %]": end_text(outcomes.part(part).arm(arm)),
        f"minus {called} [95 %]": interval_text(gap(outcomes, arm, part, than=than)),
    }


def results_table(records: Iterable[Record], part: str = "plain") -> pd.DataFrame:
    outcomes = Outcomes(records)
    choices = outcomes.part(part).choices()
    reference, level = best_fixed(outcomes, part), target(outcomes, part)
    lines = []
    for arm in present(outcomes, part):
        results = runs(outcomes, part, arm)
        steps = [time_to(run, level) for run in results if not run.diverged]
        lines.append(
            {"arm": ARMS[arm].label + (" (best norm)" if arm == reference else ""), "LR": rate(choices[arm])}
            | outcome_cells(outcomes, part, arm, than=reference, called="best norm")
            | longer_cell(outcomes, part, arm, reference)
            | {"steps": typical(steps), "acted at": acted_cell(results), "div.": diverged_text(results)}
        )
    return pd.DataFrame(lines)


def present(outcomes: Outcomes, part: str) -> list[str]:
    """Return the arms that have results, and those that tuning left without; a norm that was not chosen has neither."""
    own = outcomes.part(part)
    lost = set(own.untrainable)
    return [arm for arm in own.arms if arm in lost or runs(outcomes, part, arm)] or own.arms


def acted_cell(results: Outcomes) -> str:
    """Return at which share of its steps a rung clipped: one that never does is no clipping, bit for bit."""
    shares = acted(results)
    return f"{100 * fmean(shares):.1f} %" if shares else ""


def longer_cell(outcomes: Outcomes, part: str, arm: str, reference: str) -> dict[str, str]:
    """Return the paired difference with the longest training, where a preset trains longer."""
    mine, theirs = by_budget(outcomes, part, arm), by_budget(outcomes, part, reference)
    longest = max(by_budget(outcomes, part, "V0"))
    if longest <= 1:
        return {}
    found = mine[longest].gap(theirs[longest]) if longest in mine and longest in theirs and arm != reference else None
    return {f"same, {longest:g} x steps [95 %]": interval_text(found)}


def tasks_table(records: Iterable[Record], gates: Iterable[Task] = ()) -> pd.DataFrame:
    """Return test losses by task, a column an arm; BLEU after the slash where there is one.

    The last column holds what norm 1 reaches against the ledger's floor, bar and competent value, where it has them.
    """
    by_task = {gate.metric.partition("/")[2]: gate for gate in gates}
    outcomes = Outcomes(records)
    lines = []
    for task in tasks(outcomes):
        best = best_fixed(outcomes, task)
        line = {"task": TITLES[task], "best norm": f"{ARMS[best].max_norm:g}"}
        for name in CORE:
            heading = "at that norm" if name == "best-clip" else ARMS[name].label
            line[heading] = loss_and_bleu(outcomes, task, best if name == "best-clip" else name)
        lines.append(line | {GATE: gate_cell(outcomes, task, by_task.get(task))})
    frame = pd.DataFrame(lines)
    # An arm that a preset does not run has no column, and a ledger without gates none for them.
    return frame[[name for name in frame if any(frame[name])]]


def gate_cell(outcomes: Outcomes, task: str, gate: Task | None) -> str:
    if gate is None:
        return ""
    own = outcomes.part(task).arm("clip-1")
    ends = own.results.ends(gate.metric.partition("/")[0])
    reached = f"{fmean(ends.values()):.1f}" if ends else why_no_end(own)
    return f"{reached} ({gate_text(gate, 1)})"


def loss_and_bleu(outcomes: Outcomes, task: str, arm: str) -> str:
    results = runs(outcomes, task, arm)
    if not results and arm not in outcomes.part(task).untrainable:
        return ""
    ends, bleu = results.ends(), results.ends("test_bleu")
    text = f"{fmean(ends.values()):.3f}" if ends else "diverged"
    return text + (f" / {fmean(bleu.values()):.1f}" if bleu else "")


def control_table(records: Iterable[Record]) -> pd.DataFrame:
    outcomes = Outcomes(records)
    return pd.DataFrame(
        {"setting": title, "arm": ARMS[arm].label}
        | outcome_cells(outcomes, part, arm, than=reference, called="reference")
        | {"div.": diverged_text(runs(outcomes, part, arm))}
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
