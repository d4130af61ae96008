"""How often verdicts err, by simulated studies: a few in every run, 10,000 of each in the slow suite.

The p-values of all studies come from one vectorised call each, whose agreement with the ledger's own is a test; what
is made of them is the ledger's own code.
"""

import numpy as np
import pytest
from scipy import stats

from regrad.claims.evaluate import Verdict, adjust, evaluate
from regrad.claims.kinds import judgement, trend
from regrad.claims.kinds.finding import Finding, Level, conclude
from regrad.claims.kinds.judgement import judge
from regrad.claims.kinds.outcome import Outcome
from regrad.claims.schema import Claim
from regrad.statistics.intervals import paired_interval
from regrad.statistics.pairs import pair_gains
from regrad.statistics.sequential import DESIGN

STUDIES = [pytest.param(200, id="200"), pytest.param(10_000, id="10000", marks=pytest.mark.slow)]
ABOUT = {"preset": "small", "device": "cpu"}


@pytest.fixture(autouse=True)
def no_plans(monkeypatch):
    """How many seeds an open claim would need is most of the time of a verdict, and no part of it."""
    for module in (judgement, trend):
        monkeypatch.setattr(module, "pairs_needed", lambda *_: None)


def claim(test, name="T"):
    words = dict.fromkeys(["paper", "sentence", "quotation", "place", "study", "falsified"], "x")
    held = {"metric": "loss", "unit": "nats", "direction": "lower"}
    return Claim(id=name, source="primary", presets={"small": 2}, test=[held | test], **words)


def sides(p, estimate):
    return np.where(estimate > 0, p, 1.0), np.where(estimate < 0, p, 1.0)


def p_values(gains, margin):
    """Supports, opposes and short of gains [..., n], as ``judge`` has them."""
    supports, opposes = sides(stats.ttest_1samp(gains, 0, axis=-1).pvalue, gains.mean(axis=-1))
    below = stats.ttest_1samp(gains, margin, axis=-1, alternative="less").pvalue
    return supports, opposes, np.minimum(1.0, 2 * below)


def verdicts(gains, margin, level=Level()):  # noqa: B008 (frozen)
    """Verdict of each study of gains [studies, comparisons, n]: all must hold."""
    found = np.stack(p_values(gains, margin), axis=-1)
    empty = Outcome("inconclusive", "")
    return [conclude([Finding(empty, *p) for p in study], level, len(study)).verdict for study in found.tolist()]


def share(found, *words):
    return sum(verdict in words for verdict in found) / len(found)


def allowed(studies, level=0.05):
    """The level, and three standard errors of so many studies."""
    return level + 3 * np.sqrt(level * (1 - level) / studies)


def rows(table, metric="loss"):
    about = {"metric": metric, "diverged": False}
    return [about | {"arm": a, "seed": s, "value": v} for a, vs in table.items() for s, v in enumerate(vs)]


def test_the_vectorised_tests_are_the_ledgers():
    gains = np.random.default_rng(0).normal(0.3, 1, size=(20, 6))
    for k, own in enumerate(judge(pair_gains(-one, 0 * one), 0.8) for one in gains):
        assert [float(p[k]) for p in p_values(gains, 0.8)] == pytest.approx([own.supports, own.opposes, own.short])


@pytest.mark.parametrize("studies", STUDIES)
@pytest.mark.parametrize("several", [1, 2, 4, 8])
@pytest.mark.parametrize("margin", [1e-9, 1.5])
def test_no_gain_is_seldom_called_one_and_one_of_the_margin_seldom_ruled_out(studies, several, margin):
    draws = np.random.default_rng(several).normal(size=(studies, several, 5))
    assert share(verdicts(draws, margin), "reproduced") <= allowed(studies, 0.025)
    assert share(verdicts(draws + margin, margin), "not reproduced") <= allowed(studies, 0.025)


@pytest.mark.parametrize("studies", STUDIES)
@pytest.mark.parametrize("margin", [1e-9, 0.5])
def test_all_looks_together_err_no_more_often_than_one(studies, margin):
    def stopped(draws):
        looks = [
            verdicts(draws[:, None, :n], margin, Level(DESIGN.level(look, 1), DESIGN.alphas[look]))
            for look, n in enumerate(DESIGN.ns)
        ]
        return [next((v for v in own if v != "inconclusive"), "inconclusive") for own in zip(*looks, strict=True)]

    draws = np.random.default_rng(6).normal(size=(studies, DESIGN.ns[-1]))
    assert share(stopped(draws), "reproduced") <= allowed(studies, 0.025)
    assert share(stopped(draws + margin), "not reproduced") <= allowed(studies, 0.025)


@pytest.mark.parametrize("studies", STUDIES)
@pytest.mark.parametrize("spread", [0.2, 0.6, 1.1, 2.0])
@pytest.mark.parametrize(("family", "seeds"), [(8, 5), (16, 20)])
def test_a_family_seldom_holds_a_false_gain_although_shortfalls_stand(studies, spread, family, seeds):
    claims = [
        claim({"kind": "paired", "metric": f"m{k}", "margin": 1.0, "treatment": ["new"], "control": ["old"]}, f"T{k}")
        for k in range(family)
    ]
    found = np.stack(p_values(spread * np.random.default_rng(7).normal(size=(studies, family, seeds)), 1.0), axis=-1)
    wrong = 0
    for study in found.tolist():
        outcomes = [conclude([Finding(Outcome("inconclusive", ""), *p)], Level(), 1) for p in study]
        made = [Verdict(c, o.verdict, o, (o,), o.why, "small", "cpu") for c, o in zip(claims, outcomes, strict=True)]
        wrong += any(v.verdict == "reproduced" for v in made) and any(v.verdict == "reproduced" for v in adjust(made))
    assert wrong / studies <= allowed(studies, 0.025)


@pytest.mark.parametrize("studies", STUDIES)
def test_a_flat_ladder_is_seldom_a_trend(studies):
    made = claim({"kind": "trend", "margin": 1e-9, "ladder": list("abc")})
    draws = np.random.default_rng(1).normal(size=(studies, 3, 5))
    found = [evaluate(made, rows(dict(zip("abc", one, strict=True))), **ABOUT).verdict for one in draws]
    assert share(found, "reproduced") <= allowed(studies, 0.025)


@pytest.mark.parametrize("studies", STUDIES)
def test_a_falling_ladder_of_equal_steps_is_seldom_refuted(studies):
    made = claim({"kind": "trend", "margin": 0.5, "ladder": list("abc")})
    draws = np.random.default_rng(8).normal(size=(studies, 3, 5)) - 0.3 * np.arange(3)[:, None]
    found = [evaluate(made, rows(dict(zip("abc", one, strict=True))), **ABOUT).verdict for one in draws]
    assert share(found, "not reproduced") <= allowed(studies)


@pytest.mark.parametrize("studies", STUDIES)
def test_equal_rates_are_seldom_called_different(studies):
    """Six runs a seed at rates around an optimum, of which an unlucky seed loses more."""
    made = claim({"kind": "rate", "margin": 1e-9, "treatment": ["new"], "control": ["old"]})
    random = np.random.default_rng(2)
    counts = random.binomial(6, random.beta(1, 2, size=(studies, 2, 5)))
    row = {"metric": "loss", "value": None}
    found = [
        evaluate(
            made,
            [
                row | {"arm": arm, "seed": seed, "diverged": run < lost}
                for arm, of_arm in zip(("new", "old"), study, strict=True)
                for seed, lost in enumerate(of_arm)
                for run in range(6)
            ],
            **ABOUT,
        ).verdict
        for study in counts
    ]
    assert share(found, "reproduced", "not reproduced") <= allowed(studies)


@pytest.mark.parametrize("studies", STUDIES)
def test_equal_spreads_are_seldom_called_different(studies):
    # A spread is the range over batch sizes; the rest is the paired rule.
    draws = np.random.default_rng(3).normal(size=(studies, 2, 5, 3))
    ranges = draws.max(axis=-1) - draws.min(axis=-1)
    assert share(verdicts(ranges[:, :1] - ranges[:, 1:], 1e-9), "reproduced", "not reproduced") <= allowed(studies)


@pytest.mark.parametrize("studies", STUDIES)
def test_runs_that_fail_at_random_in_either_arm_are_seldom_a_difference(studies):
    generator = np.random.default_rng(4)
    values = np.where(generator.random((studies, 2, 8)) < 0.2, np.inf, generator.normal(size=(studies, 2, 8)))
    found = (judge(pair_gains(new, old), 1e-9) for new, old in values)
    assert sum(min(one.supports, one.opposes) < 0.05 for one in found) / studies <= allowed(studies)


@pytest.mark.parametrize("studies", STUDIES)
@pytest.mark.parametrize("n", [5, 10])
def test_intervals_cover_at_least_94_percent(studies, n):
    draws = np.random.default_rng(n).normal(0.3, 1, size=(studies, n))
    covered = np.mean([i.low <= 0.3 <= i.high for i in map(paired_interval, draws)])
    assert covered >= 0.94 - 0.05 * (studies < 10_000)
