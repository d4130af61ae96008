"""A predicted order of arms against the observed one.

For each seed, Kendall's τ between the prediction (higher is better) and how the arms ended; its mean over
seeds has a Student-t interval. Seeds share one network and one argument, so they are not independent evidence
about the order: the p-value is that of Kendall's exact test on the arms' mean ranks, k arms giving 2/k! at
best. Reproduced: interval beyond 0, p < .05, and not a tie with chance. Not reproduced: the interval is
beyond 0 on the other side, τ is inside ±margin, or the arm predicted best ends worse than another by more
than ``top_margin``.
"""

import math
from dataclasses import replace

import numpy as np
from scipy import stats

from regrad.report.ledger.kinds.outcome import ALPHA, INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Outcome, figures
from regrad.report.ledger.kinds.rows import Rows, by_seed, diverged_runs, select, shared_seeds
from regrad.report.ledger.schema import Prediction
from regrad.statistics.intervals import Interval, equivalence_p, holm, paired_interval, paired_p
from regrad.statistics.pairs import pair_gains, sign_p


def prediction(test: Prediction, rows: Rows) -> Outcome:
    """Decide whether the predicted order is the observed one; rows carry both metrics."""
    kept = select(rows, test.metric, test.ladder)
    observed = by_seed(kept, test.better)
    predicted = by_seed(select(rows, test.prediction, test.ladder), "higher")
    seeds = [s for s in shared_seeds(observed, test.ladder) if s in shared_seeds(predicted, test.ladder)]
    sign = -1 if test.better == "lower" else 1
    ends = np.array([[observed[arm][seed] for arm in test.ladder] for seed in seeds])
    scores = np.array([[predicted[arm][seed] for arm in test.ladder] for seed in seeds])
    outcome = Outcome(INCONCLUSIVE, "", "predicted against observed order", test.metric, test.unit)
    if len(seeds) == 0:
        return replace(outcome, why="no seed has both the prediction and the outcome of every arm")
    taus = np.array([agreement(score, sign * end) for score, end in zip(scores, ends, strict=True)])
    interval = paired_interval(taus)
    p = agreement_p(scores, sign * ends)
    outcome = replace(
        outcome,
        estimate=interval.estimate,
        low=max(-1.0, interval.low),
        high=min(1.0, interval.high),
        n=interval.n,
        p=p,
        diverged=diverged_runs(kept, test.ladder),
    )
    # Of the mean ranks, since one seed's noise must not name the arm that the whole claim is about.
    top = _ranks(scores).argmax()
    loser, loss_p = top_loses(test, ends, int(top))
    beaten = f", {loser} ends better" if loss_p < ALPHA else ""
    verdict, reason, by_p = _decide(test, interval, (taus, p, loss_p))
    note = f"predicted best is {test.ladder[top]}{beaten}"
    return replace(outcome, verdict=verdict, by_p=by_p, why=f"agreement {figures(outcome)}: {reason}; {note}")


def agreement(scores: np.ndarray, goodness: np.ndarray) -> float:
    """Return Kendall's τ-b of two vectors [k]; 0 where one of them is constant and orders nothing."""
    tau = float(stats.kendalltau(scores, goodness).statistic)
    return 0.0 if math.isnan(tau) else tau


def agreement_p(scores: np.ndarray, goodness: np.ndarray) -> float:
    """Return the two-sided p-value of Kendall's test on mean ranks over seeds ([n, k] each)."""
    p = float(stats.kendalltau(_ranks(scores), _ranks(goodness)).pvalue)
    return 1.0 if math.isnan(p) else p


def top_loses(test: Prediction, ends: np.ndarray, top: int) -> tuple[str, float]:
    """Return the arm that most nearly beats the one predicted best by more than the margin, with Holm's p."""
    p_values: dict[str, float | None] = {}
    for j, arm in enumerate(test.ladder):
        if j != top:
            pairs = pair_gains(ends[:, top], ends[:, j], test.better)
            # A t-test has no place for an infinite loss; the sign test needs its sign only.
            infinite = pairs.favourable + pairs.unfavourable + pairs.both
            lost = sign_p(pairs, "less", test.top_margin)
            p_values[arm] = lost if infinite else paired_p(pairs.finite, -test.top_margin, "less")
    adjusted = {arm: p for arm, p in holm(p_values).items() if p is not None}
    closest = min(adjusted, key=lambda arm: adjusted[arm])
    return closest, adjusted[closest]


def _ranks(values: np.ndarray) -> np.ndarray:
    return stats.rankdata(values, axis=1).mean(axis=0)


def _decide(
    test: Prediction, interval: Interval, evidence: tuple[np.ndarray, float, float]
) -> tuple[str, str, bool]:
    taus, p, loss_p = evidence
    if loss_p < ALPHA:
        return NOT_REPRODUCED, "the arm predicted best ends worse than another by more than the margin", False
    if equivalence_p(taus, test.margin) < ALPHA:
        return NOT_REPRODUCED, "agreement no better than chance within the margin", False
    if interval.high < 0 and p < ALPHA:
        return NOT_REPRODUCED, "the observed order is against the predicted one", True
    if interval.low > 0 and p < ALPHA:
        return REPRODUCED, "the observed order agrees with the predicted one", True
    return INCONCLUSIVE, "the agreement is not told apart from chance", True
