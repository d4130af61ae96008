"""Whether scaling by gradient groups (SGG) helps, and what it is (C1 to C4, C6b, C7b, C8, C10 to C12).

``base:k`` is a base optimizer at the k-th model size with its learning rate tuned, ``base+sgg:k`` the same with
SGG around it, tuned with as many trials, ``base+matched:k`` the base at SGG's learning rate times the mean of
the scales S in SGG's own tuning run. The other parts (tag ``part``) follow from the tuned runs at the smallest
size: ``variants`` and ``ablations`` change one thing at SGG's learning rate, ``robustness`` crosses learning
rates with batch sizes.
"""

from statistics import fmean

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import log_grid, tuning_then_fresh
from regrad.studies.sgg.finetuning import finetuning
from regrad.studies.sgg.parts import CONTROL, SGG, ablations, base_part, mean_scale, robustness, variants
from regrad.studies.sgg.sizes import PRESETS, Scale
from regrad.studies.sgg.standins import standins

STUDY = "sgg"
BASES = ("adamw", "adafactor", "lamb", "came")
__all__ = ["PRESETS", "STUDY", "plan", "specs"]


def tuned_arms(scale: Scale) -> list[str]:
    """Return the arms of part ``pretraining`` that have a grid of their own."""
    found = []
    for base in BASES:
        sizes = len(scale.sizes) if base == "adamw" else scale.wide
        found += [f"{base}{suffix}:{k}" for k in range(1, sizes + 1) for suffix in ("", SGG)]
    return [*found, "lora:1", f"lora{SGG}:1"]


def base_of(arm: str) -> str:
    """Return the base optimizer's name in an arm's: ``came`` of ``came+sgg:2``."""
    return arm.partition(":")[0].partition("+")[0]


def center(arm: str, scale: Scale) -> float:
    """Return the middle of an arm's grid, with SGG the base's own: S starts at 1 and the paper re-tunes neither."""
    return scale.centers[base_of(arm)]


def optimizer(arm: str, lr: float, scale: Scale, **settings: JsonValue) -> Part:
    """Return an arm's optimizer; ``settings`` are SGG's, beside its interval."""
    base = base_part("adamw" if base_of(arm) == "lora" else base_of(arm), lr)
    if SGG not in arm:
        return base
    chosen: dict[str, JsonValue] = {"base": base.model_dump(), "interval": scale.interval}
    return Part(name="sgg", options=chosen | settings)


def make(scale: Scale, arm: str, lr: float, seed: int, phase: str) -> Spec:
    """Return the spec of one run of part ``pretraining``."""
    size = int(arm.partition(":")[2])
    measures: list[Part] = [Part(name="test")] if phase == "fresh" else []
    if SGG in arm:
        measures.append(Part(name="scale_range", options={"every": scale.interval}))
    return Spec(
        problem=scale.low_rank if base_of(arm) == "lora" else scale.sizes[size - 1],
        optimizer=optimizer(arm, lr, scale),
        steps=scale.steps,
        batch_size=scale.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.1),
        measures=tuple(measures),
        evaluations=scale.evaluations,
        tags={"study": STUDY, "part": "pretraining", "arm": arm, "phase": phase},
    )


def matched(scale: Scale, found: list[Spec], records: list[Record]) -> list[Spec]:
    """Return the fresh-seed runs of the bases at SGG's learning rate times the mean of S in its tuning run."""
    specs = []
    for spec in found:
        arm, lr = spec.tags["arm"], spec.optimizer.lr
        if spec.tags["phase"] != "fresh" or SGG not in arm:
            continue
        tuning = [r for r in records if (r.spec.tags["arm"], r.spec.tags["phase"]) == (arm, "tune")]
        factor = fmean(mean_scale(r) for r in tuning if r.spec.optimizer.lr == lr)
        rate = float(f"{lr * factor:.6g}")
        specs.append(make(scale, arm.replace(SGG, CONTROL), rate, spec.seed, "fresh"))
    return specs


def specs(preset: str, records: list[Record]) -> list[Spec]:
    """Return all runs of the study that can be named given the records so far."""
    return plan(PRESETS[preset], records)


def plan(scale: Scale, records: list[Record]) -> list[Spec]:
    """Return the runs of a study of this scale that can be named given the records so far."""
    grids = {arm: log_grid(center(arm, scale), scale.points, 2.0) for arm in tuned_arms(scale)}

    def of_study(arm: str, lr: float, seed: int, phase: str) -> Spec:
        return make(scale, arm, lr, seed, phase)

    own = [record for record in records if record.spec.tags["part"] == "pretraining"]
    found = tuning_then_fresh(grids, of_study, own, seeds=scale.seeds, extensions=scale.extensions)
    fresh = [spec for spec in found if spec.tags["phase"] == "fresh"]
    found += matched(scale, fresh, own)
    for spec in fresh:
        if spec.tags["arm"] == f"adamw{SGG}:1":
            found += variants(scale, spec) + ablations(scale, spec)
    found += robustness(scale, make(scale, "adamw:1", 1.0, 0, "grid"))
    return found + finetuning(scale, records) + standins(scale, records)
