"""What the prose cites of the study of Adam's preconditioner: records in, texts out."""

from collections.abc import Sequence
from statistics import fmean
from typing import cast

from regrad.report.budgets import budget_numbers, budgets
from regrad.report.outcomes import Outcomes
from regrad.report.tables import end_text, gap_text, interval_text, lost_text, seeds_text, significant
from regrad.report.tuning import rate
from regrad.results import Record
from regrad.studies.micro_adam.arms import ADAM, ARMS, HEADLINE, ROOT, RULES, TUNED
from regrad.studies.micro_adam.claims import target
from regrad.studies.micro_adam.plan import DECAY, MAX_NORM
from regrad.studies.micro_adam.scaling import (
    by_batch_size,
    regret_interval,
    sequence_length,
    shares,
    spread_interval,
    tuned_elsewhere,
)


def numbers(records: Sequence[Record]) -> dict[str, str]:
    outcomes = Outcomes(records)
    others = [arm for arm in HEADLINE if arm != ADAM.name]
    longer = budget_numbers(budgets(outcomes, "language"), others, ADAM.name)
    texts = counts(outcomes) | setup(outcomes) | images(outcomes) | language(outcomes) | split(outcomes) | longer
    return {f"adam/{key.replace('_', '-')}": text for key, text in texts.items()}


def counts(outcomes: Outcomes) -> dict[str, str]:
    """Return how many runs there are, each once, and how many tunings end on an edge."""
    runs = outcomes.once
    choices = [choice for part in (*TUNED, "batches") for choice in outcomes.part(part).choices().values()]
    return {
        "runs": str(len(runs)),
        "diverged": lost_text(runs, runs.part("stability"), "in the search for the largest stable learning rate"),
        "edges": str(sum(choice.edge is not None for choice in choices)),
    }


def setup(outcomes: Outcomes) -> dict[str, str]:
    adam, stability = outcomes.part("language").arm(ADAM.name), outcomes.part("stability")
    texts = {"stability-steps": str(stability.records[0].spec.steps)} if len(stability) else {}
    if not len(adam):
        return texts
    spec, length = adam.records[0].spec, sequence_length(adam.records[0])
    beta1, beta2 = cast("list[float]", spec.optimizer.options["betas"])
    return texts | {
        "beta1": f"{beta1:g}",
        "beta2": f"{beta2:g}",
        "max-norm": f"{MAX_NORM:g}",
        "warmup": rf"{100 * spec.schedule.warmup:g}\,\%",
        "parameters": f"{adam.parameters:,}",
        "batch": str(spec.batch_size),
        "length": str(length),
        "steps": f"{spec.steps:,}",
        "tokens": f"{spec.steps * spec.batch_size * length:,}",
        "fresh-seeds": seeds_text(outcomes.part("language").fresh),
        "target": f"{target(outcomes):.2f}",
        "batch-sizes": ", ".join(map(str, by_batch_size(outcomes, ROOT))),
    }


def language(outcomes: Outcomes) -> dict[str, str]:
    task = outcomes.part("language")
    own = {arm: task.arm(arm) for arm in task.arms}
    fresh = {arm: runs.fresh for arm, runs in own.items()}
    texts: dict[str, str] = {}
    if "adam+decay" in fresh:
        gap = fresh["micro_adam+decay"].gap(fresh["adam+decay"])
        texts |= {"decay": f"{DECAY:g}", "decay-gap": gap_text(gap, own["micro_adam+decay"], own["adam+decay"])}
    for arm, choice in task.choices().items():
        texts[f"{arm}/loss"] = end_text(own[arm]) if own[arm].ran else ""
        texts[f"{arm}/lr"] = rate(choice.best)
        if arm != ADAM.name:
            texts[f"{arm}/gap"] = gap_text(fresh[arm].gap(fresh[ADAM.name]), own[arm], own[ADAM.name])
    means = {arm: mean.estimate for arm, runs in fresh.items() if ARMS[arm].plain and (mean := runs.mean())}
    texts["order"] = ", ".join(ARMS[arm].label for arm in sorted(means, key=means.__getitem__))
    if "micro_adam_msq" in fresh:
        curves = [run.curves["clipped_share"].y for run in fresh["micro_adam_msq"] if "clipped_share" in run.curves]
        texts["clipped"] = rf"{100 * fmean(map(fmean, curves)):.1f}\,\%" if curves else ""
    return texts


def images(outcomes: Outcomes) -> dict[str, str]:
    task = outcomes.part("images")
    if not len(task):
        return {}
    adam = task.arm(ADAM.name)
    spec = adam.records[0].spec
    texts = {
        "images/data": str(spec.problem.options["images"]),
        "images/parameters": f"{adam.parameters:,}",
        "images/batch": str(spec.batch_size),
        "images/steps": f"{spec.steps:,}",
    }
    others = [arm for arm in task.arms if arm != ADAM.name]
    gaps = {arm: gap_text(task.fresh.arm(arm).gap(adam.fresh), task.arm(arm), adam) for arm in others}
    return texts | {f"images/{arm}/gap": text for arm, text in gaps.items()}


def split(outcomes: Outcomes) -> dict[str, str]:
    rules = [rule for rule in RULES.values() if len(outcomes.part("scaling").arm(rule.name))]
    spreads = {f"{rule.exponent:g}": spread_interval(outcomes, rule) for rule in rules}
    texts = {f"spread/{power}": interval_text(spread, "no finite spread") for power, spread in spreads.items()}
    texts["by-rule"] = "the spread, largest minus smallest loss over batch sizes averaged over the axis"
    if tuned_elsewhere(outcomes):
        texts["by-rule"] = "each rule's regret to the rate tuned at each other batch size"
        lost = {f"{rule.exponent:g}": regret_interval(outcomes, rule) for rule in rules}
        texts |= {f"regret/{power}": interval_text(regret, "no finite regret") for power, regret in lost.items()}
    if of_size := shares(outcomes):
        own, largest = outcomes.part("language").records[0].spec.batch_size, max(of_size)
        texts["share-own"] = significant(of_size[own], 2)
        texts["share-largest"] = significant(of_size[largest], 2)
        texts["largest-batch"] = str(largest)
    return texts
