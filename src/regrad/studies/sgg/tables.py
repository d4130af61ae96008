"""Tables of the study of SGG: records in, data frames out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from regrad.report.tables import diverged_text, end_text, interval_text, significant, why_no_end
from regrad.report.tuning import tuning_row
from regrad.results import Record
from regrad.studies.sgg.arms import ABLATIONS, FINETUNING, NO_SGG, SMALLEST, STANDINS, VARIANTS, Comparison, SGGArm
from regrad.studies.sgg.outcomes import PRETRAINED, SGGOutcomes


def rate_text(runs: SGGOutcomes) -> str:
    rates = {record.spec.optimizer.lr for record in runs}
    return significant(min(rates), 2) if rates else ""


def scale_text(scale: float | None, digits: int = 3) -> str:
    return "" if scale is None else f"{scale:.{digits}f}"


def loss_text(runs: SGGOutcomes) -> str:
    loss = runs.mean()
    return f"{loss.estimate:.3f}" if loss else why_no_end(runs)


def perplexity_text(runs: SGGOutcomes) -> str:
    loss = runs.mean()
    return f"{math.exp(loss.estimate):.2f}" if loss else ""


def arm_cells(outcomes: SGGOutcomes, comparison: Comparison, arm: SGGArm, *, metric: str, seen: dict[str, str]) -> dict:
    """Return rate and scale, then what was ``seen``, then differences: SGG's also to the base at the matched rate."""
    plain, _, matched = (outcomes.fresh.arm(each.name) for each in comparison.arms)
    runs = outcomes.fresh.arm(arm.name)
    to_base = None if arm is comparison.plain else runs.gap(plain, metric)
    # SGG alone is compared with the matched rate: it is the control for it, and of nothing else.
    to_matched = runs.gap(matched, metric) if arm is comparison.wrapped else None
    return {
        "LR": rate_text(runs),
        "mean S": scale_text(runs.mean_scale()),
        **seen,
        "minus base": interval_text(to_base),
        "minus matched": interval_text(to_matched),
        "div.": diverged_text(runs),
    }


def results_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return an arm of pre-training a line."""
    outcomes, lines = SGGOutcomes(records), []
    for comparison in outcomes.present(PRETRAINED):
        for arm in comparison.arms:
            own = outcomes.arm(arm.name)
            seen = {"test loss [95 %]": end_text(own), "perplexity": perplexity_text(own.fresh)}
            cells = arm_cells(outcomes, comparison, arm, metric="test_loss", seen=seen)
            lines.append({"arm": outcomes.label(comparison, arm)} | cells)
    return pd.DataFrame(lines).rename(columns={"minus base": "minus tuned base", "minus matched": "minus matched LR"})


def standins_table(records: Sequence[Record]) -> pd.DataFrame:
    outcomes, lines = SGGOutcomes(records), []
    for comparison in outcomes.fresh.present(STANDINS.values()):
        for arm in comparison.arms:
            runs = outcomes.fresh.arm(arm.name)
            accuracy = end_text(outcomes.arm(arm.name), "test_accuracy")
            seen = {"test acc. [95 %]": accuracy, "test loss": loss_text(runs) if len(runs) else ""}
            cells = arm_cells(outcomes, comparison, arm, metric="test_accuracy", seen=seen)
            lines.append({"task": comparison.task, "arm": arm.label} | cells)
    return pd.DataFrame(lines).rename(columns={"minus base": "minus AdamW"})


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    outcomes = SGGOutcomes(records)
    choices = outcomes.choices()
    return pd.DataFrame(
        {"arm": outcomes.label(comparison, arm)} | tuning_row(choices[arm.name])
        for comparison in outcomes.present(PRETRAINED)
        for arm in (comparison.plain, comparison.wrapped)
    )


def variants_table(records: Sequence[Record]) -> pd.DataFrame:
    outcomes = SGGOutcomes(records)
    base, lines = outcomes.arm(NO_SGG.name), []
    for arm in VARIANTS.values():
        runs = outcomes.arm(arm.name)
        low, mean, high = (scale_text(runs.last_scale(which), 4) for which in ("low", "mean", "high"))
        lines.append(
            {
                "arm": f"AdamW, LR × {arm.decay:g} a recluster" if arm.decay else arm.label,
                # One factor for all entries has no range.
                "least S": low if arm.wrapper else "",
                "mean S": mean,
                "largest S": high if arm.wrapper else "",
                "test loss": end_text(runs),
                "minus AdamW": "" if arm is NO_SGG else interval_text(runs.gap(base)),
            }
        )
    return pd.DataFrame(lines)


def ablations_table(records: Sequence[Record]) -> pd.DataFrame:
    outcomes, default = SGGOutcomes(records).fresh, SMALLEST.wrapped
    lines = []
    for arm in (default, *ABLATIONS.values()):
        runs = outcomes.arm(arm.name)
        gap = runs.gap(outcomes.arm(default.name))
        lines.append(
            {
                "setting": "default" if arm is default else arm.label,
                "mean S": scale_text(runs.mean_scale()),
                "test loss": loss_text(runs),
                "minus default": "" if arm is default else interval_text(gap, digits=4),
                "div.": diverged_text(runs),
            }
        )
    return pd.DataFrame(lines)


def trains_embeddings(options: Mapping[str, Any]) -> bool:
    """Return whether the fine-tuning problem of these options trains the embeddings; LoRA never does."""
    return bool(options.get("train_embeddings", True)) and options.get("rank") is None


def finetuning_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return test accuracy of fine-tuning without and with SGG; no line where it did not run."""
    outcomes, lines = SGGOutcomes(records).fresh, []
    for comparison in FINETUNING.values():
        plain, wrapped = (outcomes.arm(arm.name) for arm in comparison.arms)
        if accuracy := plain.mean("test_accuracy"):
            options = plain.records[0].spec.problem.options
            line = [comparison.task, str(options.get("layers", 6))]
            line += ["trained" if trains_embeddings(options) else "frozen", interval_text(accuracy)]
            line += [interval_text(wrapped.mean("test_accuracy")), interval_text(wrapped.gap(plain, "test_accuracy"))]
            lines.append(line)
    return pd.DataFrame(lines, columns=["weights", "layers", "embeddings", "AdamW", "AdamW + SGG", "difference"])
