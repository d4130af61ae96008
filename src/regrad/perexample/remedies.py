"""Which other method takes a model that one has refused: the one that has just been tried on two examples of it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, batch_size, pick
from regrad.perexample.refusals import Refused
from regrad.perexample.requests import Request
from regrad.perexample.sums import Sums


def with_remedy(
    refusal: Refused,
    others: Mapping[str, Callable[..., None]],
    *,
    asked: tuple[nn.Module, Losses, Any],
    parameters: Mapping[str, Tensor],
) -> Refused:
    """The refusal, with the names of the methods among `others` that give an answer for two examples."""
    if refusal.final:
        return refusal
    model, losses, batch = asked
    few = pick(batch, [0, batch_size(batch) - 1])
    norms = {}
    for name, fold in others.items():
        sums = Sums(Request({"norm": "norm"}), parameters, 2, 2)
        try:
            fold(model, losses, few, sums=sums, options={"group_size": 1, "chunk_size": 2})
            norms[name] = sums.squared_norms
        except Exception:  # noqa: BLE001, S112 # nosec B112 - whatever it is, it is no remedy
            continue
    # The loop is the definition; what differs from it is no remedy either.
    near = [name for name in norms if torch.allclose(norms[name], norms.get("loop", norms[name]), rtol=1e-2)]
    named = " or ".join(f"method={name!r}" for name in near)
    return Refused(f"{refusal}; {named} takes it" if near else f"{refusal}; no other method takes it", final=True)
