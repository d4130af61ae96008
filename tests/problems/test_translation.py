"""Translation: ids, splits, teacher forcing, the loss of a verse and BLEU. By hand."""

import math

import numpy as np
import pytest
import torch

from regrad.problems.options import OptionError
from regrad.problems.translation import (
    BEGIN,
    END,
    Pairs,
    TranslationOptions,
    TranslationProblem,
    encode,
    prepare,
)

VERSES = [(f"verse {k} of the book", f"verso {k} del libro") for k in range(300)]
ARRAYS = prepare(VERSES, 30, 5)
SPLITS = ("train", "validation", "test")


def problem(seed=0, arrays=ARRAYS, **options):
    return TranslationProblem(TranslationOptions(hidden=8, vocabulary=30, words=5, **options), arrays, seed)


def test_a_verse_is_begin_words_end_padding():
    """Words start at 4; 1 is an unknown word, 2 begins, 3 ends, 0 pads."""
    assert encode([["a", "z"], []], ["a", "b"], 3).tolist() == [[2, 4, 1, 3, 0], [2, 3, 0, 0, 0]]


def test_verses_too_long_in_either_language_are_left_out():
    pairs = [("one two three", "uno"), ("one", "uno dos tres"), ("one two", "uno dos"), ("", "uno")]
    found = prepare(pairs, 10, 2)
    assert sum(len(found[f"{split}_source"]) for split in SPLITS) == 1


def test_no_verse_is_in_two_splits_and_both_languages_stay_in_step():
    """The number of a verse is the second word in both languages."""
    wide = prepare(VERSES, 2000, 5)
    words = {name: wide[f"words_{name}"].tobytes().decode().split("\n") for name in ("source", "target")}
    seen = []
    for split in SPLITS:
        for source, target in zip(wide[f"{split}_source"], wide[f"{split}_target"], strict=True):
            if source[2] > 3:
                assert words["source"][source[2] - 4] == words["target"][target[2] - 4]
            if split == "train":
                seen.append(words["source"][source[2] - 4])
    assert len(seen) == len(set(seen)) == len(wide["train_source"])
    assert sum(len(wide[f"{split}_source"]) for split in SPLITS) == 300
    assert 0.85 * 300 < len(seen) < 0.95 * 300
    # numbers of held-out verses are words that training never saw
    assert (wide["test_source"][:, 2] == 1).all()
    assert (wide["validation_source"][:, 2] == 1).all()


def test_the_target_is_what_is_given_one_word_later():
    batch = problem().batch(0, 4)
    assert batch.source.shape == (4, 7)
    assert batch.given.shape == batch.targets.shape == (4, 6)
    assert (batch.given[:, 0] == BEGIN).all()
    assert torch.equal(batch.given[:, 1:], batch.targets[:, :-1])
    assert ((batch.targets == END).sum(dim=1) == 1).all()


def test_a_verse_counts_by_the_mean_of_its_words_without_padding():
    """Equal logits over 30 words: ln 30 a word, whatever the length."""
    batch = Pairs(
        torch.tensor([[2, 4, 3, 0]] * 2), torch.tensor([[2, 4, 5], [2, 4, 0]]), torch.tensor([[4, 5, 3], [4, 3, 0]])
    )
    logits = torch.zeros(2, 3, 30)
    found = problem().losses(lambda source, given: logits, batch)
    assert torch.allclose(found, torch.full((2,), math.log(30)))
    logits[1, 2] = torch.randn(30, generator=torch.Generator().manual_seed(0))  # a padded place
    assert torch.equal(problem().losses(lambda source, given: logits, batch), found)
    logits[1, 1, 3] = 50.0  # its end mark for certain: half of the second verse's loss goes
    assert float(problem().losses(lambda source, given: logits, batch)[1]) == pytest.approx(math.log(30) / 2)


class Knows(torch.nn.Module):
    """Writes the words of given rows one after the other, as a trained network would."""

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.as_tensor(rows)

    def forward(self, source, given):
        place = given.shape[1]
        following = self.rows[: len(given), : place + 1][:, 1:]
        return torch.nn.functional.one_hot(following, 30).float()


def bleu(rows, **options):
    pytest.importorskip("sacrebleu")
    made = problem(**options)
    where = np.arange(len(ARRAYS["test_target"]))
    return made._bleu(Knows(rows), where)


def test_bleu_is_100_for_the_verses_themselves():
    assert bleu(ARRAYS["test_target"].copy()) == pytest.approx(100.0)


def test_bleu_of_one_wrong_word_in_four_by_hand():
    """Of "verso <unk> del libro" the first word is wrong: found are n-grams 3 of 4, 2 of 3, 1 of 2 and 0 of 1 a verse.

    Of V verses alike sacrebleu smooths the last: 1 / (2 V), as its "exp" rule says for the first empty order.
    """
    rows = ARRAYS["test_target"].copy()
    verses = len(rows)
    rows[:, 1] = 9 if int(rows[0, 1]) != 9 else 10
    expected = 100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / (2 * verses)) ** 0.25
    assert bleu(rows) == pytest.approx(expected, rel=1e-6)


def test_words_after_the_end_mark_do_not_count():
    rows = ARRAYS["test_target"].copy()
    assert (rows[:, 5] == END).all()
    rows[:, 6] = 7
    assert bleu(rows) == pytest.approx(100.0)


def test_only_the_test_split_is_translated():
    pytest.importorskip("sacrebleu")
    made = problem(translated=3)
    model = made.init_model()
    assert set(made.evaluate(model)) == {"loss"}
    assert set(made.evaluate(model, "test")) == {"loss", "bleu"}


def test_options_out_of_range_are_refused_by_name():
    for wrong in ({"vocabulary": 7}, {"translated": 0}, {"verses": ["verses-en", "verses-de"]}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            TranslationOptions(**wrong)
