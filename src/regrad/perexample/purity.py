"""Acts on: per-example gradients. A forward pass must be a function: no fresh noise, no state that follows the data.

Where it is not, the methods differ among themselves, and from one call to the next. One pass of each method is
watched, at the price of comparing the random streams and the buffers before and after. Other threads move the streams,
too (a loader's, another model's): where one has moved, the pass is made again, and its own draws are looked for.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from regrad.perexample.refusals import Refused

Answer = TypeVar("Answer")


# A stream that moves in each of so many passes is moved by them, not by another thread.
_PASSES = 5
_NO_DROPOUT = {"dropout_p": 0, "p": 0, "dropout": 0, "train": False, "training": False}


def watch_pass(model: nn.Module, run: Callable[[], Answer]) -> Answer:
    """What `run` gives, which calls the model, each time likewise.

    Raises:
        Refused: if it draws random numbers, changes buffers of the model each time, or hides a part of itself from
            autograd; buffers and the random stream are then as before.
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    streams = _streams(next(model.parameters()).device)
    before = [read() for read, _ in streams]
    changed, values = _run(model, run)
    # What is only made at the first call, as tables of positions are, stays as it is at the second.
    if changed and (changed := _run(model, run)[0]):
        _restore(model, buffers)
        raise Refused(
            f"{changed[0]}: the forward pass changes this buffer, so each example would meet another one; "
            "freeze it, or call eval() on its module",
            final=True,
        )
    if _draws(run, streams, before):
        for state, (_, restore) in zip(before, streams, strict=True):
            restore(state)
        raise Refused(
            "model or losses: the forward pass draws random numbers, so the methods would draw different masks, and a "
            "statistic would mix that noise with the data's; set dropout (or masking) to 0, call eval(), or hand the "
            "noise over as a part of the batch",
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


Stream = tuple[Callable[[], Any], Callable[[Any], Any]]


def _streams(device: torch.device) -> list[Stream]:
    """How to read and to restore a random stream: numpy's, Python's, and torch's on the CPU and the model's device."""
    # Some models draw their masks by numpy (SpecAugment of wav2vec 2.0 and its kin), some drop layers by Python.
    streams: list[Stream] = [
        (partial(numpy.random.get_state, legacy=False), numpy.random.set_state),
        (random.getstate, random.setstate),
        (torch.get_rng_state, torch.set_rng_state),
    ]
    if device.type == "cuda":
        streams.append((partial(torch.cuda.get_rng_state, device), partial(torch.cuda.set_rng_state, device=device)))
    return streams


def _draws(run: Callable[[], Any], streams: list[Stream], before: list[Any]) -> bool:
    """Whether `run`, since `before`, has moved a stream; all threads share them, and another may have done so."""
    moved = [not _same(state, read()) for state, (read, _) in zip(before, streams, strict=True)]
    if any(moved[2:]):
        with _Watch() as watch:
            run()
        if watch.drew:
            return True
    return any(_moves(run, read) for (read, _), own in zip(streams[:2], moved, strict=False) if own)


def _moves(run: Callable[[], Any], read: Callable[[], Any]) -> bool:
    for _ in range(_PASSES):
        state = read()
        run()
        if _same(state, read()):
            return False
    return True


class _Watch(TorchDispatchMode):
    """Sees what this thread draws from torch's own generators."""

    drew = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):
            known = func._schema.arguments
            usual = {argument.name: argument.default_value for argument in known if argument.has_default_value()}
            given = usual | dict(zip((argument.name for argument in known), args, strict=False)) | kwargs
            numbers = {name: value for name, value in given.items() if isinstance(value, int | float)}
            without = any(numbers.get(name) == value for name, value in _NO_DROPOUT.items())
            self.drew |= given.get("generator") is None and not without
        return func(*args, **kwargs)


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
