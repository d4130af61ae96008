"""Counter-based randomness: any draw follows from (seed, stream, counters) alone, never from earlier draws.

So batch k can be computed without the batches before it, a resumed run needs no generator state, and every
optimizer sees the same initialisation, data order and evaluation set for the same seed.
"""

import hashlib

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
    """The order in which a run sees its training examples: another permutation every epoch.

    Args:
        count: Training examples, >= 1.
        seed: Of the run.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._drawn: tuple[int, np.ndarray] | None = None

    def batch(self, step: int, batch_size: int) -> np.ndarray:
        """Return which examples batch number ``step`` has, int64 [batch_size], without the earlier batches."""
        numbers = range(step * batch_size, (step + 1) * batch_size)
        return np.array([self._chosen(*divmod(k, self.count)) for k in numbers])

    def _chosen(self, epoch: int, position: int) -> int:
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, permutation(self.count, self.seed, "order", epoch)
        return int(self._drawn[1][position])
