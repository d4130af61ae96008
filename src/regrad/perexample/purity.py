"""Acts on: per-example gradients. A forward pass must be a function: no fresh noise, no state that follows the data.

Where it is not, the methods differ among themselves, and from one call to the next. One pass of each method is
watched, at the price of comparing the random stream and the buffers before and after.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from regrad.perexample.refusals import Refused

Answer = TypeVar("Answer")


def watch_pass(model: nn.Module, run: Callable[[], Answer]) -> Answer:
    """What `run` gives, which calls the model once.

    Raises:
        Refused: if it draws random numbers, changes buffers of the model each time, or hides a part of itself from
            autograd; buffers and the random stream are then as before.
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with _no_draws(model):
        changed, values = _run(model, run)
        # What is only made at the first call, as tables of positions are, stays as it is at the second.
        if changed and (changed := _run(model, run)[0]):
            _restore(model, buffers)
            raise Refused(
                f"{changed[0]}: the forward pass changes this buffer, so each example would meet another one; "
                "freeze it, or call eval() on its module",
                final=True,
            )
    if isinstance(values, Tensor):
        _refuse_reentry(values)
    return values


def _run(model: nn.Module, run: Callable[[], Answer]) -> tuple[list[str], Answer]:
    before = {name: (id(buffer), buffer._version) for name, buffer in model.named_buffers()}
    values = run()
    after = {name: (id(buffer), buffer._version) for name, buffer in model.named_buffers()}
    return [name for name in after if before.get(name) != after[name]], values


def _restore(model: nn.Module, buffers: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name in buffers and buffers[name].shape == buffer.shape:
                buffer.copy_(buffers[name])


@contextmanager
def _no_draws(model: nn.Module) -> Iterator[None]:
    """Refuse what moves the random stream of the CPU or of the model's device."""
    device = next(model.parameters()).device
    on_device = device.type == "cuda"
    stream = torch.get_rng_state()
    others = torch.cuda.get_rng_state(device) if on_device else stream
    yield
    moved = not torch.equal(stream, torch.get_rng_state())
    moved |= on_device and not torch.equal(others, torch.cuda.get_rng_state(device))
    if moved:
        torch.set_rng_state(stream)
        if on_device:
            torch.cuda.set_rng_state(others, device)
        raise Refused(
            "model or losses: the forward pass draws random numbers, so the methods would draw different masks, and a "
            "statistic would mix that noise with the data's; set dropout to 0, call eval(), or hand the noise over "
            "as a part of the batch",
            final=True,
        )


def _refuse_reentry(values: Tensor) -> None:
    """Reentrant checkpointing runs its block in a backward pass of its own, which `autograd.grad` never visits."""
    waiting: list[Any] = [values.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == "CheckpointFunctionBackward":
            raise Refused(
                "model: checkpoint(…, use_reentrant=True) hides its block from torch.autograd.grad, and its parameters "
                "would have zeros; use use_reentrant=False",
                final=True,
            )
        waiting.extend(following for following, _ in node.next_functions)
