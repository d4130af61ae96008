"""When a plan names the seeds of the next look: as soon as what an open claim reads is whole, ladders last."""

import pytest

import tiny_runs
from regrad.claims import load, looks
from regrad.claims.schema import Claim
from regrad.results import Part
from regrad.statistics.sequential import Looks
from regrad.studies.looks import specs_in_looks

NOISE = 4 * (0.1, -1.0, 1.2, -0.6, 0.4)
ARMS = {"main": ("0", ("new", "old", "between")), "other": ("1", ("new", "old"))}
SHARES = {"new": 1.0, "between": 0.5, "old": 0.0}


def claim(name, **test):
    words = dict.fromkeys(["paper", "sentence", "quotation", "place", "falsified"], "x")
    common = {"metric": name, "unit": "nats", "direction": "lower", "margin": 0.1}
    return Claim(id=name, study="s", source="primary", presets={"medium": 10}, test=[common | test], **words)


PAIRED = {"kind": "paired", "treatment": ["new"], "control": ["old"]}
CLAIMS = [claim("main", **PAIRED), claim("other", **PAIRED)]
LADDER = claim("main", kind="trend", ladder=["old", "between", "new"])


def plan(records, fresh):
    """Two parts, fresh seeds alone."""
    return [
        tiny_runs.spec(
            seed=seed,
            optimizer=Part(name="sgd", options={"lr": 0.1 + 0.1 * k + (part == "other")}),
            tags={"part": part, "arm": arm, "phase": "fresh", "rank": rank},
        )
        for part, (rank, arms) in ARMS.items()
        for k, arm in enumerate(arms)
        for seed in range(fresh(part, arm))
    ]


def claim_rows(records):
    """The effect is 1 with a spread of 1: open at five seeds, and not futile."""
    return [
        {"arm": arm, "seed": r.spec.seed, "metric": part, "diverged": False, "runs": ((part, arm),)}
        | {"value": -SHARES[arm] * (1.0 + NOISE[r.spec.seed])}
        for r in records
        for part, arm in [(r.spec.tags["part"], r.spec.tags["arm"])]
    ]


def second(monkeypatch, claims, *, without):
    """Part, arm, seed, rank and look of what the plan names beyond the first look, some of whose runs are missing."""
    monkeypatch.setattr(load, "load", lambda path: claims)
    first = plan([], lambda part, arm: 5)
    records = [tiny_runs.record(spec) for spec in first if (spec.tags["part"], spec.seed) not in without]
    about = {"plan": plan, "claim_rows": claim_rows, "seeds": 10}
    tags = [spec.tags | {"seed": spec.seed} for spec in specs_in_looks("s", "medium", records, **about)]
    assert [t["seed"] for t in tags if "look" not in t] == [spec.seed for spec in first]
    return {tuple(t[key] for key in ("part", "arm", "seed", "rank", "look")) for t in tags if "look" in t}


def seeds_of(part, rank, arms=("new", "old")):
    return {(part, arm, seed, rank, "2") for arm in arms for seed in range(5, 10)}


def test_open_claims_ask_for_their_arms_with_the_rank_that_these_had(monkeypatch):
    assert second(monkeypatch, CLAIMS, without=()) == seeds_of("main", "0") | seeds_of("other", "1")


@pytest.mark.parametrize(("late", "asks"), [("other", seeds_of("main", "0")), ("main", seeds_of("other", "1"))])
def test_a_claim_does_not_wait_for_runs_that_it_does_not_read_and_waits_for_one_that_it_does(monkeypatch, late, asks):
    assert second(monkeypatch, CLAIMS, without=[(late, 3)]) == asks


def test_a_ladder_waits_for_all_if_rungs_may_be_still_to_come(monkeypatch):
    asked = seeds_of("main", "0", ("new", "between", "old"))
    assert second(monkeypatch, [LADDER], without=[("other", 3)]) == asked  # all its rungs are there
    longer = claim("main", kind="trend", ladder=["old", "between", "still to come", "new"])
    assert second(monkeypatch, [longer], without=()) == asked  # this preset has no such rung
    assert second(monkeypatch, [longer], without=[("other", 3)]) == set()


@pytest.mark.parametrize(("alpha", "asked"), [(1e-9, {"3": set(range(10, 20))}), (0.024, {})])
def test_what_a_second_look_leaves_open_asks_for_the_seeds_of_a_third(monkeypatch, alpha, asked):
    """Ten seeds with an effect of 1 and a spread of 0.8 have p = .004."""
    monkeypatch.setattr(load, "load", lambda path: CLAIMS[:1])
    monkeypatch.setitem(looks.LOOKS, "medium", Looks((5, 10, 20), (1e-10, alpha, 0.025)))
    records = [tiny_runs.record(spec) for spec in plan([], lambda part, arm: 10 if part == "main" else 5)]
    # As a plan would have tagged them.
    for record in records:
        if record.spec.seed >= 5:
            record.spec.tags["look"] = "2"
    found = {}
    for spec in specs_in_looks("s", "medium", records, plan=plan, claim_rows=claim_rows, seeds=10):
        found.setdefault(spec.tags.get("look", "1"), set()).add((spec.tags["part"], spec.seed))
    assert found.pop("1") == {(part, seed) for part in ARMS for seed in range(5)}
    assert found.pop("2") == {("main", seed) for seed in range(5, 10)}
    assert found == {look: {("main", seed) for seed in seeds} for look, seeds in asked.items()}
    # A second look whose seeds have not all run opens nothing.
    partial = [r for r in records if r.spec.seed != 7]
    named = specs_in_looks("s", "medium", partial, plan=plan, claim_rows=claim_rows, seeds=10)
    assert "3" not in {spec.tags.get("look") for spec in named}
