"""Preference tuning (DPO): a small language model learns to prefer favourable sentences to unfavourable ones."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy, softplus

from regrad.problems.batch import Batch, check_position, evaluating
from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.movie_reviews import movie_reviews
from regrad.problems.data.sources import fingerprint
from regrad.problems.data.splits import Split
from regrad.problems.models.decoder import Decoder, DecoderConfig
from regrad.problems.models.lstm import PAD
from regrad.problems.options import Count, Options
from regrad.problems.randomness import permutation, torch_generator
from regrad.problems.sentiment import FORMAT, prepare

FAVOURABLE, UNFAVOURABLE = 1, 0
Positive = Annotated[float, Field(gt=0)]


class PreferenceOptions(Options):
    """Options of the preference problem.

    Attributes:
        reviews: Name of the sentences' source.
        hidden: Width of the decoder; the feed-forward is twice as wide.
        heads: Attention heads.
        layers: Blocks.
        vocabulary: Ids, as in the sentiment problem.
        words: T, words of a sentence that are read.
        beta: DPO's strength of the tie to the reference, > 0.
        pretraining_steps: AdamW steps of next-word prediction that make the reference, 32 sentences each.
        pretraining_lr: Their learning rate.
        evaluation_pairs: Pairs of a split that `evaluate` uses, at most; the seed says which.
    """

    reviews: Literal["movie-reviews"] = "movie-reviews"
    hidden: Count = 32
    heads: Count = 2
    layers: Count = 2
    vocabulary: Annotated[int, Field(strict=True, ge=4)] = 1000
    words: Count = 24
    beta: Positive = 0.1
    pretraining_steps: Annotated[int, Field(strict=True, ge=0)] = 100
    pretraining_lr: Positive = 3e-3
    evaluation_pairs: Count = 400


def log_probabilities(model: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Log-probability in nats of each sentence, [N], summed over its words, given what precedes them.

    Args:
        model: Maps ids [N, T] to logits [N, T, vocabulary].
        ids: [N, T + 1], padded at the left with at least one PAD, which stands for the sentence's beginning.
    """
    targets = ids[:, 1:]
    words = cross_entropy(model(ids[:, :-1]).flatten(0, 1), targets.flatten(), reduction="none")
    return -(words.unflatten(0, targets.shape) * (targets != PAD)).sum(dim=1)


@dataclass
class PreferenceProblem:
    """Prefer the favourable sentence of a pair, without straying from the pre-trained model.

    Attributes:
        options: What was asked for.
        arrays: As `regrad.problems.sentiment.prepare` returns them.
        seed: Of initialisation, pre-training, pairs and evaluation subset, which use separate streams.
        device: Where models and batches live.

    Source: Rafailov et al. 2023, eq. 7, with an empty prompt.
    """

    options: PreferenceOptions
    arrays: Arrays
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _order: tuple[int, np.ndarray] | None = field(default=None, repr=False)
    _reference: Decoder | None = field(default=None, repr=False)

    def init_model(self) -> Decoder:
        """A copy of the reference, to be trained; the same for every call."""
        return copy.deepcopy(self.reference()).requires_grad_(True)

    def reference(self) -> Decoder:
        """The pre-trained model, frozen; made at the first call."""
        if self._reference is None:
            self._reference = self._pretrained().requires_grad_(False).eval()
        return self._reference

    @torch.enable_grad()  # the first call may come from an evaluation
    def _pretrained(self) -> Decoder:
        options = self.options
        sizes = (options.hidden, 2 * options.hidden, options.heads, options.layers, options.vocabulary)
        config = DecoderConfig(*sizes, context=options.words)
        model = Decoder(config, generator=torch_generator(self.seed, "init")).to(self.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=options.pretraining_lr, weight_decay=0.0)
        count = len(self.arrays["train_labels"])
        for step in range(options.pretraining_steps):
            chosen = permutation(count, self.seed, "pretraining", step)[:32]
            ids = self._ids("train", chosen)
            loss = -log_probabilities(model, ids).sum() / (ids != PAD).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model

    def batch(self, step: int, batch_size: int) -> Batch:
        """Training batch number ``step``, computed without the earlier ones.

        Returns:
            Ids [B, 2, T + 1], the favourable sentence first, and the reference's log-probabilities [B, 2].
        """
        check_position(step, batch_size)
        count = self._pairs("train")
        numbers = range(step * batch_size, (step + 1) * batch_size)
        return self._examples("train", np.array([self._chosen(*divmod(k, count)) for k in numbers]))

    def _pairs(self, split: Split) -> int:
        labels = self.arrays[f"{split}_labels"]
        return int(min((labels == FAVOURABLE).sum(), (labels == UNFAVOURABLE).sum()))

    def _chosen(self, epoch: int, position: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._paired("train", "order", epoch)
        return self._order[1][position]

    def _paired(self, split: Split, stream: str, *counters: int) -> np.ndarray:
        """Pairs [N, 2] of a favourable and an unfavourable sentence, each drawn once, in random order."""
        labels, sides = self.arrays[f"{split}_labels"], []
        for label in (FAVOURABLE, UNFAVOURABLE):
            members = np.flatnonzero(labels == label)
            sides.append(members[permutation(len(members), self.seed, stream, label, *counters)])
        return np.stack([side[: self._pairs(split)] for side in sides], axis=1)

    def _ids(self, split: Split, where: np.ndarray) -> torch.Tensor:
        ids = torch.from_numpy(np.asarray(self.arrays[f"{split}_ids"][where])).to(self.device)
        return nn.functional.pad(ids, (1, 0), value=PAD)

    def _examples(self, split: Split, pairs: np.ndarray) -> Batch:
        ids = self._ids(split, pairs.reshape(-1))
        with torch.no_grad():
            known = log_probabilities(self.reference(), ids)
        return Batch(ids.unflatten(0, (-1, 2)), known.unflatten(0, (-1, 2)))

    def margins(self, model: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> torch.Tensor:
        """How much more than the reference the model prefers the first sentence, in nats, [B]."""
        gains = log_probabilities(model, batch.inputs.flatten(0, 1)).unflatten(0, (-1, 2)) - batch.targets
        return gains[:, 0] - gains[:, 1]

    def losses(self, model: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> torch.Tensor:
        """DPO's loss of each pair in nats, [B], not divided by B: -log sigmoid(beta · margin)."""
        return softplus(-self.options.beta * self.margins(model, batch))

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Mean "loss" in nats and "accuracy" (0 … 1): the share of pairs with a positive margin, ties half."""
        pairs = self._paired(split, "evaluation")[: self.options.evaluation_pairs]
        loss, correct = 0.0, 0.0
        with evaluating(model):
            for part in np.array_split(pairs, math.ceil(len(pairs) / 50)):
                margins = self.margins(model, self._examples(split, part))
                loss += float(softplus(-self.options.beta * margins).double().sum())
                correct += float((margins.sign() + 1).sum()) / 2
        return {"loss": loss / len(pairs), "accuracy": correct / len(pairs)}


def build(
    options: PreferenceOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> PreferenceProblem:
    """A preference problem with its sentences read from the cache (fetched and parsed on first use).

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

    return PreferenceProblem(options, derived(cache, key, read), seed, torch.device(device))
