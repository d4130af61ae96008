"""Preference tuning and captions: DPO's loss and a caption's likelihood by hand, pairs, and what learns."""

import math

import numpy as np
import pytest
import torch

from regrad.problems.captions import NAMES, CaptionOptions, CaptionProblem, caption_table
from regrad.problems.images import ImageOptions, ImageProblem
from regrad.problems.options import OptionError
from regrad.problems.preference import PreferenceOptions, PreferenceProblem, log_probabilities
from regrad.problems.sentences import prepare

WORDS = ["fine", "good", "bright", "warm", "dull", "bad", "grey", "cold"]


def sentences():
    """400 sentences of three words, favourable if their words are of the first four."""
    bits = np.random.Philox(key=7).random_raw(1200).reshape(400, 3)
    for k, row in enumerate(bits):
        good = k % 2 == 0
        yield (1.0 if good else -1.0), " ".join(WORDS[int(b % 4) + (0 if good else 4)] for b in row) + f" {k}"


def preference(**options):
    given = PreferenceOptions(
        hidden=8, heads=1, layers=1, vocabulary=20, words=5, pretraining_steps=2, evaluation_pairs=30, **options
    )
    return PreferenceProblem(given, prepare(list(sentences()), 20, 5), seed=3)


# -- preference


def test_a_sentence_s_log_probability_leaves_out_the_padding():
    """Uniform over 4 ids: log 1/4 a word; of (pad, pad, 2, 3) and (pad, 1, 2, 3) two and three words count."""
    uniform = lambda ids: torch.zeros(*ids.shape, 4)  # noqa: E731
    found = log_probabilities(uniform, torch.tensor([[0, 0, 2, 3], [0, 1, 2, 3]]))
    assert found.tolist() == pytest.approx([-2 * math.log(4), -3 * math.log(4)])


def test_the_loss_of_a_pair_by_hand():
    """Gains over the reference 1 and -2 nats: margin 3, beta 0.5: -log sigmoid(1.5) = log(1 + e^-1.5) = 0.20141."""
    problem = preference(beta=0.5)
    batch = problem.batch(0, 1)
    model = problem.reference
    known = log_probabilities(model, batch.inputs[0])
    shifted = batch._replace(targets=(known - torch.tensor([1.0, -2.0]))[None])
    assert problem.losses(model, shifted).tolist() == pytest.approx([0.201413], abs=1e-5)


def test_before_the_first_step_every_margin_is_zero_and_accuracy_a_half():
    problem = preference()
    found = problem.evaluate(problem.init_model())
    assert found == {"loss": pytest.approx(math.log(2)), "accuracy": 0.5}


def test_a_pair_is_a_favourable_and_an_unfavourable_sentence_and_an_epoch_uses_each_once():
    problem = preference()
    pairs = problem.pairs("train", "order", 0)
    labels = problem.arrays["train_labels"]
    assert (labels[pairs] == [1, 0]).all()
    assert len(np.unique(pairs)) == pairs.size
    assert not np.array_equal(pairs, problem.pairs("train", "order", 1))
    assert torch.equal(problem.batch(1, 4).inputs[0], problem.batch(0, 5).inputs[4]), "numbered, not drawn"


def test_each_side_of_the_pairs_has_an_order_of_its_own():
    """Of equally many sentences of both kinds, alternating: sentence 2k is the k-th of one, 2k + 1 of the other."""
    problem = preference()
    problem.arrays = problem.arrays | {"train_labels": np.arange(40) % 2}
    unfavourable_first = problem.pairs("train", "order", 0)[:, ::-1] // 2
    assert not np.array_equal(*unfavourable_first.T)


def test_the_reference_stays_frozen_while_the_model_learns_to_order_pairs():
    problem = preference()
    model = problem.init_model()
    before = [p.clone() for p in problem.reference.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(40):
        optimizer.zero_grad()
        problem.losses(model, problem.batch(step, 8)).mean().backward()
        optimizer.step()
    assert problem.evaluate(model, "test")["accuracy"] > 0.9
    assert all(torch.equal(a, b) for a, b in zip(before, problem.reference.parameters(), strict=True))


def test_pretraining_makes_sentences_likelier_and_is_the_same_at_every_call():
    fresh, trained = preference(), preference()
    trained.options = trained.options.model_copy(update={"pretraining_steps": 60, "pretraining_lr": 1e-2})
    ids = fresh.batch(0, 16).inputs.flatten(0, 1)
    better = log_probabilities(trained.reference, ids).mean() - log_probabilities(fresh.reference, ids).mean()
    assert better > 1
    again = preference().init_model().state_dict()
    assert all(torch.equal(value, again[name]) for name, value in fresh.init_model().state_dict().items())


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"pretraining_steps": -1}, {"heads": 0}])
def test_preference_options_out_of_range_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        PreferenceOptions(**wrong)


# -- captions


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    options = CaptionOptions(images="digits", patch=4, hidden=16, heads=1, layers=1, evaluation_examples=60)
    return CaptionProblem.from_options(options, cache=tmp_path_factory.mktemp("cache"), seed=1)


def test_captions_are_names_closed_by_a_newline():
    """Bytes of "ab" and "c": 97, 98, 10 and 99, 10, padded."""
    assert caption_table(("ab", "c")).tolist() == [[97, 98, 10], [99, 10, 0]]
    assert all(len(set(names)) == 10 for names in NAMES.values())


def test_a_caption_s_loss_counts_its_own_bytes(digits):
    """Uniform over 256 bytes: "zero" and its newline cost 5 log 256, "six" 4 log 256."""
    batch = digits.batch(0, 2)._replace(targets=torch.tensor([0, 6]))
    uniform = lambda images, captions: torch.zeros(*captions.shape, 256)  # noqa: E731
    assert digits.losses(uniform, batch).tolist() == pytest.approx([5 * math.log(256), 4 * math.log(256)])


def test_a_byte_sees_the_image_and_the_bytes_before_only(digits):
    model, batch = digits.init_model(), digits.batch(0, 1)
    caption = digits.captions[batch.targets]
    other = caption.clone()
    other[0, 2] = ord("z")
    first, second = model(batch.inputs, caption), model(batch.inputs, other)
    assert first.shape == (1, digits.captions.shape[1], 256)
    assert torch.equal(first[:, :3], second[:, :3])
    assert not torch.equal(first[:, 3:], second[:, 3:])
    assert not torch.equal(first[:, 0], model(batch.inputs.flip(2), caption)[:, 0])


def test_the_likeliest_name_is_counted_and_the_captioner_learns(digits):
    model = digits.init_model()
    before = digits.evaluate(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(60):
        optimizer.zero_grad()
        digits.losses(model, digits.batch(step, 16)).mean().backward()
        optimizer.step()
    after = digits.evaluate(model)
    assert after["loss"] < before["loss"] / 5
    assert after["accuracy"] > 0.35


def test_batches_are_those_of_the_image_problem(digits):
    plain = ImageProblem(ImageOptions(images="digits"), digits.arrays, seed=1)
    ours, theirs = digits.batch(2, 4), plain.batch(2, 4)
    assert torch.equal(ours.inputs, theirs.inputs)
    assert torch.equal(ours.targets, theirs.targets)
