"""The stand-ins for preference and image-and-text tuning in the study of SGG: records in, table and texts out."""

from collections.abc import Sequence

import pandas as pd

from regrad.results import Record
from regrad.studies.sgg.rows import CONTROL, SGG, choices, gap, mean, mean_scale, runs
from regrad.studies.sgg.tables import lost, rate, text

TASKS = {"dpo": "preferences", "caption": "captions"}
ARMS = {"": "AdamW", SGG: "AdamW + SGG", CONTROL: "AdamW, matched LR"}
ABSENT = "not run at this preset"


def standins_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return test accuracy of each task's arms, with the differences to both controls."""
    lines = []
    for task, words in TASKS.items():
        for suffix, name in ARMS.items():
            arm = f"{task}{suffix}"
            if runs(records, arm):
                against = [gap(records, arm, f"{task}{than}", "test_accuracy") for than in ("", CONTROL)]
                lines.append(
                    {
                        "task": words,
                        "arm": name,
                        "LR": rate(records, arm),
                        "mean S": f"{mean_scale(records, arm):.3f}" if suffix == SGG else "",
                        "test acc. [95 %]": text(mean(records, arm, "test_accuracy"), "diverged"),
                        "test loss": text(mean(records, arm), "diverged").partition(" ")[0],
                        "minus AdamW": text(against[0]) if suffix else "",
                        "minus matched": text(against[1]) if suffix == SGG else "",
                        "div.": lost(records, arm),
                    }
                )
    return pd.DataFrame(lines)


def standins_numbers(records: Sequence[Record]) -> dict[str, str]:
    """Return gains in test accuracy, sizes and tuning of the two tasks; words where they did not run."""
    found, tuning = {}, choices(records, "standins")
    for task in TASKS:
        own, wrapped = runs(records, task), f"{task}{SGG}"
        found[f"sgg/{task}/gain"] = text(gap(records, wrapped, task, "test_accuracy"), ABSENT)
        against = gap(records, wrapped, f"{task}{CONTROL}", "test_accuracy")
        found[f"sgg/{task}/matched-gain"] = text(against, ABSENT)
        edges = sum(choice.edge is not None for arm, choice in tuning.items() if arm.partition("+")[0] == task)
        found[f"sgg/{task}/edges"] = str(edges)
        found[f"sgg/{task}/parameters"] = f"{own[0].parameters:,}" if own else ABSENT
        found[f"sgg/{task}/steps"] = str(own[0].spec.steps) if own else ABSENT
        found[f"sgg/{task}/batch"] = str(own[0].spec.batch_size) if own else ABSENT
    return found
