"""Say whether a sentence of a film review is favourable, with an LSTM or a small transformer."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from regrad.problems.classified_sentences import ClassifiedSentences
from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.movie_reviews import movie_reviews
from regrad.problems.data.sources import fingerprint
from regrad.problems.data.splits import hash_share
from regrad.problems.models.decoder import CONFIGS, Decoder
from regrad.problems.models.lstm import PAD, DecoderClassifier, LSTMClassifier
from regrad.problems.options import Count, Options
from regrad.problems.randomness import torch_generator

WORD = re.compile(r"\w+|[^\w\s]")
UNKNOWN = 1
HELD_OUT = 10
FORMAT = 1


class SentimentOptions(Options):
    """Options of a sentiment problem.

    Attributes:
        reviews: Name of the sentences' source.
        network_kind: "lstm" or "transformer", whose size is named by ``model``.
        model: Size of the transformer.
        hidden: Width of the LSTM.
        vocabulary: Number of ids: padding, unknown, and the most frequent words of the training split.
        words: T, words of a sentence that are read.
        evaluation_examples: Sentences of a split that `evaluate` uses, at most; the seed says which.
    """

    reviews: Literal["movie-reviews"] = "movie-reviews"
    network_kind: Literal["lstm", "transformer"] = "lstm"
    model: Literal["0.1M", "0.3M", "1M", "3M", "10M"] = "0.1M"
    hidden: Count = 32
    vocabulary: Annotated[int, Field(strict=True, ge=4)] = 2000
    words: Count = 24
    evaluation_examples: Count = 2000


def split_words(text: str) -> list[str]:
    """Return the words and marks of a text in lower case."""
    return WORD.findall(text.lower())


def most_frequent(texts: Sequence[list[str]], count: int) -> list[str]:
    """Return the ``count`` most frequent words, ties in alphabetical order."""
    found = Counter(word for words in texts for word in words)
    return [word for word, _ in sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:count]]


def encode(texts: Sequence[list[str]], ids: dict[str, int], length: int) -> np.ndarray:
    """Return ids [N, length] of texts, cut or padded at the left, so that the last place is the last word."""
    table = np.full((len(texts), length), PAD, dtype=np.int64)
    for row, words in zip(table, texts, strict=True):
        kept = [ids.get(word, UNKNOWN) for word in words[:length]]
        if kept:
            row[-len(kept) :] = kept
    return table


def prepare(pairs: Sequence[tuple[float, str]], vocabulary: int, length: int) -> Arrays:
    """Return ids and labels by split: 80 % train, 10 % each validation and test, by the sentence's hash."""
    parts: dict[str, list[tuple[int, list[str]]]] = {"train": [], "validation": [], "test": []}
    for rating, text in pairs:
        share = hash_share(text.encode("utf-8"))
        name = "validation" if share < HELD_OUT else "test" if share < 2 * HELD_OUT else "train"
        if rating != 0:
            parts[name].append((int(rating > 0), split_words(text)))
    words = most_frequent([text for _, text in parts["train"]], vocabulary - 2)
    ids = {word: k + 2 for k, word in enumerate(words)}
    tables = {f"{name}_ids": encode([text for _, text in part], ids, length) for name, part in parts.items()}
    labels = {f"{name}_labels": np.array([label for label, _ in part]) for name, part in parts.items()}
    return tables | labels


@dataclass
class SentimentProblem(ClassifiedSentences):
    """Favourable or not.

    Attributes:
        options: What was asked for.
        arrays: As `prepare` returns them.
        seed: Of initialisation, data order and evaluation subset, which use separate streams.
        device: Where models and batches live.
    """

    options: SentimentOptions
    arrays: Arrays
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def init_model(self) -> nn.Module:
        """A new model, the same for every call and device."""
        options, generator = self.options, torch_generator(self.seed, "init")
        if options.network_kind == "lstm":
            return LSTMClassifier(options.vocabulary, options.hidden, 2, generator=generator).to(self.device)
        config = replace(CONFIGS[options.model], vocabulary=options.vocabulary, context=options.words)
        return DecoderClassifier(Decoder(config, generator=generator), 2).to(self.device)


def build(
    options: SentimentOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> SentimentProblem:
    """A sentiment problem with its sentences read from the cache (fetched and parsed on first use).

    Args:
        options: What to build.
        cache: Cache folder for data.
        seed: Of everything random in the problem, >= 0.
        device: Where models and batches live.
        offline: Never use the network.

    Raises:
        DataError: The sentences are missing or damaged.
    """
    key = {"what": "sentiment", "format": FORMAT, "data": fingerprint(options.reviews)}
    key |= {"vocabulary": options.vocabulary, "words": options.words}

    def read() -> Arrays:
        return prepare(movie_reviews(cache, offline=offline), options.vocabulary, options.words)

    return SentimentProblem(options, derived(cache, key, read), seed, torch.device(device))
