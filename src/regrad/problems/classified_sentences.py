"""What problems share that say whether a sentence is favourable: batches, losses, evaluation."""

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from regrad.problems.batch import Batch, check_position, evaluating
from regrad.problems.data.splits import Split
from regrad.problems.randomness import EpochOrder, permutation


class ClassifiedSentences:
    """Ids [N, T] and labels [N] of each split; a problem adds its model.

    Attributes:
        options: With ``evaluation_examples``.
        arrays: ``<split>_ids`` and ``<split>_labels``.
        seed: Of data order and evaluation subset, which use separate streams.
        device: Where batches live.
        evaluated_at_once: Sentences that go through the model together in an evaluation.
    """

    options: Any
    arrays: Mapping[str, np.ndarray]
    seed: int
    device: torch.device
    evaluated_at_once = 250

    @cached_property
    def order(self) -> EpochOrder:
        """The order of the training sentences."""
        return EpochOrder(len(self.arrays["train_labels"]), self.seed)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Training batch number ``step``: ids [B, T] and labels [B], computed without the earlier ones."""
        check_position(step, batch_size)
        return self._examples("train", self.order.batch(step, batch_size))

    def _examples(self, split: Split, where: np.ndarray) -> Batch:
        ids, labels = (
            torch.from_numpy(np.asarray(self.arrays[f"{split}_{name}"][where])).to(self.device)
            for name in ("ids", "labels")
        )
        return Batch(ids, labels)

    def losses(self, model: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> torch.Tensor:
        """Negative log-likelihood of each sentence's label in nats, [B], not divided by B."""
        return cross_entropy(model(batch.inputs), batch.targets, reduction="none")

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Mean "loss" in nats and "accuracy" (0 … 1) over the evaluation subset of a split."""
        count = len(self.arrays[f"{split}_labels"])
        chosen = np.sort(permutation(count, self.seed, "evaluation")[: self.options.evaluation_examples])
        loss, correct = 0.0, 0
        with evaluating(model):
            for part in np.array_split(chosen, math.ceil(len(chosen) / self.evaluated_at_once)):
                batch = self._examples(split, part)
                logits = model(batch.inputs)
                loss += float(cross_entropy(logits, batch.targets, reduction="sum"))
                correct += int((logits.argmax(dim=1) == batch.targets).sum())
        return {"loss": loss / len(chosen), "accuracy": correct / len(chosen)}
