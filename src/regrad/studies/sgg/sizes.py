"""Sizes of the study of SGG, one set a preset."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from regrad.results import Part
from regrad.studies.sgg.arms import FINETUNING, PRETRAINING

OTHERS = ("came", "adafactor", "lamb")  # bases of pre-training with all weights, beside AdamW
EVENTS = 20  # reclusters in a run: as many as 10,000 steps at interval 500 have, the paper's run at 60M


class Budget(NamedTuple):
    """What the runs of a task may cost."""

    batch_size: int  # B: sequences, sentences, pairs of sentences or images
    steps: int
    points: int  # learning rates in the first grid of both arms; neighbours are a factor 2 apart
    tuning_seeds: int
    evaluations: int = 2
    tuning_evaluations: int = 0  # of tuning runs, of which only the end is read; 0 for as many

    @property
    def interval(self) -> int:
        """Steps between reclusters."""
        return max(1, self.steps // EVENTS)


class Task(NamedTuple):
    """What a base optimizer is compared on, alone and with SGG."""

    problem: Part
    budget: Budget
    center: float  # learning rate at the middle of the grid, with SGG too: S starts at 1 and the paper re-tunes neither
    final: float = 0.0  # last factor of the learning rate's cosine
    scales: bool = True  # whether the scales S are recorded
    beta2: float | None = None  # of AdamW where it is the base; None for its default
    warmup: float = 0.05  # share of the steps
    test: Part = Part(name="test")  # what measures the test data at the end


class Sizes(NamedTuple):
    """What a preset sets: sizes only."""

    tasks: dict[str, Task]  # of the comparisons of `regrad.studies.sgg.arms`, by name; those without one do not run
    fresh_seeds: int  # of all but the grid, in a preset with one look
    extensions: int  # how often a grid with its optimum on the edge may grow
    batches: tuple[int, ...]  # batch sizes of the grid of part ``robustness``; all see the same number of sequences
    rates: tuple[float, ...]
    grid_seeds: int  # 0 for as many as the looks ask for
    grid_steps: int = 0  # of its runs at the task's own batch size; 0 for the task's
    budget: int = 0  # times the smallest task's steps of the runs of part ``budget``; 0 for none
    budget_seeds: int = 5


def decoder(hidden: int, heads: int, length: int, evaluation_sequences: int, **more: JsonValue) -> Part:
    """Return a byte-level news problem with a decoder of two blocks."""
    shape: dict[str, JsonValue] = {"hidden": hidden, "heads": heads, "layers": 2, "corpus": "news"}
    shape |= {"sequence_length": length, "evaluation_sequences": evaluation_sequences}
    return Part(name="sized_language", options=shape | more)


def fused(hidden: int, heads: int, **more: JsonValue) -> Part:
    """Return a decoder's problem with sequences of 128, the whole of 1,024 test sequences and fused attention."""
    return decoder(hidden, heads, 128, 1024, fused_attention=True, **more)


def llama(model: str, length: int, evaluation_sequences: int, **more: JsonValue) -> Part:
    """Return a language problem with a decoder of a known size; the corpus is news in bytes unless ``more`` says."""
    options: dict[str, JsonValue] = {"corpus": "news", "model": model, "sequence_length": length}
    options["fused_attention"] = True
    return Part(name="sized_language", options=options | {"evaluation_sequences": evaluation_sequences} | more)


def sentences(layers: int, tokens: int, evaluation_examples: int, *, train_embeddings: bool) -> dict[str, JsonValue]:
    """Return the options of the fine-tuning problem, without ``rank``."""
    return {
        "reviews": "movie-reviews",
        "layers": layers,
        "tokens": tokens,
        "evaluation_examples": evaluation_examples,
        "train_embeddings": train_embeddings,
    }


def preference(hidden: int, words: int, pretraining: int, evaluation_pairs: int) -> Part:
    options: dict[str, JsonValue] = {"reviews": "movie-reviews", "hidden": hidden, "words": words}
    options |= {"pretraining_steps": pretraining, "evaluation_pairs": evaluation_pairs}
    return Part(name="preference", options=options)


def captions(hidden: int, evaluation_examples: int) -> Part:
    options: dict[str, JsonValue] = {"images": "fashion-mnist", "hidden": hidden}
    return Part(name="captions", options=options | {"evaluation_examples": evaluation_examples})


def pretraining(
    decoders: tuple[Part, ...],
    low_rank: Part,
    budget: Budget,
    *,
    others: Mapping[str, Sequence[int]],
    centers: dict[str, float],
) -> dict[str, Task]:
    """Return the tasks of pre-training: AdamW's with every decoder, low rank, and ``others`` with the k-th decoders."""
    every = {f"adamw:{k}": decoder for k, decoder in enumerate(decoders, 1)} | {"lora:1": low_rank}
    every |= {f"{base}:{k}": decoders[k - 1] for base, sizes in others.items() for k in sizes}
    return {
        comparison.name: Task(every[comparison.name], budget, centers[base], final=0.1)
        for base, comparisons in PRETRAINING.items()
        for comparison in comparisons
        if comparison.name in every
    }


def finetuning(problem: dict[str, JsonValue], budget: Budget, centers: dict[str, float]) -> dict[str, Task]:
    """Return the fine-tuning tasks of those ways to train that have a center for their grid."""
    ranks: dict[str, JsonValue] = {"full": None, "r4": 4, "r8": 8}
    return {
        FINETUNING[way].name: Task(
            Part(name="minilm", options=problem | {"rank": ranks[way]}), budget, center, scales=False
        )
        for way, center in centers.items()
    }


def competent(tasks: dict[str, Task]) -> dict[str, Task]:
    """Return tasks with what makes AdamW competent at their length: a warm-up of a tenth; in pre-training its beta2."""
    return {
        name: task._replace(warmup=0.1, beta2=0.95 if task.problem.name == "sized_language" else None)
        for name, task in tasks.items()
    }


# In the paper's preset a document is about 430 tokens; 10,000 steps of 512 sequences of 256 read 1.3 billion.
C4: dict[str, JsonValue] = {
    "corpus": "c4", "tokenizer": "bpe", "vocabulary": 32000, "documents": 4_000_000
}  # fmt: skip
TOY = {"adamw": 1e-2, "came": 5e-3, "adafactor": 1e-1, "lamb": 4e-2, "lora": 1e-2}
LARGE = {"adamw": 2e-3, "came": 1e-3, "adafactor": 2e-2, "lamb": 1e-2, "lora": 2e-3}
RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
OTHER_TASKS = {
    **finetuning(
        sentences(6, 64, 1200, train_embeddings=True), Budget(16, 1000, 5, 2),
        {"full": 5e-5, "r4": 1e-3, "r8": 1e-3},
    ),
    "dpo": Task(preference(256, 24, 2000, 1000), Budget(32, 1500, 5, 2), 1e-4),
    "caption": Task(captions(128, 2000), Budget(64, 3000, 5, 2), 2e-3, test=Part(name="whole_test")),
}  # fmt: skip

PRESETS: dict[str, Sizes] = {
    "smoke": Sizes(
        tasks={
            **pretraining(
                (decoder(8, 1, 16, 16), decoder(12, 1, 16, 16), decoder(16, 1, 16, 16)), decoder(8, 1, 16, 16, rank=2),
                Budget(4, 4, 2, 1),
                others=dict.fromkeys(OTHERS, (1,)), centers=TOY,
            ),
            **finetuning(sentences(1, 8, 16, train_embeddings=False), Budget(2, 4, 1, 1), {"r4": 1e-2}),
            "dpo": Task(preference(8, 8, 2, 16), Budget(2, 4, 1, 1), 3e-3),
            "caption": Task(captions(8, 16), Budget(2, 4, 1, 1), 1e-2),
        },
        fresh_seeds=1, extensions=0, batches=(2, 4), rates=(1e-4, 1e-1), grid_seeds=1,
    ),
    # 1,000 steps of 16 sequences of 128 bytes, so that every decoder beats a table of byte pairs (2.58 nats) by far.
    # With beta2 = 0.95 and a warm-up of a tenth, AdamW does not spike, and paired differences of SGG spread by 0.005
    # nats instead of 0.025. Adafactor and LAMB have the middle size, where they gained most in preset small; CAME and
    # LoRA the least. The grid takes 6,400 sequences, which show where a rate is wrong by decades.
    # On validation, near the middle of their grids: MiniLM, all weights, 79 % after 4,000 sentences of 32 tokens (77 %
    # after 3,200 of 24, rank 4 74 %); preferences 78 %; captions 82 % after 2,000 steps, 76 % at half the width
    # and batch. Words and a ridge regression reach 78 % and 81 % (the ledger's floors).
    "medium": Sizes(
        tasks=competent({
            **pretraining(
                (fused(16, 1), fused(32, 2), fused(64, 4)), fused(16, 1, rank=4),
                Budget(16, 1000, 4, 2, evaluations=5, tuning_evaluations=1),
                others={"came": (1,), "adafactor": (2,), "lamb": (2,)},
                centers={"adamw": 7e-3, "came": 5e-3, "adafactor": 1e-1, "lamb": 4e-2, "lora": 1e-2},
            ),
            **finetuning(
                sentences(3, 32, 1100, train_embeddings=False), Budget(16, 250, 3, 2, evaluations=1),
                {"full": 2e-4, "r4": 3e-3, "r8": 3e-3},
            ),
            "dpo": Task(preference(32, 16, 200, 1000), Budget(16, 1500, 4, 2, evaluations=1), 2e-3),
            "caption": Task(
                captions(64, 2000), Budget(32, 3000, 4, 2, evaluations=1), 4e-3, test=Part(name="whole_test")
            ),
        }),
        fresh_seeds=10, extensions=4, batches=(4, 16, 64), rates=RATES, grid_seeds=5, grid_steps=400, budget=4,
    ),
    "full": Sizes(
        tasks=competent(OTHER_TASKS | pretraining(
            (llama("1M", 128, 512), llama("10M", 128, 512), llama("60M", 256, 512, tokenizer="bpe", vocabulary=32000)),
            llama("1M", 128, 512, rank=16), Budget(64, 1000, 5, 2, evaluations=10, tuning_evaluations=1),
                others=dict.fromkeys(OTHERS, (1, 2)), centers=LARGE,
        )),
        fresh_seeds=8, extensions=4, batches=(16, 64, 256), rates=RATES, grid_seeds=8, budget=4,
    ),
    "paper": Sizes(
        tasks=competent(OTHER_TASKS | pretraining(
            (llama("60M", 256, 2048, **C4), llama("130M", 256, 2048, **C4), llama("350M", 256, 2048, **C4)),
            llama("60M", 256, 2048, rank=128, **C4), Budget(512, 10_000, 5, 2, evaluations=50, tuning_evaluations=1),
                others=dict.fromkeys(OTHERS, (1, 2, 3)),
                centers={"adamw": 1e-3, "came": 5e-4, "adafactor": 1e-2, "lamb": 1e-2, "lora": 1e-3},
        )),
        fresh_seeds=5, extensions=4, batches=(128, 512, 1024), rates=RATES, grid_seeds=5,
    ),
}  # fmt: skip
PRESETS["small"] = PRESETS["medium"]  # of which it is a part: the runs of rank 0, at the first look
