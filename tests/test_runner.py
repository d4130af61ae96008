"""One run: what the same seed gives every optimizer, what a record holds, how a run ends."""

import hashlib
import math

import pytest
import torch
from torch import nn

from regrad.problems.batch import Batch
from regrad.problems.language import LanguageProblem
from regrad.results import Part, Schedule, parse
from regrad.runner.build import build_measures, build_optimizer, build_problem
from regrad.runner.dependencies import data_sources, entries
from regrad.runner.measures import Checkpoint, StateMean
from regrad.runner.registry import GRADIENTS, MEASURES, OPTIMIZERS, PROBLEMS
from regrad.runner.schedules import learning_rate_factor
from regrad.runner.train import Curves, evaluation_steps, run, train
from regrad.store import seal
from tiny_runs import FINGERPRINT, TOPICS, sgd, spec

LR = {"lr": 0.01}
SIGNS = {"lr": 0.01, "momentum": 0.9}
ARMS = {
    "sgd": {"optimizer": sgd(0.01)},
    "adam": {"optimizer": Part(name="adam", options={**LR, "betas": [0.9, 0.99]})},
    "adamw": {"optimizer": Part(name="adamw", options=LR)},
    "batch": {"optimizer": Part(name="sign_sgd", options={**SIGNS, "placement": "batch"})},
    "ema": {"optimizer": Part(name="sign_sgd", options={**SIGNS, "placement": "ema"})},
    "example": {
        "optimizer": Part(name="sign_sgd", options={**SIGNS, "placement": "example"}),
        "gradient": Part(name="example_signs"),
    },
    "group-2": {
        "optimizer": Part(name="sign_sgd", options={**SIGNS, "placement": "example"}),
        "gradient": Part(name="example_signs", options={"group_size": 2}),
    },
    "micro_adam": {
        "optimizer": Part(name="micro_adam", options=LR),
        "gradient": Part(name="statistics", options={"names": ["variance"], "method": "vmap"}),
    },
}


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def digest(tensors):
    return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest()


def seen(monkeypatch, cache, of):
    """What a run starts from and is shown: initial weights, training batches, evaluation windows."""
    weights, batches, windows = [], [], []
    with monkeypatch.context() as patch:
        init, batch, cut = LanguageProblem.init_model, LanguageProblem.batch, LanguageProblem.examples

        def init_model(self):
            model = init(self)
            weights.append(digest(model.parameters()))
            return model

        def take(self, step, size):
            found = batch(self, step, size)
            batches.append((step, digest(found)))
            return found

        def window(self, split, starts):
            windows.append((split, tuple(int(s) for s in starts)))
            return cut(self, split, starts)

        patch.setattr(LanguageProblem, "init_model", init_model)
        patch.setattr(LanguageProblem, "batch", take)
        patch.setattr(LanguageProblem, "examples", window)
        record = run(of, FINGERPRINT, cache=cache)
    return (weights, batches, windows), record


@pytest.fixture(scope="module")
def reference(cache):
    with pytest.MonkeyPatch.context() as patch:
        return seen(patch, cache, spec(batch_size=4, steps=3))


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_one_seed_gives_every_optimizer_the_same_weights_batches_and_evaluation(monkeypatch, cache, reference, arm):
    found, record = seen(monkeypatch, cache, spec(batch_size=4, steps=3, **ARMS[arm]))
    assert found == reference[0]
    first = [r.curves["validation_loss"].y[0] for r in (record, reference[1])]
    assert first[0] == first[1]


def test_the_reference_took_every_batch_once_and_evaluated_at_both_ends(reference):
    (weights, batches, windows), _ = reference
    assert len(weights) == 1
    assert [step for step, _ in batches] == [0, 1, 2]
    assert len({content for _, content in batches}) == 3
    validation = [starts for split, starts in windows if split == "validation"]
    assert len(validation) == 2
    assert validation[0] == validation[1]


def test_another_seed_changes_all_three(monkeypatch, cache, reference):
    (weights, batches, windows), _ = seen(monkeypatch, cache, spec(batch_size=4, steps=3, seed=1))
    (first_weights, first_batches, first_windows), _ = reference
    assert weights != first_weights
    assert batches != first_batches
    assert [s for split, s in windows if split == "validation"] != [
        s for split, s in first_windows if split == "validation"
    ]


@pytest.mark.parametrize("arm", ["example", "ema", "adam", "micro_adam"])
def test_a_run_twice_gives_equal_bytes_and_does_not_touch_the_global_generator(cache, arm):
    of = spec(batch_size=4, measures=(Part(name="test"),), **ARMS[arm])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = seal(run(of, FINGERPRINT, cache=cache).model_dump(mode="json"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert seal(run(of, FINGERPRINT, cache=cache).model_dump(mode="json")) == first


def test_a_run_uses_one_thread_whatever_was_set_before(cache):
    torch.set_num_threads(2)
    run(spec(), FINGERPRINT, cache=cache)
    assert torch.get_num_threads() == 1


def test_a_record_holds_what_was_asked_for(cache):
    made = run(spec(steps=4, evaluations=2, measures=(Part(name="test"),)), FINGERPRINT, cache=cache)
    assert made.status == "finished"
    assert made.curves["validation_loss"].x == [0.0, 2.0, 4.0]
    assert made.curves["test_loss"].x == [4.0]
    assert made.metrics["validation_loss"] == made.curves["validation_loss"].y[-1]
    assert set(made.metrics) == {"validation_loss", "validation_perplexity", "test_loss", "test_perplexity"}
    assert made.metrics["test_perplexity"] == pytest.approx(math.exp(made.metrics["test_loss"]))
    assert made.parameters == 115_008  # 0.1 million: the size that the options name
    assert made.curves["validation_loss"].y[0] == pytest.approx(math.log(256), abs=0.1)  # uniform over bytes


def test_a_run_that_leaves_the_numbers_is_a_record_without_metrics(cache):
    made = run(spec(optimizer=sgd(1e30), steps=4, evaluations=2), FINGERPRINT, cache=cache)
    assert made.status == "diverged"
    assert made.diverged
    assert made.metrics == {}
    assert made.curves["validation_loss"].x == [0.0]
    assert all(math.isfinite(y) for curve in made.curves.values() for y in curve.y)


def test_curves_take_all_values_of_a_step_or_none():
    curves = Curves()
    assert curves.add(0, {"a": 1.0, "b": 2.0})
    for bad in (math.nan, math.inf, -math.inf):
        assert not curves.add(1, {"a": 1.0, "b": bad})
    exported = curves.export()
    assert {name: (c.x, c.y) for name, c in exported.items()} == {"a": ([0.0], [1.0]), "b": ([0.0], [2.0])}


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [(10, 2, {0, 5, 10}), (10, 1, {0, 10}), (3, 10, {0, 1, 2, 3}), (25, 4, {0, 6, 12, 19, 25}), (1, 1, {0, 1})],
)
def test_evaluations_are_at_both_ends_and_evenly_between(steps, evaluations, expected):
    assert evaluation_steps(steps, evaluations) == expected


def test_learning_rate_factor_by_hand():
    # 10 steps, 2 of warm-up: 1/3, 2/3; then a cosine from 1 over 8 steps to 0.1:
    # half-way, step 6, 0.1 + 0.9 · 0.5 = 0.55; a quarter, step 4, 0.1 + 0.9 · (1 + cos 45°)/2 = 0.868198.
    factor = learning_rate_factor(Schedule(shape="cosine", warmup=0.2, final=0.1), 10)
    assert [factor(k) for k in (0, 1, 2)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert factor(4) == pytest.approx(0.868198, abs=1e-6)
    assert factor(6) == pytest.approx(0.55)
    assert factor(10) == factor(99) == pytest.approx(0.1)


def test_a_constant_schedule_is_one_after_its_warm_up():
    factor = learning_rate_factor(Schedule(shape="constant", warmup=0.5), 4)
    assert [factor(k) for k in range(4)] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])
    plain = learning_rate_factor(Schedule(shape="constant", warmup=0), 4)
    assert [plain(k) for k in range(5)] == [1.0] * 5


class Slope:
    """A problem whose loss is w · x: its gradient is the mean of x, here 1, 2, 3, …"""

    def batch(self, step, size):
        return Batch(torch.full((size, 1), step + 1.0), torch.zeros(size))

    def losses(self, model, batch):
        return model(batch.inputs).squeeze(1)

    def evaluate(self, model, split):
        return {"loss": float(model.weight.detach())}


def slope_at(weight):
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(weight)
    return model


def test_a_training_loop_by_hand():
    # Gradients 1, 2, 3, 4; rate 0.1 times 1/3, 2/3, 1, 1 (warm-up of 2 steps):
    # w = 10 - 0.1 (1/3 + 4/3 + 3 + 4) = 9.1333…; without zero_grad or with a late scheduler it is another number.
    wanted = spec(steps=4, evaluations=4, schedule=Schedule(shape="constant", warmup=0.5))
    curves, finite = train(wanted, Slope(), slope_at(10.0))
    assert finite
    expected = [10, 10 - 0.1 / 3, 10 - 0.5 / 3, 10 - 1.4 / 3, 10 - 2.6 / 3]
    assert curves.export()["validation_loss"].y == pytest.approx(expected, rel=1e-6)


def test_the_schedule_reaches_a_sign_optimizer_too():
    # sign(gradient) = 1 in every step, momentum 0: w falls by the learning rate itself.
    options = {"lr": 0.3, "momentum": 0.0, "placement": "batch"}
    wanted = spec(steps=3, schedule=Schedule(shape="cosine", warmup=0, final=0.0), evaluations=3)
    wanted = wanted.model_copy(update={"optimizer": Part(name="sign_sgd", options=options)})
    curves, _ = train(wanted, Slope(), slope_at(0.0))
    # factors (1 + cos(pi k/3))/2 = 1, 0.75, 0.25
    assert curves.export()["validation_loss"].y == pytest.approx([0, -0.3, -0.525, -0.6], rel=1e-5)


class Rows(Slope):
    """A problem whose per-example gradients in the two steps are these."""

    def batch(self, step, size):
        gradients = ([4.0, -1.0, -1.0, -1.0], [1.0, 1.0, -1.0, 4.0])[step]
        return Batch(torch.tensor(gradients).unsqueeze(1), torch.zeros(size))


@pytest.mark.parametrize(
    ("arm", "path"),
    [
        # Signs averaged: -1/2, then 1/2. EMA with momentum 1/2: -1/4, then -1/8 + 1/4 = 1/8.
        ("example", [0, 0.25, 0.125]),
        # Means of pairs: 1.5 and -1, signs averaged 0; then 1 and 1.5, signs averaged 1. EMA 0, then 1/2.
        ("group-2", [0, 0, -0.5]),
        # Batch means 1/4 and 5/4, signs 1 and 1. EMA 1/2, then 3/4.
        ("batch", [0, -0.5, -1.25]),
        # EMA of the batch means 1/8, then 1/16 + 5/8: signs 1 and 1.
        ("ema", [0, -1, -2]),
    ],
)
def test_each_placement_of_the_sign_by_hand_from_spec_to_weights(arm, path):
    """One of the seeded faults: a sign in another place, in the optimizer or in the gradient, fails here."""
    early = arm not in ("batch", "ema")
    options = {"lr": 1.0, "momentum": 0.5, "placement": "example" if early else arm}
    signs = Part(name="example_signs", options={"group_size": 2 if arm == "group-2" else 1})
    wanted = spec(
        optimizer=Part(name="sign_sgd", options=options),
        gradient=signs if early else None,
        schedule=Schedule(shape="constant", warmup=0),
        batch_size=4,
        evaluations=2,
    )
    curves, _ = train(wanted, Rows(), slope_at(0.0))
    assert curves.export()["validation_loss"].y == path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"optimizer": Part(name="sign_sdg", options=LR)}, r"unknown optimizer 'sign_sdg'; did you mean 'sign_sgd'\?"),
        ({"gradient": Part(name="example_sings")}, r"unknown gradient .*did you mean 'example_signs'\?"),
        ({"measures": (Part(name="tset"),)}, r"unknown measure 'tset'; did you mean 'test'\?"),
        ({"problem": Part(name="langage", options=TOPICS)}, r"unknown problem .*did you mean 'language'\?"),
        ({"scaler": Part(name="clip")}, r"unknown scaler 'clip'"),
    ],
    ids=str,
)
def test_an_unknown_name_is_refused_with_a_suggestion(change, said):
    with pytest.raises(ValueError, match=said):
        entries(spec(**change))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({**TOPICS, "sequence_lenght": 8}, "did you mean 'sequence_length'"),
        ({**TOPICS, "model": "2M"}, "model = '2M'"),
        ({**TOPICS, "sequence_length": 0}, "sequence_length = 0"),
    ],
)
def test_a_bad_problem_option_is_refused_in_one_line(cache, options, said):
    with pytest.raises(ValueError, match=said) as caught:
        build_problem(spec(problem=Part(name="language", options=options)), cache=cache, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_problem_must_name_its_data():
    with pytest.raises(ValueError, match="option 'corpus' must be given"):
        data_sources(spec(problem=Part(name="language")))
    assert data_sources(spec()) == ["python-topics"]


def test_every_entry_of_the_tables_can_be_imported():
    for table in (PROBLEMS, OPTIMIZERS, GRADIENTS, MEASURES):
        for entry in table.values():
            module, attribute = entry.split(":")
            assert callable(getattr(__import__(module, fromlist=[attribute]), attribute)), entry


def test_an_optimizer_gets_the_trainable_parameters_with_their_names():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].weight.requires_grad_(False)
    optimizer = build_optimizer(Part(name="adam", options={"lr": 0.5, "betas": [0.8, 0.9]}), model)
    (group,) = optimizer.param_groups
    assert group["param_names"] == ["0.bias", "1.weight", "1.bias"]
    assert group["betas"] == (0.8, 0.9)


def test_the_test_loss_is_taken_once_at_the_end_on_the_test_split(monkeypatch, cache):
    wanted = spec(measures=(Part(name="test"),))
    (_, _, windows), _ = seen(monkeypatch, cache, wanted)
    assert [split for split, _ in windows if split != "train"] == ["validation", "validation", "test"]
    (measure,) = build_measures(wanted)
    assert [step for step in range(3) if measure.wants(step, spec(steps=2))] == [2]


def test_a_misspelt_field_of_a_spec_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="did you mean 'optimizer'"):
        parse(type(spec()), spec().model_dump() | {"optimiser": {"name": "sgd"}})


def test_a_number_in_the_optimizers_state_is_averaged_over_entries_and_recorded(monkeypatch, cache):
    optimizer = Part(name="micro_adam", options={"lr": 0.01, "preconditioner": "mean_square"})
    gradient = Part(name="statistics", options={"names": ["variance"], "method": "vmap"})
    share = Part(name="state_mean", options={"key": "clipped_share", "every": 2})
    wanted = spec(steps=3, optimizer=optimizer, gradient=gradient, measures=(share,))
    curve = run(wanted, FINGERPRINT, cache=cache).curves["clipped_share"]
    assert curve.x == [2.0, 3.0]
    assert all(0 < y < 1 for y in curve.y)
    weights = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(9))]
    sgd = torch.optim.SGD(weights, lr=0.1)
    sgd.state[weights[0]]["clipped_share"] = torch.tensor(0.5)
    sgd.state[weights[1]]["clipped_share"] = torch.tensor(0.1)
    measure = StateMean("clipped_share")
    assert measure(Checkpoint(nn.Linear(1, 1), None, wanted, sgd)) == {"clipped_share": pytest.approx(0.4)}
    assert measure(Checkpoint(nn.Linear(1, 1), None, wanted, torch.optim.SGD(weights, lr=0.1))) == {}
