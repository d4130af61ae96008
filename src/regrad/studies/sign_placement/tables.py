"""Tables and numbers of the study of where the sign goes: records in, data frame or texts out."""

from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from regrad.report.style import method
from regrad.report.tables import significant, with_interval
from regrad.results import Record, rows
from regrad.statistics.intervals import Interval, paired_interval
from regrad.statistics.tuning import choose
from regrad.studies.sign_placement.figures import arms, fresh, predicted_snr


def rate(chosen: float | None) -> str:
    """Return a learning rate as tables print it, "none" where every one diverged."""
    return "none" if chosen is None else significant(chosen, 2)


def losses(records: Sequence[Record], arm: str) -> dict[int, float]:
    """Return an arm's test loss by fresh seed; diverged runs are left out, and counted elsewhere."""
    return {r.spec.seed: r.metrics["test_loss"] for r in fresh(records, arm) if not r.diverged}


def gap(records: Sequence[Record], arm: str) -> Interval | None:
    """Return the paired interval of an arm's test loss less ``ema``'s, None without a shared seed."""
    mine, reference = losses(records, arm), losses(records, "ema")
    shared = sorted(set(mine) & set(reference))
    return paired_interval([mine[s] - reference[s] for s in shared]) if shared else None


def predictions(records: Sequence[Record]) -> dict[str, float]:
    """Return each arm's predicted signal-to-noise ratio, averaged over seeds."""
    scores = [predicted_snr(r) for r in fresh(records, "ema") if not r.diverged]
    return {arm: fmean(s[arm] for s in scores) for arm in scores[0]} if scores else {}


def results_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return each arm's outcome: learning rate, test loss, difference to ``ema``, prediction, divergences."""
    best, predicted = choose(rows(list(records), "validation_loss", "tune")), predictions(records)
    lines = []
    for arm in arms(records):
        values, difference = losses(records, arm), gap(records, arm)
        mean = paired_interval(list(values.values())) if values else None
        chosen = best[arm].best
        lines.append(
            {
                "placement": method(arm)["label"],
                "LR": rate(chosen),
                "test loss [95 %]": with_interval(mean.estimate, mean.low, mean.high) if mean else "diverged",
                "minus EMA [95 %]": "" if arm == "ema" or difference is None
                else with_interval(difference.estimate, difference.low, difference.high),
                "SNR": significant(predicted[arm]) if arm in predicted else "",
                "div.": f"{sum(r.diverged for r in fresh(records, arm))}/{len(fresh(records, arm))}",
            }
        )  # fmt: skip
    return pd.DataFrame(lines)


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return the tuning of each arm: grid, trials, chosen rate, whether it lies on an edge, divergences."""
    choices = choose(rows(list(records), "validation_loss", "tune"))
    return pd.DataFrame(
        {
            "placement": method(arm)["label"],
            "lowest LR": significant(min(choices[arm].means), 2),
            "highest LR": significant(max(choices[arm].means), 2),
            "decades": f"{choices[arm].decades:.2f}",
            "trials": choices[arm].trials,
            "best LR": rate(choices[arm].best),
            "on edge": choices[arm].edge or "no",
            "div.": sum(choices[arm].diverged.values()),
        }
        for arm in arms(records)
    )


def numbers(records: Sequence[Record]) -> dict[str, str]:
    """Return what the prose cites, by key."""
    fresh_ema = fresh(records, "ema")
    spec = records[0].spec
    length = int(str(spec.problem.options["sequence_length"]))
    best, predicted = choose(rows(list(records), "validation_loss", "tune")), predictions(records)
    found = {
        "sign/parameters": f"{records[0].parameters:,}",
        "sign/momentum": str(spec.optimizer.options["momentum"]),
        "sign/batch": str(spec.batch_size),
        "sign/length": str(length),
        "sign/steps": f"{spec.steps:,}",
        "sign/tokens": f"{spec.steps * spec.batch_size * length:,}",
        "sign/runs": str(len({r.run_id for r in records})),
        "sign/fresh-seeds": str(len(fresh_ema)),
        "sign/diverged": str(sum(r.diverged for r in {r.run_id: r for r in records}.values())),
        "sign/edges": str(sum(choice.edge is not None for choice in best.values())),
    }
    order = sorted(predicted, key=lambda arm: -predicted[arm])
    found["sign/predicted-order"] = " $>$ ".join(
        method(arm)["label"].removeprefix("sign of ") for arm in order
    )
    ended = [arm for arm in arms(records) if losses(records, arm)]
    ended.sort(key=lambda arm: fmean(losses(records, arm).values()))
    found["sign/observed-order"] = ", ".join(method(arm)["label"].removeprefix("sign of ") for arm in ended)
    for arm in ended:
        mean = paired_interval(list(losses(records, arm).values()))
        found[f"sign/{arm}/loss"] = f"{mean.estimate:.3f}"
        found[f"sign/{arm}/lr"] = rate(best[arm].best)
        difference = gap(records, arm)
        if difference is not None and arm != "ema":
            found[f"sign/{arm}/gap"] = with_interval(difference.estimate, difference.low, difference.high)
    return found
