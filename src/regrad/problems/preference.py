"""Preference tuning (DPO): a small language model learns to prefer favourable sentences to unfavourable ones."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy, softplus

from regrad.problems.batch import Batch, placed
from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.splits import Split
from regrad.problems.models.decoder import Decoder, DecoderConfig
from regrad.problems.models.lstm import PAD
from regrad.problems.options import Count, ProblemOptions
from regrad.problems.problem import Problem
from regrad.problems.randomness import permutation
from regrad.problems.sentences import load_sentences

PRETRAINING_BATCH = 32
FAVOURABLE, UNFAVOURABLE = 1, 0
Positive = Annotated[float, Field(gt=0)]


class PreferenceOptions(ProblemOptions):
    """Options of the preference problem."""

    reviews: Literal["movie-reviews"] = "movie-reviews"
    hidden: Count = 32  # width of the decoder; the feed-forward is twice as wide
    heads: Count = 2
    layers: Count = 2
    vocabulary: Annotated[int, Field(strict=True, ge=4)] = 1000  # ids, as in the sentiment problem
    words: Count = 24  # T, words of a sentence that are read
    beta: Positive = 0.1  # DPO's strength of the tie to the reference, > 0
    # AdamW steps of next-word prediction that make the reference, 32 sentences each
    pretraining_steps: Annotated[int, Field(strict=True, ge=0)] = 100
    pretraining_lr: Positive = 3e-3  # their learning rate
    evaluation_pairs: Count = 400  # pairs of a split that `evaluate` uses, at most; the seed says which
    evaluation_batch: Count = 50


def log_probabilities(model: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Log-probability in nats of each sentence, [N], summed over its words, given what precedes them.

    ``ids`` [N, T + 1] are padded at the left with at least one PAD, which stands for the sentence's beginning.
    """
    targets = ids[:, 1:]
    words = cross_entropy(model(ids[:, :-1]).flatten(0, 1), targets.flatten(), reduction="none")
    return -(words.unflatten(0, targets.shape) * (targets != PAD)).sum(dim=1)


@dataclass
class PreferenceProblem(Problem):
    """Prefer the favourable sentence of a pair, without straying from the pre-trained model.

    Source: Rafailov et al. 2023, eq. 7, with an empty prompt.
    """

    Options = PreferenceOptions
    data_options = ("reviews",)

    options: PreferenceOptions

    @classmethod
    def load(cls, options: PreferenceOptions, cache: Path) -> Arrays:
        return load_sentences(options.reviews, cache, vocabulary=options.vocabulary, length=options.words)

    def network(self, generator: torch.Generator) -> Decoder:
        options = self.options
        sizes = (options.hidden, 2 * options.hidden, options.heads, options.layers, options.vocabulary)
        return Decoder(DecoderConfig(*sizes, context=options.words), generator=generator)

    def init_model(self) -> nn.Module:
        """A copy of the reference, to be trained; the same for every call."""
        return copy.deepcopy(self.reference).requires_grad_(True)

    @cached_property
    def reference(self) -> nn.Module:
        with torch.enable_grad():  # it may first be asked for in an evaluation
            return self._pretrained().requires_grad_(False).eval()

    def _pretrained(self) -> nn.Module:
        model, options = super().init_model(), self.options
        optimizer = torch.optim.AdamW(model.parameters(), lr=options.pretraining_lr, weight_decay=0.0)
        count = len(self.arrays["train_labels"])
        for step in range(options.pretraining_steps):
            chosen = permutation(count, self.seed, "pretraining", step)[:PRETRAINING_BATCH]
            ids = self._ids("train", chosen)
            loss = -log_probabilities(model, ids).sum() / (ids != PAD).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model

    def size(self, split: Split) -> int:
        """Pairs of a split: as many as there are sentences of the rarer kind."""
        labels = self.arrays[f"{split}_labels"]
        return int(min((labels == FAVOURABLE).sum(), (labels == UNFAVOURABLE).sum()))

    def epoch(self, number: int) -> np.ndarray:
        """Pairs [N, 2] of one epoch."""
        return self.pairs("train", "order", number)

    def evaluation_places(self, split: Split) -> np.ndarray:
        """Pairs [N, 2] that `evaluate` uses."""
        return self.pairs(split, "evaluation")[: self.options.evaluation_pairs]

    def pairs(self, split: Split, stream: str, *counters: int) -> np.ndarray:
        """Pairs [N, 2] of a favourable and an unfavourable sentence, each drawn once, in random order."""
        labels, sides = self.arrays[f"{split}_labels"], []
        for label in (FAVOURABLE, UNFAVOURABLE):
            members = np.flatnonzero(labels == label)
            sides.append(members[permutation(len(members), self.seed, stream, label, *counters)])
        return np.stack([side[: self.size(split)] for side in sides], axis=1)

    def examples(self, split: Split, places: np.ndarray) -> Batch:
        """Ids [B, 2, T + 1], the favourable sentence first, and the reference's log-probabilities [B, 2]."""
        ids = self._ids(split, places.reshape(-1))
        with torch.no_grad():
            known = log_probabilities(self.reference, ids)
        return Batch(ids.unflatten(0, (-1, 2)), known.unflatten(0, (-1, 2)))

    def _ids(self, split: Split, numbers: np.ndarray) -> torch.Tensor:
        ids = placed(self.arrays[f"{split}_ids"][numbers], self.device)
        return nn.functional.pad(ids, (1, 0), value=PAD)

    def margins(self, model: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> torch.Tensor:
        """How much more than the reference the model prefers the first sentence, in nats, [B]."""
        gains = log_probabilities(model, batch.inputs.flatten(0, 1)).unflatten(0, (-1, 2)) - batch.targets
        return gains[:, 0] - gains[:, 1]

    def losses(self, model: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> torch.Tensor:
        """DPO's loss of each pair in nats, [B], not divided by B: -log sigmoid(beta · margin)."""
        return self._dpo(self.margins(model, batch))

    def totals(self, model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Sum of the losses, and number of pairs with a positive margin, ties half ("accuracy")."""
        margins = self.margins(model, batch)
        return {"loss": self._dpo(margins).double().sum(), "accuracy": (margins.sign() + 1).sum() / 2}

    def _dpo(self, margins: torch.Tensor) -> torch.Tensor:
        return softplus(-self.options.beta * margins)
