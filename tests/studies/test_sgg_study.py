"""The plan of the study of SGG, its optimizers and its measure. By hand."""

import math
from pathlib import Path
from statistics import fmean

import pytest
import torch
from torch import nn

import sgg_records
from regrad.claims.load import load
from regrad.problems.sized_language import SizedLanguageOptions
from regrad.results import Part
from regrad.runner.build import build_optimizer
from regrad.runner.dependencies import data_sources, entries
from regrad.studies.sgg import plan as study
from regrad.studies.sgg.arms import ABLATIONS, COMPARISONS, PRETRAINING, ROBUSTNESS, SMALLEST, VARIANTS
from regrad.studies.sgg.runtime.hidden_schedule import HiddenSchedule
from regrad.studies.sgg.runtime.measures import ScaleRange
from regrad.studies.sgg.sizes import PRESETS
from regrad.studies.sgg.study import STUDY

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def records():
    return sgg_records.study_records()


def of(specs, **tags):
    return [s for s in specs if tags.items() <= s.tags.items()]


def lr(spec):
    return spec.optimizer.lr


# -- the arms


def options(arm):
    """Of the arm's optimizer at learning rate 0.1 where a run reclusters every ten steps, with the optimizer's name."""
    part = study.optimizer(arm, 0.1, 10)
    base = part.base
    return {"name": part.name, **part.options} | ({"base": {"name": base.name, **base.options}} if base else {})


ADAMW = {"name": "adamw", "lr": 0.1, "weight_decay": 0.0}
AROUND_ADAMW = {"name": "sgg", "base": ADAMW, "interval": 10}


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        (SMALLEST.plain, ADAMW),
        (SMALLEST.wrapped, AROUND_ADAMW),
        (SMALLEST.matched, ADAMW),
        (PRETRAINING["lora"][0].plain, ADAMW),
        (PRETRAINING["came"][0].plain, {"name": "came", "lr": 0.1, "weight_decay": 0.0}),
        (
            PRETRAINING["lamb"][0].wrapped,
            {"name": "sgg", "base": {"name": "lamb", "lr": 0.1}, "interval": 10},
        ),
        (VARIANTS["no SGG"], ADAMW),
        (VARIANTS["variant=paper"], AROUND_ADAMW),
        (
            VARIANTS["variant=public-v2"],
            AROUND_ADAMW | {"variant": "public_v2", "beta3": 0.999, "centre_decay": 0.999},
        ),
        (VARIANTS["schedule=0.999"], ADAMW | {"name": "hidden_schedule", "decay": 0.999, "interval": 10}),
        (ABLATIONS["K=4"], AROUND_ADAMW | {"clusters": 4}),
        (ABLATIONS["grouping=gmm"], AROUND_ADAMW | {"name": "sgg_compared", "grouping": "gmm"}),
        (ABLATIONS["T=half"], AROUND_ADAMW | {"interval": 5}),
        (ABLATIONS["T=printed"], AROUND_ADAMW | {"interval": 500}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_an_arm_s_optimizer_is_the_one_it_is_named_after(arm, expected):
    assert options(arm) == expected


def test_no_two_arms_share_a_name_and_no_two_ablations_an_optimizer():
    arms = [arm for c in (*COMPARISONS, ROBUSTNESS) for arm in c.arms]
    names = [arm.name for arm in (*arms, *VARIANTS.values(), *ABLATIONS.values())]
    assert len(set(names)) == len(names)
    changed = [options(arm) for arm in (SMALLEST.wrapped, *ABLATIONS.values())]
    assert all(one not in changed[:k] for k, one in enumerate(changed))


# -- the plan


def test_sgg_and_its_base_are_tuned_on_the_same_rates():
    """Four points a factor 2 apart around a size's own rate r, on two seeds: r times 2^-1.5, 2^-0.5, 2^0.5, 2^1.5."""
    specs, tasks = study.specs("medium", []), PRESETS["medium"].tasks
    for name in ("adamw:1", "adamw:3", "lora:1"):
        expected = [pytest.approx(tasks[name].center * 2**k, rel=1e-5) for k in (-1.5, -0.5, 0.5, 1.5) for _ in "ab"]
        for arm in (name, name.replace(":", "+sgg:")):
            assert sorted(lr(s) for s in of(specs, arm=arm, phase="tune")) == expected


BASES = {"adamw": (7e-3, (1, 2, 3)), "adafactor": (1e-1, (2,)), "lamb": (4e-2, (2,)), "came": (5e-3, (1,)),
         "lora": (1e-2, (1,))}  # fmt: skip


def test_bases_are_compared_at_the_sizes_and_rates_meant_for_them():
    """Three sizes for AdamW, one for each of the others; grids of four around these rates."""
    tune = of(study.specs("medium", []), phase="tune")
    hidden, centers = {}, {}
    for s in of(tune, part="pretraining"):
        hidden.setdefault(s.tags["arm"], (s.problem.options["hidden"], s.problem.options.get("rank")))
        centers.setdefault(s.tags["arm"], []).append(math.log(lr(s)))
    assert [hidden[f"adamw:{k}"] for k in (1, 2, 3)] == [(16, None), (32, None), (64, None)]
    assert hidden["lora:1"] == hidden["lora+sgg:1"] == (16, 4)
    assert set(hidden) == {f"{base}{w}:{k}" for base, (_, sizes) in BASES.items() for w in ("", "+sgg") for k in sizes}
    for base, (center, sizes) in BASES.items():
        assert math.exp(fmean(centers[f"{base}+sgg:{sizes[0]}"])) == pytest.approx(center, rel=1e-4)
    ranks = {s.tags["arm"]: s.problem.options["rank"] for s in of(tune, part="finetuning")}
    assert ranks["minilm-full"] is None
    assert (ranks["minilm-r4"], ranks["minilm-r8+sgg"]) == (4, 8)


@pytest.mark.parametrize(
    ("arm", "phase", "measures", "final"),
    [
        ("adamw:1", "tune", [], 0.1),
        ("adamw:1", "fresh", ["test"], 0.1),
        ("adamw+sgg:1", "tune", ["scale_range"], 0.1),
        ("adamw+sgg:1", "fresh", ["test", "scale_range"], 0.1),
        ("no SGG", "fresh", ["test"], 0.1),
        ("schedule=0.9", "fresh", ["test", "scale_range"], 0.1),
        ("robust-sgg", "grid", [], 0.1),
        ("minilm-r4+sgg", "fresh", ["test"], 0.0),
        ("dpo+sgg", "tune", ["scale_range"], 0.0),
        ("caption+matched", "fresh", ["test"], 0.0),
    ],
)
def test_scales_are_recorded_where_a_control_or_a_figure_needs_them(records, arm, phase, measures, final):
    spec = next(s for s in (r.spec for r in records) if (s.tags["arm"], s.tags["phase"]) == (arm, phase))
    assert ([part.name for part in spec.measures], spec.schedule.final) == (measures, final)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_tuned_arm_has_as_many_trials(preset):
    specs = of(study.specs(preset, []), part="pretraining", phase="tune")
    counts = {arm: len(of(specs, arm=arm)) for arm in {s.tags["arm"] for s in specs}}
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_every_spec_of_a_plan_can_be_built(preset):
    for spec in study.specs(preset, []):
        assert entries(spec)
        assert data_sources(spec)
        assert spec.steps >= 1


def test_a_run_reclusters_as_often_as_the_paper_s_smallest():
    """200 steps at interval 10: 20 times; 10,000 at 500: 20 times."""
    for preset in ("small", "full", "paper"):
        for task in PRESETS[preset].tasks.values():
            assert task.budget.steps // task.budget.interval == 20
    assert PRESETS["paper"].tasks["adamw:1"].budget.interval == 500


def test_the_matched_rate_is_sgg_s_times_the_mean_scale_over_steps(records):
    """S is 1 for the first interval of 20, then 1.2: the mean is (1 + 19 · 1.2)/20 = 1.19."""
    sgg = {lr(r.spec) for r in records if (r.spec.tags["arm"], r.spec.tags["phase"]) == ("adamw+sgg:1", "fresh")}
    matched = {lr(r.spec) for r in records if r.spec.tags["arm"] == "adamw+matched:1"}
    assert (len(sgg), len(matched)) == (1, 1)
    assert matched.pop() == pytest.approx(1.19 * sgg.pop(), rel=1e-5)


def test_tuning_and_fresh_seeds_differ(records):
    tune = {r.spec.seed for r in records if r.spec.tags["phase"] == "tune"}
    fresh = {r.spec.seed for r in records if r.spec.tags["phase"] == "fresh"}
    assert not tune & fresh


def test_an_ablation_changes_one_setting_of_the_default(records):
    default = next(r.spec for r in records if (r.spec.tags["arm"], r.spec.tags["phase"]) == ("adamw+sgg:1", "fresh"))
    ablations = [r.spec for r in records if r.spec.tags["part"] == "ablations" and r.spec.seed == default.seed]
    assert len(ablations) == 19
    for spec in ablations:
        changed = {k for k, v in spec.optimizer.options.items() if default.optimizer.options.get(k) != v}
        assert len(changed) == 1, spec.tags["arm"]
        assert spec.model_copy(update={"optimizer": default.optimizer, "tags": default.tags}) == default


def test_the_robustness_grid_sees_equal_tokens_and_pairs_its_arms():
    specs = study.robustness(PRESETS["medium"], sgg_records.five)
    assert len(specs) == 3 * 5 * 2 * 5
    assert {(s.steps * s.batch_size, s.evaluations) for s in specs} == {(6400, 2)}
    arms = ("robust-adamw", "robust-sgg")
    plain, wrapped = (sorted((lr(s), s.batch_size, s.seed) for s in of(specs, arm=a)) for a in arms)
    assert plain == wrapped


def test_every_arm_that_a_tested_claim_reads_is_in_the_plan(records):
    planned = {r.spec.tags["arm"] for r in records}
    for claim in load(ROOT / "paper" / "claims.toml"):
        if claim.paper == "sgg" and claim.study == STUDY.name:
            second_size = {arm for arm in claim.arms if arm.endswith(":2")}  # at this preset AdamW's alone
            assert set(claim.arms) - second_size <= planned, claim.id


# -- optimizers by name


def network():
    torch.manual_seed(0)
    return nn.Linear(3, 4, bias=False)


def moved(optimizer, model, steps):
    for _ in range(steps):
        model.weight.grad = model.weight.detach().sin()
        optimizer.step()
    return model.weight.detach().clone()


def test_a_spec_s_rate_is_the_base_optimizer_s():
    base = {"name": "adamw", "options": {"lr": 0.1}}
    part = Part(name="sgg", options={"base": base, "interval": 7, "bounds": [0.5, 2.0]})
    optimizer = build_optimizer(part, network())
    assert optimizer.settings.interval == 7
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert part.with_lr(0.2).lr == 0.2
    assert build_optimizer(part.with_lr(0.2), network()).param_groups[0]["lr"] == 0.2


def test_the_hidden_schedule_is_adamw_with_the_rate_times_b_to_the_events():
    """Interval 2, b = 0.5, floor 0.1: factors 1, .5, .5, .25, .25, .125, .125, .1 (0.0625 is below the floor)."""
    scheduled, plain = network(), network()
    ours = HiddenSchedule(scheduled.parameters(), decay=0.5, interval=2, lr=0.01, weight_decay=0.0)
    reference = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=0.0)
    for factor in (1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.1):
        reference.param_groups[0]["lr"] = 0.01 * factor
        assert torch.equal(moved(ours, scheduled, 1), moved(reference, plain, 1))
        assert ours.param_groups[0]["lr"] == 0.01
        assert ours.mean_scale() == factor


@pytest.mark.parametrize(("name", "value"), [("decay", 0.0), ("decay", 1.5), ("interval", 0), ("floor", math.nan)])
def test_the_hidden_schedule_refuses_what_is_out_of_range(name, value):
    settings = {"decay": 0.9, "interval": 2, "lr": 0.1} | {name: value}
    with pytest.raises(ValueError, match=name):
        HiddenSchedule(network().parameters(), **settings)


def test_the_measure_weighs_clusters_by_their_entries():
    """Entries in clusters (0, 0, 1, 2 …): S = (2, 1, 1) over 12 entries, 3 of them in the first: mean 15/12."""
    model = network()
    base = {"name": "adamw", "options": {"lr": 0.1}}
    optimizer = build_optimizer(Part(name="sgg", options={"base": base, "interval": 100}), model)
    moved(optimizer, model, 1)
    at = type("At", (), {"optimizer": optimizer})()
    assert ScaleRange()(at) == {"scale/mean": 1.0, "scale/low": 1.0, "scale/high": 1.0}
    index = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 2, 2], [2, 1, 2]], dtype=torch.uint8)
    optimizer.state[model.weight] |= {"index": index, "scale": torch.tensor([2.0, 1.0, 1.0])}
    assert ScaleRange()(at) == {"scale/mean": 1.25, "scale/low": 1.0, "scale/high": 2.0}


# -- sizes


def test_the_three_sizes_of_preset_small_are_a_factor_of_three_apart():
    """Hidden 16, 2 layers: 2 · 256 · 16 + 2 (4 · 256 + 3 · 16 · 32 + 32) + 16 = 13,392."""
    options = [SizedLanguageOptions(**PRESETS["medium"].tasks[c.name].problem.options) for c in PRETRAINING["adamw"]]
    counts = [o.shape().parameters for o in options]
    assert counts == [13_392, 37_024, 115_008]
