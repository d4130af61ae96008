"""The parts of the study of SGG that change one thing about a given run: variants, ablations, robustness."""

from statistics import fmean
from typing import Any

from pydantic import JsonValue

from regrad.results import Part, Record, Spec
from regrad.studies.sgg.sizes import EVENTS, Scale

SGG = "+sgg"
CONTROL = "+matched"
UNDECAYED = ("adamw", "came")  # their own default decays weights; no arm does here

# What the two public implementations are set to by the trainers that come with them.
VARIANTS: dict[str, dict[str, JsonValue]] = {
    "variant=public-v2": {"variant": "public_v2", "beta3": 0.999, "centre_decay": 0.999},
    "variant=public-v2-trainer": {"variant": "public_v2", "beta3": 0.9, "centre_decay": 0.95},
    "variant=public-c4": {"variant": "public_c4", "beta3": 0.99, "bounds": [0.5, 10.0]},
}
DECAYS = {"schedule=0.999": 0.999, "schedule=0.9": 0.9}
ABLATIONS: dict[str, dict[str, JsonValue]] = {
    "statistic=mad": {"statistic": "mad"},
    "statistic=l2": {"statistic": "l2"},
    "statistic=mean": {"statistic": "mean"},
    "feature=second-moment": {"feature": "second_moment"},
    "feature=momentum": {"feature": "momentum"},
    "feature=gradient": {"feature": "abs_gradient"},
    "D=clusters": {"global_deviation": "clusters"},
    "grouping=exact": {"grouping": "exact"},
    "grouping=minibatch": {"grouping": "minibatch"},
    "K=2": {"clusters": 2},
    "K=4": {"clusters": 4},
    "beta3=0.9": {"beta3": 0.9},
    "beta3=0.999": {"beta3": 0.999},
}
CLUSTERINGS = ("gmm", "dbscan")  # of figure 3, beside k-means
INTERVALS = {"T=half": 0.5, "T=double": 2.0, "T=fivefold": 5.0, "T=printed": None}
PRINTED_INTERVAL = 500


def mean_scale(record: Record) -> float:
    """Return the mean over a run of S, itself a mean over entries; it is 1 until the first recluster.

    Recorded every interval, right after a recluster, so each value holds for the steps that follow.
    """
    points = record.curves["scale/mean"].y if "scale/mean" in record.curves else []
    return fmean([1.0, *points[:-1]]) if points else 1.0


def base_part(base: str, lr: float) -> Part:
    """Return a base optimizer by name, without weight decay."""
    options: dict[str, JsonValue] = {"lr": lr}
    return Part(name=base, options=options | ({"weight_decay": 0.0} if base in UNDECAYED else {}))


def changed(spec: Spec, part: str, arm: str, options: dict[str, Any]) -> Spec:
    """Return a spec with other options of its optimizer, under its own arm and part."""
    optimizer = Part(name=spec.optimizer.name, options={**spec.optimizer.options, **options})
    return spec.model_copy(update={"optimizer": optimizer, "tags": spec.tags | {"part": part, "arm": arm}})


def variants(scale: Scale, fresh: Spec) -> list[Spec]:
    """Return the paper's SGG, both public variants, plain AdamW and AdamW with the schedule b^n, at one rate."""
    lr = fresh.optimizer.lr
    measured = tuple(part for part in fresh.measures if part.name != "scale_range")
    plain = {"part": "variants", "arm": "no SGG"}
    found = [
        fresh.model_copy(update={"tags": fresh.tags | {"part": "variants", "arm": "variant=paper"}}),
        fresh.model_copy(
            update={"optimizer": base_part("adamw", lr), "measures": measured, "tags": fresh.tags | plain}
        ),
    ]
    found += [changed(fresh, "variants", arm, options) for arm, options in VARIANTS.items()]
    for arm, decay in DECAYS.items():
        options: dict[str, JsonValue] = {"lr": lr, "weight_decay": 0.0, "decay": decay, "interval": scale.interval}
        schedule = {"optimizer": Part(name="hidden_schedule", options=options)}
        found.append(fresh.model_copy(update=schedule | {"tags": fresh.tags | {"part": "variants", "arm": arm}}))
    return found


def ablations(scale: Scale, fresh: Spec) -> list[Spec]:
    """Return SGG with one setting changed at a time; ``T=printed`` is the paper's interval of 500 steps."""
    found = [changed(fresh, "ablations", arm, options) for arm, options in ABLATIONS.items()]
    for grouping in CLUSTERINGS:
        other = changed(fresh, "ablations", f"grouping={grouping}", {"grouping": grouping})
        compared = Part(name="sgg_compared", options=other.optimizer.options)
        found.append(other.model_copy(update={"optimizer": compared}))
    for arm, factor in INTERVALS.items():
        interval = PRINTED_INTERVAL if factor is None else max(1, round(scale.interval * factor))
        found.append(changed(fresh, "ablations", arm, {"interval": interval}))
    return found


def robustness(scale: Scale, like: Spec) -> list[Spec]:
    """Return AdamW without and with SGG on the grid of learning rates and batch sizes, at equal tokens."""
    found = []
    for batch_size in scale.batches:
        steps = max(1, scale.steps * scale.batch_size // batch_size)
        for lr in scale.rates:
            plain = base_part("adamw", lr)
            interval = max(1, steps // EVENTS)
            options: dict[str, JsonValue] = {"base": plain.model_dump(), "interval": interval}
            for arm, chosen in (("robust-adamw", plain), ("robust-sgg", Part(name="sgg", options=options))):
                update = {"optimizer": chosen, "batch_size": batch_size, "steps": steps, "evaluations": 2}
                tags = like.tags | {"part": "robustness", "arm": arm, "phase": "grid"}
                found += [
                    like.model_copy(update=update | {"seed": seed, "tags": tags}) for seed in range(scale.grid_seeds)
                ]
    return found
