"""The plan of the DGS study, and the problems, resets and measures that it needs. By hand."""

import copy
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dgs_records import SIZES, study_records
from regrad.claims.load import load
from regrad.problems.image_networks import NetworkOptions, NetworkProblem
from regrad.problems.models.patch_mixer import PatchMixer
from regrad.problems.options import OptionError
from regrad.results import Part
from regrad.runner.build import build_optimizer, resolve
from regrad.runner.dependencies import entries
from regrad.runner.measures import Checkpoint
from regrad.runner.registry import PROBLEMS
from regrad.studies.dgs.arms import ARMS, READINGS, SCALED, arms_in
from regrad.studies.dgs.claims import claim_rows
from regrad.studies.dgs.plan import plan, specs
from regrad.studies.dgs.runtime.audit import repaired
from regrad.studies.dgs.runtime.measures import ReadingGeometry, Spikes
from regrad.studies.dgs.runtime.resetting import Resetting, learning_rate_factor
from regrad.studies.dgs.runtime.scaled import Scaled
from regrad.studies.dgs.sizes import PRESETS
from regrad.studies.dgs.study import STUDY
from regrad.studies.looks import HEADLINES

ROOT = Path(__file__).parents[2]


# -- the plan


@pytest.mark.parametrize("preset", PRESETS)
def test_every_arm_of_a_part_is_tuned_with_as_many_trials(preset):
    sizes = PRESETS[preset]
    for part in ("images", "spiking", "language", "transfer", "own"):
        counts = Counter(spec.tags["arm"] for spec in specs(preset, []) if spec.tags["part"] == part)
        arms = sizes.arms.get(part, [arm.name for arm in arms_in(part)])
        named = [arm for arm in arms if preset not in HEADLINES or arm in counts]  # of which a headline has some
        assert counts == dict.fromkeys(named, sizes.points * sizes.seeds[0])


def test_tuning_seeds_are_never_result_seeds_and_both_networks_have_every_arm_and_seed():
    records = study_records()
    assert {r.spec.seed for r in records if r.spec.tags["phase"] == "tune"} == {1000}
    for model in ("resnet20", "resnet32"):
        found = {
            (r.spec.tags["arm"], r.spec.seed)
            for r in records
            if r.spec.tags["part"] == "images" and r.spec.tags["phase"] == "fresh" and r.spec.tags["model"] == model
        }
        assert found == {(arm.name, seed) for arm in arms_in("images") for seed in range(5)}


def test_no_arm_is_tuned_on_the_deeper_network_or_with_a_test_measure():
    for record in study_records():
        if record.spec.tags["phase"] == "tune":
            assert record.spec.tags["model"] != "resnet32"
            assert record.spec.measures == ()


def test_the_factorial_of_resets_is_full_and_differs_in_optimizer_and_schedule_only():
    planned = plan(SIZES, list(study_records()))
    reset = [s for s in planned if s.tags["part"] == "reset"]
    cells = {(s.tags["model"], s.tags["reset"], s.tags["arm"]) for s in reset}
    assert len(cells) == 2 * 2 * 3
    plain = {(s.tags["model"], s.tags["arm"], s.seed): s for s in planned if s.tags["part"] == "images"}
    for spec in reset:
        base = plain[spec.tags["model"], spec.tags["arm"], spec.seed]
        assert spec.optimizer.options["base"] == base.optimizer.model_dump()
        assert spec.problem == base.problem


def test_off_the_optimum_nothing_changes_but_the_learning_rate_and_what_is_recorded():
    planned = plan(SIZES, list(study_records()))
    assert len({spec.key() for spec in planned}) == len(planned)
    fresh = [spec for spec in planned if (spec.tags["part"], spec.tags["phase"]) == ("images", "fresh")]
    plain = {(spec.tags["model"], spec.tags["arm"], spec.seed): spec for spec in fresh}
    moved = [spec for spec in planned if spec.tags["part"] == "stability"]
    assert len(moved) == 4 * 5 * len(SIZES.multiples)
    for spec in moved:
        base = plain["resnet20", spec.tags["arm"], spec.seed]
        assert spec.optimizer == base.optimizer.with_lr(base.optimizer.lr * float(spec.tags["multiple"]))
        assert (spec.measures, spec.problem) == ((), base.problem)


def test_fresh_runs_record_what_their_figures_and_tables_need():
    fresh = [r.spec for r in study_records() if r.spec.tags["phase"] == "fresh"]
    for spec in fresh:
        names = {"momentum": ["test", "reading_geometry"]}.get(spec.tags["arm"], ["test"])
        wanted = {"images": names, "spiking": ["test", "spikes"]}.get(spec.tags["part"], ["test"])
        assert [part.name for part in spec.measures] == wanted


@pytest.mark.parametrize("preset", PRESETS)
def test_every_spec_names_what_exists_and_its_options_are_allowed(preset):
    for spec in specs(preset, []):
        entries(spec)
        resolve(PROBLEMS[spec.problem.name]).Options(**spec.problem.options)


def test_the_claims_find_their_arms_among_the_runs_of_the_study():
    rows = claim_rows(study_records(), [])
    have = {(row["metric"], row["arm"]) for row in rows}
    missing = [
        (claim.id, test.metric, arm)
        for claim in load(ROOT / "paper" / "claims.toml")
        if claim.study == STUDY.name and claim.id != "DGS-C7"  # times are no part of the records
        for test in claim.test
        if hasattr(test, "treatment")
        for arm in (*test.treatment, *test.control)
        if (test.metric, arm) not in have
    ]
    assert missing == []


def test_the_repaired_program_is_sgd_unless_its_rates_are_used():
    assert [row["bit-identical"] for row in repaired(steps=5)] == [True, True, False]


# -- resets of the optimizer


def test_the_schedule_of_a_soft_reset_climbs_back_onto_the_cosine_and_a_hard_one_restarts_it():
    # 40 steps: warm-up over 2, resets before steps 20 and 30; the cosine at step s is 0.1 + 0.45 (1 + cos(pi (s-2)/38))
    at_21, at_25 = (0.1 + 0.45 * (1 + math.cos(math.pi * (s - 2) / 38)) for s in (21, 25))
    assert learning_rate_factor(0, 40, "soft") == pytest.approx(1 / 3)
    assert learning_rate_factor(21, 40, "soft") == pytest.approx(2 / 3 * at_21)
    assert learning_rate_factor(25, 40, "soft") == pytest.approx(at_25)
    # hard: 1 at the reset, then a cosine over the 20 steps that were left: halfway, after 5 of them, at the quarter
    assert learning_rate_factor(20, 40, "hard") == 1.0
    assert learning_rate_factor(25, 40, "hard") == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))
    assert learning_rate_factor(30, 40, "hard") == 1.0


@pytest.mark.parametrize(("reset", "kept"), [("soft", 0.5), ("hard", 0.0)])
def test_a_reset_halves_or_drops_the_state_before_the_step(reset, kept):
    # momentum 1/2 and gradient 1: the buffer after two steps is 1.5; step 2 of 4 is the first reset
    param = nn.Parameter(torch.zeros(1))
    optimizer = Resetting(torch.optim.SGD([param], lr=0.0, momentum=0.5), reset=reset, steps=4)
    for _ in range(3):
        param.grad = torch.ones(1)
        optimizer.step()
    assert float(optimizer.base.state[param]["momentum_buffer"]) == pytest.approx(0.5 * 1.5 * kept + 1)


def test_a_soft_reset_halves_adams_averages_and_not_its_count_of_steps():
    param = nn.Parameter(torch.zeros(1))
    optimizer = Resetting(torch.optim.Adam([param], lr=0.0), reset="soft", steps=4)
    for _ in range(3):
        param.grad = torch.ones(1)
        optimizer.step()
    state = optimizer.base.state[param]
    # two steps: 1 - 0.9 squared; halved, and one step more
    assert float(state["exp_avg"]) == pytest.approx(0.9 * 0.5 * (1 - 0.9**2) + 0.1)
    assert int(state["step"]) == 3


def test_a_reset_leaves_the_learning_rate_of_the_groups_to_the_scheduler():
    param = nn.Parameter(torch.zeros(1))
    optimizer = Resetting(torch.optim.SGD([param], lr=0.3), reset="hard", steps=10)
    param.grad = torch.ones(1)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert float(param.detach()) == pytest.approx(-0.3)  # 0.05 of 10 steps is no warm-up


@pytest.mark.parametrize("options", [{"reset": "none", "steps": 4}, {"reset": "soft", "steps": 0}])
def test_a_reset_without_a_meaning_is_refused(options):
    with pytest.raises(ValueError, match=r"reset|steps"):
        Resetting(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), **options)


def test_an_arm_that_reads_dgs_in_a_way_says_so_in_its_optimizer():
    readings = {arm.name: arm.part(0.1).options.get("reading") for arm in ARMS.values() if arm.optimizer == "dgs"}
    assert readings == {arm.name: reading for reading, arm in READINGS.items()}


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_builds_and_moves_a_weight_against_its_gradient(arm):
    model = nn.Linear(3, 2, bias=False)
    before = model.weight.detach().clone()
    optimizer = build_optimizer(ARMS[arm].part(ARMS[arm].center), model)
    model.weight.grad = torch.ones(2, 3)
    optimizer.step()
    assert bool((model.weight < before).all())


# -- the scaled gradient, the problems, the measures


def test_the_scaled_gradient_is_the_printed_rate_times_its_sign():
    model = nn.Linear(2, 1, bias=False)
    Scaled()(model, lambda m, x: m(x).squeeze(1), torch.tensor([[2.0, -0.5]]))
    torch.testing.assert_close(model.weight.grad, torch.tensor([[1e-3, -1e-3]]))


def arrays(size=8, count=40):
    generator = torch.Generator().manual_seed(0)
    found = {"mean": torch.zeros(1).double().numpy(), "std": torch.ones(1).double().numpy()}
    for split in ("train", "validation", "test"):
        found[f"{split}_images"] = torch.randint(0, 255, (count, 1, size, size), generator=generator).byte().numpy()
        found[f"{split}_labels"] = (torch.arange(count) % 10).byte().numpy()
    return found


def problem(**options):
    given = {"images": "digits", "depth": 8, "width": 2, "evaluation_examples": 10, **options}
    return NetworkProblem(NetworkOptions(**given), arrays())


@pytest.mark.parametrize("architecture", ["resnet", "spiking", "mixer"])
def test_a_problem_makes_the_same_network_every_time_and_it_takes_its_batches(architecture):
    made = problem(architecture=architecture, halved=architecture != "mixer")
    first, second = made.init_model(), made.init_model()
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    batch = made.batch(0, 4)
    assert batch.inputs.shape == (4, 1, *([8, 8] if architecture == "mixer" else [4, 4]))
    assert made.losses(first, batch).shape == (4,)


def test_halving_is_the_mean_of_two_by_two_pixels():
    whole, halved = problem().batch(0, 1).inputs, problem(halved=True).batch(0, 1).inputs
    torch.testing.assert_close(halved[0, 0, 0, 0], whole[0, 0, :2, :2].mean())


def test_a_pretrained_network_keeps_what_it_learnt_but_for_its_head():
    fresh, former = problem(), problem(pretraining_steps=2)
    former.former = problem(pretraining_steps=2)
    before, after = fresh.init_model(), former.init_model()
    assert not torch.equal(before.stem.weight, after.stem.weight)
    assert float(after.head.bias.detach().abs().sum()) == 0
    assert all(torch.equal(p, q) for p, q in zip(after.parameters(), former.init_model().parameters(), strict=True))


def test_only_a_resnet_is_pretrained():
    with pytest.raises(OptionError, match="pretraining"):
        NetworkOptions(images="digits", architecture="mixer", pretraining="mnist-5k")


def test_the_mixer_makes_a_global_mean_of_patches_and_ignores_what_is_left_over():
    model = PatchMixer(1, 9, 3, width=4, generator=torch.Generator().manual_seed(0))
    images = torch.randn(2, 1, 9, 9)
    cut = images.clone()
    cut[:, :, 8] = 7
    cut[:, :, :, 8] = 7
    assert model(images).shape == (2, 3)
    torch.testing.assert_close(model(images), model(cut))


def checkpoint(made, model, steps=4):
    return Checkpoint(model, made, SimpleNamespace(steps=steps, batch_size=4))


def test_spikes_are_thousands_per_image_and_counted_once_at_the_end():
    made = problem(architecture="spiking")
    model = made.init_model()
    nn.init.constant_(model.stem.norm.bias, 100.0)  # every stem neuron fires: 2 · 8 · 8 · 4 spikes, no other layer less
    found = Spikes(5)(checkpoint(made, model))["test_spikes"]
    assert found >= 2 * 8 * 8 * 4 / 1000
    assert [step for step in range(5) if Spikes().wants(step, SimpleNamespace(steps=4))] == [4]


def test_the_readings_geometry_is_recorded_and_the_model_unchanged():
    made = problem()
    model = made.init_model()
    before = copy.deepcopy(model.state_dict())
    asked = []
    made.batch = lambda step, size, batch=made.batch: asked.append((step, size)) or batch(step, size)
    found = ReadingGeometry()(checkpoint(made, model))
    assert asked == [(4, 4)]  # steps 0 to 3 are the run's
    assert found["cosine/equation"] == pytest.approx(1, abs=1e-9)
    assert found["slope/equation"] == pytest.approx(1, abs=1e-6)
    assert found["slope/equation_magnitude_rate"] == pytest.approx(2, abs=1e-6)
    assert 0 < found["cosine/steps"] < 1
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_scaled_arm_differs_from_its_base_in_the_gradient_only():
    planned = {s.tags["arm"]: s for s in specs("smoke", []) if s.tags["part"] == "spiking"}
    assert set(SCALED) == {"lars", "adam"}
    for base, arm in SCALED.items():
        assert planned[arm.name].optimizer == planned[base].optimizer
        assert (planned[arm.name].gradient, planned[base].gradient) == (Part(name="dgs_scaled"), None)
