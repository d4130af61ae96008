"""What the prose cites of the study of SGG: records in, texts out."""

from collections.abc import Sequence
from math import isfinite
from statistics import median

from regrad.report.outcomes import interval
from regrad.report.tables import gap_text, interval_text, lost_text, seeds_text
from regrad.results import Record
from regrad.studies.sgg.arms import (
    FINETUNING,
    NO_SGG,
    PRETRAINING,
    ROBUSTNESS,
    SMALLEST,
    STANDINS,
    VARIANTS,
)
from regrad.studies.sgg.claims import SLACK, grid_spread, target
from regrad.studies.sgg.outcomes import PRETRAINED, SGGOutcomes
from regrad.studies.sgg.printed import BETA3, LATER, LONGEST_INTERVAL, TABLE_4, reachable
from regrad.studies.sgg.scale import scale_numbers
from regrad.studies.sgg.tables import scale_text

# The public version 2 scales all entries alike: by b^n, in the settings of its class and of its trainer.
SCHEDULES = {"variant=public-v2": "schedule=0.999", "variant=public-v2-trainer": "schedule=0.9"}


def numbers(records: Sequence[Record]) -> dict[str, str]:
    outcomes, low_high = SGGOutcomes(records), reachable()
    # Parts share runs; what the prose counts is what was computed.
    unique = outcomes.once
    tuning = outcomes.part("pretraining").choices()
    sizes = (outcomes.arm(c.name).parameters for c in outcomes.present(PRETRAINING["adamw"]))
    texts = {
        "sgg/runs": str(len(unique)),
        "sgg/diverged": lost_text(unique, unique.part("robustness"), "in the grid of learning rates"),
        "sgg/sizes": ", ".join(f"{count:,}" for count in sizes),
        "sgg/edges": str(sum(choice.edge is not None for choice in tuning.values())),
        "sgg/arms": str(len(tuning)),
        "sgg/grid-runs": str(len(outcomes.part("robustness"))),
        "sgg/printed-adam": f"{TABLE_4['Adam'][0]}",
        "sgg/printed-sgg": f"{TABLE_4['Adam+SGG'][0]}",
        "sgg/later-adam": f"{LATER['AdamW'][0]}",
        "sgg/later-sgg": f"{LATER['SGG+AdamW'][0]}",
        "sgg/beta3": f"{BETA3:g}",
        "sgg/printed-interval": str(LONGEST_INTERVAL),
        "sgg/reach-low": f"{low_high[0]:.2f}",
        "sgg/reach-high": f"{low_high[1]:.2f}",
    }
    for arm in ROBUSTNESS.arms:
        runs = outcomes.arm(arm.name)
        texts[f"sgg/{arm.name}/diverged"] = f"{runs.diverged} of {len(runs)}" if len(runs) else ""
        spreads = [grid_spread(of_seed) for of_seed in runs.grouped(lambda record: record.spec.seed).values()]
        texts[f"sgg/{arm.name}/spread"] = gap_text(interval(s for s in spreads if s is not None), runs)
    texts |= setting(outcomes) | effects(outcomes) | speeds(outcomes) | scale_numbers(outcomes)
    return texts | variants(outcomes) | finetuning(outcomes) | standins(outcomes)


def setting(outcomes: SGGOutcomes) -> dict[str, str]:
    default = outcomes.arm(SMALLEST.wrapped.name).fresh
    if not len(default):
        return {}
    spec = default.records[0].spec
    return {
        "sgg/steps": f"{spec.steps:,}",
        "sgg/batch": str(spec.batch_size),
        "sgg/length": str(spec.problem.options["sequence_length"]),
        "sgg/interval": str(spec.optimizer.options["interval"]),
        "sgg/fresh-seeds": seeds_text(outcomes.part("pretraining").fresh),
        "sgg/printed-reclusters": str(spec.steps // LONGEST_INTERVAL),
    }


def effects(outcomes: SGGOutcomes) -> dict[str, str]:
    texts: dict[str, str] = {}
    for comparison in outcomes.present(PRETRAINED):
        plain, wrapped, matched = (outcomes.arm(arm.name) for arm in comparison.arms)
        texts[f"sgg/{comparison.name}/gap"] = gap_text(wrapped.fresh.gap(plain.fresh), wrapped, plain)
        texts[f"sgg/{comparison.name}/matched-gap"] = gap_text(wrapped.fresh.gap(matched.fresh), wrapped, matched)
        texts[f"sgg/{comparison.name}/scale"] = scale_text(wrapped.fresh.mean_scale())
    for base, comparisons in PRETRAINING.items():
        for which in ("gap", "matched-gap"):
            found = [(texts[f"sgg/{c.name}/{which}"], outcomes.size(c)) for c in outcomes.present(comparisons)]
            told = (f"{text} at {size}" for text, size in found if text)
            texts[f"sgg/{base}/{which}s"] = " and ".join(told)
    return texts


def speeds(outcomes: SGGOutcomes) -> dict[str, str]:
    """Return, at each size, AdamW's target and the median steps to it, without and with SGG and at the matched rate."""
    texts = {"sgg/slack": f"{SLACK:g}"}
    for comparison in outcomes.present(PRETRAINING["adamw"]):
        loss = target(outcomes, comparison.plain)
        texts[f"sgg/{comparison.name}/target"] = f"{loss:.3f}"
        for arm in comparison.arms:
            steps = list(outcomes.fresh.arm(arm.name).steps_to(loss).values())
            reached = f"{median(steps):,.0f}" if steps and isfinite(median(steps)) else "never"
            texts[f"sgg/{arm.name}/steps"] = reached if outcomes.arm(arm.name).ran else ""
    return texts


def variants(outcomes: SGGOutcomes) -> dict[str, str]:
    texts: dict[str, str] = {}
    for arm in VARIANTS.values():
        runs = outcomes.arm(arm.name)
        if arm is NO_SGG or not len(runs):
            continue
        for which in ("low", "mean", "high"):
            if (scale := runs.last_scale(which)) is not None:
                texts[f"sgg/{arm.name}/{which}"] = f"{scale:.4f}"
        texts[f"sgg/{arm.name}/gap"] = gap_text(runs.gap(outcomes.arm(NO_SGG.name)), runs, outcomes.arm(NO_SGG.name))
    for arm_name, schedule in SCHEDULES.items() if texts else ():
        mine, scheduled = outcomes.arm(arm_name), outcomes.arm(schedule)
        texts[f"sgg/{arm_name}/schedule-gap"] = gap_text(mine.gap(scheduled), mine, scheduled, digits=4)
    return texts


def finetuning(outcomes: SGGOutcomes) -> dict[str, str]:
    """Return the gains in test accuracy and the size of the fine-tuning task; words where it did not run."""
    runs = outcomes.part("finetuning")
    texts = {"sgg/minilm/runs": str(len({record.run_id for record in runs}))}
    for way, comparison in FINETUNING.items():
        plain, wrapped = (outcomes.arm(arm.name).fresh for arm in comparison.arms)
        texts[f"sgg/minilm/{way}/gain"] = interval_text(wrapped.gap(plain, "test_accuracy"), digits=4)
    options = runs.records[0].spec.problem.options if len(runs) else {}
    # What the options leave out is the problem's default: all layers, embeddings trained.
    texts["sgg/minilm/layers"] = str(options.get("layers", "all"))
    texts["sgg/minilm/embeddings"] = "trained" if options.get("train_embeddings", True) else "frozen"
    if len(runs):
        texts["sgg/minilm/steps"] = str(runs.records[0].spec.steps)
        texts["sgg/minilm/trainable"] = f"{outcomes.arm(FINETUNING['r4'].name).parameters:,}"
    return texts


def standins(outcomes: SGGOutcomes) -> dict[str, str]:
    """Return gains in test accuracy, sizes and tuning of the two stand-ins; words where they did not run."""
    texts, tuning = {}, outcomes.part("standins").choices()
    for task, comparison in STANDINS.items():
        plain, wrapped, matched = (outcomes.arm(arm.name).fresh for arm in comparison.arms)
        edges = sum(tuning[arm.name].edge is not None for arm in comparison.arms if arm.name in tuning)
        spec = plain.records[0].spec if len(plain) else None
        texts[f"sgg/{task}/gain"] = interval_text(wrapped.gap(plain, "test_accuracy"))
        texts[f"sgg/{task}/matched-gain"] = interval_text(wrapped.gap(matched, "test_accuracy"))
        texts[f"sgg/{task}/edges"] = str(edges)
        texts[f"sgg/{task}/parameters"] = f"{plain.parameters:,}" if spec else ""
        texts[f"sgg/{task}/steps"] = str(spec.steps) if spec else ""
        texts[f"sgg/{task}/batch"] = str(spec.batch_size) if spec else ""
    return texts
