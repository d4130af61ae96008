"""Acts on: per-example gradients. Surgery of the backward pass: statistics for the price of one ordinary backward.

A weight's gradient is a sum over examples of products of small factors. The ordinary backward forms that
sum in one product; here each example's product is formed alone, in a block that fits the cache, and folded
at once into every sum asked for. The number of multiplications is the same and nothing of size B ×
parameters ever exists.

Accepts models whose parameters meet the examples through the functions of `rules/`, the example axis first;
follows tensors made of parameters alone; falls back to vmap for other functions that treat each example
alone; refuses the rest by name. A weight used twice adds its contributions for each example before any
function sees them.

Source: Roulet and Agarwala, "Per-example gradients" (arXiv 2510.00236), whose surgery rewrites a JAX trace.
Departures: torch functions are intercepted as they are called; squares, signs and norms of one example's
    product are
taken while it is in the cache, for sequences as well as for single vectors.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, batch_size, chunks, take
from regrad.perexample.deposits import collecting
from regrad.perexample.ledger import Ledger
from regrad.perexample.probing import probe, recall, run_under
from regrad.perexample.requests import Request
from regrad.perexample.rules.builtin import BUILTIN
from regrad.perexample.sums import Sums
from regrad.perexample.surgery import Surgery


def fold_by_graph(model: nn.Module, losses: Losses, batch: Any, *, sums: Sums, options: Mapping[str, int]) -> None:
    """Fold every example's gradient into `sums`, `chunk_size` examples at a time."""
    assert BUILTIN
    k = options["group_size"]
    for part in chunks(sums.rows, options["chunk_size"]):
        piece = take(batch, slice(part.start * k, part.stop * k))
        surgery, values = _forward(model, losses, piece, ledger=Ledger(sums, dict(sums.like), part.start, k))
        if not values.requires_grad:
            continue
        seeds = torch.full_like(values, 1 / k)
        _backward(surgery, values, seeds, keep=bool(sums.request.clips))
        if sums.request.clips:
            _clip(surgery, values, part)


def _forward(model: nn.Module, losses: Losses, batch: Any, *, ledger: Ledger) -> tuple[Surgery, Tensor]:
    """Run the losses under the surgery, with a fresh probe if the remembered one does not fit."""
    size = batch_size(batch)
    remembered = recall(model, losses, batch)
    if remembered is not None:
        surgery = Surgery(replace(ledger), size, remembered)
        with suppress(ValueError):
            return surgery, run_under(surgery, model, losses, batch=batch)
    surgery = Surgery(ledger, size, probe(model, losses, batch, sums=ledger.sums))
    return surgery, run_under(surgery, model, losses, batch=batch)


def _backward(surgery: Surgery, values: Tensor, seeds: Tensor, *, keep: bool) -> None:
    ledger = surgery.ledger
    surgery.backward = True
    # Sharded parameters stand outside the graph; their whole ones are there for one pass only.
    watched = {name: p for name, p in ledger.parameters.items() if not hasattr(ledger.sums.like[name], "device_mesh")}
    wanted = [surgery.anchor, *watched.values()]
    with collecting(ledger), surgery, torch.autocast(values.device.type, enabled=False):
        # torch.autograd.grad would set the surgery aside, and checkpointing computes its forward again in here.
        run = torch.autograd.Variable._execution_engine.run_backward  # type: ignore[attr-defined]
        gradients = run((values,), (seeds,), keep, False, tuple(wanted), allow_unreachable=True, accumulate_grad=False)
    for name, gradient in zip(watched, gradients[1:], strict=True):
        if gradient is not None:
            raise ValueError(f"{name}: reaches the losses by a way no torch function shows; use method='vmap'")
    with torch.no_grad():
        ledger.finish()


def only_mean(whole: Sums, key: str) -> Sums:
    """Sums whose plain mean is the one called `key` in `whole`."""
    only = Sums(Request(), whole.like, whole.count, whole.rows)
    only.request.named[key] = "mean"
    only.sums["sum"] = {name: whole.of(key, name) for name in whole.like}
    return only


def _clip(surgery: Surgery, values: Tensor, part: slice) -> None:
    """A second backward, each example weighted by its factor: their sum is linear in the seeds of the losses."""
    ledger, whole = surgery.ledger, surgery.ledger.sums
    norms = whole.squared_norms[part].sqrt()
    clips = list(whole.request.clips.items())
    for index, (key, clip) in enumerate(clips):
        ledger.sums = only_mean(whole, key)
        seeds = clip.factors(norms).repeat_interleave(ledger.group).to(values.dtype) / ledger.group
        _backward(surgery, values, seeds, keep=index + 1 < len(clips))
