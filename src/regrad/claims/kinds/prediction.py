"""A predicted order of arms against the observed one.

For each seed, Kendall's τ between the prediction (higher is better) and how the arms ended; its mean over
seeds has a Student-t interval. Seeds share one network and one argument, so they are not independent evidence
about the order: the p-value is that of Kendall's exact test on the arms' mean ranks, k arms giving 2/k! at
best. That an agreement falls short of the margin is said of this network alone, over its seeds. Reproduced: interval
beyond 0, p < .05, and no shortfall. Not reproduced: the interval is beyond 0 on the other side, a mean τ as large as
the margin is ruled out, or the arm predicted best ends worse than another by more than ``top_margin``.
"""

import math
from dataclasses import replace

import numpy as np
from scipy import stats

from regrad.claims.kinds.finding import REASONS, Finding, two_sided
from regrad.claims.kinds.judgement import beyond_p, short_p, sized
from regrad.claims.kinds.outcome import INCONCLUSIVE, Outcome
from regrad.claims.kinds.rows import Rows, by_seed, diverged_runs, select, shared_seeds
from regrad.claims.schema import Prediction
from regrad.statistics.intervals import holm, paired_interval, paired_p
from regrad.statistics.pairs import pair_gains

WORDS = REASONS | {
    "for": "the observed order agrees with the predicted one",
    "against": "the observed order is against the predicted one",
    "short": "an agreement better than chance by the margin is ruled out",
    "open": "the agreement is not told apart from chance",
}


def prediction(test: Prediction, rows: Rows) -> list[Finding]:
    """Ask whether the predicted order is the observed one; rows carry both metrics."""
    kept = select(rows, test.metric, test.ladder)
    observed = by_seed(kept, test.better)
    predicted = by_seed(select(rows, test.prediction, test.ladder), "higher")
    seeds = [s for s in shared_seeds(observed, test.ladder) if s in shared_seeds(predicted, test.ladder)]
    sign = -1 if test.better == "lower" else 1
    ends = np.array([[observed[arm][seed] for arm in test.ladder] for seed in seeds])
    scores = np.array([[predicted[arm][seed] for arm in test.ladder] for seed in seeds])
    outcome = Outcome(INCONCLUSIVE, "", "predicted against observed order", test.ladder, test.metric, test.unit)
    if len(seeds) == 0:
        return [Finding(outcome, note=": no seed has both the prediction and the outcome of every arm")]
    taus = np.array([agreement(score, sign * end) for score, end in zip(scores, ends, strict=True)])
    outcome = replace(sized(outcome, taus, "higher"), diverged=diverged_runs(kept, test.ladder))
    low, high = (-1.0, 1.0) if outcome.low is None or outcome.high is None else (outcome.low, outcome.high)
    outcome = replace(outcome, low=max(-1.0, low), high=min(1.0, high), ends=None)
    # Of the mean ranks, since one seed's noise must not name the arm that the whole claim is about.
    top = int(_ranks(scores).argmax())
    loser, loss_p = top_loses(test, ends, top)
    supports, opposes = two_sided(order_p(scores, sign * ends, taus), float(taus.mean()))
    reasons = WORDS
    if loss_p < opposes:
        opposes = loss_p
        reasons = WORDS | {"against": "the arm predicted best ends worse than another by more than the margin"}
    note = f" (predicted best is {test.ladder[top]}; nearest to ending better by more than the margin is {loser})"
    return [Finding(outcome, supports, opposes, short_p(taus, test.margin), note=note, reasons=reasons)]


def agreement(scores: np.ndarray, goodness: np.ndarray) -> float:
    """Return Kendall's τ-b of two vectors [k]; 0 where one of them is constant and orders nothing."""
    tau = float(stats.kendalltau(scores, goodness).statistic)
    return 0.0 if math.isnan(tau) else tau


def agreement_p(scores: np.ndarray, goodness: np.ndarray) -> float:
    """Return the two-sided p-value of Kendall's test on mean ranks over seeds ([n, k] each)."""
    p = float(stats.kendalltau(_ranks(scores), _ranks(goodness)).pvalue)
    return 1.0 if math.isnan(p) else p


def order_p(scores: np.ndarray, goodness: np.ndarray, taus: np.ndarray) -> float:
    """Return the p of the order, and where the interval over seeds holds 0 at least that of the t-test of τ."""
    interval, p = paired_interval(taus), agreement_p(scores, goodness)
    return max(p, paired_p(taus)) if interval.low <= 0 <= interval.high else p


def top_loses(test: Prediction, ends: np.ndarray, top: int) -> tuple[str, float]:
    """Return the arm that most nearly beats the one predicted best by more than the margin, with its p.

    Corrected by Holm over the arms, and twice the one-sided p, as for every refutation.
    """
    p_values: dict[str, float | None] = {
        arm: beyond_p(pair_gains(ends[:, top], ends[:, j], test.better), test.top_margin)
        for j, arm in enumerate(test.ladder)
        if j != top
    }
    adjusted = {arm: p for arm, p in holm(p_values).items() if p is not None}
    closest = min(adjusted, key=lambda arm: adjusted[arm])
    return closest, min(1.0, 2 * adjusted[closest])


def _ranks(values: np.ndarray) -> np.ndarray:
    return stats.rankdata(values, axis=1).mean(axis=0)
