"""What the prose cites of the study of Adam's preconditioner: records in, texts out."""

import math
from collections.abc import Sequence
from statistics import fmean

from regrad.report.style import method
from regrad.report.tables import significant
from regrad.results import Record
from regrad.studies.micro_adam.rows import arms, choices, diverged, end_losses, fresh, of_part, target
from regrad.studies.micro_adam.scaling import scaling, shares
from regrad.studies.micro_adam.split import RULES, spread_interval
from regrad.studies.micro_adam.tables import gap, interval_text, mean_loss

NO_GAP = "no number, as one of the two diverged at every seed"


def numbers(records: Sequence[Record]) -> dict[str, str]:
    """Return what the prose cites, by key."""
    spec, of_size = fresh(records, "adam")[0].spec, shares(records)
    length = int(str(spec.problem.options["sequence_length"]))
    runs = {record.run_id: record for record in records}
    found = {
        "adam/parameters": f"{fresh(records, 'adam')[0].parameters:,}",
        "adam/batch": str(spec.batch_size),
        "adam/length": str(length),
        "adam/steps": f"{spec.steps:,}",
        "adam/tokens": f"{spec.steps * spec.batch_size * length:,}",
        "adam/runs": str(len(runs)),
        "adam/fresh-seeds": str(len(fresh(records, "adam"))),
        "adam/diverged": str(sum(map(diverged, runs.values()))),
        "adam/target": f"{target(records):.2f}",
        "adam/edges": str(
            sum(c.edge is not None for p in ("language", "images") for c in choices(records, p).values())
        ),
        "adam/stability-steps": str(of_part(records, "stability")[0].spec.steps),
        "adam/batch-sizes": ", ".join(str(size) for size in scaling(records, RULES[0])),
    }
    if of_size:
        found["adam/share-own"] = significant(of_size[spec.batch_size], 2)
        found["adam/share-largest"] = significant(of_size[max(of_size)], 2)
        found["adam/largest-batch"] = str(max(of_size))
    found["adam/clipped"] = clipped_share(records)
    return found | settings(records) | images(records) | ends(records)


def clipped_share(records: Sequence[Record]) -> str:
    """Return the share of coordinates that MicroAdamMSQ bounded from below, averaged over its runs and seeds."""
    curves = [r.curves["clipped_share"].y for r in fresh(records, "micro_adam_msq") if "clipped_share" in r.curves]
    return rf"{100 * fmean(map(fmean, curves)):.1f}\,\%" if curves else "no number"


def settings(records: Sequence[Record]) -> dict[str, str]:
    """Return what the arms are set to, from the specs themselves."""
    of_arm = {arm: fresh(records, arm)[0].spec for arm in ("micro_adam+clip", "micro_adam+decay")}
    clipped, decayed = of_arm["micro_adam+clip"].gradient, of_arm["micro_adam+decay"].optimizer.options
    first, second = list(decayed["betas"])  # type: ignore[arg-type]
    return {
        "adam/beta1": f"{first:g}",
        "adam/beta2": f"{second:g}",
        "adam/max-norm": f"{clipped.options['max_norm']:g}" if clipped else "",
        "adam/decay": f"{decayed['weight_decay']:g}",
        "adam/decay-gap": interval_text(gap(records, "micro_adam+decay", than="adam+decay"), NO_GAP),
    }


def ends(records: Sequence[Record]) -> dict[str, str]:
    """Return losses, gaps, learning rates and the order of the arms on the language task, and the spreads."""
    best, found = choices(records), {}
    for arm in arms(records):
        key = f"adam/{arm.replace('_', '-')}"
        found[f"{key}/loss"] = interval_text(mean_loss(records, arm), "diverged")
        if arm != "adam":
            found[f"{key}/gap"] = interval_text(gap(records, arm), NO_GAP)
        found[f"{key}/lr"] = significant(best[arm].best or math.nan, 2)
    ended = [arm for arm in arms(records) if "+" not in arm and end_losses(records, arm)]
    ended.sort(key=lambda arm: fmean(end_losses(records, arm).values()))
    found["adam/order"] = ", ".join(method(arm)["label"] for arm in ended)
    for rule in RULES:
        power = rule.removeprefix("lr~B^")
        found[f"adam/spread/{power}"] = interval_text(spread_interval(records, rule), "no finite spread")
    return found


def images(records: Sequence[Record]) -> dict[str, str]:
    """Return what the prose cites of the image task."""
    runs = fresh(records, "adam", "images")
    found = {
        "adam/images/data": str(runs[0].spec.problem.options["images"]),
        "adam/images/parameters": f"{runs[0].parameters:,}",
        "adam/images/batch": str(runs[0].spec.batch_size),
        "adam/images/steps": f"{runs[0].spec.steps:,}",
    }
    for arm in [arm for arm in arms(records, "images") if arm != "adam"]:
        found[f"adam/images/{arm.replace('_', '-')}/gap"] = interval_text(gap(records, arm, "images"), NO_GAP)
    return found
