"""Sizes of the DGS study, one set a preset."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import JsonValue

from regrad.results import Part


class Task(NamedTuple):
    """What is trained: the problem, B, the optimizer steps, and what makes its base competent."""

    problem: Part
    batch_size: int
    steps: int
    warmup: float = 0.05  # share of the steps
    beta2: float = 0.999  # of Adam
    max_norm: float = math.inf  # that gradients are clipped to


class Sizes(NamedTuple):
    """What a preset sets: sizes only."""

    images: dict[str, Task]  # the two networks of the document, by the name of the model
    spiking: dict[str, Task]  # the same with neurons, without the membrane reset
    cells: tuple[tuple[str, str], ...]  # (model, reset) of the spiking networks
    beyond: dict[str, Task]  # what the abstract names beside: ``language``, ``transfer``, ``own``
    points: int  # learning rates in the first grid of every arm
    seeds: tuple[int, int]  # numbers of tuning and of fresh seeds
    extensions: int  # how often a grid with its optimum on the edge may grow
    multiples: tuple[float, ...]  # learning rates of part ``stability``, over each arm's optimum
    evaluations: int
    spike_examples: int  # test images whose spikes are counted
    notch: float = 10**0.5  # ratio of neighbours in a grid
    tuned_apart: bool = False  # whether the deeper networks have a tuning of their own
    # arms of a part, where not all that the table of arms has there
    arms: Mapping[str, tuple[str, ...]] = {}
    centers: Mapping[str, Mapping[str, float]] = {}  # of a part's grids by arm, where not the arm's own
    # evaluations of runs whose curve no figure and no claim reads, where they are fewer; 0 for as many
    unread: int = 0
    budgets: tuple[int, ...] = ()  # steps of the shallower network in part ``budget``


def pictures(depth: int, width: int, examples: int, **more: JsonValue) -> Part:
    options: dict[str, JsonValue] = {"depth": depth, "width": width, "evaluation_examples": examples, **more}
    return Part(name="images", options=options)


def networks(architecture: str, options: dict[str, JsonValue], images: str = "fashion-mnist") -> Part:
    return Part(name="image_networks", options={"images": images, "architecture": architecture, **options})


def language(model: str, length: int, sequences: int, **more: JsonValue) -> Part:
    options: dict[str, JsonValue] = {"model": model, "sequence_length": length, "corpus": "news"}
    return Part(name="language", options=options | {"evaluation_sequences": sequences, **more})


def beyond(run: tuple[int, int], width: int, *, examples: int, text: Task) -> dict[str, Task]:
    """Return the three tasks beyond the document's data set; ``run`` is (B, steps) of the two on images."""
    seen: dict[str, JsonValue] = {"evaluation_examples": examples}
    pretraining: dict[str, JsonValue] = {"pretraining": "fashion-mnist", "pretraining_steps": run[1]}
    fine = networks("resnet", {"depth": 8, "width": width, **pretraining, **seen}, "mnist-5k")
    own = networks("mixer", {"width": 4 * width, **seen})
    return {"language": text, "transfer": Task(fine, *run), "own": Task(own, *run)}


def residual(
    depths: tuple[int, int],
    run: tuple[int, int],
    *,
    width: int,
    examples: int,
    images: str = "fashion-mnist",
    **more: JsonValue,
) -> dict[str, Task]:
    """Return the document's two networks; ``run`` is (B, steps)."""
    parts = (pictures(depth, width, examples, images=images, **more) for depth in depths)
    return {name: Task(part, *run) for name, part in zip(MODELS, parts, strict=True)}


def neurons(
    depths: tuple[int, int],
    run: tuple[int, int],
    *,
    examples: int,
    images: str = "fashion-mnist",
    warmup: float = 0.05,
    **options: JsonValue,
) -> dict[str, Task]:
    """Return the two networks with neurons; ``run`` is (B, steps)."""
    kept = {"evaluation_examples": examples, **options}
    return {
        name: Task(networks("spiking", {"depth": depth, **kept}, images), *run, warmup=warmup)
        for name, depth in zip(MODELS, depths, strict=True)
    }


MODELS = ("resnet20", "resnet32")
TABLE = (("resnet20", "soft"), ("resnet32", "hard"))  # the cells that the document's tables have
FACTORIAL = (*TABLE, ("resnet20", "hard"), ("resnet32", "soft"))
NOTCH = 10**0.5

PRESETS: dict[str, Sizes] = {
    "smoke": Sizes(
        images=residual((8, 14), (4, 2), width=2, examples=40),
        spiking=neurons((8, 14), (4, 2), examples=40, width=2, halved=True), cells=TABLE,
        beyond=beyond((4, 2), 2, examples=40, text=Task(language("0.1M", 16, 8), 4, 2)),
        points=2, seeds=(1, 1), extensions=0, multiples=(0.1, 10.0), evaluations=2, spike_examples=20,
    ),
}  # fmt: skip

# -- preset medium: networks that are trained, on the processor of a desk

ALL = 10_000  # every image of the test set, and every one of the smaller validation set
# ResNet-32 trains for nine tenths of an epoch, ResNet-20 for two: at nine tenths it has 85.8 % at best and seeds differ
# by a whole point; half an epoch has LARS at 83.6 %, ridge regression 81.3. Resets bring a schedule of their own that
# warms up over 5 %, so the runs that they are compared with do too.
MEDIUM_IMAGES = residual((20, 32), (64, 760), width=4, examples=ALL, memory_format="channels_last")
MEDIUM_IMAGES["resnet20"] = MEDIUM_IMAGES["resnet20"]._replace(steps=1688)
# Digits: after 16,000 pieces of clothing these networks are at 71 %, and no trivial predictor's 81 are in reach of a
# run as long as the others'. On 4,010 digits, where ridge regression has 86.5, Adam has the shallower one at 94 % after
# 600 steps and the deeper one, hard, at 83 to 87 after 600 of 32 or 1,200 of 16: it gets twice the steps. 2 time steps.
MEDIUM_SPIKING = neurons(
    (20, 32), (32, 600), examples=ALL, images="mnist-5k", warmup=0.1, width=8, halved=True, time_steps=2
)
MEDIUM_SPIKING["resnet32"] = MEDIUM_SPIKING["resnet32"]._replace(steps=1200)
# 0.9 M tokens; after 0.6 M Adam is at 2.09 nats, a trigram table at 2.07. β₂ and the clipped norm are the base's and
# every arm's: S1 and E1 do not feel a clipped norm.
MEDIUM_TEXT = Task(
    language("0.1M", 64, 1024, fused_attention=True), 16, 900, warmup=0.1, beta2=0.95, max_norm=1.0
)  # fmt: skip
# The former images are learnt in 400 steps, then the digits in 300.
MEDIUM_TRANSFER = Task(
    networks("resnet", {"depth": 8, "width": 8, "pretraining": "fashion-mnist", "pretraining_steps": 400,
                        "pretraining_batch": 64, "evaluation_examples": ALL, "memory_format": "channels_last"},
             "mnist-5k"),
    64, 300, warmup=0.1,
)  # fmt: skip
# Adam is at 86.0 % after 2,500 steps; after 1,000 S1 is at 80.8, below ridge regression.
MEDIUM_OWN = Task(networks("mixer", {"width": 16, "evaluation_examples": ALL}), 64, 2500, warmup=0.1)
PRESETS["medium"] = Sizes(
    images=MEDIUM_IMAGES, spiking=MEDIUM_SPIKING, cells=TABLE,
    beyond={"language": MEDIUM_TEXT, "transfer": MEDIUM_TRANSFER, "own": MEDIUM_OWN},
    points=4, notch=2.0, seeds=(2, 5), extensions=4, tuned_apart=True,
    multiples=(0.125, 8.0),  # three notches to each side
    evaluations=8, unread=1, spike_examples=1000, budgets=(760, 3040),
    # Where short runs at a tuning seed were best; of ResNet-32 where ResNet-20 was after as many steps.
    centers={
        "images": {"sgd": 1.5, "E1": 4e-3, "S1": 1.6e-2},
        "images32": {"adam": 0.0141421, "lars": 0.353553, "E1": 0.00565685, "S1": 0.0226274},
        "spiking": {"adam": 0.03, "adam+dgs": 0.03, "lars": 1.0, "lars+dgs": 1.0},
        "language": {"adam": 5e-3, "S1": 1e-3, "E1": 1e-3}, "own": {"adam": 5e-3},
    },
    # What no claim reads is left out, but E1 on language, which the table has. The readings' geometry is SGD's.
    arms={
        "images": ("sgd", "adam", "lars", "E1", "S1"), "images32": ("adam", "lars", "E1", "S1"),
        "reset": ("adam", "S1"), "stability": ("sgd", "adam", "S1"), "budget": ("adam", "lars", "S1"),
        "spiking32": ("lars", "adam", "lars+dgs", "adam+dgs"),
        "language": ("adam", "E1", "S1"), "transfer": ("adam", "S1"), "own": ("adam", "S1"),
    },
)  # fmt: skip
PRESETS["small"] = PRESETS["medium"]  # of which it is a part: the runs of rank 0, at the first look

# -- presets full and paper, by the same rules

MULTIPLES = (0.125, 0.5, 2.0, 8.0)
FULL_TEXT = Task(
    language("3M", 128, 1024, fused_attention=True), 32, 2000, warmup=0.1, beta2=0.95, max_norm=1.0
)  # fmt: skip
PAPER_TEXT = Task(
    language("60M", 256, 1024, fused_attention=True), 64, 20_000, warmup=0.1, beta2=0.95, max_norm=1.0
)  # fmt: skip


PRESETS["full"] = Sizes(
    images=residual((20, 32), (128, 800), width=16, examples=ALL, memory_format="channels_last"),
    spiking=neurons((20, 32), (32, 1200), examples=ALL, images="mnist-5k", warmup=0.1, width=16), cells=FACTORIAL,
    beyond=beyond((64, 2500), 16, examples=ALL, text=FULL_TEXT),
    points=5, notch=2.0, seeds=(2, 8), extensions=4, tuned_apart=True, multiples=MULTIPLES, evaluations=10,
    spike_examples=1000, budgets=(3200,),
)  # fmt: skip
PRESETS["paper"] = Sizes(
    images=residual((20, 32), (128, 64_000), width=16, examples=ALL, images="cifar10", memory_format="channels_last"),
    spiking=neurons((20, 32), (128, 64_000), examples=ALL, images="cifar10", warmup=0.1, width=16), cells=FACTORIAL,
    beyond=beyond((128, 4000), 16, examples=ALL, text=PAPER_TEXT),
    points=7, notch=2.0, seeds=(3, 8), extensions=4, tuned_apart=True, multiples=MULTIPLES, evaluations=50,
    spike_examples=5000,
)  # fmt: skip
