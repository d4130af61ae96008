"""Counter-based randomness: any draw follows from (seed, stream, counters) alone, never from earlier draws.

So batch k can be computed without the batches before it, a resumed run needs no generator state, and every
optimizer sees the same initialisation, data order and evaluation set for the same seed.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import torch


def stream_key(seed: int, stream: str, *counters: int) -> int:
    """A 128-bit key for one use of randomness.

    Args:
        seed: Seed of the run, >= 0.
        stream: What the numbers are for ("init", "order", "evaluation", …); streams are independent.
        counters: Position in the stream: epoch, step, ….
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r} must be an integer >= 0")
    text = "/".join([stream, str(seed), *map(str, counters)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def torch_generator(seed: int, stream: str, *counters: int) -> torch.Generator:
    """A CPU generator for one use of randomness, so that every device gets the same numbers."""
    return torch.Generator().manual_seed(stream_key(seed, stream, *counters) % 2**63)


def random_bits(count: int, seed: int, stream: str, *counters: int) -> np.ndarray:
    """`count` uniform 64-bit integers, uint64 [count].

    Raw Philox output: unlike numpy's distributions it is promised never to change between versions.
    """
    return np.random.Philox(key=stream_key(seed, stream, *counters)).random_raw(count)


def permutation(count: int, seed: int, stream: str, *counters: int) -> np.ndarray:
    """A uniformly random order of 0 … count-1, int64 [count]."""
    return np.argsort(random_bits(count, seed, stream, *counters), kind="stable")


class EpochOrder:
    """An endless series of training examples, epoch after epoch.

    Args:
        count: Training examples in an epoch, >= 1.
        draw: Number of an epoch to the places [count, …] of its examples, in their order.
    """

    def __init__(self, count: int, draw: Callable[[int], np.ndarray]) -> None:
        self.count, self.draw = count, draw
        self._drawn: tuple[int, np.ndarray] | None = None

    def batch(self, step: int, batch_size: int) -> np.ndarray:
        """Places [batch_size, …] of the examples of batch number ``step``, found without the earlier batches."""
        numbers = range(step * batch_size, (step + 1) * batch_size)
        return np.array([self._place(*divmod(k, self.count)) for k in numbers])

    def _place(self, epoch: int, position: int) -> np.ndarray:
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, self.draw(epoch)
        return self._drawn[1][position]
