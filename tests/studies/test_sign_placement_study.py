"""The plan of the study: arms, grids centred as stated, what each run measures. By hand.

One of the seeded faults: with the ``sqrt`` or κ of ``noise_limited_update_rms`` left out the tests of the centres fail.
"""

import pytest

from regrad.problems.language import LanguageOptions
from regrad.results import Part
from regrad.runner.build import build_gradient, build_measures
from regrad.runner.dependencies import data_sources, entries
from regrad.studies.grids import log_grid
from regrad.studies.sign_placement import plan as study
from regrad.studies.sign_placement.arms import ARMS
from regrad.studies.sign_placement.sizes import PRESETS

SMOKE = PRESETS["smoke"]


def by_arm(specs, phase="tune"):
    found = {}
    for s in specs:
        if s.tags["phase"] == phase:
            found.setdefault(s.tags["arm"], []).append(s)
    return found


def test_a_grid_is_geometric_around_its_centre_with_six_digits():
    assert log_grid(1.0, 3, 2.0) == [0.5, 1.0, 2.0]
    assert log_grid(2e-3, 5, 2.0) == [0.0005, 0.001, 0.002, 0.004, 0.008]
    assert log_grid(1.0, 2, 4.0) == [0.5, 2.0]  # an even number straddles the centre
    assert log_grid(1 / 3, 3, 2.0) == [0.166667, 0.333333, 0.666667]


@pytest.mark.parametrize(
    ("arm", "centre"),
    [
        # ema 2e-3; κ = sqrt(19) = 4.358899; B = 16 examples: κ sqrt(16), κ sqrt(4), κ times it.
        ("ema", 0.002),
        ("batch", 0.002 * 4.358899),
        ("group-4", 0.002 * 4.358899 * 2),
        ("example", 0.002 * 4.358899 * 4),
    ],
)
def test_centres_of_the_grids_by_hand(arm, centre):
    assert study.center(ARMS[arm], SMOKE) == pytest.approx(centre, rel=1e-6)
    grid = sorted(s.optimizer.options["lr"] for s in by_arm(study.specs("smoke", []))[arm])
    assert grid == pytest.approx([centre / 2, centre, centre * 2], rel=1e-5)


@pytest.mark.parametrize(
    ("preset", "arms"),
    [
        ("smoke", ["example", "group-4", "batch", "ema"]),
        ("medium", ["example", "group-2", "group-4", "group-8", "batch", "ema"]),
        ("full", ["example", "group-4", "group-16", "batch", "ema"]),
        ("paper", ["example", "group-4", "group-16", "batch", "ema"]),
    ],
)
def test_arms_go_from_the_earliest_sign_to_the_latest(preset, arms):
    assert [arm.name for arm in study.arms(PRESETS[preset])] == arms
    assert list(by_arm(study.specs(preset, []))) == arms


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_arm_has_the_same_budget_and_differs_in_the_placement_only(preset):
    found = by_arm(study.specs(preset, []))
    sizes = PRESETS[preset]
    for arm, specs in found.items():
        assert len(specs) == sizes.points * sizes.seeds[0]
        lrs = sorted({s.optimizer.options["lr"] for s in specs})
        assert lrs[-1] / lrs[0] == pytest.approx(sizes.ratio ** (sizes.points - 1), rel=1e-4), arm
        for s in specs:
            common = s.model_dump(exclude={"optimizer", "gradient", "seed", "tags"})
            assert common == found["ema"][0].model_dump(exclude={"optimizer", "gradient", "seed", "tags"})


def test_each_arm_is_the_placement_that_its_name_says():
    """``example`` and the groups sign in the gradient, ``batch`` and ``ema`` in the optimizer."""
    found = {arm: specs[0] for arm, specs in by_arm(study.specs("medium", [])).items()}
    placed = {arm: s.optimizer.options["placement"] for arm, s in found.items()}
    assert placed == {
        **dict.fromkeys(("example", "group-2", "group-4", "group-8"), "example"),
        "batch": "batch",
        "ema": "ema",
    }
    sizes = {arm: s.gradient.options["group_size"] for arm, s in found.items() if s.gradient}
    assert sizes == {"example": 1, "group-2": 2, "group-4": 4, "group-8": 8}
    assert {s.optimizer.options["momentum"] for s in found.values()} == {0.9}


def test_tuning_looks_at_validation_only_and_fresh_runs_at_the_test_split():
    tune, fresh = (study.make(SMOKE, ARMS["batch"], 0.1, 0, phase) for phase in ("tune", "fresh"))
    assert tune.measures == ()
    assert fresh.measures == (Part(name="test"),)
    reference = study.make(SMOKE, ARMS["ema"], 0.1, 0, "fresh")
    assert [part.name for part in reference.measures] == ["test", "gradient_noise"]


def test_the_noise_is_predicted_for_the_batch_momentum_and_groups_of_the_study():
    (_, noise) = build_measures(study.make(SMOKE, ARMS["ema"], 0.1, 0, "fresh"))
    assert (noise.batch_size, noise.momentum) == (SMOKE.batch_size, 0.9)
    assert noise.placements == {a.name: (a.placement, a.group_size) for a in study.arms(SMOKE)}


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_can_be_built(preset):
    """Each option is one that its part accepts, before any run: names, ranges, divisors."""
    sizes = PRESETS[preset]
    for arm in study.arms(sizes):
        for phase in ("tune", "fresh"):
            s = study.make(sizes, arm, 0.1, 0, phase)
            LanguageOptions(**s.problem.options)
            build_gradient(s)
            build_measures(s)
            assert entries(s)
            assert data_sources(s)
    assert all(sizes.batch_size % k == 0 for k in sizes.groups)


def test_a_preset_changes_sizes_only():
    """Margins, arms' definitions, momentum, the schedule's shape and protocol are the same at each preset."""
    fields = {"problem", "batch_size", "steps", "optimizer", "gradient", "measures", "tags", "schedule"}
    made = {preset: study.make(sizes, ARMS["ema"], 0.1, 0, "fresh") for preset, sizes in PRESETS.items()}
    common = {preset: spec.model_dump(exclude=fields) for preset, spec in made.items()}
    assert all(values == common["smoke"] for values in common.values())
    assert {(spec.schedule.shape, spec.schedule.final) for spec in made.values()} == {("cosine", 0.1)}
    seeds = {preset: sizes.seeds[1] for preset, sizes in PRESETS.items()}
    assert seeds["small"] >= 5
    assert seeds["full"] >= 8
    assert seeds["paper"] >= 8
