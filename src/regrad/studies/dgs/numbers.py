"""What the prose cites of the DGS study: records in, texts out."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from regrad.report.outcomes import Outcomes
from regrad.report.tables import gap_text, lost_text, seeds_text, significant
from regrad.report.words import ARMS as WORDS
from regrad.results import Record
from regrad.studies.dgs.arms import ARMS, IMAGES, SPIKING, TASKS
from regrad.studies.dgs.quantities import MODEL_NAMES, geometry_runs, image_runs, target


def numbers(records: Sequence[Record], repaired: Sequence[dict[str, Any]]) -> dict[str, str]:
    outcomes = Outcomes(records)
    choices = [c for part in (*IMAGES, *SPIKING, *TASKS) for c in outcomes.part(part).choices().values()]
    used = next(row["largest difference to SGD"] for row in repaired if row["scaling lines"] == "used")
    return {
        "dgs/runs": str(len(outcomes)),
        "dgs/diverged": lost_text(outcomes, outcomes.part("stability"), "off the optimum"),
        "dgs/target": target_text(outcomes),
        "dgs/edges": str(sum(choice.edge is not None for choice in choices)),
        "dgs/repaired-steps": str(repaired[0]["steps"]),
        "dgs/used-difference": significant(used, 2),
        **image_sizes(outcomes),
        **spiking_sizes(outcomes),
        **comparisons(outcomes),
        **geometry(outcomes),
    }


def image_sizes(outcomes: Outcomes) -> dict[str, str]:
    images = outcomes.part(*IMAGES)
    if not len(images):
        return {}
    spec = images.records[0].spec  # a tuning run: on fresh seeds there may be none
    depths = dict.fromkeys(str(run.spec.problem.options["depth"]) for run in images)
    return {
        "dgs/seeds": seeds_text(images.fresh),
        "dgs/tuned-on": "each network" if len(outcomes.part("images32")) else "the shallower network",
        "dgs/data": str(spec.problem.options["images"]),
        "dgs/depths": " and ".join(depths),
        "dgs/width": str(spec.problem.options["width"]),
        "dgs/parameters": f"{images.parameters:,}",
        "dgs/parameters32": f"{images.where(model='resnet32').parameters:,}",
        "dgs/steps": " and ".join(dict.fromkeys(f"{run.spec.steps:,}" for run in images)),
        "dgs/batch": str(spec.batch_size),
    }


def target_text(outcomes: Outcomes) -> str:
    """Return the loss to reach, of each network where they differ."""
    first, deeper = (f"{target(outcomes, model):.2f}" for model in MODEL_NAMES)
    return first if first == deeper else f"{first} (on {MODEL_NAMES['resnet32']} {deeper})"


def spiking_sizes(outcomes: Outcomes) -> dict[str, str]:
    runs = outcomes.part(*SPIKING).records
    if not runs:
        return {}
    spec = runs[0].spec
    return {
        "dgs/spiking/data": str(spec.problem.options["images"]),
        "dgs/spiking/steps": " and ".join(dict.fromkeys(f"{run.spec.steps:,}" for run in runs)),
        "dgs/spiking/batch": str(spec.batch_size),
        "dgs/spiking/width": str(spec.problem.options["width"]),
        "dgs/spiking/time": str(spec.problem.options.get("time_steps", 4)),
    }


def comparisons(outcomes: Outcomes) -> dict[str, str]:
    texts, winners = {}, {}
    for model in MODEL_NAMES:
        arms = dict.fromkeys([*outcomes.part("images").arms, "lars", "adam", "E1", "S1"])
        runs = {arm: image_runs(outcomes, arm, model) for arm in arms}
        for arm in ("E1", "S1"):
            for control in ("lars", "adam"):
                gap = runs[arm].gap(runs[control], "test_accuracy")
                texts[f"dgs/{model}/{arm}-{control}"] = gap_text(gap, runs[arm], runs[control], digits=1)
        means = {arm: own.mean("test_accuracy") for arm, own in runs.items()}
        for arm in ("lars", "adam", "E1", "S1"):
            texts[f"dgs/{model}/{arm}"] = gap_text(means[arm], runs[arm], digits=1)
        estimates = {arm: mean.estimate for arm, mean in means.items() if mean}
        if estimates:
            best = max(estimates, key=lambda arm: estimates[arm])
            winners[model] = WORDS.get(best, ARMS[best].label)
    return texts | {"dgs/best": best_text(winners)}


def best_text(winners: Mapping[str, str]) -> str:
    """Return which arm has the highest mean on each network, as a sentence; empty without any."""
    if len(winners) > 1 and len(set(winners.values())) == 1:
        return f"The highest mean is on both networks that of {next(iter(winners.values()))}"
    told = " and ".join(f"on {MODEL_NAMES[model]} that of {arm}" for model, arm in winners.items())
    return f"The highest mean is {told}" if told else ""


def geometry(outcomes: Outcomes) -> dict[str, str]:
    runs = geometry_runs(outcomes)
    curves = [run.curves for run in runs]
    texts = {"dgs/geometry/arm": ", ".join(ARMS[arm].label for arm in runs.arms)}
    for key in ("cosine/equation", "cosine/steps", "slope/equation", "slope/steps"):
        values = [y for of_run in curves if key in of_run for y in of_run[key].y]
        texts[f"dgs/{key}"] = f"{fmean(values):.2f}" if values else ""
    return texts
