"""SGG's ordinary step for torch's Adam, AdamW and SGD: the scale folded into the update, block by block.

Acts on: the update. Any other base optimizer (or setting) takes the general path of `regrad.optim.sgg`: a
copy of the parameters before its step and an interpolation after it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from regrad.optim.step_beside import StepBeside
from regrad.transforms.scaled_steps import adam_step, fused_adam_step, sgd_step

_BLOCK = 1 << 18  # entries: on a CPU a block's scratch stays in the cache, and few blocks cost little overhead
_BLOCK_ELSEWHERE = 1 << 24  # on accelerators few large launches count, not caches
_FUSED = ("cpu", "cuda")  # devices of torch's fused Adam
_REFUSED = ("amsgrad", "capturable", "differentiable", "fused")


class EntryScale(NamedTuple):
    """The scale of every entry of one parameter: ``entries``, or if that is None ``table[places]``."""

    entries: Tensor | None
    places: Tensor
    table: Tensor


def has_hooks(base: Optimizer) -> bool:
    """Say whether a step of ``base`` is watched by anyone but its wrapper, or replaced."""
    hooks = [*base._optimizer_step_pre_hooks.values(), *base._optimizer_step_post_hooks.values()]
    return "step" in vars(base) or not all(isinstance(hook, StepBeside) for hook in hooks)


def folds(base: Optimizer, scales: dict[Tensor, EntryScale]) -> bool:
    """Say whether `folded_step` can take the place of ``base.step()``.

    It cannot if ``base`` is of another class, has step hooks or a replaced ``step`` (a scheduler attached to
    it instead of to the wrapper does that), a setting outside the plain formula, or a parameter that is new
    to it.
    """
    return (
        type(base) in (Adam, AdamW, SGD)
        and not has_hooks(base)
        and all(_is_supported(group) for group in base.param_groups)
        and all(_ready(base, p, group) for p, group in _with_gradients(base))
        and all(p.dtype in (torch.float32, torch.float64) for p in scales)
    )


def folded_step(base: Optimizer, scales: dict[Tensor, EntryScale]) -> None:
    """Take the step of ``base``, the updates of the parameters in ``scales`` multiplied by them."""
    for group in base.param_groups:
        params = [p for p in group["params"] if p.grad is not None]
        for scaled in (False, True):
            chosen = [p for p in params if (p in scales) == scaled]
            own = [scales[p].entries for p in chosen] if scaled else None
            if chosen and isinstance(base, SGD) and _one_pass(group, own or []):
                sgd_step(chosen, [p.grad for p in chosen], None, settings=group, scales=own)  # type: ignore[arg-type]
                continue
            for block in _blocks(_pieces(base, p, scales.get(p)) for p in chosen):
                _step_block(base, block, group)


def _one_pass(group: dict[str, Any], entries: list[Tensor | None]) -> bool:
    """Say whether SGD needs no scratch memory, so that one call takes all tensors: nothing is gained from blocks."""
    scratch = group["momentum"] or group["weight_decay"] or group["maximize"]
    return not scratch and all(e is not None for e in entries)


class _Piece(NamedTuple):
    tensors: tuple[Tensor, ...]  # the same entries of the parameter, its gradient and its state
    step: float
    scale: EntryScale | None


def _is_supported(group: dict[str, Any]) -> bool:
    values = (group["lr"], *group.get("betas", ()))
    return not any(group.get(name) for name in _REFUSED) and not any(isinstance(x, Tensor) for x in values)


def _ready(base: Optimizer, param: Tensor, group: dict[str, Any]) -> bool:
    if param.grad is None or param.grad.is_sparse or param.is_complex():
        return False
    if isinstance(base, SGD):
        return not group["momentum"] or base.state.get(param, {}).get("momentum_buffer") is not None
    return bool(base.state.get(param))


def _with_gradients(base: Optimizer) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    return ((p, group) for group in base.param_groups for p in group["params"] if p.grad is not None)


def _pieces(base: Optimizer, param: Tensor, scale: EntryScale | None) -> Iterator[_Piece]:
    """Cut a parameter and what belongs to it into pieces of at most a block, if its strides allow."""
    state = base.state.get(param, {})
    names = ("momentum_buffer",) if isinstance(base, SGD) else ("exp_avg", "exp_avg_sq")
    moments = [state[name] for name in names if state.get(name) is not None]
    tensors: tuple[Any, ...] = (param, param.grad, *moments)
    step = 0.0
    if "step" in state:
        state["step"] += 1
        step = float(state["step"])
    size = _block_size(param)
    own = () if scale is None else (scale.places if scale.entries is None else scale.entries,)
    if param.numel() <= size or not all(t.is_contiguous() for t in (*tensors, *own)):
        yield _Piece(tensors, step, scale)
        return
    for cut in zip(*(t.view(-1).split(size) for t in (*tensors, *own)), strict=True):
        if scale is None:
            yield _Piece(cut, step, None)
        else:
            yield _Piece(cut[:-1], step, EntryScale(None if scale.entries is None else cut[-1], cut[-1], scale.table))


def _blocks(parameters: Iterable[Iterator[_Piece]]) -> Iterator[list[_Piece]]:
    """Gather pieces into blocks, so that many small parameters share one round of operations."""
    block: list[_Piece] = []
    size = 0
    for pieces in parameters:
        for piece in pieces:
            kind = piece.tensors[0]
            alike = not block or (block[0].tensors[0].device, block[0].tensors[0].dtype) == (
                kind.device,
                kind.dtype,
            )
            if block and (not alike or size + kind.numel() > _block_size(kind)):
                yield block
                block, size = [], 0
            block.append(piece)
            size += kind.numel()
    if block:
        yield block


def _block_size(tensor: Tensor) -> int:
    return _BLOCK if tensor.device.type == "cpu" else _BLOCK_ELSEWHERE


def _step_block(base: Optimizer, block: list[_Piece], group: dict[str, Any]) -> None:
    params, grads, *moments = (list(column) for column in zip(*(piece.tensors for piece in block), strict=True))
    scales = None if block[0].scale is None else [_entries(piece.tensors[0], piece.scale) for piece in block]
    if isinstance(base, SGD):
        sgd_step(params, grads, moments[0] if group["momentum"] else None, settings=group, scales=scales)
        return
    steps = [piece.step for piece in block]
    # the fused kernel walks through memory and ignores strides
    straight = all(t.is_contiguous() for column in (params, grads, *moments, scales or ()) for t in column)
    if scales is not None and straight and params[0].device.type in _FUSED:
        fused_adam_step(params, grads, (moments[0], moments[1]), steps=steps, settings=group, scales=scales)
    else:
        adam_step(params, grads, (moments[0], moments[1]), steps=steps, settings=group, scales=scales)


def _entries(param: Tensor, scale: EntryScale | None) -> Tensor:
    assert scale is not None
    if scale.entries is not None:
        return scale.entries
    places = scale.places.to(param.device).flatten().int()
    return scale.table.to(param.device, param.dtype).index_select(0, places).view(param.shape)
