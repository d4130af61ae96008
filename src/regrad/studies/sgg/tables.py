"""Tables of the study of SGG: records in, data frames out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from regrad.report.tables import significant, with_interval
from regrad.results import Record
from regrad.statistics.intervals import Interval
from regrad.studies.sgg.rows import (
    CONTROL,
    DEFAULT,
    SGG,
    arms,
    bases,
    choices,
    diverged,
    ends,
    gap,
    label,
    mean,
    mean_scale,
    runs,
    scale_curve,
)


def text(interval: Interval | None, absent: str = "", digits: int = 3) -> str:
    """Return an estimate with its interval, or what is printed where there is none."""
    return with_interval(interval.estimate, interval.low, interval.high, digits) if interval else absent


def perplexity(records: Sequence[Record], arm: str) -> str:
    """Return the exponential of an arm's mean test loss."""
    found = mean(records, arm)
    return f"{math.exp(found.estimate):.2f}" if found else "diverged"


def rate(records: Sequence[Record], arm: str) -> str:
    """Return the learning rate of an arm's fresh-seed runs."""
    found = {r.spec.optimizer.lr for r in runs(records, arm)}
    return significant(min(found), 2) if found else "diverged"


def lost(records: Sequence[Record], arm: str) -> str:
    """Return how many of an arm's fresh-seed runs diverged, of how many."""
    own = runs(records, arm)
    return f"{sum(map(diverged, own))}/{len(own)}"


def results_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return each pre-training arm's outcome: rate, mean scale, test loss, perplexity, differences to the controls."""
    lines = []
    for base in bases(records):
        for suffix in ("", SGG, CONTROL):
            arm = base.replace(":", f"{suffix}:")
            scale = mean_scale(records, arm)
            lines.append(
                {
                    "arm": label(records, arm),
                    "LR": rate(records, arm),
                    "mean S": f"{scale:.3f}" if suffix == SGG and math.isfinite(scale) else "",
                    "test loss [95 %]": text(mean(records, arm), "diverged"),
                    "perplexity": perplexity(records, arm),
                    "minus tuned base": text(gap(records, arm, base)) if suffix else "",
                    "minus matched LR": text(gap(records, arm, base.replace(":", f"{CONTROL}:")))
                    if suffix == SGG
                    else "",
                    "div.": lost(records, arm),
                }
            )
    return pd.DataFrame(lines)


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return the tuning of each pre-training arm: grid, trials, choice, edge, diverged runs."""
    found = choices(records)
    names = [base.replace(":", f"{suffix}:") for base in bases(records) for suffix in ("", SGG)]
    return pd.DataFrame(
        {
            "arm": label(records, arm),
            "lowest LR": significant(min(choice.means), 2),
            "highest LR": significant(max(choice.means), 2),
            "trials": choice.trials,
            "best LR": significant(choice.best or math.nan, 2),
            "on edge": choice.edge or "no",
            "div.": sum(choice.diverged.values()),
        }
        for arm, choice in ((arm, found[arm]) for arm in names)
    )


def variants_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return what each variant's scale came to, b^n beside it, and its loss against AdamW without SGG."""
    lines = []
    for arm in arms(records, "variants"):
        last = {which: scale_curve(records, arm, which)[1] for which in ("low", "mean", "high")}
        lines.append(
            {
                "arm": arm.removeprefix("variant=").replace("schedule=", "AdamW, LR times b^n, b = "),
                "least S": f"{last['low'][-1]:.4f}" if last["low"] and not arm.startswith("schedule") else "",
                "mean S": f"{last['mean'][-1]:.4f}" if last["mean"] else "",
                "largest S": f"{last['high'][-1]:.4f}" if last["high"] and not arm.startswith("schedule") else "",
                "test loss": text(mean(records, arm), "diverged"),
                "minus AdamW": "" if arm == "no SGG" else text(gap(records, arm, "no SGG")),
            }
        )
    return pd.DataFrame(lines)


def ablations_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return the default's loss and every ablation's, with the difference."""
    return pd.DataFrame(
        {
            "setting": "default" if arm == DEFAULT else arm,
            "mean S": f"{mean_scale(records, arm):.3f}",
            "test loss": f"{found.estimate:.3f}" if (found := mean(records, arm)) else "diverged",
            "minus default": "" if arm == DEFAULT else text(gap(records, arm, DEFAULT), digits=4),
            "div.": lost(records, arm),
        }
        for arm in (DEFAULT, *arms(records, "ablations"))
    )


def trains_embeddings(options: Mapping[str, Any]) -> bool:
    """Return whether the fine-tuning problem of these options trains the embeddings; LoRA never does."""
    return bool(options.get("train_embeddings", True)) and options.get("rank") is None


def finetuning_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return test accuracy of fine-tuning without and with SGG; no line where it did not run."""
    columns = ["weights", "layers", "embeddings", "AdamW", "AdamW + SGG", "difference"]
    modes = {"full": "all", "r4": "LoRA, r = 4", "r8": "LoRA, r = 8"}
    lines = []
    for mode, words in modes.items():
        base, wrapped = f"minilm-{mode}", f"minilm-{mode}{SGG}"
        if ends(records, base, "test_accuracy"):
            cells = [text(mean(records, arm, "test_accuracy")) for arm in (base, wrapped)]
            given = runs(records, base)[0].spec.problem.options
            kept = [str(given.get("layers", 6)), "trained" if trains_embeddings(given) else "frozen"]
            lines.append([words, *kept, *cells, text(gap(records, wrapped, base, "test_accuracy"))])
    return pd.DataFrame(lines, columns=columns)
