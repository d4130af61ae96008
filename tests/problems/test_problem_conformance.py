"""What every problem of the registry keeps to, each on small data of its own."""

import math

import numpy as np
import pytest
import torch
from tiny_problems import CASES, OPTIONS, build, encoder_folder, one_by_one, photograph

from regrad.problems import imagenet
from regrad.problems.problem import Problem
from regrad.runner.build import resolve
from regrad.runner.registry import DATA_OPTIONS, PROBLEMS

NUMBERS = {
    "language": {"loss", "perplexity"},
    "sized_language": {"loss", "perplexity"},
    "translation": {"loss"},
}
every_problem = pytest.mark.parametrize(("name", "variant"), CASES)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    pytest.importorskip("transformers")
    return encoder_folder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def made(name, variant, monkeypatch, request):
    """Build the problem of a case; the seed and options as given."""
    monkeypatch.setattr(imagenet, "read_image", photograph)
    folder = request.getfixturevalue("encoder") if name == "minilm" else None
    return lambda **options: build(name, variant, folder=folder, **options)


def equal(batch, other):
    pairs = zip(batch, other, strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in state.items())


def test_every_problem_of_the_registry_is_here():
    assert set(OPTIONS) == set(PROBLEMS) == set(DATA_OPTIONS)


@pytest.mark.parametrize("missing", sorted(Problem.__abstractmethods__))
def test_a_class_that_lacks_a_method_of_the_interface_cannot_be_built(missing):
    methods = {name: lambda *_: None for name in Problem.__abstractmethods__ - {missing}}
    with pytest.raises(TypeError, match=f"abstract method '?{missing}'?"):
        type("Unfinished", (Problem,), methods)(None, {})


def test_the_methods_that_a_class_must_have_are_these():
    assert Problem.__abstractmethods__ == {"load", "size", "examples", "network", "losses"}


@pytest.mark.parametrize("name", PROBLEMS)
def test_from_options_loads_what_the_options_name_for_the_seed_and_device(name, monkeypatch, tmp_path):
    kind, asked = resolve(PROBLEMS[name]), []
    monkeypatch.setattr(kind, "load", classmethod(lambda cls, options, cache: asked.append((options, cache)) or {}))
    monkeypatch.setattr(kind, "__post_init__", lambda self: None, raising=False)
    monkeypatch.setattr("regrad.problems.minilm.minilm_folder", lambda cache: cache / "minilm")
    options = kind.Options(**OPTIONS[name][0])
    problem = kind.from_options(options, cache=tmp_path, seed=7, device="meta")
    assert asked == [(options, tmp_path)]
    assert getattr(problem, "folder", tmp_path / "minilm") == tmp_path / "minilm"
    assert (type(problem), problem.options, problem.seed, problem.device) == (kind, options, 7, torch.device("meta"))


@every_problem
def test_a_batch_needs_no_earlier_one_and_the_series_no_batch_size(made):
    fresh, used = made(), made()
    for step in range(7):
        used.batch(step, 5)
    assert equal(fresh.batch(7, 5), used.batch(7, 5))
    # From step 2 on, as a bad batch at step 1 is bad as a whole.
    whole, pieces = fresh.batch(2, 6), [used.batch(step, 2) for step in (6, 7, 8)]
    assert equal(
        [part for part in whole if isinstance(part, torch.Tensor)],
        [torch.cat(parts) for parts in zip(*pieces, strict=True) if isinstance(parts[0], torch.Tensor)],
    )


@every_problem
def test_an_epoch_shows_every_example_once_and_the_next_has_another_order(made):
    problem = made()
    places = problem.order.batch(0, 2 * problem.epoch_size)
    first, second = np.split(places, 2)
    assert len(np.unique(first)) == len(np.unique(second)) == first.size
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.sort(first, axis=0))
    assert len(problem.examples("train", places[:3])[0]) == 3


@every_problem
def test_the_seed_decides_model_order_and_evaluation_and_nothing_else_does(made):
    torch.manual_seed(1)
    first = made(seed=3)
    start, batch = state(first.init_model()), first.batch(0, 5)
    torch.manual_seed(2)
    again, other = made(seed=3), made(seed=4)
    before = torch.get_rng_state()
    assert same(start, state(first.init_model()))
    assert same(start, state(again.init_model()))
    assert equal(batch, again.batch(0, 5))
    assert torch.equal(before, torch.get_rng_state()), "the global state is not drawn from"
    assert not same(start, state(other.init_model()))
    assert not equal(batch, other.batch(0, 5))
    places = [problem.evaluation_places("test") for problem in (first, again, other)]
    assert np.array_equal(places[0], places[1])
    assert not np.array_equal(places[0], places[2])


@every_problem
def test_a_loss_is_of_one_example_whatever_the_others_are(made):
    problem = made()
    model, batch = problem.init_model(), problem.batch(1, 5)
    losses = problem.losses(model, batch)
    assert losses.shape == (5,)
    losses.mean().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    if getattr(problem.options, "norm", None) != "batch":  # which looks at the whole batch
        alone = torch.cat([problem.losses(model, single) for single in one_by_one(batch)])
        torch.testing.assert_close(losses, alone, rtol=1e-4, atol=1e-5)


@every_problem
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_evaluation_is_of_the_numbers_promised_and_leaves_the_model_as_it_was(made, name, split):
    problem = made()
    model = problem.init_model()
    part = next(module for module in model.modules() if module is not model)
    part.eval()
    before, modes = state(model), [module.training for module in model.modules()]
    numbers = problem.evaluate(model, split)
    translated = {"bleu"} if name == "translation" and split == "test" else set()
    assert set(numbers) == NUMBERS.get(name, {"loss", "accuracy"}) | translated
    assert all(type(value) is float and math.isfinite(value) for value in numbers.values())
    assert problem.evaluate(model, split) == numbers
    assert same(before, state(model))
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())


@every_problem
def test_an_evaluation_sees_as_many_different_examples_as_asked_for_in_parts_of_any_size(made):
    whole, parts = made(), made(evaluation_batch=5)
    places = whole.evaluation_places("validation")
    assert len(np.unique(places)) == places.size
    assert len(places) == min(11, whole.size("validation"))
    assert [len(batch[0]) for batch in parts.evaluation_batches("validation")] == [4, 4, 3]
    model = whole.init_model()
    model.eval()
    with torch.no_grad():
        alone = [whole.totals(model, whole.examples("validation", places[k : k + 1]))["loss"] for k in range(11)]
    mean = float(sum(alone)) / 11
    assert whole.evaluate(model)["loss"] == pytest.approx(mean, rel=1e-5)
    assert parts.evaluate(model)["loss"] == pytest.approx(mean, rel=1e-5)


@every_problem
def test_the_option_that_the_fingerprint_reads_is_one_that_names_the_data(made, name):
    problem = made()
    assert DATA_OPTIONS[name] in problem.data_options
    value = getattr(problem.options, DATA_OPTIONS[name])
    assert set([value] if isinstance(value, str) else value) <= set(problem.datasets)


@every_problem
def test_a_bad_step_batch_size_or_seed_is_refused(made):
    with pytest.raises(ValueError, match="step=-1"):
        made().batch(-1, 4)
    with pytest.raises(ValueError, match="batch_size=0"):
        made().batch(0, 0)
    with pytest.raises(ValueError, match="seed=-1 must be an integer >= 0"):
        made(seed=-1).init_model()
