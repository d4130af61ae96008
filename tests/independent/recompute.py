"""Recomputes paired comparisons of the ledger from published records, with nothing of this package.

For each verdict whose deciding comparison reads one final number a run, the runs are looked up by name, gains are taken
seed by seed, and estimate, 95 % interval and p-value follow from textbook formulas; where a run failed, p is counted
over all signs.

    python tests/independent/recompute.py results/reference/medium-cpu
"""

import itertools
import json
import lzma
import math
import sys
from pathlib import Path

import numpy as np
from scipy import special

DIRECT = ("test_loss", "test_accuracy")  # what a record has as a final number


def read(folder):
    """Return name to record of a published set."""
    records = {}
    for path in sorted((folder / "runs").glob("*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if record := json.loads(line).get("record"):
                    records[record["run_id"]] = record
    return records


def value(record, metric):
    """Return a run's final number; infinitely bad where it diverged or ended above its untrained model."""
    curve = record["curves"].get("validation_loss", {"y": []})["y"]
    if record["status"] != "finished" or (len(curve) > 1 and curve[-1] > curve[0]) or metric not in record["metrics"]:
        return math.inf if metric == "test_loss" else -math.inf
    return record["metrics"][metric]


def differences(verdict, test, records):
    """Return treatment minus control at shared seeds; nan where both failed."""
    metric, (treatment, control) = test["metric"].partition("/")[0], verdict["arms"]
    runs = verdict["runs"]
    seeds = sorted(set(runs[treatment]) & set(runs[control]), key=int)
    unit = 100.0 if metric == "test_accuracy" and verdict["unit"] == "points" else 1.0
    pairs = []
    for seed in seeds:
        (first,), (second,) = runs[treatment][seed], runs[control][seed]
        with np.errstate(invalid="ignore"):
            pairs.append(unit * value(records[first], metric) - unit * value(records[second], metric))
    return np.array(pairs)


def interval(d):
    """Return mean and 95 % Student interval."""
    half = special.stdtrit(len(d) - 1, 0.975) * d.std(ddof=1) / math.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


def t_p(d):
    """Return the two-sided p of the paired t-test."""
    return 2 * special.stdtr(len(d) - 1, -abs(d.mean()) / (d.std(ddof=1) / math.sqrt(len(d))))


def short_p(gains, margin):
    """Return the p of the t-test that the mean gain is below the margin, twice the one-sided one."""
    error = gains.std(ddof=1) / math.sqrt(len(gains))
    return min(1.0, 2 * special.stdtr(len(gains) - 1, (gains.mean() - margin) / error))


def sign_flip_p(gains):
    """Return the one-sided p that gains are above 0, over all signs; ties against it, zeros too."""
    order = sorted(range(len(gains)), key=lambda k: (abs(gains[k]), gains[k] <= 0))
    ranks = {k: rank for rank, k in enumerate(order, start=1)}
    seen = sum(ranks[k] for k in ranks if gains[k] > 0)
    sums = [sum(c) for c in itertools.product(*((0, rank) for rank in ranks.values()))]
    return sum(s >= seen for s in sums) / len(sums)


def recompute(verdict, test, records):
    """Return estimate and interval, and the p-values that the printed one can be: times the claim's comparisons."""
    d = differences(verdict, test, records)
    finite, sign = d[np.isfinite(d)], -1 if test["direction"] == "lower" else 1
    figures = interval(finite) if len(finite) > 1 else (None, None, None)
    if len(finite) < len(d):
        gains = sign * np.nan_to_num(d, nan=0.0, posinf=math.inf, neginf=-math.inf)
        gains[np.abs(gains) <= test["margin"]] = 0.0
        lacks = test["margin"] - sign * np.nan_to_num(d, nan=sign * math.inf, posinf=math.inf, neginf=-math.inf)
        supports, opposes, short = (min(1.0, 2 * sign_flip_p(side)) for side in (gains, -gains, lacks))
        return figures, {"supports": supports, "opposes": opposes, "short": short}
    p, supported = t_p(d), sign * d.mean() > 0
    sides = {"supports": p if supported else 1.0, "opposes": 1.0 if supported else p}
    return figures, sides | {"short": short_p(sign * d, test["margin"])}


def printed(verdict, p_values):
    """Return the p that a verdict rests on, corrected for the claim's comparisons where one was enough."""
    if verdict["verdict"] == "not reproduced":
        side = "opposes" if verdict["by_p"] else "short"
    else:
        side = (
            "opposes"
            if verdict["comparisons"] > 1 or math.isclose(p_values["opposes"], verdict["p"], rel_tol=1e-9)
            else "supports"
        )
    return min(1.0, p_values[side] * max(1, verdict["comparisons"]))


def comparisons(folder):
    """Yield verdict and figures of each paired comparison that can be recomputed."""
    records = read(folder)
    for verdict in json.loads((folder / "claims.json").read_text(encoding="utf-8"))["claims"]:
        test = verdict["test"]
        if (
            test["kind"] == "paired"
            and test["metric"].partition("/")[0] in DIRECT
            and len(verdict.get("runs", {})) == 2
        ):
            yield verdict, recompute(verdict, test, records)


if __name__ == "__main__":
    for verdict, (figures, p_values) in comparisons(Path(sys.argv[1])):
        sys.stdout.write(f"{verdict['id']} {verdict['comparison']} {figures} p = {printed(verdict, p_values)}\n")
