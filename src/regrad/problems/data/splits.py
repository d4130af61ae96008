"""The rule that puts an example into training, validation or test: its hash, nothing else."""

import hashlib
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def hash_share(content: bytes) -> int:
    """A whole number 0 … 99 that depends on the content alone.

    So an example stays in its split when others are added, removed or reordered, and copies stay together.
    """
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % 100


def split_of(content: bytes, held_out: int) -> Split:
    """The split of an example: `held_out` % each for validation and test."""
    share = hash_share(content)
    return "validation" if share < held_out else "test" if share < 2 * held_out else "train"
