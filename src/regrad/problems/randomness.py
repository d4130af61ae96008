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
