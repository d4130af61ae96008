"""Acts on: per-example gradients. A forward pass must be a function: no fresh noise, no state that follows the data.

Where it is not, the methods differ among themselves, and from one call to the next. One pass of each method is
watched, at the price of comparing the random streams and the buffers before and after.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy
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
    """Refuse what moves a random stream: torch's on the CPU or the model's device, numpy's, or Python's."""
    device = next(model.parameters()).device
    # Some models draw their masks by numpy (SpecAugment of wav2vec 2.0 and its kin), some drop layers by Python.
    streams: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
        (torch.get_rng_state, torch.set_rng_state),
        (partial(numpy.random.get_state, legacy=False), numpy.random.set_state),
        (random.getstate, random.setstate),
    ]
    if device.type == "cuda":
        on_device = partial(torch.cuda.get_rng_state, device), partial(torch.cuda.set_rng_state, device=device)
        streams.append(on_device)
    before = [read() for read, _ in streams]
    yield
    if all(_same(state, read()) for state, (read, _) in zip(before, streams, strict=True)):
        return
    for state, (_, restore) in zip(before, streams, strict=True):
        restore(state)
    raise Refused(
        "model or losses: the forward pass draws random numbers, so the methods would draw different masks, and a "
        "statistic would mix that noise with the data's; set dropout (or masking) to 0, call eval(), or hand the noise "
        "over as a part of the batch",
        final=True,
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two states of a stream are equal: tensors, numbers in tuples, or a mapping that holds an array."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(numpy.array_equal(one, other)) if isinstance(one, numpy.ndarray) else bool(one == other)


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
