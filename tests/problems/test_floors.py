"""Trivial predictors: by hand on small data, and the ledger's floors against the committed record."""

import math
from pathlib import Path

import numpy as np
import pytest

from regrad.claims.load import load_ledger
from regrad.pipeline.folders import cache_folder
from regrad.problems.data.corpora import load_tokens
from regrad.problems.data.errors import DataError
from regrad.problems.floors import bags, image_floors, ngram, sentence_floors, text_floors, verse_floors
from regrad.report.benchmarks import read

ROOT = Path(__file__).parents[2]
RECORD = read(ROOT / "results/reference/benchmarks/floors-cpu.json")
LEDGER = load_ledger(ROOT / "paper" / "claims.toml")


def test_a_bigram_table_by_hand():
    # After 0 come 1, 1 and 0; after 1 comes 0 twice. With k = 1 and V = 2: p(1 | 0) = 3/5, p(0 | 1) = 3/4.
    losses = ngram(np.array([[0, 1, 0, 1, 0, 0]]), 2, 2)
    assert losses(np.array([[0, 1, 0]]), 1.0)[0] == pytest.approx([-math.log(3 / 5), -math.log(3 / 4)])


def test_what_ends_in_padding_is_not_counted():
    whole, padded = ngram(np.array([[0, 1]]), 1, 2), ngram(np.array([[0, 1, -1]]), 1, 2)
    assert whole(np.array([[0]]), 1.0) == padded(np.array([[0]]), 1.0)


def test_a_longer_context_helps_where_there_is_one():
    text = np.tile(np.frombuffer(b"abacabadcacd", dtype=np.uint8), 500)
    found = text_floors({"train": text, "validation": text, "test": text})
    assert found["unigram"] > found["bigram"] > found["trigram"]


def test_the_loss_of_verses_is_the_mean_over_verses_of_their_words_mean():
    # Ids: 0 padding, 2 begin, 3 end. Two words of one verse are told alike, whatever stands in the other.
    target = np.array([[2, 4, 3, 0, 0], [2, 5, 5, 5, 3]])
    found = verse_floors({f"{split}_target": target for split in ("train", "validation", "test")}, 6)
    first, second = [math.log(6 / 1), math.log(6 / 2)], [math.log(6 / 3)] * 3 + [math.log(6 / 2)]
    assert found["unigram"] == pytest.approx((np.mean(first) + np.mean(second)) / 2, abs=2e-3)
    assert found["bigram"] < found["unigram"]


def test_image_predictors_tell_apart_what_differs():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = generator.normal(size=(60, 1, 2, 2)) + 4 * labels[:, None, None, None]
    arrays = {f"{split}_{name}": array for split in ("train", "validation", "test")
              for name, array in (("images", images), ("labels", labels))}  # fmt: skip
    found = image_floors(arrays | {"mean": np.zeros(1), "std": np.ones(1)})
    assert found == {"majority": 0.5, "class mean": 1.0, "ridge": 1.0}


def test_sentence_predictors_read_which_words_occur():
    ids = np.array([[0, 2, 2], [0, 3, 4], [2, 4, 4], [0, 0, 3]] * 10)
    arrays = {f"{split}_{name}": array for split in ("train", "validation", "test")
              for name, array in (("ids", ids), ("labels", np.array([1, 0, 1, 0] * 10)))}  # fmt: skip
    assert sentence_floors(arrays, 5) == {"majority": 0.5, "words": 1.0, "words, pairs": 1.0}
    assert bags(ids[:1], 5).toarray().tolist() == [[0, 0, 1, 0, 0]]


@pytest.mark.parametrize("task", LEDGER.tasks, ids=lambda task: task.name)
def test_the_ledgers_floors_are_those_of_the_record(task):
    data, _, predictor = task.floor_by.partition(", ")
    value = RECORD[data][predictor] * (100 if task.unit == "points" else 1)
    assert task.floor == pytest.approx(value, rel=2e-4)


def test_the_bigram_floor_computed_again_is_that_of_the_record():
    try:
        corpus = load_tokens("news", cache_folder())
    except DataError as error:
        pytest.skip(str(error))
    assert text_floors(corpus, ["bigram"])["bigram"] == pytest.approx(RECORD["news"]["bigram"], rel=1e-4)
