"""Acts on: per-example gradients. Statistics of tokens: one product of the weight gradient's size for each."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, batch_size, check_call, chunks, take
from regrad.perexample.choosing import choose_parameters, only
from regrad.perexample.compiled import run_as_written
from regrad.perexample.distributed import group_of, original_module
from regrad.perexample.driver import run_forward
from regrad.perexample.passes import run_backward
from regrad.perexample.refusals import refuse_dependent_examples
from regrad.perexample.requests import Request, parse_statistics
from regrad.perexample.sums import Sums
from regrad.perexample.token_ledger import TokenLedger
from regrad.perexample.token_surgery import TokenSurgery

STATISTICS = ("mean", "mean_square", "mean_sign", "mean_abs", "norm")


@run_as_written
def token_statistics(
    model: nn.Module,
    losses: Losses,
    batch: Any,
    statistics: Iterable[str] | Mapping[str, str],
    *,
    chunk_size: int | None = None,
    mask: Tensor | None = None,
    parameters: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Statistics over the tokens of a batch of what each contributes to the gradient.

    A token is a position (e, t): example e, and one of the T vectors of it that a layer is applied to, all axes
    between the first and the features counted as one. It contributes to a weight the gradient c_et of its example's
    own loss, `losses(model, batch)[e]`, with respect to a copy of the weight that acts at that position alone: not
    the gradient of that token's loss, which reaches earlier positions too. An example's contributions add up to its
    gradient. The statistics are those of g_et = T c_et over all B T tokens: so "mean" is the ordinary gradient of
    the mean loss, and with T = 1 all equal those of `gradient_statistics`. T is each layer's own: 1 after pooling.

    For a linear layer c_et is the product g aᵀ of two vectors, and squares, signs and absolute values of all of
    them add up to f(G)ᵀ f(A): one product for each statistic in place of the ordinary weight gradient's one.

    A table that is also the head adds both of its contributions at (e, t) before any function sees them; the k-th
    position of the one is taken for the k-th of the other. A scale or shift used twice likewise. A linear layer
    called twice is refused: a token's contribution has no longer rank one.

    Args:
        model: made of linear layers, embeddings, LayerNorm and RMSNorm, and of anything without trainable
            parameters; frozen ones are skipped. Positions may see each other between these layers. What
            torch.compile has compiled runs as it was written.
        losses: as for `gradient_statistics`.
        batch: likewise.
        statistics: "mean", "mean_square", "mean_sign" (sign(0) = 0; a product that underflows keeps its factors'
            sign), "mean_abs" and "norm" (Euclidean, over all trainable parameters; needs the same T everywhere),
            listed or as a mapping from the name wanted in the answer.
        chunk_size: at most so many examples go through the model at once; all if None.
        mask: bool [B, T], false at padding. The N true tokens are then all there are: g_et = N / B · c_et, averaged
            over N ("mean" stays the ordinary gradient where padding has none). Not for layers with one position.
        parameters: as for `gradient_statistics`.

    Returns:
        Each statistic's name -> {parameter name: tensor [*parameter]}, except "norm" -> one tensor [B, T].
        Parameters in half precision have float32 statistics. A parameter no loss reaches has zeros.

    Raises:
        ValueError: for a bad argument, dependent examples, several processes, and a parameter whose use has no
            rule here (convolutions, GroupNorm, bare parameters, nn.MultiheadAttention), with the remedy.

    Source: Roulet and Agarwala, "Per-example gradients" (arXiv 2510.00236): factorable functions of rank-one
        gradients, for dense layers and for single tokens.
    Departures: tables, scales and shifts too; tied weights are added for each token before the function.
    """
    request, size = _parse(statistics), batch_size(batch)
    chunk, real = _chunk(chunk_size, size), None if mask is None else _check_mask(mask, size)
    check_call(losses, model, batch)
    refuse_dependent_examples(original_module(model))
    return _answer(request, (model, losses, batch), parameters, chunk=chunk, mask=real)


def _answer(
    request: Request,
    asked: tuple[nn.Module, Losses, Any],
    parameters: Iterable[str] | None,
    *,
    chunk: int,
    mask: Tensor | None,
) -> dict[str, Any]:
    model, losses, batch = asked
    if group_of(model) is not None:
        raise ValueError("model: token_statistics works in one process; use gradient_statistics, or the module inside")
    inner, size = original_module(model), batch_size(batch)
    chosen = choose_parameters(inner, parameters)
    sums = Sums(request, chosen, size, size)
    with nullcontext() if parameters is None else only(chosen, inner):
        for part in chunks(size, chunk):
            _add_examples(sums, inner, losses, take(batch, part), partial(TokenLedger, sums, part.start, 1, mask=mask))
    return _finish(sums, request)


def _chunk(asked: Any, size: int) -> int:
    chunk = size if asked is None else asked
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"chunk_size={asked!r}: an integer >= 1 or None is required")
    return chunk


def _check_mask(mask: Any, size: int) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.ndim < 2 or len(mask) != size:
        given = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask: {given}; a bool tensor [{size}, T], true where a token counts, is required")
    if not bool(mask.any()):
        raise ValueError("mask is false everywhere: there is no token to count")
    return mask.flatten(1)


def _finish(sums: Sums, request: Request) -> dict[str, Any]:
    if request.needs_norms and sums.squared_norms.ndim == 1:
        sums.squared_norms = sums.squared_norms.unsqueeze(1)
    # Rounding can leave the norm of what cancels between table and head a hair below zero.
    sums.squared_norms.clamp_(min=0)
    return sums.finish()


def _add_examples(sums: Sums, model: nn.Module, losses: Losses, batch: Any, ledger: Callable[[], TokenLedger]) -> None:
    surgery, values = run_forward(model, losses, batch, new_ledger=ledger, surgery_type=TokenSurgery)
    if values.requires_grad:
        run_backward(surgery, values, torch.ones_like(values))


def _parse(statistics: Any) -> Request:
    request = parse_statistics(statistics)
    others = [name for name, statistic in request.answer.items() if statistic not in STATISTICS]
    if others:
        allowed = ", ".join(STATISTICS)
        raise ValueError(f"statistics: {others[0]!r} is not one of {allowed}; others are gradient_statistics' alone")
    return request
