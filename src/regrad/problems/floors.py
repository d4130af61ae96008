"""What trivial predictors reach on the problems' own splits: the floors that a trained network has to beat.

Bytes and words: tables of n-grams, p(x | c) = (count of c x + k) / (count of c + k V) for V ids and contexts c of the
n - 1 ids before, k the best of ``SMOOTHING`` on validation. Images: the commonest class, the nearest class mean, and
ridge regression of the classes' indicators on the pixels, its penalty the best of ``PENALTIES`` on validation.
Sentences: the commonest class, and logistic regression on which words occur. All are fitted on the whole training
split and evaluated once on the whole test split; nothing is random.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestCentroid

from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.corpora import load_tokens
from regrad.problems.data.image_sets import ImageSet, load_images
from regrad.problems.data.splits import SPLITS, Split
from regrad.problems.data.tokenizing import BYTE_VALUES
from regrad.problems.sentences import load_sentences
from regrad.problems.translation import TranslationOptions, TranslationProblem

SMOOTHING = (1e-3, 1e-2, 1e-1, 1.0)
PENALTIES = (1e1, 1e2, 1e3, 1e4)
STRENGTHS = (0.01, 0.03, 0.1, 0.3)
PADDING = 0
ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3}
Table = Callable[[np.ndarray, float], np.ndarray]


def ngram(rows: np.ndarray, order: int, vocabulary: int) -> Table:
    """Return a function of rows of ids [N, T] and k to the losses in nats of every id but the first n - 1.

    Of the training rows [N, T] no n-gram that ends in padding (-1) is counted.
    """
    grams = codes(rows, order, vocabulary)
    counts = np.bincount(grams[rows[:, order - 1 :] >= 0], minlength=vocabulary**order)
    contexts = counts.reshape(-1, vocabulary).sum(axis=1)

    def losses(held_out: np.ndarray, k: float) -> np.ndarray:
        grams = codes(held_out, order, vocabulary)
        return np.log(contexts[grams // vocabulary] + k * vocabulary) - np.log(counts[grams] + k)

    return losses


def codes(rows: np.ndarray, order: int, vocabulary: int) -> np.ndarray:
    """Return every n-gram of rows [N, T] as one number, [N, T - n + 1]; padding counts as id 0."""
    ids, length = np.maximum(rows.astype(np.int64), 0), rows.shape[1] - order + 1
    powers = vocabulary ** np.arange(order)[::-1]
    return sum(power * ids[:, j : j + length] for j, power in enumerate(powers))  # type: ignore[return-value]


def text_floors(corpus: Arrays, orders: Iterable[str] = ORDERS) -> dict[str, float]:
    """Return the test loss a byte of each table, in nats."""
    train, validation, test = (corpus[split][None] for split in ("train", "validation", "test"))
    found = {}
    for name in orders:
        losses = ngram(train, ORDERS[name], BYTE_VALUES)
        best = min(SMOOTHING, key=lambda k: losses(validation, k).mean())
        found[name] = float(losses(test, best).mean())
    return found


def verse_floors(arrays: Arrays, vocabulary: int) -> dict[str, float]:
    """Return the test loss of tables of target words, the mean over verses of their words' mean, in nats."""
    rows = {s: np.where(arrays[f"{s}_target"] == PADDING, -1, arrays[f"{s}_target"]) for s in SPLITS}
    found = {}
    for name in ("unigram", "bigram"):
        losses = ngram(rows["train"][:, 1:] if name == "unigram" else rows["train"], ORDERS[name], vocabulary)

        def mean(split: Split, k: float, losses: Table = losses, first: int = 2 - ORDERS[name]) -> float:
            said = rows[split][:, 1:] >= 0
            each = losses(rows[split][:, first:], k)
            return float(((each * said).sum(axis=1) / said.sum(axis=1)).mean())

        found[name] = mean("test", min(SMOOTHING, key=lambda k: mean("validation", k)))
    return found


def image_floors(arrays: Arrays) -> dict[str, float]:
    """Return the shares of test images that each predictor names right."""
    mean, std = (arrays[name].astype(np.float32)[:, None, None] for name in ("mean", "std"))
    inputs = {s: ((arrays[f"{s}_images"] - mean) / std).reshape(len(arrays[f"{s}_labels"]), -1) for s in SPLITS}
    labels = {s: np.asarray(arrays[f"{s}_labels"]) for s in SPLITS}
    ridges = [RidgeClassifier(alpha=penalty) for penalty in PENALTIES]
    models = {"majority": [DummyClassifier()], "class mean": [NearestCentroid()], "ridge": ridges}
    return {name: best_of(candidates, inputs, labels) for name, candidates in models.items()}


def sentence_floors(arrays: Arrays, vocabulary: int) -> dict[str, float]:
    """Return the shares of test sentences told right, and of mixed pairs of them that are put in the right order."""
    inputs = {s: bags(np.asarray(arrays[f"{s}_ids"]), vocabulary) for s in SPLITS}
    labels = {s: np.asarray(arrays[f"{s}_labels"]) for s in SPLITS}
    words = [LogisticRegression(C=strength, max_iter=1000) for strength in STRENGTHS]
    found = {"majority": best_of([DummyClassifier()], inputs, labels), "words": best_of(words, inputs, labels)}
    best = max(words, key=lambda model: model.score(inputs["validation"], labels["validation"]))
    return found | {"words, pairs": float(roc_auc_score(labels["test"], best.decision_function(inputs["test"])))}


def bags(ids: np.ndarray, vocabulary: int) -> csr_matrix:
    """Return which words occur in each sentence of ids [N, T], [N, V]."""
    rows, places = np.nonzero(ids != PADDING)
    shape = (len(ids), vocabulary)
    return (csr_matrix((np.ones(len(rows)), (rows, ids[rows, places])), shape=shape) > 0).astype(np.float64)


def best_of(candidates: list, inputs: dict, labels: dict) -> float:
    """Return the test accuracy of the candidate that is best on validation."""
    fitted = [model.fit(inputs["train"], labels["train"]) for model in candidates]
    best = max(fitted, key=lambda model: model.score(inputs["validation"], labels["validation"]))
    return float(best.score(inputs["test"], labels["test"]))


# The reviews and verses of the presets: ids and words that are read.
REVIEWS = {"reviews 2000x24": (2000, 24), "reviews 1000x16": (1000, 16), "reviews 8000x48": (8000, 48)}
VERSES = {"verses 500x12": (500, 12)}
IMAGES: tuple[ImageSet, ...] = ("fashion-mnist", "mnist-5k", "digits")


def floors(cache: Path) -> dict[str, dict[str, float]]:
    """Return all floors, by data and predictor."""
    found = {"news": text_floors(load_tokens("news", cache))}
    found |= {name: image_floors(load_images(name, cache)) for name in IMAGES}
    for name, (vocabulary, words) in REVIEWS.items():
        arrays = load_sentences("movie-reviews", cache, vocabulary=vocabulary, length=words)
        found[name] = sentence_floors(arrays, vocabulary)
    for name, (vocabulary, words) in VERSES.items():
        options = TranslationOptions(vocabulary=vocabulary, words=words)
        found[name] = verse_floors(TranslationProblem.load(options, cache), vocabulary)
    return found
