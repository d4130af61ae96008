"""What the prose cites of the study of SGG: records in, texts out."""

from collections.abc import Sequence
from statistics import fmean

from regrad.results import Record
from regrad.studies.sgg.figures import divergences
from regrad.studies.sgg.printed import BETA3, LATER, LONGEST_INTERVAL, TABLE_4, reachable
from regrad.studies.sgg.rows import (
    CONTROL,
    DEFAULT,
    SGG,
    arms,
    bases,
    choices,
    diverged,
    gap,
    mean_scale,
    of_part,
    parameters,
    runs,
    scale_curve,
)
from regrad.studies.sgg.standin_tables import standins_numbers
from regrad.studies.sgg.tables import text

NO_GAP = "no number, as one of the two diverged at every seed"


def numbers(records: Sequence[Record]) -> dict[str, str]:
    """Return what the prose cites, by key."""
    spec = runs(records, DEFAULT)[0].spec
    adamw = [arm for arm in bases(records) if arm.startswith("adamw:")]
    unique = {r.run_id: r for r in records}
    low, high = reachable()
    found = {
        "sgg/runs": str(len(unique)),
        "sgg/diverged": str(sum(map(diverged, unique.values()))),
        "sgg/sizes": ", ".join(f"{parameters(records, arm):,}" for arm in adamw),
        "sgg/steps": f"{spec.steps:,}",
        "sgg/batch": str(spec.batch_size),
        "sgg/length": str(spec.problem.options["sequence_length"]),
        "sgg/interval": str(spec.optimizer.options["interval"]),
        "sgg/fresh-seeds": str(len(runs(records, DEFAULT))),
        "sgg/edges": str(sum(choice.edge is not None for choice in choices(records).values())),
        "sgg/arms": str(len(choices(records))),
        "sgg/grid-runs": str(len(of_part(records, "robustness"))),
        "sgg/printed-adam": f"{TABLE_4['Adam'][0]}",
        "sgg/printed-sgg": f"{TABLE_4['Adam+SGG'][0]}",
        "sgg/later-adam": f"{LATER['AdamW'][0]}",
        "sgg/later-sgg": f"{LATER['SGG+AdamW'][0]}",
        "sgg/beta3": f"{BETA3:g}",
        "sgg/printed-interval": str(LONGEST_INTERVAL),
        "sgg/reach-low": f"{low:.2f}",
        "sgg/reach-high": f"{high:.2f}",
    }
    for arm in ("robust-adamw", "robust-sgg"):
        lost, count = divergences(records, arm)
        found[f"sgg/{arm}/diverged"] = f"{lost} of {count}"
    return found | effects(records) | variants(records) | finetuning(records) | standins_numbers(records)


def effects(records: Sequence[Record]) -> dict[str, str]:
    """Return each base's differences with SGG and the mean scale."""
    found: dict[str, str] = {}
    for base in bases(records):
        wrapped, control = base.replace(":", f"{SGG}:"), base.replace(":", f"{CONTROL}:")
        found[f"sgg/{base}/gap"] = text(gap(records, wrapped, base), NO_GAP)
        found[f"sgg/{base}/matched-gap"] = text(gap(records, wrapped, control), NO_GAP)
        found[f"sgg/{base}/scale"] = f"{mean_scale(records, wrapped):.3f}"
    return found


def variants(records: Sequence[Record]) -> dict[str, str]:
    """Return each variant's last mean scale and range, its difference to AdamW and to the schedule."""
    found: dict[str, str] = {}
    for arm in arms(records, "variants"):
        key = "sgg/" + arm.replace(" ", "-")
        last = {which: scale_curve(records, arm, which)[1] for which in ("low", "mean", "high")}
        found |= {f"{key}/{which}": f"{points[-1]:.4f}" for which, points in last.items() if points}
        if arm != "no SGG":
            found[f"{key}/gap"] = text(gap(records, arm, "no SGG"), NO_GAP)
    pairs = {"variant=public-v2": "schedule=0.999", "variant=public-v2-trainer": "schedule=0.9"}
    for arm, schedule in pairs.items():
        found[f"sgg/{arm}/schedule-gap"] = text(gap(records, arm, schedule), NO_GAP, digits=4)
    return found


def finetuning(records: Sequence[Record]) -> dict[str, str]:
    """Return the gains in test accuracy and the size of the fine-tuning task; words where it did not run."""
    own = of_part(records, "finetuning")
    found = {"sgg/minilm/runs": str(len({r.run_id for r in own}))}
    for mode in ("full", "r4", "r8"):
        gain = gap(records, f"minilm-{mode}{SGG}", f"minilm-{mode}", "test_accuracy")
        found[f"sgg/minilm/{mode}/gain"] = text(gain, "not run at this preset", digits=4)
    given = own[0].spec.problem.options if own else {}
    # What the options leave out is the problem's default: all layers, embeddings trained.
    found["sgg/minilm/layers"] = str(given.get("layers", "all"))
    found["sgg/minilm/embeddings"] = "trained" if given.get("train_embeddings", True) else "frozen"
    if own:
        found["sgg/minilm/steps"] = str(own[0].spec.steps)
        found["sgg/minilm/trainable"] = f"{fmean(r.parameters for r in own if '-r4' in r.spec.tags['arm']):,.0f}"
    return found
