"""Preset medium of the study of SGG: its seeds by looks, its ranks, its longer runs, and the rows of its claims."""

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sgg_records
from asking import asked
from regrad.claims.load import load
from regrad.claims.looks import cut
from regrad.results import Curve
from regrad.statistics.sequential import DESIGN
from regrad.studies.sgg import figures, scale
from regrad.studies.sgg import plan as study
from regrad.studies.sgg.arms import ABLATIONS, ROBUSTNESS, SMALLEST, VARIANTS
from regrad.studies.sgg.claims import claim_rows, grid_spread
from regrad.studies.sgg.numbers import numbers
from regrad.studies.sgg.outcomes import SGGOutcomes
from regrad.studies.sgg.sizes import PRESETS
from regrad.studies.sgg.study import STUDY

SIZES = PRESETS["medium"]
ROOT = Path(__file__).parents[2]
CLAIMS = [c for c in load(ROOT / "paper" / "claims.toml") if c.study == STUDY.name]
AT_MEDIUM = [claim.model_copy(update={"presets": claim.presets | {"medium": 5}}) for claim in CLAIMS]


@cache
def records(*second):
    """The records at the first look, and at the second those of the parts and arms named."""
    return sgg_records.study_records(SIZES, lambda part, arm: 10 if (part, arm) in second else 5)


def groups(found):
    return {(r.spec.tags["part"], r.spec.tags["arm"]) for r in found if r.spec.tags["phase"] == "fresh"}


def keys(specs):
    return {spec.key() for spec in specs}


@settings(max_examples=6, deadline=None)
@example({("pretraining", "adamw+matched:1"), ("variants", "no SGG"), ("ablations", "K=2")})
@given(st.sets(st.sampled_from(sorted(groups(records()))), max_size=4))
def test_later_seeds_of_any_arms_take_no_run_back_and_change_no_row_of_the_first_look(wanted):
    found = records(*sorted(wanted))
    later = [r.spec for r in found if 5 <= r.spec.seed < 1000]
    assert {(s.tags["part"], s.tags["arm"]) for s in later} == wanted
    assert keys(study.plan(SIZES, found, sgg_records.five)) == keys(r.spec for r in records())
    assert claim_rows(cut(found, 5)) == claim_rows(records())


def test_an_open_claim_asks_for_more_seeds_of_what_it_compares_and_of_no_more():
    """All groupings end alike, which five seeds do not show within 0.002; SGG around AdamW is 0.1 ahead, which is."""
    narrow = [
        claim.model_copy(update={"test": tuple(test.model_copy(update={"margin": 2e-3}) for test in claim.test)})
        for claim in AT_MEDIUM
        if claim.id in ("SGG-C1", "SGG-C11")
    ]
    wanted = asked(narrow, claim_rows, records(), DESIGN)
    assert wanted == {("ablations", f"grouping={name}") for name in ("minibatch", "gmm", "dbscan")}
    assert asked(narrow, claim_rows, records(*sorted(wanted)), DESIGN) == wanted


def test_ranks_put_adamw_s_comparisons_first_and_what_can_wait_last():
    ranks = {}
    for record in records(("pretraining", "adamw:2")):
        tags = record.spec.tags
        ranks.setdefault(tags["rank"], set()).add((tags["part"], tags["arm"], 5 <= record.spec.seed < 1000))
    assert ranks["0"] == {("pretraining", f"adamw{x}:{k}", False) for x in ("", "+sgg", "+matched") for k in (1, 2, 3)}
    changed = {(arm.part, arm.name, False) for arm in (*VARIANTS.values(), *ABLATIONS.values())}
    budget = {("budget", arm.name, False) for arm in SMALLEST.arms}
    assert ranks["2"] == {("pretraining", "adamw:2", True)} | changed | budget


def test_longer_runs_differ_in_steps_and_keep_the_number_of_reclusters():
    shorter = {(r.spec.tags["arm"], r.spec.seed): r.spec for r in records() if r.spec.tags["phase"] == "fresh"}
    longer = [r.spec for r in records() if r.spec.tags["part"] == "budget"]
    assert len(longer) == 15
    for spec in longer:
        short = shorter[spec.tags["arm"], spec.seed]
        assert spec.steps == 4 * short.steps
        assert spec.optimizer.lr == short.optimizer.lr
        if interval := spec.optimizer.options.get("interval"):
            assert spec.steps // interval == short.steps // short.optimizer.options["interval"] == 20


def test_adamw_has_what_makes_it_competent_wherever_it_is_the_base():
    specs = [r.spec for r in records()]
    of = {s.tags["arm"]: (s.optimizer.base or s.optimizer).options.get("betas") for s in specs}
    assert {of[arm] == [0.9, 0.95] for arm in ("adamw+sgg:3", "lora:1", "schedule=0.9", "K=2", "robust-sgg")} == {True}
    assert {of[arm] for arm in ("came+sgg:1", "lamb:2", "minilm-r4", "dpo+sgg")} == {None}
    assert {s.schedule.warmup for s in specs} == {0.1}


def test_every_row_says_its_runs_and_every_claim_finds_its_arms():
    rows = claim_rows(records())
    planned = {(r.spec.tags["part"], r.spec.tags["arm"]) for r in records()}
    assert all(set(row["runs"]) <= planned for row in rows)
    have = {(row["metric"], row["arm"]) for row in rows}
    for claim in CLAIMS:
        for test in claim.test:
            assert {(test.metric, arm) for arm in (*test.treatment, *test.control)} <= have, claim.id


def test_the_target_is_the_tuned_base_s_end_and_slack():
    """Seeds 1000 and 1001 of AdamW at its best rate, plus 0.05: a run that falls from a nat above passes it inside."""
    outcomes = SGGOutcomes(records())
    best = outcomes.choices()["adamw:1"]
    rows = {(r["arm"], r["seed"]): r["value"] for r in claim_rows(records()) if r["metric"] == "steps_to_target"}
    loss = best.means[best.best] + 0.05
    record = outcomes.fresh.arm("adamw+sgg:1").by_seed[0]
    # From last + 1 at half the steps straight to last at the end.
    last = record.metrics["validation_loss"]
    assert rows["adamw+sgg:1", 0] == pytest.approx(record.spec.steps * (1 - (loss - last) / 2))
    assert {arm for arm, _ in rows} >= {"adamw:3", "adamw+matched:2", "lamb+sgg:2"}


def test_the_spread_is_the_mean_rise_above_the_lowest_of_each_batch_size():
    """Losses 3, 2, 2.2 at one batch size and 5, 4.5, 4.5 at another: rises 1, 0, 0.2, 0.5, 0, 0; non-finite is None."""
    cells = [r for r in records() if r.spec.tags["arm"] == ROBUSTNESS.wrapped.name and r.spec.seed == 0]
    kept = [r for r in cells if r.spec.optimizer.lr in (1e-5, 1e-4, 1e-3) and r.spec.batch_size in (4, 16)]
    kept.sort(key=lambda r: (r.spec.batch_size, r.spec.optimizer.lr))
    made = [
        r.model_copy(update={"metrics": {"validation_loss": loss}, "curves": {"validation_loss": Curve(x=[1], y=[1])}})
        for r, loss in zip(kept, (3, 2, 2.2, 5, 4.5, 4.5), strict=True)
    ]
    assert grid_spread(SGGOutcomes(made)) == pytest.approx(1.7 / 6)
    assert grid_spread(SGGOutcomes([*made[1:], made[0].model_copy(update={"status": "diverged"})])) is None


def test_the_effect_with_more_steps_is_told_and_drawn():
    """SGG's longer runs end 0.1 below their base as the shorter do."""
    cited = numbers(records())
    assert (cited["sgg/scale/times"], cited["sgg/printed-reclusters"]) == ("4", "2")
    assert float(cited["sgg/scale/plain"].split()[0]) == pytest.approx(-0.1, abs=0.01)
    assert abs(float(cited["sgg/scale/plain/by-budget"].split()[0])) < 0.005
    axis = scale.fig_scale(records(), 0.01).axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1k", "2k", "3k", "1k, 4 × steps"]
    assert len(axis.containers) == 8


def test_without_longer_runs_nothing_is_told_of_them():
    shorter = [r for r in records() if r.spec.tags["part"] != "budget"]
    assert numbers(shorter)["sgg/scale/plain"] == scale.NONE
    assert len(scale.fig_scale(shorter, 0.01).axes[0].get_xticklabels()) == 3


def test_the_section_finds_every_number_that_it_cites():
    cited = set(re.findall(r"val\{(sgg/[^}]*)\}", (ROOT / "paper" / "sections" / "sgg.tex").read_text()))
    assert cited <= {*numbers(records()), *(key for key in cited if key.startswith("sgg/cost/"))}


@pytest.mark.parametrize("draw", ["fig_learning_rates", "fig_effect", "fig_scales", "fig_robustness", "fig_ablations"])
def test_every_figure_holds_what_the_preset_has(draw):
    getattr(figures, draw)(records()).canvas.draw()
