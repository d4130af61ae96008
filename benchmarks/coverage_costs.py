"""What a step with mean and mean square costs beside an ordinary one: time, memory, and what goes a slow way.

Time is a core's, the median of five steps of each, interleaved. Memory is that of tensors: weights and buffers, and the
most that a step adds to them (the ordinary step makes its gradients anew, as the other makes its statistics). It is the
same each time, seconds are not.
"""

import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet, finalize

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from regrad.perexample import gradient_statistics
from regrad.perexample.slow_paths import NO_RULE, Stopwatch

SHARE = 0.05
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

    ours()  # which probes
    slow = slow_paths(ours)
    pairs = [(fresh(_seconds, ours), fresh(_seconds, ordinary)) for _ in range(5)]
    seconds = [sorted(times)[2] for times in zip(*pairs, strict=True)]
    held = sum(x.untyped_storage().nbytes() for x in (*model.parameters(), *model.buffers()))
    ratio = (held + fresh(growth, ours)) / (held + fresh(growth, ordinary))
    model.zero_grad(set_to_none=True)
    return slow, seconds[0] / seconds[1], ratio


def slow_paths(run: Callable[[], Any]) -> str:
    """Functions carried out example by example, and how many weights are, that take more than a twentieth of a step."""
    seen: set[tuple[str, str]] = set()
    original = Stopwatch.tell

    def tell(self: Stopwatch) -> None:
        seen.update(key for key, seconds in self.extra.items() if seconds > SHARE * self.total)

    Stopwatch.tell = tell  # type: ignore[method-assign]
    try:
        run()
    finally:
        Stopwatch.tell = original  # type: ignore[method-assign]
    functions = sorted({what.split(" of ")[0] for what, why in seen if why == NO_RULE})
    weights = sum(why != NO_RULE for _, why in seen)
    return ", ".join(functions + [f"{weights} weight{'s' * (weights > 1)} in parts"] * (weights > 0))


class Live(TorchDispatchMode):
    """Counts the bytes of tensors made while it is active, as they come and go: `most` is the peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: WeakSet[Any] = WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for x in tree_leaves(answer):
            storage = x.untyped_storage() if isinstance(x, torch.Tensor) else None
            if storage is not None and storage._cdata not in given and storage not in self.known:
                self.known.add(storage)
                self._change(storage.nbytes())
                finalize(storage, self._change, -storage.nbytes())
        return answer

    def _change(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


def growth(run: Callable[[], Any]) -> int:
    """By how many bytes live tensors grow at most while it runs."""
    with Live() as live:
        run()
    return live.most


def _seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start
