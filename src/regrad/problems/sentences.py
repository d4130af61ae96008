"""Rated sentences as ids and labels, split by hash; and the problems that ask whether one is favourable."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regrad.problems.batch import Batch, placed
from regrad.problems.classification import Classification
from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.movie_reviews import movie_reviews
from regrad.problems.data.sources import fingerprint
from regrad.problems.data.splits import SPLITS, Split, split_of
from regrad.problems.models.lstm import PAD

WORD = re.compile(r"\w+|[^\w\s]")
UNKNOWN = 1
HELD_OUT = 10
FORMAT = 1
Labelled = list[tuple[int, str]]


def split_words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def most_frequent(texts: Sequence[list[str]], count: int) -> list[str]:
    """Return the ``count`` most frequent words, ties in alphabetical order."""
    counts = Counter(word for words in texts for word in words)
    return [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:count]]


def encode_words(texts: Sequence[list[str]], ids: dict[str, int], length: int) -> np.ndarray:
    """Return ids [N, length] of texts, cut or padded at the left, so that the last place is the last word."""
    table = np.full((len(texts), length), PAD, dtype=np.int64)
    for row, words in zip(table, texts, strict=True):
        kept = [ids.get(word, UNKNOWN) for word in words[:length]]
        if kept:
            row[-len(kept) :] = kept
    return table


def split_sentences(pairs: Sequence[tuple[float, str]]) -> dict[Split, Labelled]:
    """Label (1 favourable, 0 not) and text by split: 80 % train, 10 % each validation and test, by the text's hash.

    Sentences rated 0 are neither, and left out.
    """
    parts: dict[Split, Labelled] = {split: [] for split in SPLITS}
    for rating, text in pairs:
        if rating != 0:
            parts[split_of(text.encode("utf-8"), HELD_OUT)].append((int(rating > 0), text))
    return parts


def prepare(pairs: Sequence[tuple[float, str]], vocabulary: int, length: int) -> Arrays:
    """Ids [N, length] and labels [N] of each split, by words: the most frequent ones of the training split."""
    parts = split_sentences(pairs)
    texts = {split: [split_words(text) for _, text in part] for split, part in parts.items()}
    words = most_frequent(texts["train"], vocabulary - 2)
    ids = {word: k + 2 for k, word in enumerate(words)}
    tables = {f"{split}_ids": encode_words(part, ids, length) for split, part in texts.items()}
    labels = {f"{split}_labels": np.array([label for label, _ in part]) for split, part in parts.items()}
    return tables | labels


def load_sentences(reviews: str, cache: Path, *, vocabulary: int, length: int) -> Arrays:
    key = {"what": "sentiment", "format": FORMAT, "data": fingerprint(reviews)}
    key |= {"vocabulary": vocabulary, "words": length}
    return derived(cache, key, lambda: prepare(movie_reviews(cache), vocabulary, length))


@dataclass
class SentenceProblem(Classification):
    """Favourable or not; ``arrays`` holds ``<split>_ids`` [N, T] and ``<split>_labels`` [N]."""

    data_options = ("reviews",)

    def examples(self, split: Split, places: np.ndarray) -> Batch:
        """Ids [B, T] and labels [B]."""
        ids, labels = (self.arrays[f"{split}_{name}"][places] for name in ("ids", "labels"))
        return Batch(placed(ids, self.device), placed(labels, self.device))
