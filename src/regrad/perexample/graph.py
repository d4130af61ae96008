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
    product are taken while it is in the cache, for sequences as well as for single vectors.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, chunks, take
from regrad.perexample.driver import run_forward
from regrad.perexample.ledger import Ledger
from regrad.perexample.passes import run_backward
from regrad.perexample.refusals import refuse_hooks
from regrad.perexample.requests import Request
from regrad.perexample.sums import Sums
from regrad.perexample.surgery import Surgery


def fold_by_graph(model: nn.Module, losses: Losses, batch: Any, *, sums: Sums, options: Mapping[str, int]) -> None:
    """Fold every example's gradient into `sums`, `chunk_size` examples at a time."""
    k = options["group_size"]
    refuse_hooks(sums.parameters)
    reached = False
    for part in chunks(sums.rows, options["chunk_size"]):
        piece = take(batch, slice(part.start * k, part.stop * k))
        surgery, values = run_forward(model, losses, piece, new_ledger=partial(Ledger, sums, part.start, k))
        if not values.requires_grad:
            continue
        reached = True
        run_backward(surgery, values, torch.full_like(values, 1 / k), keep=bool(sums.request.clips))
        if values.device.type == "cpu":  # elsewhere calls return before they are done
            surgery.ledger.watch.tell()
        if sums.request.clips:
            _clip(surgery, values, part)
    if not reached:
        raise ValueError("losses: none has a gradient for any parameter; computed under no_grad, or detached?")


def _clip(surgery: Surgery, values: Tensor, part: slice) -> None:
    """A second backward, each example weighted by its factor: their sum is linear in the seeds of the losses."""
    ledger, whole = surgery.ledger, surgery.ledger.sums
    clips = list(whole.request.clips.items())
    for index, (key, clip) in enumerate(clips):
        ledger.sums = _only_mean(whole, key)
        factors = whole.factors(clip, part)
        if clip.by is None:
            seeds = next(iter(factors.values())).repeat_interleave(ledger.group).to(values.dtype) / ledger.group
        else:
            # A seed is one for all parameters; the ledger has the factors of each.
            seeds, ledger.sums.weights = torch.full_like(values, 1 / ledger.group), factors
        run_backward(surgery, values, seeds, keep=index + 1 < len(clips))


def _only_mean(whole: Sums, key: str) -> Sums:
    """Sums whose plain mean is the average called `key` in `whole`."""
    only = Sums(Request({key: "mean"}), whole.parameters, whole.count, whole.rows)
    only.sums["sum"] = {name: whole.average(key, name) for name in whole.parameters}
    return only
