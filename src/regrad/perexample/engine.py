"""Acts on: per-example gradients. The one entrance to their statistics, and their way to an optimizer."""

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, batch_size, check_call
from regrad.perexample.choosing import choose_parameters, only
from regrad.perexample.compiled import run_as_written
from regrad.perexample.distributed import (
    examples_per_process,
    group_of,
    is_sharded,
    original_module,
    reduce_sums,
    reshard,
    shard_like,
)
from regrad.perexample.elementwise import check_elementwise
from regrad.perexample.graph import fold_by_graph
from regrad.perexample.loop import fold_by_loop
from regrad.perexample.refusals import Refused, refuse_dependent_examples
from regrad.perexample.remedies import with_remedy
from regrad.perexample.requests import Request, parse_statistics
from regrad.perexample.sums import Sums
from regrad.perexample.vmap import fold_by_vmap

# Calls on one model take turns, also from several threads.
_TURNS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_GUARD = threading.Lock()

METHODS: dict[str, Callable[..., None]] = {"loop": fold_by_loop, "vmap": fold_by_vmap, "graph": fold_by_graph}


@run_as_written
def gradient_statistics(
    model: nn.Module,
    losses: Losses,
    batch: Any,
    statistics: Iterable[Any] | Mapping[str, Any],
    *,
    method: str = "graph",
    chunk_size: int | None = None,
    group_size: int = 1,
    parameters: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Statistics over the examples of a batch of the gradients g_i of each example's own loss.

    g_i is the gradient of `losses(model, batch)[i]`: it is *not* divided by the batch size B. "mean" is
    therefore the ordinary gradient of the mean loss, and "mean_square" the mean of g_i², not of (g_i / B)².

    Args:
        model: any module whose examples do not see each other; frozen parameters are skipped.
        losses: called as `losses(model, batch)`; returns losses [B], one for each entry of the first axis.
        batch: a tensor, or a nest of lists, tuples and mappings of tensors that share their first axis [B, …]. A
            list without tensors has an entry for each example; a tuple, a number or a string is everybody's.
        statistics: names, objects and elementwise functions, listed or as a mapping from
            the name wanted in the answer: "mean"; "mean_square"; "variance" (divided by B − 1); "mean_sign"
            (sign(0) = 0); "mean_abs"; "norm" (Euclidean, over all parameters asked for); "gram" (all g_i · g_j);
            `clipped_mean(max_norm=…)` and `weighted_mean(weight=…)`, for which an example counts by its norm;
            `group_norms(by=…)`, norms layer by layer; `dot_product(direction=…)`, each g_i · v; a function is
            applied to a block of per-example gradients [c, *parameter], must act elementwise, and is averaged over
            the examples. `banded_sign(dead_band=…)` is one: "mean_sign" takes the rounding noise of a gradient
            that is zero on paper (the key bias of attention) for a sign, this does not.
        method: "graph" (surgery of the backward pass), "vmap" (torch.func) or "loop" (one backward per example).
        chunk_size: at most so many examples (of `group_size` each) go through the model at once; all if None.
        group_size: k >= 1: an "example" is then the mean over k consecutive examples, so B / k of them count.
        parameters: names of the parameters whose statistics are wanted, or of modules for all that they hold; the
            others are frozen meanwhile, which makes it cheaper. All that are trainable if None.

    Returns:
        Each statistic's name -> {parameter name: tensor [*parameter]}, except "norm" and `dot_product` -> one tensor
        [B / group_size], `group_norms` -> {group: tensor of that shape}, "gram" -> [B / group_size, B / group_size].
        Parameters in half precision have float32 statistics; one that no loss reaches has zeros. Under
        DistributedDataParallel (names as in the module inside) and `fully_shard` the batch is that of all processes
        together: each gets the same means and all norms, rank by rank; sharded parameters have sharded statistics.
        What torch.compile has compiled, the model or a part of it, runs as it was written.

    Raises:
        ValueError: for a bad argument, and for a model that has no per-example gradients, with the remedy.
    """
    request, size = parse_statistics(statistics), batch_size(batch)
    _check(method, chunk_size, group_size, size)
    check_call(losses, model, batch)
    refuse_dependent_examples(original_module(model))
    options = {"group_size": group_size, "chunk_size": chunk_size or size // group_size}
    return _answer(request, (model, losses, batch), options, method=method, parameters=parameters)


def _answer(
    request: Request,
    asked: tuple[nn.Module, Losses, Any],
    options: dict[str, int],
    *,
    method: str,
    parameters: Iterable[str] | None,
) -> dict[str, Any]:
    model, losses, batch = asked
    inner, rows = original_module(model), batch_size(batch) // options["group_size"]
    if sharded := is_sharded(inner):
        _prepare_sharded(inner, method)
    # Asked now: of a model that an evaluation left whole nothing tells the processes that share it.
    group, chosen = group_of(model), choose_parameters(inner, parameters)
    request.check_parameters(chosen)
    _check_pairs(
        request, alone=group is None, sharded=sharded, whole=method != "graph" or options["chunk_size"] >= rows
    )
    sums, per_process = _new_sums(request, chosen, rows, group)

    def fill(sums: Sums) -> None:
        with _turn(inner), nullcontext() if parameters is None else only(chosen, inner):
            _fold(method, (inner, losses, batch), sums, options, sharded=sharded)
        reduce_sums(sums, group, per_process)

    fill(sums)
    _mend_variances(answer := sums.finish(), sums, fill)
    if not sharded:
        return answer
    averages = {key: values for key, values in answer.items() if request.answer[key] not in request.groups}
    return {**answer, **shard_like(averages, chosen)}


def _new_sums(request: Request, trainable: dict[str, nn.Parameter], rows: int, group: Any) -> tuple[Sums, list[int]]:
    """Empty sums over the examples of all processes, and how many each of them has."""
    device = next(iter(trainable.values())).device
    check_elementwise(request.functions, device)
    per_process = examples_per_process(rows, group, device)
    _check_count(request, sum(per_process))
    return Sums(request, trainable, sum(per_process), rows), per_process


def _fold(
    method: str, asked: tuple[nn.Module, Losses, Any], sums: Sums, options: dict[str, int], *, sharded: bool
) -> None:
    try:
        METHODS[method](*asked, sums=sums, options=options)
    except Refused as refusal:
        # Sharded parameters have no other method.
        if sharded or method == "loop":
            raise
        others = {name: METHODS[name] for name in ("loop", "vmap") if name != method}
        raise with_remedy(refusal, others, asked=asked, parameters=sums.parameters) from refusal
    if sharded:
        reshard(asked[0])


def _mend_variances(answer: dict[str, Any], sums: Sums, fill: Callable[[Sums], None]) -> None:
    """Where the squares have cancelled, take the variance from sums in float64, by a second pass; rarely needed."""
    lost = sums.cancelled()
    if not lost:
        return
    wide = Sums(Request({"variance": "variance"}), sums.parameters, sums.count, sums.rows, wide=True)
    fill(wide)
    exact = wide.finish()["variance"]
    for key in (key for key, statistic in sums.request.answer.items() if statistic == "variance"):
        for name, where in lost.items():
            answer[key][name] = torch.where(where, exact[name].to(answer[key][name].dtype), answer[key][name])


def assign_grad(model: nn.Module, statistic: Mapping[str, Tensor]) -> None:
    """Write one statistic into `.grad` of the parameters it names; the others keep what they have.

    With "mean" this is what `losses.mean().backward()` leaves after `zero_grad()`: a `.grad` already there
    is replaced.

    Args:
        model: the model the statistic was computed for.
        statistic: parameter name -> tensor [*parameter], as in the answer of `gradient_statistics`. Cast to
            the parameter's dtype.

    Raises:
        ValueError: if a name or a shape does not fit.
    """
    parameters = dict(original_module(model).named_parameters())
    if not isinstance(statistic, Mapping):
        raise ValueError(f"statistic: parameter name -> tensor is required, got {type(statistic).__name__}")
    for name, value in statistic.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"statistic[{name!r}] is a {type(value).__name__}, no tensor; pass statistics['mean']")
        if name not in parameters or parameters[name].shape != value.shape:
            raise ValueError(f"statistic {name!r} {list(value.shape)}: the model has no such parameter")
    for name, value in statistic.items():
        # A copy: what an optimizer does to the gradient in place must not reach the caller's statistic.
        parameters[name].grad = value.to(parameters[name].dtype, copy=True)


def _turn(model: nn.Module) -> Any:
    """A lock for the model: what hangs on its modules meanwhile is one call's."""
    with _GUARD:
        return _TURNS.setdefault(model, threading.RLock())


def _prepare_sharded(model: nn.Module, method: str) -> None:
    if method != "graph":
        raise ValueError(f"method={method!r}: sharded parameters exist whole for one layer at a time; use 'graph'")
    # What an earlier forward pass left whole would be summed whole, beside the parts the others hold.
    reshard(model)


def _check(method: str, chunk_size: int | None, group_size: int, size: int) -> None:
    if method not in METHODS:
        raise ValueError(f"method={method!r}: one of {', '.join(METHODS)} is required")
    for name, value in (("chunk_size", 1 if chunk_size is None else chunk_size), ("group_size", group_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: an integer >= 1 is required")
    if size % group_size:
        raise ValueError(f"group_size={group_size}: must divide the batch size {size}")


def _check_count(request: Request, count: int) -> None:
    if count < 2 and "variance" in request.answer.values():
        raise ValueError(f"variance divides by the number of examples less one, and there is {count}")


def _check_pairs(request: Request, *, alone: bool, sharded: bool, whole: bool) -> None:
    if request.needs_gram and not alone:
        raise ValueError("gram: the examples of other processes have their gradients elsewhere; use one process")
    if request.needs_gram and not whole:
        raise ValueError(
            "gram pairs all examples: leave chunk_size out, or use method='vmap', which holds all gradients"
        )
    if request.directions and sharded:
        raise ValueError("dot_product: the parameters are sharded, and no process has a whole layer; use one process")
