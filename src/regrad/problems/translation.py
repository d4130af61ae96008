"""Translate English verses into Spanish with a small recurrent encoder and decoder."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from regrad.problems.batch import check_position, evaluating
from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.errors import DataError
from regrad.problems.data.sources import fingerprint
from regrad.problems.data.splits import Split, hash_share
from regrad.problems.data.verses import verse_pairs
from regrad.problems.models.encoder_decoder import EncoderDecoder
from regrad.problems.models.lstm import PAD
from regrad.problems.options import Count, Options
from regrad.problems.randomness import EpochOrder, permutation, torch_generator
from regrad.problems.sentiment import UNKNOWN, most_frequent, split_words

FORMAT = 1
BEGIN, END = 2, 3
SPECIAL = 4
HELD_OUT = 5
SOURCES = ("verses-en", "verses-es")


class TranslationOptions(Options):
    """Options of a translation problem.

    Attributes:
        verses: Names of the sources of both languages.
        hidden: Width of the network.
        vocabulary: Number of ids of each language: padding, unknown, begin, end, and its most frequent words.
        words: Longest verse that is kept, in words of either language.
        evaluation_examples: Verses of a split that `evaluate` takes the loss on, at most; the seed says which.
        translated: Verses of the test split that are translated for BLEU, at most.
    """

    verses: tuple[Literal["verses-en"], Literal["verses-es"]] = SOURCES  # type: ignore[assignment]
    hidden: Count = 48
    vocabulary: Annotated[int, Field(strict=True, ge=8)] = 1000
    words: Count = 16
    evaluation_examples: Count = 500
    translated: Count = 100


class Pairs(NamedTuple):
    """Verses as ids, padded with 0.

    Attributes:
        source: [B, S].
        given: [B, T], target words from the begin mark on.
        targets: [B, T], the word after each of ``given``, the end mark last.
    """

    source: torch.Tensor
    given: torch.Tensor
    targets: torch.Tensor


def encode(texts: Sequence[list[str]], words: Sequence[str], length: int) -> np.ndarray:
    """Return ids [N, length + 2]: begin, words, end, padding."""
    ids = {word: k + SPECIAL for k, word in enumerate(words)}
    table = np.full((len(texts), length + 2), PAD, dtype=np.int64)
    for row, text in zip(table, texts, strict=True):
        row[: len(text) + 2] = [BEGIN, *(ids.get(word, UNKNOWN) for word in text), END]
    return table


def prepare(pairs: Sequence[tuple[str, str]], vocabulary: int, length: int) -> Arrays:
    """Return ids by split and language, and the words: 90 % train, 5 % each validation and test, by hash."""
    parts: dict[str, list[tuple[list[str], list[str]]]] = {"train": [], "validation": [], "test": []}
    for english, spanish in pairs:
        share = hash_share(english.encode("utf-8"))
        name = "validation" if share < HELD_OUT else "test" if share < 2 * HELD_OUT else "train"
        both = split_words(english), split_words(spanish)
        if all(0 < len(words) <= length for words in both):
            parts[name].append(both)
    arrays: Arrays = {}
    for k, language in enumerate(("source", "target")):
        words = most_frequent([pair[k] for pair in parts["train"]], vocabulary - SPECIAL)
        for name, part in parts.items():
            arrays[f"{name}_{language}"] = encode([pair[k] for pair in part], words, length)
        arrays[f"words_{language}"] = np.frombuffer("\n".join(words).encode("utf-8"), dtype=np.uint8)
    return arrays


@dataclass
class TranslationProblem:
    """Say the next word of a translation.

    Attributes:
        options: What was asked for.
        arrays: As `prepare` returns them.
        seed: Of initialisation, data order and evaluation subset, which use separate streams.
        device: Where models and batches live.
    """

    options: TranslationOptions
    arrays: Arrays
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def init_model(self) -> EncoderDecoder:
        """A new model, the same for every call and device."""
        both = (self.options.vocabulary, self.options.vocabulary)
        return EncoderDecoder(both, self.options.hidden, generator=torch_generator(self.seed, "init")).to(self.device)

    @cached_property
    def order(self) -> EpochOrder:
        """The order of the training verses."""
        return EpochOrder(len(self.arrays["train_source"]), self.seed)

    def batch(self, step: int, batch_size: int) -> Pairs:
        """Training batch number ``step``, computed without the earlier ones."""
        check_position(step, batch_size)
        return self._examples("train", self.order.batch(step, batch_size))

    def _examples(self, split: Split, where: np.ndarray) -> Pairs:
        source, target = (
            torch.from_numpy(np.asarray(self.arrays[f"{split}_{language}"][where])).to(self.device)
            for language in ("source", "target")
        )
        return Pairs(source, target[:, :-1], target[:, 1:])

    def losses(self, model: Callable[..., torch.Tensor], batch: Pairs) -> torch.Tensor:
        """Loss of each verse, [B], not divided by B: its words' mean negative log-likelihood in nats."""
        logits = model(batch.source, batch.given)
        words = cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=PAD, reduction="none")
        return words.unflatten(0, batch.targets.shape).sum(dim=1) / (batch.targets != PAD).sum(dim=1)

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Mean "loss" of the verses of a split's evaluation subset; on the test split also "bleu" (0 … 100)."""
        count = len(self.arrays[f"{split}_source"])
        order = permutation(count, self.seed, "evaluation")
        chosen, loss = np.sort(order[: self.options.evaluation_examples]), 0.0
        with evaluating(model):
            for part in np.array_split(chosen, math.ceil(len(chosen) / 250)):
                loss += float(self.losses(model, self._examples(split, part)).double().sum())
            found = {"loss": loss / len(chosen)}
            if split == "test":
                found["bleu"] = self._bleu(model, np.sort(order[: self.options.translated]))
        return found

    def _bleu(self, model: nn.Module, where: np.ndarray) -> float:
        """BLEU of greedy translations against the verses, rare words being one unknown word in both."""
        batch = self._examples("test", where)
        written = torch.full((len(where), 1), BEGIN, device=self.device)
        for _ in range(batch.targets.shape[1]):
            following = model(batch.source, written)[:, -1].argmax(dim=-1, keepdim=True)
            written = torch.cat([written, following], dim=1)
        hypotheses, references = (self._texts(ids) for ids in (written[:, 1:], batch.targets))
        return float(bleu_library().corpus_bleu(hypotheses, [references], tokenize="none", force=True).score)

    def _texts(self, ids: torch.Tensor) -> list[str]:
        words = ["", "<unk>", "", "", *self.arrays["words_target"].tobytes().decode("utf-8").split("\n")]
        rows = [row[: row.index(END)] if END in row else row for row in ids.tolist()]
        return [" ".join(filter(None, (words[k] for k in row))) for row in rows]


def bleu_library():
    """Return the module sacrebleu.

    Raises:
        DataError: It is not installed.
    """
    try:
        import sacrebleu
    except ImportError:
        raise DataError("BLEU needs the package sacrebleu; install it") from None
    return sacrebleu


def build(
    options: TranslationOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> TranslationProblem:
    """A translation problem with its verses read from the cache (fetched and parsed on first use).

    Args:
        options: What to build.
        cache: Cache folder for data.
        seed: Of everything random in the problem, >= 0.
        device: Where models and batches live.
        offline: Never use the network.

    Raises:
        DataError: The verses are missing or damaged.
    """
    key = {"what": "translation", "format": FORMAT, "data": [fingerprint(name) for name in options.verses]}
    key |= {"vocabulary": options.vocabulary, "words": options.words}

    def read() -> Arrays:
        return prepare(verse_pairs(cache, offline=offline), options.vocabulary, options.words)

    return TranslationProblem(options, derived(cache, key, read), seed, torch.device(device))
