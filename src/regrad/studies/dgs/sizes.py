"""Sizes of the DGS study, one set a preset."""

from typing import NamedTuple

from pydantic import JsonValue

from regrad.results import Part


class Task(NamedTuple):
    """What is trained: the problem, B, the optimizer steps."""

    problem: Part
    batch_size: int
    steps: int


class Sizes(NamedTuple):
    """What a preset sets: sizes only."""

    images: dict[str, Task]  # the two networks of the document, by the name of the model; tuned on the first
    spiking: dict[str, Task]  # the same with neurons, without the membrane reset
    cells: tuple[tuple[str, str], ...]  # (model, reset) of the spiking networks
    beyond: dict[str, Task]  # what the abstract names beside: ``language``, ``transfer``, ``own``
    points: int  # learning rates in the first grid of every arm; neighbours are a factor √10 apart
    seeds: tuple[int, int]  # numbers of tuning and of fresh seeds
    extensions: int  # how often a grid with its optimum on the edge may grow
    multiples: tuple[float, ...]  # learning rates of part ``stability``, over each arm's optimum
    evaluations: int
    spike_examples: int  # test images whose spikes are counted


def pictures(depth: int, width: int, examples: int, *, images: str) -> Part:
    options: dict[str, JsonValue] = {"images": images, "depth": depth, "width": width}
    return Part(name="images", options=options | {"evaluation_examples": examples})


def networks(architecture: str, options: dict[str, JsonValue], images: str = "fashion-mnist") -> Part:
    return Part(name="image_networks", options={"images": images, "architecture": architecture, **options})


def language(model: str, length: int, sequences: int) -> Part:
    options: dict[str, JsonValue] = {"model": model, "sequence_length": length, "corpus": "news"}
    return Part(name="language", options=options | {"evaluation_sequences": sequences})


def beyond(run: tuple[int, int], width: int, *, examples: int, text: Task) -> dict[str, Task]:
    """Return the three tasks beyond the document's data set; ``run`` is (B, steps) of the two on images."""
    seen: dict[str, JsonValue] = {"evaluation_examples": examples}
    pretraining: dict[str, JsonValue] = {"pretraining": "fashion-mnist", "pretraining_steps": run[1]}
    fine = networks("resnet", {"depth": 8, "width": width, **pretraining, **seen}, "mnist-5k")
    own = networks("mixer", {"width": 4 * width, **seen})
    return {"language": text, "transfer": Task(fine, *run), "own": Task(own, *run)}


def residual(
    depths: tuple[int, int], run: tuple[int, int], *, width: int, examples: int, images: str = "fashion-mnist"
) -> dict[str, Task]:
    """Return the document's two networks; ``run`` is (B, steps)."""
    parts = (pictures(depth, width, examples, images=images) for depth in depths)
    return {name: Task(part, *run) for name, part in zip(MODELS, parts, strict=True)}


def neurons(
    depths: tuple[int, int], run: tuple[int, int], *, examples: int, images: str = "fashion-mnist", **options: JsonValue
) -> dict[str, Task]:
    """Return the two networks with neurons; ``run`` is (B, steps)."""
    return {
        name: Task(networks("spiking", {"depth": depth, "evaluation_examples": examples, **options}, images), *run)
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
    "small": Sizes(
        images=residual((20, 32), (32, 50), width=4, examples=500),
        spiking=neurons((20, 32), (16, 100), examples=300, width=8, halved=True), cells=TABLE,
        beyond=beyond((32, 40), 4, examples=500, text=Task(language("0.1M", 32, 64), 16, 60)),
        points=4, seeds=(1, 5), extensions=1, multiples=(0.1, NOTCH, 10.0), evaluations=5,
        spike_examples=100,
    ),
    "full": Sizes(
        images=residual((20, 32), (128, 800), width=16, examples=2000),
        spiking=neurons((20, 32), (64, 600), examples=2000, width=16), cells=FACTORIAL,
        beyond=beyond((64, 400), 16, examples=2000, text=Task(language("3M", 128, 256), 32, 400)),
        points=5, seeds=(1, 8), extensions=2, multiples=(0.1, 1 / NOTCH, NOTCH, 10.0), evaluations=10,
        spike_examples=1000,
    ),
    "paper": Sizes(
        images=residual((20, 32), (128, 64_000), width=16, examples=5000, images="cifar10"),
        spiking=neurons((20, 32), (128, 64_000), examples=5000, width=16, images="cifar10"), cells=FACTORIAL,
        beyond=beyond((128, 4000), 16, examples=5000, text=Task(language("60M", 256, 1024), 64, 20_000)),
        points=7, seeds=(3, 8), extensions=2, multiples=(0.1, 1 / NOTCH, NOTCH, 10.0), evaluations=50,
        spike_examples=5000,
    ),
}  # fmt: skip
PRESETS["medium"] = PRESETS["small"]  # until it has sizes of its own
