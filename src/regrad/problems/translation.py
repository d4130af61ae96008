"""Translate English verses into Spanish with a small recurrent encoder and decoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from regrad.problems.batch import evaluating, placed
from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.errors import DataError
from regrad.problems.data.sources import fingerprint
from regrad.problems.data.splits import SPLITS, Split, split_of
from regrad.problems.data.verses import verse_pairs
from regrad.problems.models.encoder_decoder import EncoderDecoder
from regrad.problems.models.lstm import PAD
from regrad.problems.options import Count, ProblemOptions
from regrad.problems.problem import Problem
from regrad.problems.sentences import UNKNOWN, most_frequent, split_words

FORMAT = 1
BEGIN, END = 2, 3
SPECIAL = 4
HELD_OUT = 5
SOURCES = ("verses-en", "verses-es")


class TranslationOptions(ProblemOptions):
    """Options of a translation problem."""

    verses: tuple[Literal["verses-en"], Literal["verses-es"]] = SOURCES  # type: ignore[assignment]
    hidden: Count = 48
    # number of ids of each language: padding, unknown, begin, end, and its most frequent words
    vocabulary: Annotated[int, Field(strict=True, ge=8)] = 1000
    words: Count = 16  # longest verse that is kept, in words of either language
    # verses of a split that `evaluate` takes the loss on, at most; the seed says which
    evaluation_examples: Count = 500
    translated: Count = 100  # verses of the test split that are translated for BLEU, at most


class Pairs(NamedTuple):
    """Verses as ids, padded with 0."""

    source: torch.Tensor  # [B, S]
    given: torch.Tensor  # [B, T], target words from the begin mark on
    targets: torch.Tensor  # [B, T], the word after each of ``given``, the end mark last


def encode(texts: Sequence[list[str]], words: Sequence[str], length: int) -> np.ndarray:
    """Return ids [N, length + 2]: begin, words, end, padding."""
    ids = {word: k + SPECIAL for k, word in enumerate(words)}
    table = np.full((len(texts), length + 2), PAD, dtype=np.int64)
    for row, text in zip(table, texts, strict=True):
        row[: len(text) + 2] = [BEGIN, *(ids.get(word, UNKNOWN) for word in text), END]
    return table


def prepare(pairs: Sequence[tuple[str, str]], vocabulary: int, length: int) -> Arrays:
    """Return ids by split and language, and the words: 90 % train, 5 % each validation and test, by hash."""
    parts: dict[Split, list[tuple[list[str], list[str]]]] = {split: [] for split in SPLITS}
    for english, spanish in pairs:
        both = split_words(english), split_words(spanish)
        if all(0 < len(words) <= length for words in both):
            parts[split_of(english.encode("utf-8"), HELD_OUT)].append(both)
    arrays: Arrays = {}
    for k, language in enumerate(("source", "target")):
        words = most_frequent([pair[k] for pair in parts["train"]], vocabulary - SPECIAL)
        for split, part in parts.items():
            arrays[f"{split}_{language}"] = encode([pair[k] for pair in part], words, length)
        arrays[f"words_{language}"] = np.frombuffer("\n".join(words).encode("utf-8"), dtype=np.uint8)
    return arrays


@dataclass
class TranslationProblem(Problem):
    """Say the next word of a translation; ``arrays`` is what `prepare` returns."""

    Options = TranslationOptions
    data_options = ("verses",)

    options: TranslationOptions

    @classmethod
    def load(cls, options: TranslationOptions, cache: Path) -> Arrays:
        key = {"what": "translation", "format": FORMAT, "data": [fingerprint(name) for name in options.verses]}
        key |= {"vocabulary": options.vocabulary, "words": options.words}
        return derived(cache, key, lambda: prepare(verse_pairs(cache), options.vocabulary, options.words))

    def size(self, split: Split) -> int:
        return len(self.arrays[f"{split}_source"])

    def examples(self, split: Split, places: np.ndarray) -> Pairs:
        """Verses as ids, the word to say one after the words given."""
        source, target = (
            placed(self.arrays[f"{split}_{language}"][places], self.device) for language in ("source", "target")
        )
        return Pairs(source, target[:, :-1], target[:, 1:])

    def network(self, generator: torch.Generator) -> EncoderDecoder:
        vocabularies = (self.options.vocabulary, self.options.vocabulary)
        return EncoderDecoder(vocabularies, self.options.hidden, generator=generator)

    def losses(self, model: Callable[..., torch.Tensor], batch: Pairs) -> torch.Tensor:
        """Loss of each verse, [B], not divided by B: its words' mean negative log-likelihood in nats."""
        logits = model(batch.source, batch.given)
        words = cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=PAD, reduction="none")
        return words.unflatten(0, batch.targets.shape).sum(dim=1) / (batch.targets != PAD).sum(dim=1)

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Mean "loss" of the verses of a split's evaluation subset; on the test split also "bleu" (0 … 100)."""
        numbers = super().evaluate(model, split)
        if split == "test":
            with evaluating(model):
                numbers["bleu"] = self._bleu(model, self.sample("test", self.options.translated))
        return numbers

    def _bleu(self, model: nn.Module, places: np.ndarray) -> float:
        """BLEU of greedy translations against the verses, rare words being one unknown word in both."""
        batch = self.examples("test", places)
        written = torch.full((len(places), 1), BEGIN, device=self.device)
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
    """Return the module sacrebleu (DataError: it is not installed)."""
    try:
        import sacrebleu
    except ImportError:
        raise DataError("BLEU needs the package sacrebleu; install it") from None
    return sacrebleu
