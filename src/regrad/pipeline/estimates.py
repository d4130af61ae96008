"""How long a preset takes: from past runs where there are some, from operation counts for the GPU presets."""

from collections.abc import Iterable
from dataclasses import replace

from regrad.pipeline.targets import plan_of
from regrad.results import Spec, parse, run_id
from regrad.runner.dependencies import fingerprint
from regrad.runner.ensure import Bench, missing
from regrad.store import Store
from regrad.studies.study import Study

GPU_FLOPS = 2.0e14  # a guess at what an H200-class GPU sustains on these models, for the estimate only


class Work:
    """What a target still has to do.

    Args:
        target: A notebook.
        preset: One of the presets.
        bench: Where runs are looked for.
    """

    def __init__(self, target: Study, preset: str, bench: Bench) -> None:
        plan = plan_of(target)
        self.bench = bench
        self.specs: list[Spec] = plan(preset, []) if plan else []
        self.missing = [task.spec for task in missing(self.specs, bench)]

    def seconds(self) -> float | None:
        """Return the expected seconds of one process for what is missing, None without past runs."""
        past = list(past_seconds(self.specs, self.bench))
        return sum(past) / len(past) * len(self.missing) if past else None

    def gpu_hours(self) -> float:
        """Return GPU hours by 6 operations per parameter and token."""
        return sum(operations(spec) for spec in self.missing) / GPU_FLOPS / 3600


def past_seconds(specs: Iterable[Spec], bench: Bench) -> Iterable[float]:
    """Yield the seconds that finished runs among ``specs`` took."""
    store = Store(bench.store)
    for spec in specs:
        past = store.circumstances(run_id(spec, fingerprint(spec, bench.device)))
        if past is not None:
            yield past.seconds


def operations(spec: Spec) -> float:
    """Return the floating-point operations of a run: for a language model 6 per parameter and token.

    0 for problems whose network is not known from the options alone: what they add up to is a lower bound.
    """
    if spec.problem.name == "images":
        return image_operations(spec)
    import torch

    from regrad.problems.models.decoder import CONFIGS, Decoder

    options = spec.problem.options
    if options.get("model") not in CONFIGS or "sequence_length" not in options:
        return 0.0
    config = replace(CONFIGS[str(options["model"])], vocabulary=int(str(options.get("vocabulary", 256))))
    with torch.device("meta"):
        entries = sum(p.numel() for p in Decoder(config).parameters())
    return 6.0 * entries * int(options["sequence_length"]) * spec.batch_size * spec.steps  # type: ignore[arg-type]


def image_operations(spec: Spec) -> float:
    """Return the operations of a run on images of 32 × 32 pixels: three forward passes an example."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from regrad.problems.images import ImageOptions
    from regrad.problems.models.resnet import ResNet

    network = parse(ImageOptions, spec.problem.options).network(channels=3)
    model = ResNet(network, generator=torch.Generator())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 32))
    return 3.0 * counter.get_total_flops() * spec.batch_size * spec.steps
