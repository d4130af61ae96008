"""What a step with mean and mean square costs beside an ordinary one: time, memory, and what goes a slow way.

Time is a core's, the median of five steps of each, interleaved. Memory is that of tensors: weights and buffers, and at
most so much more during a step as its allocations, added up in their order, reach (the ordinary step makes its
gradients anew, as the other makes its statistics). Allocations are the same each time, seconds are not.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from regrad.perexample import gradient_statistics
from regrad.perexample.slow_paths import NO_RULE, Stopwatch

Losses = Callable[[nn.Module, torch.Tensor], torch.Tensor]


def costs(model: nn.Module, losses: Losses, batch: torch.Tensor) -> tuple[str, float, float]:
    """Slow paths, and the ratios of time and memory."""

    def ordinary() -> Any:
        losses(model, batch).mean().backward()

    def ours() -> Any:
        return gradient_statistics(model, losses, batch, ["mean", "mean_square"])

    def fresh(measure: Callable[..., Any], run: Callable[[], Any]) -> Any:
        model.zero_grad(set_to_none=True)
        return measure(run)

    slow = slow_paths(ours)  # the first step, which probes
    pairs = [(fresh(_seconds, ours), fresh(_seconds, ordinary)) for _ in range(5)]
    seconds = [sorted(times)[2] for times in zip(*pairs, strict=True)]
    held = sum(x.untyped_storage().nbytes() for x in (*model.parameters(), *model.buffers()))
    ratio = (held + fresh(growth, ours)) / (held + fresh(growth, ordinary))
    model.zero_grad(set_to_none=True)
    return slow, seconds[0] / seconds[1], ratio


def slow_paths(run: Callable[[], Any]) -> str:
    """Functions carried out example by example, and how many weights are."""
    seen: dict[tuple[str, str], float] = {}
    original = Stopwatch.tell

    def tell(self: Stopwatch) -> None:
        seen.update(self.extra)

    Stopwatch.tell = tell  # type: ignore[method-assign]
    try:
        run()
    finally:
        Stopwatch.tell = original  # type: ignore[method-assign]
    functions = sorted({what.split(" of ")[0] for what, why in seen if why == NO_RULE})
    weights = sum(why != NO_RULE for _, why in seen)
    return ", ".join(functions + [f"{weights} weight{'s' * (weights > 1)} in parts"] * (weights > 0))


def growth(run: Callable[[], Any]) -> int:
    """By how many bytes live tensors grow at most while it runs."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    assert profiler.profiler is not None
    results = profiler.profiler.kineto_results
    changes = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    live = most = 0
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        live += change
        most = max(most, live)
    return most


def _seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start
