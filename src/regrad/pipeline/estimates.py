"""How long the largest preset takes at least, from operation counts."""

import json
from dataclasses import replace
from functools import cache

from regrad.pipeline.targets import plan_of
from regrad.results import Spec, canonical, parse
from regrad.runner.ensure import Bench, missing
from regrad.studies.study import Study

GPU_FLOPS = 2.0e14  # a guess at what an H200-class GPU sustains on these models, for the estimate only


def gpu_hours(study: Study, preset: str, bench: Bench) -> float:
    """Return the GPU hours of what a study lacks, as far as its plan reaches now."""
    plan = plan_of(study)
    lacking = missing(plan(preset, []), bench) if plan else []
    return sum(operations(task.spec) for task in lacking) / GPU_FLOPS / 3600


def operations(spec: Spec) -> float:
    """Return the floating-point operations of a run: for a language model 6 per parameter and token.

    0 for problems whose network is not known from the options alone: what they add up to is a lower bound.
    """
    if spec.problem.name == "images":
        return image_operations(canonical(spec.problem.options)) * spec.batch_size * spec.steps
    from regrad.problems.models.decoder import CONFIGS

    options = spec.problem.options
    if options.get("model") not in CONFIGS or "sequence_length" not in options:
        return 0.0
    config = replace(CONFIGS[str(options["model"])], vocabulary=int(str(options.get("vocabulary", 256))))
    return 6.0 * config.parameters * int(str(options["sequence_length"])) * spec.batch_size * spec.steps


@cache
def image_operations(options: str) -> float:
    """Return the operations of a step on one image of 32 × 32 pixels: three forward passes.

    Args:
        options: Of the problem, as JSON, so that each network is built once.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from regrad.problems.images import ImageOptions
    from regrad.problems.models.resnet import ResNet

    model = ResNet(parse(ImageOptions, json.loads(options)).network(channels=3), generator=torch.Generator())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 32))
    return 3.0 * counter.get_total_flops()
