"""Sentiment of sentences: words, ids, labels, splits and batches. By hand."""

import math

import numpy as np
import pytest
import torch

from regrad.problems.options import OptionError
from regrad.problems.sentences import encode_words, most_frequent, prepare, split_words
from regrad.problems.sentiment import SentimentOptions, SentimentProblem

PAIRS = [((-1.0) ** k * (1 + k % 3), f"sentence number {k} is {'bad' if k % 2 else 'good'} .") for k in range(200)]
ARRAYS = prepare(PAIRS, 40, 6)


def problem(seed=0, **options):
    return SentimentProblem(SentimentOptions(vocabulary=40, words=6, hidden=8, **options), ARRAYS, seed)


def test_words_and_marks_are_split_in_lower_case():
    assert split_words("It's GOOD, really!") == ["it", "'", "s", "good", ",", "really", "!"]


def test_frequent_words_come_first_and_ties_by_the_alphabet():
    assert most_frequent([["b", "a", "c"], ["c", "d"]], 3) == ["c", "a", "b"]


def test_ids_are_padded_at_the_left_and_cut_at_the_right():
    """0 is padding, 1 a word that is not known."""
    assert encode_words([["x", "y"], ["x", "?", "y", "x"], []], {"x": 2, "y": 3}, 3).tolist() == [
        [0, 2, 3],
        [2, 1, 3],
        [0, 0, 0],
    ]


def test_a_label_is_the_sign_of_the_rating_and_no_rating_no_example():
    """Every second sentence is rated below zero and says so in its last word but one."""
    found = prepare([*PAIRS, (0.0, "neither"), (0.0, "nor")], 40, 6)
    assert sum(len(found[f"{split}_labels"]) for split in ("train", "validation", "test")) == len(PAIRS)
    word = {"good": 1, "bad": 0}
    counts = most_frequent([split_words(text) for _, text in PAIRS], 38)
    assert {"good", "bad"} <= set(counts)
    words = vocabulary()
    for split in ("train", "validation", "test"):
        for ids, label in zip(ARRAYS[f"{split}_ids"], ARRAYS[f"{split}_labels"], strict=True):
            assert word[words[ids[-2]]] == label


def vocabulary():
    """Word by id: the ids are given by frequency on the training split."""
    by_text = {tuple(encode_words([split_words(t)], {}, 6)[0]): t for _, t in PAIRS}
    assert len(by_text) == 1  # without a vocabulary every sentence of six words is the same
    train = [split_words(t) for _, t in PAIRS if split_of(t) == "train"]
    return {k + 2: word for k, word in enumerate(most_frequent(train, 38))}


def split_of(text):
    """The split of a sentence that is prepared alone."""
    found = prepare([(1.0, text)], 4, 6)
    return next(split for split in ("train", "validation", "test") if len(found[f"{split}_labels"]))


def test_a_sentence_keeps_its_split_and_copies_stay_together():
    doubled = prepare(PAIRS + PAIRS[::-1], 40, 6)
    for split in ("train", "validation", "test"):
        assert len(doubled[f"{split}_labels"]) == 2 * len(ARRAYS[f"{split}_labels"])
    assert 0.7 * len(PAIRS) < len(ARRAYS["train_labels"]) < 0.9 * len(PAIRS)


def test_the_vocabulary_knows_nothing_of_held_out_sentences():
    secret = [(1.0, f"{'zebra ' * 9}{k}") for k in range(300)]
    held_out = [pair for pair in secret if split_of(pair[1]) != "train"]
    found = prepare(PAIRS + held_out, 200, 6)
    added = np.concatenate([found["validation_ids"], found["test_ids"]])
    assert (added == 1).any()
    assert (found["train_ids"] == ARRAYS["train_ids"])[found["train_ids"] < 20].all()


def test_loss_and_accuracy_by_hand():
    """Logits (0, 1) everywhere: loss ln(1 + e) - y, accuracy the share of favourable sentences."""

    class Always(torch.nn.Module):
        def forward(self, ids):
            return torch.tensor([0.0, 1.0]).expand(len(ids), 2)

    labels = ARRAYS["test_labels"]
    found = problem().evaluate(Always(), "test")
    assert found["accuracy"] == pytest.approx(labels.mean())
    assert found["loss"] == pytest.approx(math.log(1 + math.e) - labels.mean(), rel=1e-5)


def test_options_out_of_range_are_refused_by_name():
    for wrong in ({"vocabulary": 3}, {"words": 0}, {"network_kind": "gru"}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            SentimentOptions(**wrong)
