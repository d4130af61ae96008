"""Sizes of the study of where the sign goes, one set a preset."""

import math
from typing import NamedTuple

from pydantic import JsonValue


class Sizes(NamedTuple):
    """What a preset sets."""

    problem: dict[str, JsonValue]
    batch_size: int  # B, sequences
    steps: int
    center: float  # learning rate at the middle of the grid of ``ema``
    points: int
    ratio: float  # between neighbours of a grid
    seeds: tuple[int, int]  # numbers of tuning and of fresh seeds
    groups: tuple[int, ...]  # sizes k of the micro-batch rungs
    examples: int  # examples whose gradients are looked at one by one, at each of the checkpoints
    method: str = "vmap"  # of ``gradient_statistics``
    warmup: float = 0.05  # share of the steps
    extensions: int = 2  # how often a grid with its optimum on the edge may grow
    budget: int = 0  # times ``steps`` of the runs of part ``budget``; 0 for none
    budget_seeds: int = 5


def news(model: str, sequence_length: int, evaluation_sequences: int) -> dict[str, JsonValue]:
    return {
        "corpus": "news",
        "model": model,
        "sequence_length": sequence_length,
        "evaluation_sequences": evaluation_sequences,
    }


# About 430 tokens a document: more than the 1.15 billion that 70,000 steps of 64 sequences of 256 take.
C4: dict[str, JsonValue] = {
    "corpus": "c4",
    "documents": 3_000_000,
    "tokenizer": "bpe",
    "vocabulary": 32000,
    "model": "60M",
    "sequence_length": 256,
    "evaluation_sequences": 2048,
    "fused_attention": True,
}

PRESETS: dict[str, Sizes] = {
    "smoke": Sizes(news("0.1M", 32, 32), 16, 25, 2e-3, 3, 2.0, (1, 2), (4,), 32),
    # 1,000 steps of 1,024 bytes, 25 to 40 ms each. On a tuning seed EMA ends at 1.90 nats on validation (rate 0.0005;
    # at 0.001 1.91, at 0.002 1.99), the batch mean at 1.91 (0.004), each example at 2.23 (0.016; at 0.004 2.27). Tables
    # of byte pairs and triples have 2.53 and 2.07. Sequences of 64, since the sign sees sequences and not bytes: of 128
    # they cost twice as much. "graph" with fused attention is the fastest way to the signs of single examples
    # (`benchmarks/training.py`).
    "medium": Sizes(
        news("0.1M", 64, 1024) | {"fused_attention": True}, 16, 1000, 7e-4, 4, 2.0, (2, 10), (2, 4, 8), 128, "graph",
        warmup=0.1, extensions=4, budget=4,
    ),
    "full": Sizes(
        news("10M", 256, 512) | {"fused_attention": True}, 64, 2000, 5e-4, 7, math.sqrt(2), (3, 10), (4, 16), 256,
        "graph", warmup=0.1, extensions=4, budget=4,
    ),
    "paper": Sizes(
        C4, 64, 70_000, 3e-4, 7, math.sqrt(2), (3, 10), (4, 16), 256, "graph", warmup=0.1, extensions=4,
    ),
}  # fmt: skip
PRESETS["small"] = PRESETS["medium"]  # of which it is a part: the runs of rank 0, at the first look
