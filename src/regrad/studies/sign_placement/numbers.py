"""What the prose cites of the study of where the sign goes."""

from collections.abc import Sequence
from statistics import fmean

from regrad.report.budgets import budget_numbers, budgets
from regrad.report.outcomes import Outcomes
from regrad.report.tables import interval_text, seeds_text
from regrad.report.tuning import rate
from regrad.results import Record
from regrad.studies.sign_placement.arms import ARMS, HEADLINE, REFERENCE, SignArm, arms_of
from regrad.studies.sign_placement.noise import mean_predicted_snr


def numbers(records: Sequence[Record]) -> dict[str, str]:
    if not records:
        return {}
    outcomes = Outcomes(records)
    choices, snr = outcomes.choices(), mean_predicted_snr(records)
    spec = records[0].spec
    length = int(str(spec.problem.options["sequence_length"]))
    losses = {arm.name: outcomes.arm(arm.name).fresh.ends() for arm in arms_of(records)}
    ended = sorted((arm for arm in losses if losses[arm]), key=lambda arm: fmean(losses[arm].values()))
    values = {
        "parameters": f"{outcomes.parameters:,}",
        "momentum": str(spec.optimizer.options["momentum"]),
        "batch": str(spec.batch_size),
        "length": str(length),
        "steps": f"{spec.steps:,}",
        "tokens": f"{spec.steps * spec.batch_size * length:,}",
        "runs": str(len(outcomes)),
        "fresh-seeds": seeds_text(outcomes.part("language").fresh),
        "diverged": str(outcomes.diverged),
        "edges": str(sum(choice.edge is not None for choice in choices.values())),
        "predicted-order": " $>$ ".join(ARMS[arm].signed for arm in sorted(snr, key=lambda arm: -snr[arm])),
        "observed-order": ", ".join(ARMS[arm].signed for arm in ended),
    }
    for arm in ended:
        values[f"{arm}/lr"] = rate(choices[arm].best)
        values |= {f"{arm}/{key}": text for key, text in _losses(outcomes, ARMS[arm]).items()}
    others = [arm for arm in HEADLINE if arm != REFERENCE.name]
    values |= budget_numbers(budgets(outcomes, "language"), others, REFERENCE.name)
    return {f"sign/{key}": text for key, text in values.items()}


def _losses(outcomes: Outcomes, arm: SignArm) -> dict[str, str]:
    runs, reference = outcomes.arm(arm.name).fresh, outcomes.arm(REFERENCE.name).fresh
    texts = {"loss": f"{mean.estimate:.3f}"} if (mean := runs.mean()) is not None else {}
    if arm != REFERENCE and (gap := runs.gap(reference)) is not None:
        texts["gap"] = interval_text(gap)
    return texts
