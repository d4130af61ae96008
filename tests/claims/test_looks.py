"""Looks: a claim stops where it is decided, and only open claims ask for more seeds."""

import pytest

import tiny_runs
from asking import asked
from regrad.claims.looks import awaited, judge_all
from regrad.claims.schema import Claim
from regrad.claims.verdicts import scale_label, sources
from regrad.results import Part, run_id
from regrad.statistics.sequential import DESIGN, Looks, single

ABOUT = {"preset": "medium", "device": "cpu"}
NOISE = (0.1, -1.0, 1.2, -0.6, 0.4, 0.2, -0.8, 0.9, -0.3, 0.5)


def claim(name, **fields):
    words = dict.fromkeys(["paper", "sentence", "quotation", "place", "study", "falsified"], "x")
    test = {
        "kind": "paired", "metric": name, "unit": "nats", "direction": "lower", "margin": 0.1,
        "treatment": ["new"], "control": ["old"],
    }  # fmt: skip
    return Claim(**{"id": name, "source": "primary", "presets": {"medium": 10}, "test": [test]} | words | fields)


def records(seeds):
    """Ten seeds of two arms whose losses are in the rows' function."""
    made = []
    for arm, seed in [(arm, seed) for arm in ("new", "old") for seed in range(seeds)]:
        spec = tiny_runs.spec(
            seed=seed, optimizer=Part(name="sgd", options={"lr": 0.1 if arm == "new" else 0.2}),
            tags={"part": "main", "arm": arm, "phase": "fresh"},
        )  # fmt: skip
        made.append(tiny_runs.record(spec, run_id=run_id(spec, tiny_runs.FINGERPRINT)))
    return made


def rows_of(effects):
    """Metric to (gain, spread) of ``new``, made from whichever records there are."""

    def claim_rows(some):
        return [
            {"arm": arm, "seed": seed, "metric": metric, "diverged": False, "runs": (("main", arm),)}
            | {"value": -(gain + spread * NOISE[seed]) if arm == "new" else 0.0}
            for metric, (gain, spread) in effects.items()
            for arm, seed in ((r.spec.tags["arm"], r.spec.seed) for r in some)
        ]

    return claim_rows


EFFECTS = {"clear": (1.0, 0.05), "tie": (0.0, 0.02), "open": (1.0, 1.0), "noisy": (0.1, 3.0)}
CLAIMS = [claim(name) for name in EFFECTS]


def test_a_claim_stops_at_the_look_that_decides_it():
    found = {v.claim.id: v for v in judge_all(CLAIMS, rows_of(EFFECTS), records(10), DESIGN, **ABOUT)}
    assert {name: v.at.n for name, v in found.items()} == {"clear": 5, "tie": 5, "open": 10, "noisy": 5}
    assert [found[name].verdict for name in EFFECTS] == ["reproduced", "not reproduced", "reproduced", "inconclusive"]
    assert (found["clear"].outcome.n, found["open"].outcome.n) == (5, 10)
    assert "too noisy: more than 30 pairs" in found["noisy"].why
    # A look's p enters the family on the scale of 5 %.
    assert found["clear"].p_holm == pytest.approx(4 * found["clear"].outcome.p * 0.05 / 0.0051)


@pytest.mark.parametrize("seeds", [5, 7])
def test_a_claim_whose_next_seeds_have_not_all_run_stays_as_the_first_look_left_it(seeds):
    found = {v.claim.id: v for v in judge_all(CLAIMS, rows_of(EFFECTS), records(seeds), DESIGN, **ABOUT)}
    assert {name: v.at.n for name, v in found.items()} == dict.fromkeys(EFFECTS, 5)
    assert [found[name].verdict for name in EFFECTS] == ["reproduced", "not reproduced", "inconclusive", "inconclusive"]
    assert [name for name, v in found.items() if "next look's seeds have not all run" in v.why] == ["open"]


def test_seeds_are_counted_whatever_their_phase_is_called():
    around = [
        record.model_copy(update={"spec": record.spec.model_copy(update={"tags": record.spec.tags | {"phase": phase}})})
        for record in records(5)
        for phase in ("around", "at the optimum")
    ]
    [found] = judge_all([claim("open")], rows_of(EFFECTS), around[::2], DESIGN, **ABOUT)
    assert (found.at.n, found.why.endswith("the next look's seeds have not all run")) == (5, True)
    rows = rows_of({"open": EFFECTS["open"]})(around[::2])
    assert awaited(claim("open"), rows, around, 10)  # ten runs an arm, of five seeds
    # A claim that asks for no more is judged at the last look, on those that it has.
    [few] = judge_all([claim("open", presets={"medium": 5})], rows_of(EFFECTS), around[::2], DESIGN, **ABOUT)
    assert (few.at.n, few.outcome.n) == (20, 5)


def test_later_seeds_change_nothing_that_was_decided_before_them():
    claim_rows = rows_of({"clear": (1.0, 0.05)})

    def turned(some):
        late = [row for row in claim_rows(some) if row["seed"] > 4 and row["arm"] == "old"]
        return [row | {"value": row["value"] - 9 * (row in late)} for row in claim_rows(some)]

    [late] = judge_all([claim("clear")], turned, records(10), DESIGN, **ABOUT)
    [early] = judge_all([claim("clear")], claim_rows, records(5), DESIGN, **ABOUT)
    assert (late.verdict, late.outcome.p) == (early.verdict, early.outcome.p)


def test_a_claim_that_one_look_decided_is_not_opened_by_the_next():
    three = Looks((5, 10, 20), (0.0051, 0.0149, 0.0299))
    blurred = [2.5 * value for value in NOISE[5:]]

    def claim_rows(some):
        return [
            row | {"value": row["value"] + (blurred[row["seed"] - 5] if row["seed"] > 4 and row["arm"] == "new" else 0)}
            for row in rows_of({"clear": (1.0, 0.05)})(some)
        ]

    assert asked([claim("clear")], claim_rows, records(10), three, 1) == set()
    late = Looks((9, 10, 20), (1e-9, 0.0149, 0.0299))  # the first look comes after the blur
    assert asked([claim("clear")], claim_rows, records(10), late, 1) == {("main", "new"), ("main", "old")}
    assert asked([claim("clear")], claim_rows, records(10), late, 2) == set()


def test_a_stop_for_a_difference_survives_whatever_the_family_is():
    # p = .003 at look 1: enough alone, and not in a family of four, where Holm could ask for .0051 / 4.
    effects = {"small": (1.0, 0.45), "a": (0.1, 3.0), "b": (0.1, 3.0), "c": (0.1, 3.0)}
    alone = judge_all([claim("small")], rows_of(effects), records(10), DESIGN, **ABOUT)[0]
    among = judge_all([claim(n) for n in effects], rows_of(effects), records(10), DESIGN, **ABOUT)[0]
    assert 0.0051 / 4 < alone.outcome.p < 0.0051
    assert (alone.at.n, among.at.n) == (5, 10)


def test_only_an_open_claim_asks_for_more_seeds_and_later_seeds_do_not_matter():
    for seeds in (5, 10):
        have = (rows_of(EFFECTS), records(seeds), DESIGN)
        found = {name: asked([claim(name)], *have) for name in EFFECTS}
        both = {("main", "new"), ("main", "old")}
        assert found == {"clear": set(), "tie": set(), "open": both, "noisy": set()}
    assert asked(CLAIMS, rows_of(EFFECTS), records(5), single(5)) == set()


def test_a_ladder_whose_steps_must_all_be_kept_is_not_given_up_by_the_forecast_of_one():
    trend = {"kind": "trend", "metric": "x", "unit": "nats", "direction": "lower", "margin": 0.1, "monotone": True}
    ladder = claim("x", test=[trend | {"ladder": ["old", "between", "new"]}])
    means, spreads = {"old": 2.0, "between": 2.1, "new": 0.0}, {"old": 0.0, "between": 0.9, "new": 0.3}
    own = [
        record.model_copy(update={"spec": record.spec.model_copy(update={"tags": record.spec.tags | {"arm": arm}})})
        for record in records(10)
        if record.spec.tags["arm"] == "new"
        for arm in means
    ]

    def claim_rows(some):
        return [
            {"arm": arm, "seed": seed, "metric": "x", "diverged": False, "runs": (("main", arm),)}
            | {"value": means[arm] + spreads[arm] * NOISE[seed]}
            for arm, seed in ((r.spec.tags["arm"], r.spec.seed) for r in some)
        ]

    [found] = judge_all([ladder], claim_rows, own, DESIGN, **ABOUT)
    assert (found.at.n, found.verdict) == (10, "inconclusive")
    assert found.outcome.needed_n is None or found.outcome.needed_n > 30


@pytest.mark.parametrize(("lost", "at"), [(0, 10), (1, 10)])
def test_rates_of_which_both_are_zero_end_a_claim_at_the_second_look(lost, at):
    rate = {"kind": "rate", "metric": "x", "unit": "of runs", "direction": "higher", "margin": 0.4}
    of_runs = claim("x", test=[rate | {"treatment": ["new"], "control": ["old"]}])

    def claim_rows(some):
        """Three runs a seed; one of the treatment's is lost at every second seed, or none."""
        return [
            {"arm": arm, "seed": seed, "metric": "x", "value": None, "runs": (("main", arm),)}
            | {"diverged": arm == "new" and seed % 2 == 1 and k < lost}
            for arm, seed in ((r.spec.tags["arm"], r.spec.seed) for r in some)
            for k in range(3)
        ]

    [found] = judge_all([of_runs], claim_rows, records(20), DESIGN, **ABOUT)
    assert (found.at.n, found.verdict == "not tested") == (at, lost == 0)


@pytest.mark.parametrize(("rounds", "at"), [(60, 20), (10, 10)])
def test_a_ratio_is_not_given_up_for_rounds_that_are_no_seeds(rounds, at):
    """About 100 are needed: sixty rounds go on to the last look as they are, ten seeds are given up."""
    cost = {"kind": "ratio", "metric": "x", "unit": "times", "range": [0.0, 1.1]}
    of_rounds = claim("x", test=[cost | {"treatment": ["new"], "control": ["old"]}])

    def claim_rows(some):
        return [
            {"arm": arm, "seed": k, "metric": "x", "diverged": False}
            | {"value": 1.1 * (1 - 0.02 + 0.1 * NOISE[k % 10]) if arm == "new" else 1.0}
            for arm in ("new", "old")
            for k in range(rounds)
        ]

    [found] = judge_all([of_rounds], claim_rows, records(10), DESIGN, **ABOUT)
    assert (found.verdict, found.at.n) == ("inconclusive", at)


def test_a_claim_that_is_not_tested_asks_for_nothing():
    lost = lambda some: [row for row in rows_of(EFFECTS)(some) if row["arm"] == "new"]  # noqa: E731
    assert asked(CLAIMS, lost, records(5), DESIGN) == set()
    assert asked(CLAIMS, rows_of(EFFECTS), records(4), DESIGN) == set()
    not_here = [claim("open", presets={"full": 5})]
    assert asked(not_here, rows_of(EFFECTS), records(5), DESIGN) == set()


def test_a_label_is_that_of_the_runs_that_decide():
    own = records(5)
    elsewhere = own[0].spec.model_copy(update={"tags": own[0].spec.tags | {"part": "x"}, "steps": 9})
    other = [record.model_copy(update={"parameters": 9, "spec": elsewhere}) for record in own]
    [verdict] = judge_all([claim("clear")], rows_of(EFFECTS), own, DESIGN, **ABOUT)
    rows = rows_of(EFFECTS)(own)
    behind = sources(verdict, rows, other + own)
    assert {arm: len(runs) for arm, runs in behind.items()} == {"new": 5, "old": 5}
    runs = [record for runs in behind.values() for record in runs]
    assert scale_label(runs) == f"at {own[0].parameters:,} parameters, 32 tokens in 2 steps"
    assert sources(verdict, rows, other) == {}
    proof = {"kind": "construction", "proof": "tests/test_x.py::test_it"}
    found = [{"proof": proof["proof"], "passed": True}]
    [proved] = judge_all([claim("p", test=[proof])], lambda _: found, own, None, **ABOUT)
    assert sources(proved, found, own) == {}


@pytest.mark.parametrize(
    ("ns", "alphas", "words"),
    [
        ((), (), "one level each"),
        ((5, 10), (0.05,), "one level each"),
        ((5, 5), (0.01, 0.04), "rising, at least 1"),
        ((0, 5), (0.01, 0.04), "rising, at least 1"),
        ((5, 10), (0.04, 0.01), "rising, above 0"),
        ((5, 10), (0.01, 0.06), "at most 0.05"),
        ((5, 10), (0.0051, 0.0475), "together at most 0.05"),
    ],
)
def test_looks_that_make_no_design_are_refused(ns, alphas, words):
    with pytest.raises(ValueError, match=words):
        Looks(ns, alphas)
