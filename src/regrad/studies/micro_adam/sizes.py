"""Sizes of the study of Adam's preconditioner, one set a preset."""

from typing import NamedTuple

from pydantic import JsonValue

from regrad.results import Part


class Task(NamedTuple):
    """What is trained."""

    problem: Part
    batch_size: int  # B
    steps: int
    center: float  # learning rate at the middle of Adam's grid


class Sizes(NamedTuple):
    """What a preset sets."""

    language: Task  # the language task; the claims are decided on it
    images: Task | None
    points: int  # learning rates in the first grid of every arm; neighbours are a factor 2 apart
    seeds: tuple[int, int]  # numbers of tuning and of fresh seeds
    extensions: int  # how often a grid with its optimum on the edge may grow
    batch_sizes: tuple[int, ...]  # batch sizes of part ``scaling``; the language task's own among them
    stability_steps: int
    # its fresh seeds, more than of other parts: many may share one multiple, and a tie tells little; 0 for as many
    stability_seeds: int
    multiples: tuple[float, ...]  # its learning rates, over each arm's optimum
    examples: int  # examples from which the split of E[gbar²] is measured, at each checkpoint
    evaluations: int
    method: str = "vmap"  # of ``gradient_statistics``
    beta2: float = 0.99
    warmup: float = 0.05  # share of the steps
    left_out: tuple[str, ...] = ()  # arms that no claim reads
    batch_points: int = 0  # learning rates of Adam's first grid at each other batch size; 0 does not tune there
    budget: int = 0  # times the language task's steps of the runs of part ``budget``; 0 for none
    budget_seeds: int = 5

    @property
    def tasks(self) -> dict[str, Task]:
        return {"language": self.language} | ({"images": self.images} if self.images else {})


def language(model: str, length: int, evaluation_sequences: int, **more: JsonValue) -> Part:
    """Return a language problem; the corpus is news in bytes unless ``more`` says another."""
    options: dict[str, JsonValue] = {"model": model, "sequence_length": length}
    options |= {"evaluation_sequences": evaluation_sequences, "corpus": "news"}
    return Part(name="language", options=options | more)


def pictures(images: str, depth: int, width: int, evaluation_examples: int) -> Part:
    """Return an image problem with GroupNorm: BatchNorm has no gradient of one example."""
    options: dict[str, JsonValue] = {"images": images, "depth": depth, "width": width, "norm": "group"}
    return Part(name="images", options=options | {"groups": 4, "evaluation_examples": evaluation_examples})


# In the paper's preset 4 million documents are about 2 billion tokens, more than the runs read.
C4: dict[str, JsonValue] = {
    "corpus": "c4", "tokenizer": "bpe", "vocabulary": 32000, "documents": 4_000_000
}  # fmt: skip
DOUBLINGS = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0)

PRESETS: dict[str, Sizes] = {
    "smoke": Sizes(
        language=Task(language("0.1M", 16, 16), 8, 8, 8e-3),
        images=Task(pictures("fashion-mnist", 8, 4, 100), 8, 4, 1e-2),
        points=2, seeds=(1, 2), extensions=0, batch_sizes=(4, 8), stability_steps=4, stability_seeds=2,
        multiples=(8.0, 128.0), examples=16, evaluations=4, batch_points=2, budget=2, budget_seeds=2,
    ),
    # 1,000 steps of 1,024 bytes, 25 to 40 ms each. On a tuning seed Adam ends at 1.84 nats on validation (rate 0.004;
    # at 0.008 1.87, with beta2 = 0.99 1.90), clipped at 1.83, MicroAdam at 1.89 and MicroAdamVar at 1.86 (0.008); at B
    # = 4 at 1.82, at B = 64, with 250 steps, at 2.26. Tables of byte pairs and triples have 2.53 and 2.07. Steps are
    # what short runs lack, and 16 is the least B with 1/B below c = 0.25. Runs of 100 steps tell stable rates from
    # others and cost a tenth of a run. No images: no claim needs them.
    "medium": Sizes(
        language=Task(language("0.1M", 64, 1024, fused_attention=True), 16, 1000, 4e-3),
        images=None, points=4, seeds=(2, 10), extensions=4, batch_sizes=(4, 16, 64), stability_steps=100,
        stability_seeds=0, multiples=DOUBLINGS, examples=128, evaluations=10, method="graph", beta2=0.95, warmup=0.1,
        left_out=("micro_adam_msq", "micro_adam_msq+clip", "adam+decay", "micro_adam+decay"), batch_points=4, budget=4,
    ),
    "full": Sizes(
        language=Task(language("10M", 128, 512, fused_attention=True), 64, 1000, 2e-3),
        images=Task(pictures("fashion-mnist", 20, 16, 10_000), 128, 800, 1e-2),
        points=6, seeds=(2, 10), extensions=4, batch_sizes=(32, 64, 256), stability_steps=100, stability_seeds=0,
        multiples=DOUBLINGS, examples=512, evaluations=10, method="graph", beta2=0.95, warmup=0.1, batch_points=6,
        budget=4,
    ),
    "paper": Sizes(
        language=Task(language("60M", 256, 2048, fused_attention=True, **C4), 64, 70_000, 1e-3),
        images=Task(pictures("cifar10", 20, 16, 10_000), 128, 31_250, 2e-3),
        points=6, seeds=(3, 10), extensions=4, batch_sizes=(8, 16, 32, 64, 128, 256, 512),
        stability_steps=7000, stability_seeds=10, multiples=DOUBLINGS, examples=512, evaluations=50, method="graph",
        beta2=0.95, warmup=0.1, batch_points=6,
    ),
}  # fmt: skip
PRESETS["small"] = PRESETS["medium"]  # of which it is a part: the runs of rank 0, at the first look
