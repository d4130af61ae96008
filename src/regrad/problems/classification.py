"""Problems that ask for the class of an example."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from regrad.problems.batch import Batch
from regrad.problems.data.splits import Split
from regrad.problems.problem import Problem


@dataclass
class Classification(Problem):
    """Say which class an example belongs to; ``arrays`` holds ``<split>_labels`` [N] of every split."""

    def size(self, split: Split) -> int:
        return len(self.arrays[f"{split}_labels"])

    def losses(self, model: Callable[..., torch.Tensor], batch: Batch) -> torch.Tensor:
        """Negative log-likelihood of each example's class in nats, [B], not divided by B."""
        return class_losses(model(batch.inputs), batch.targets)

    def totals(self, model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Sum of the losses, and number of examples whose likeliest class is their own ("accuracy")."""
        logits = model(batch.inputs)
        correct = (logits.argmax(dim=1) == batch.targets).sum()
        return {"loss": self.summed(logits, batch.targets), "accuracy": correct}

    def summed(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits, targets, reduction="sum")


def class_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of each target in nats, in float32 at least."""
    logits = logits.float() if logits.dtype == torch.bfloat16 else logits
    return cross_entropy(logits, targets, reduction="none")
