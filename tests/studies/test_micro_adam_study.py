"""The plan of the study of Adam's preconditioner, and the gradients and the measure that it needs. By hand."""

import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from micro_adam_records import SIZES, adam_spec, planned, record, study_records
from regrad.claims.load import load
from regrad.problems.images import ImageOptions
from regrad.problems.language import LanguageOptions, LanguageProblem
from regrad.results import Part
from regrad.runner.build import build_gradient, build_measures
from regrad.runner.dependencies import data_sources, entries
from regrad.runner.example_gradients import Elementwise, Statistics
from regrad.runner.gradients import Backward
from regrad.runner.measures import Checkpoint
from regrad.runner.train import train
from regrad.studies.micro_adam import plan as study
from regrad.studies.micro_adam.arms import ADAM, ARMS, arms_in
from regrad.studies.micro_adam.runtime.moment_split import MomentSplit, unbiased_mean_square
from regrad.studies.micro_adam.sizes import PRESETS

ROOT = Path(__file__).parents[2]
MEDIUM = PRESETS["medium"]
TOPICS = {"corpus": "python-topics", "model": "0.1M", "sequence_length": 8, "evaluation_sequences": 4}


def part_of(specs, part, **tags):
    return [s for s in specs if s.tags["part"] == part and tags.items() <= s.tags.items()]


def rates(specs, arm, part="language"):
    return sorted({s.optimizer.lr for s in part_of(specs, part, arm=arm, phase="tune")})


# -- the plan


def test_the_grids_of_micro_adam_reach_from_half_to_2_root_b_times_adam_s_rate():
    """B = 16: Adam has 4e-3 times √(1/8), √(1/2), √2, √8; MicroAdam and MicroAdamVar have twice that."""
    specs = study.specs("medium", [])
    adam = [1.41421e-3, 2.82843e-3, 5.65685e-3, 1.13137e-2]
    assert rates(specs, "adam") == pytest.approx(adam)
    for arm in ("micro_adam", "micro_adam_var", "micro_adam+clip"):
        assert rates(specs, arm) == pytest.approx([2 * rate for rate in adam], rel=1e-5)


def test_a_centre_is_halfway_between_the_optima_of_the_two_regimes():
    """c = 4 and B = 16: Adam's rate where the mean leads, 8 times it where noise does, the middle is √8 times."""
    assert study.center(ARMS["c=4"], MEDIUM.language, 0.99) == pytest.approx(4e-3 * math.sqrt(8))
    # c = 0: nu is bounded from below at sqrt(2 · 0.01/1.99) = 0.100251 of sigma²/B.
    assert study.center(ARMS["micro_adam_msq"], MEDIUM.language, 0.99) == pytest.approx(4e-3 * 0.100251**0.25, rel=1e-5)


@pytest.mark.parametrize(
    ("preset", "part"), [(preset, part) for preset, sizes in PRESETS.items() for part in sizes.tasks]
)
def test_every_arm_is_tuned_with_as_many_trials_over_as_many_decades(preset, part):
    specs = study.specs(preset, [])
    arms = {s.tags["arm"] for s in part_of(specs, part)}
    assert {len(part_of(specs, part, arm=arm)) for arm in arms} == {PRESETS[preset].points * PRESETS[preset].seeds[0]}
    widths = [math.log10(rates(specs, arm, part)[-1] / rates(specs, arm, part)[0]) for arm in arms]
    assert max(widths) - min(widths) < 1e-5


def test_tuning_seeds_are_never_result_seeds_and_results_have_every_seed():
    specs = planned(study_records())
    assert {s.seed for s in specs if s.tags["phase"] == "tune"} == {1000}
    assert {s.seed for s in specs if s.tags["phase"] in ("fresh", "scaling")} == {0, 1, 2, 3, 4}
    assert {s.seed for s in specs if s.tags["phase"] == "stability"} == set(range(8))


def test_the_claims_find_their_arms_and_seeds():
    specs = planned(study_records())
    ran = {s.tags["arm"] for s in specs if s.tags["phase"] in ("fresh", "scaling")}
    claims = [claim for claim in load(ROOT / "paper" / "claims.toml") if claim.study == study.STUDY.name]
    assert {claim.id for claim in claims} == {"C4", "C4b", "C5", "C6", "C7", "C7s", "C8"}
    for claim in claims:
        assert set(claim.arms) <= ran, claim.id
        for preset, least in claim.presets.items():
            if preset != "medium":  # which is as large as small until its sizes are set
                assert PRESETS[preset].seeds[1] >= least, claim.id


def test_rates_of_divergence_are_over_equal_multiples_of_each_arm_s_own_optimum():
    specs = planned(study_records())
    stable = part_of(specs, "stability")
    assert {s.tags["arm"] for s in stable} == {arm.name for arm in arms_in("stability")}
    for spec in stable:
        tags = {"arm": spec.tags["arm"], "phase": "fresh"}
        fresh = part_of(specs, "language", **tags)[0]
        ratio = spec.optimizer.lr / fresh.optimizer.lr
        assert ratio == pytest.approx(float(spec.tags["multiple"]), rel=1e-5)
        assert (spec.steps, spec.gradient) == (SIZES.stability_steps, fresh.gradient)
        assert (spec.evaluations, spec.measures) == (2, ())
    assert len({s.key() for s in stable}) == len(arms_in("stability")) * 8 * 3


def test_scaling_rules_see_equal_tokens_and_move_the_rate_by_their_power_of_b():
    specs = part_of(planned(study_records()), "scaling")
    optimum = {s.optimizer.lr for s in specs if s.batch_size == 8}
    assert len(optimum) == 1
    for spec in specs:
        assert spec.steps * spec.batch_size == 64
        power = {"lr~B^0": 0, "lr~B^0.5": 0.5, "lr~B^1": 1}[spec.tags["arm"]]
        expected = min(optimum) * (spec.batch_size / 8) ** power
        assert spec.optimizer.lr == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_batch_sizes_divide_the_steps_so_that_evaluations_are_at_equal_tokens(preset):
    sizes = PRESETS[preset]
    assert sizes.language.batch_size in sizes.batch_sizes
    examples = sizes.language.steps * sizes.language.batch_size
    assert all(examples % (size * sizes.evaluations) == 0 for size in sizes.batch_sizes)


def test_at_the_own_batch_size_the_three_rules_are_the_run_of_adam_itself():
    specs = planned(study_records())
    for seed in range(5):
        keys = {s.key() for s in part_of(specs, "scaling") if (s.batch_size, s.seed) == (8, seed)}
        assert keys == {s.key() for s in part_of(specs, "language", arm="adam", phase="fresh") if s.seed == seed}


def test_without_tuning_nothing_that_rests_on_an_optimum_is_named():
    assert {s.tags["phase"] for s in study.specs("medium", [])} == {"tune"}
    tuned = [record(s) for s in planned([]) if s.tags["arm"] != "adam"]
    assert not part_of(planned(tuned), "scaling")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_run_can_be_built(preset):
    for spec in study.specs(preset, []):
        assert entries(spec)
        assert data_sources(spec)
        options = {"language": LanguageOptions, "images": ImageOptions}[spec.problem.name]
        assert options(**spec.problem.options)
        build_gradient(spec)
        build_measures(spec)


def test_adam_needs_no_statistics_and_only_clipped_arms_are_clipped():
    assert study.gradient(ADAM, "vmap") is None
    assert study.gradient(ARMS["adam+clip"], "vmap") == Part(name="backward", options={"max_norm": 1.0})
    assert "max_norm" not in study.gradient(ARMS["micro_adam"], "vmap").options
    assert study.gradient(ARMS["micro_adam+clip"], "vmap").options["max_norm"] == 1.0


def test_the_split_is_measured_on_adam_s_own_runs_and_under_the_root():
    specs = planned(study_records())
    measured = [s for s in specs if "moment_split" in {part.name for part in s.measures}]
    assert {(s.tags["part"], s.tags["arm"], s.batch_size) for s in measured} == {
        ("language", "adam", 8),
        *(("scaling", "lr~B^0.5", size) for size in (4, 8, 16)),
        *(("scaling", rule, 8) for rule in ("lr~B^0", "lr~B^1")),
    }


def test_images_have_no_batch_norm():
    assert {s.problem.options["norm"] for s in part_of(study.specs("full", []), "images")} == {"group"}


@pytest.mark.parametrize("arm", arms_in("language"), ids=lambda arm: arm.name)
def test_every_arm_trains(arm, tmp_path):
    task = SIZES.language._replace(problem=Part(name="language", options=TOPICS), batch_size=4, steps=6)
    spec = study.make(SIZES._replace(language=task, examples=4), "language", arm, lr=8e-3, seed=0, phase="tune")
    problem = LanguageProblem.from_options(LanguageOptions(**TOPICS), cache=tmp_path)
    curves, finite = train(spec, problem, problem.init_model())
    losses = curves.export()["validation_loss"].y
    assert finite
    assert losses[-1] < losses[0] - 0.1


# -- gradients and the measure: one weight w, loss w·x, so that the gradient of an example is x


class Examples(NamedTuple):
    x: torch.Tensor


class Weight(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 1.0]))

    def forward(self, x):
        return x @ self.w


def products(model, batch):
    return model(batch.x)


class Stub:
    """A problem whose examples are given; it notes which block was asked for."""

    def __init__(self, x):
        self.x, self.asked = x, []

    def batch(self, step, size):
        self.asked.append((step, size))
        return Examples(self.x)

    losses = staticmethod(products)


X = torch.tensor([[1.0, 6.0], [5.0, 2.0]])  # means 3 and 4, norm 5; variances 8 and 8; mean squares 13 and 20


def test_clipping_scales_the_mean_and_the_variance_of_one_set_of_gradients():
    """The norm 5 is clipped to 2.5: means halved, variances a quarter."""
    model = Weight()
    found = Statistics(("variance",), method="loop", max_norm=2.5)(model, products, Examples(X))
    torch.testing.assert_close(model.w.grad, torch.tensor([1.5, 2.0]))
    torch.testing.assert_close(found["statistics"]["variance"]["w"], torch.tensor([2.0, 2.0]))
    assert found["batch_size"] == 2


def test_a_norm_below_the_threshold_is_left_alone():
    model = Weight()
    found = Statistics(("mean_square",), method="loop", max_norm=6.0)(model, products, Examples(X))
    torch.testing.assert_close(model.w.grad, torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(found["statistics"]["mean_square"]["w"], torch.tensor([13.0, 20.0]))


def test_clipped_backward_is_the_clipped_mean():
    model = Weight()
    assert Backward(max_norm=2.5)(model, products, Examples(X)) == {}
    torch.testing.assert_close(model.w.grad, torch.tensor([1.5, 2.0]))


def test_an_elementwise_function_acts_on_each_example_before_the_mean():
    """Clamped to 3: (1 + 3)/2 and (3 + 2)/2; the clamped mean would be 3 and 3."""
    model = Weight()
    Elementwise("clamp", {"max": 3.0}, method="loop")(model, products, Examples(X))
    torch.testing.assert_close(model.w.grad, torch.tensor([2.0, 2.5]))


def test_the_split_is_the_unbiased_mean_square_and_the_variance_summed_over_a_tensor():
    """N = 2: mu² is 9 - 8/2 = 5 and 16 - 4 = 12; at B = 1 both exceed 8 only in the second entry."""
    spec = SIZES.language._replace(steps=3, batch_size=1)
    run = adam_spec(SIZES._replace(language=spec))
    problem = Stub(X)
    found = MomentSplit(2, method="loop")(Checkpoint(Weight(), problem, run))
    assert found == {"split/w/mean_square": 17.0, "split/w/variance": 16.0, "split/all/led": 0.5}
    assert problem.asked == [(2, 2)], "examples 0 to 2 are trained on: the first unseen pair is number 2"
    halved = run.model_copy(update={"batch_size": 2})
    found = MomentSplit(2, method="loop")(Checkpoint(Weight(), problem, halved))
    assert found["split/all/led"] == 1.0, "5 and 12 exceed 8/2"


def test_the_split_is_unbiased_on_drawn_gradients():
    """mu = 0.1, sigma = 1, N = 16: gbar² alone would be off by 1/16, six times mu²."""
    draws = 0.1 + torch.randn(40_000, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    estimate = unbiased_mean_square(draws.mean(1), draws.var(1), 16)
    assert estimate.mean().item() == pytest.approx(0.01, abs=5 * estimate.std().item() / 200)
    assert estimate.min() < 0


def test_the_split_is_measured_at_the_stated_shares_of_the_run():
    run = adam_spec(MEDIUM)
    assert [step for step in range(1001) if MomentSplit(8).wants(step, run)] == [0, 250, 500, 750, 1000]
