"""The interface of every problem: data, model and loss. And what all do alike: order, batches and evaluation."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from regrad.problems.batch import Examples, check_position, evaluating
from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.splits import Split
from regrad.problems.options import ProblemOptions
from regrad.problems.randomness import EpochOrder, permutation, torch_generator

CPU = torch.device("cpu")


@dataclass
class Problem(ABC):
    """What a run trains on. A subclass says what is particular: `load`, `size`, `examples`, `network`, `losses`.

    All randomness follows from the seed and a position, so a batch needs no earlier one, every optimizer sees the
    same weights and examples, and a resumed run goes on as if nothing had happened.

    Attributes:
        Options: Class of the options.
        data_options: Options whose values name data sets of the table of sources.
        options: What was asked for.
        arrays: What `load` returned.
        seed: Of initialisation, data order and evaluation subset, which use separate streams; >= 0.
        device: Where models and batches live.
    """

    Options: ClassVar[type[ProblemOptions]]
    data_options: ClassVar[tuple[str, ...]]

    options: Any
    arrays: Arrays
    seed: int = 0
    device: torch.device = CPU

    @classmethod
    def from_options(cls, options: Any, *, cache: Path, seed: int = 0, device: str | torch.device = "cpu") -> Self:
        """A problem with its data read from the cache, fetched and parsed on first use.

        Args:
            options: What to build, of the class ``Options``.
            cache: Cache folder for data.
            seed: Of everything random in the problem, >= 0.
            device: Where models and batches live.

        Raises:
            OptionError: Options that do not fit the data.
            DataError: The data are missing or damaged.
        """
        return cls(options, cls.load(options, cache), seed, torch.device(device))

    @classmethod
    @abstractmethod
    def load(cls, options: Any, cache: Path) -> Arrays:
        """Read the data of all splits from the cache."""

    @abstractmethod
    def size(self, split: Split) -> int:
        """How many examples a split has."""

    @abstractmethod
    def examples(self, split: Split, places: np.ndarray) -> Examples:
        """The examples of a split at ``places``, [B] or what else `epoch` and `evaluation_places` give."""

    @abstractmethod
    def network(self, generator: torch.Generator) -> nn.Module:
        """A new network on the CPU, its weights drawn from a CPU generator."""

    @abstractmethod
    def losses(self, model: Callable[..., torch.Tensor], batch: Any) -> torch.Tensor:
        """Loss of each example in nats, [B], not divided by B."""

    def init_model(self) -> nn.Module:
        """A new model, the same for every call and device."""
        return self.network(torch_generator(self.seed, "init")).to(self.device, self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return torch.float32

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets that the numbers depend on."""
        values = [getattr(self.options, option) for option in self.data_options]
        return tuple(name for value in values for name in ([value] if isinstance(value, str) else value or ()))

    @property
    def epoch_size(self) -> int:
        """Training examples in one epoch."""
        return self.size("train")

    def epoch(self, number: int) -> np.ndarray:
        """Places of the training examples in the order of one epoch: another permutation each."""
        return permutation(self.epoch_size, self.seed, "order", number)

    @cached_property
    def order(self) -> EpochOrder:
        """The order in which the run sees its training examples."""
        return EpochOrder(self.epoch_size, self.epoch)

    def batch(self, step: int, batch_size: int) -> Examples:
        """Training batch number ``step``, computed without the earlier ones.

        The examples are number step·B … step·B + B − 1 of an endless series, epoch after epoch.

        Args:
            step: >= 0.
            batch_size: B >= 1.
        """
        check_position(step, batch_size)
        return self.examples("train", self.order.batch(step, batch_size))

    def sample(self, split: Split, count: int) -> np.ndarray:
        """At most ``count`` numbers of examples of a split, which the seed chooses, ascending."""
        return np.sort(permutation(self.size(split), self.seed, "evaluation")[:count])

    def evaluation_places(self, split: Split) -> np.ndarray:
        """Places of the examples that `evaluate` uses."""
        return self.sample(split, self.options.evaluation_examples)

    def evaluation_batches(self, split: Split) -> Iterator[Examples]:
        """The examples that `evaluate` uses, in parts that fit into memory."""
        places = self.evaluation_places(split)
        for part in np.array_split(places, math.ceil(len(places) / self.options.evaluation_batch)):
            yield self.examples(split, part)

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Means over the evaluation subset of a split of what `totals` sums up: "loss" in nats, and others."""
        sums: dict[str, torch.Tensor] = {}
        with evaluating(model):
            for batch in self.evaluation_batches(split):
                for name, value in self.totals(model, batch).items():
                    sums[name] = sums.get(name, 0.0) + value.double()
        count = len(self.evaluation_places(split))
        return {name: float(total) / count for name, total in sums.items()}

    def totals(self, model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
        """Sums over a batch of the numbers that `evaluate` averages."""
        return {"loss": self.losses(model, batch).double().sum()}
