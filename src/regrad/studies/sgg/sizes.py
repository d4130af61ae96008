"""Sizes of the study of SGG, one set a preset."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pydantic import JsonValue

from regrad.results import Part

EVENTS = 20  # reclusters in a run: as many as 10,000 steps at interval 500 have, the paper's run at 60M


class Scale(NamedTuple):
    """What a preset sets: sizes only.

    Attributes:
        sizes: Language problems of rising size; names of arms count them from 1.
        wide: How many of them the other base optimizers run at, the smallest first.
        low_rank: The smallest problem with changes of low rank.
        batch_size: B, sequences.
        steps: Optimizer steps.
        centers: Learning rate at the middle of each base optimizer's grid.
        points: Learning rates in the first grid of every arm; neighbours are a factor 2 apart.
        seeds: Numbers of tuning and of fresh seeds.
        extensions: How often a grid with its optimum on the edge may grow.
        batches: Batch sizes of the grid of part ``robustness``; all see the same number of sequences.
        rates: Its learning rates.
        grid_seeds: Its seeds.
        finetuning: The fine-tuning task, None where the preset has none.
        standins: Small tasks in place of some that are out of reach, by name.
    """

    sizes: tuple[Part, ...]
    wide: int
    low_rank: Part
    batch_size: int
    steps: int
    centers: dict[str, float]
    points: int
    seeds: tuple[int, int]
    extensions: int
    batches: tuple[int, ...]
    rates: tuple[float, ...]
    grid_seeds: int
    evaluations: int = 4
    finetuning: "Finetuning | None" = None
    standins: "Mapping[str, StandIn]" = MappingProxyType({})

    @property
    def interval(self) -> int:
        """Steps between reclusters."""
        return max(1, self.steps // EVENTS)


class Finetuning(NamedTuple):
    """The fine-tuning task.

    Attributes:
        problem: Options of the problem, without ``rank``.
        batch_size: B, sentences.
        steps: Optimizer steps.
        centers: Learning rate at the middle of the grid, by mode: ``full``, ``r4``, ``r8``; those left out do not run.
        points: Learning rates in the first grid; neighbours are a factor 2 apart.
        seeds: Numbers of tuning and of fresh seeds.
    """

    problem: dict[str, JsonValue]
    batch_size: int
    steps: int
    centers: dict[str, float]
    points: int
    seeds: tuple[int, int]


class StandIn(NamedTuple):
    """A small task in place of one that is out of reach.

    Attributes:
        problem: Data, model and loss.
        batch_size: B, pairs of sentences or images.
        steps: Optimizer steps.
        center: Learning rate at the middle of the grid.
        points: Learning rates in the first grid; neighbours are a factor 2 apart.
        seeds: Numbers of tuning and of fresh seeds.
    """

    problem: Part
    batch_size: int
    steps: int
    center: float
    points: int
    seeds: tuple[int, int]


def preference(hidden: int, words: int, pretraining: int, evaluation_pairs: int) -> Part:
    """Return the problem of preference tuning."""
    options: dict[str, JsonValue] = {"reviews": "movie-reviews", "hidden": hidden, "words": words}
    options |= {"pretraining_steps": pretraining, "evaluation_pairs": evaluation_pairs}
    return Part(name="preference", options=options)


def captions(hidden: int, evaluation_examples: int) -> Part:
    """Return the problem of naming what is in an image."""
    options: dict[str, JsonValue] = {"images": "fashion-mnist", "hidden": hidden}
    return Part(name="captions", options=options | {"evaluation_examples": evaluation_examples})


def sentences(layers: int, tokens: int, evaluation_examples: int, *, train_embeddings: bool) -> dict[str, JsonValue]:
    """Return the options of the fine-tuning problem, without ``rank``."""
    return {
        "reviews": "movie-reviews",
        "layers": layers,
        "tokens": tokens,
        "evaluation_examples": evaluation_examples,
        "train_embeddings": train_embeddings,
    }


def language(hidden: int, heads: int, length: int, evaluation_sequences: int, **more: JsonValue) -> Part:
    """Return a byte-level news problem with a decoder of two blocks."""
    shape: dict[str, JsonValue] = {"hidden": hidden, "heads": heads, "layers": 2, "corpus": "news"}
    shape |= {"sequence_length": length, "evaluation_sequences": evaluation_sequences}
    return Part(name="sized_language", options=shape | more)


def named(model: str, length: int, evaluation_sequences: int, **more: JsonValue) -> Part:
    """Return a language problem with a decoder of a named size; the corpus is news in bytes unless told otherwise."""
    options: dict[str, JsonValue] = {"corpus": "news", "model": model, "sequence_length": length}
    return Part(name="sized_language", options=options | {"evaluation_sequences": evaluation_sequences} | more)


# In the paper's preset a document is about 430 tokens; 10,000 steps of 512 sequences of 256 read 1.3 billion.
C4: dict[str, JsonValue] = {
    "corpus": "c4", "tokenizer": "bpe", "vocabulary": 32000, "documents": 4_000_000
}  # fmt: skip
TOY = {"adamw": 1e-2, "came": 5e-3, "adafactor": 1e-1, "lamb": 4e-2, "lora": 1e-2}
LARGE = {"adamw": 2e-3, "came": 1e-3, "adafactor": 2e-2, "lamb": 1e-2, "lora": 2e-3}
RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
LLAMA_60M = named("60M", 256, 512, tokenizer="bpe", vocabulary=32000)

PRESETS: dict[str, Scale] = {
    "smoke": Scale(
        sizes=(language(8, 1, 16, 16), language(12, 1, 16, 16), language(16, 1, 16, 16)), wide=1,
        low_rank=language(8, 1, 16, 16, rank=2), batch_size=4, steps=4, centers=TOY, points=2, seeds=(1, 1),
        extensions=0, batches=(2, 4), rates=(1e-4, 1e-1), grid_seeds=1, evaluations=2,
        finetuning=Finetuning(sentences(1, 8, 16, train_embeddings=False), 2, 4, {"r4": 1e-2}, 1, (1, 1)),
        standins={
            "dpo": StandIn(preference(8, 8, 2, 16), 2, 4, 3e-3, 1, (1, 1)),
            "caption": StandIn(captions(8, 16), 2, 4, 1e-2, 1, (1, 1)),
        },
    ),
    "small": Scale(
        sizes=(language(16, 1, 64, 128), language(32, 2, 64, 128), language(64, 4, 64, 128)), wide=2,
        low_rank=language(16, 1, 64, 128, rank=4), batch_size=16, steps=200, centers=TOY, points=4, seeds=(1, 5),
        extensions=2, batches=(4, 16, 64), rates=RATES, grid_seeds=2,
        finetuning=Finetuning(
            sentences(3, 24, 400, train_embeddings=False), 8, 40, {"full": 3e-4, "r4": 1e-2, "r8": 1e-2}, 3, (1, 5)
        ),
        standins={
            "dpo": StandIn(preference(32, 16, 200, 400), 8, 200, 8e-3, 3, (1, 5)),
            "caption": StandIn(captions(32, 400), 16, 200, 1e-2, 3, (1, 5)),
        },
    ),
    "full": Scale(
        sizes=(named("1M", 128, 512), named("10M", 128, 512), LLAMA_60M),
        wide=2, low_rank=named("1M", 128, 512, rank=16), batch_size=64, steps=1000, centers=LARGE, points=5,
        seeds=(2, 8), extensions=2, batches=(16, 64, 256), rates=RATES, grid_seeds=3, evaluations=10,
        finetuning=Finetuning(
            sentences(6, 64, 1200, train_embeddings=True), 16, 1000, {"full": 5e-5, "r4": 1e-3, "r8": 1e-3}, 5, (2, 8)
        ),
        standins={
            "dpo": StandIn(preference(256, 24, 2000, 1000), 32, 1000, 1e-4, 5, (2, 8)),
            "caption": StandIn(captions(128, 2000), 64, 2000, 2e-3, 5, (2, 8)),
        },
    ),
    "paper": Scale(
        sizes=(named("60M", 256, 2048, **C4), named("130M", 256, 2048, **C4), named("350M", 256, 2048, **C4)),
        wide=3, low_rank=named("60M", 256, 2048, rank=128, **C4), batch_size=512, steps=10_000,
        centers={"adamw": 1e-3, "came": 5e-4, "adafactor": 1e-2, "lamb": 1e-2, "lora": 1e-3}, points=5, seeds=(1, 5),
        extensions=2, batches=(128, 512, 1024), rates=RATES, grid_seeds=3, evaluations=50,
        finetuning=Finetuning(
            sentences(6, 64, 1200, train_embeddings=True), 16, 1000, {"full": 5e-5, "r4": 1e-3, "r8": 1e-3}, 5, (2, 8)
        ),
        standins={
            "dpo": StandIn(preference(256, 24, 2000, 1000), 32, 1000, 1e-4, 5, (2, 8)),
            "caption": StandIn(captions(128, 2000), 64, 2000, 2e-3, 5, (2, 8)),
        },
    ),
}  # fmt: skip
