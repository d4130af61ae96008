"""SGG's recluster: features of all parameters in, new clusters and scales in their states.

Acts on: the update, through the scales; this module itself changes no parameter.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrad.optim.base_state import momentum, second_moment
from regrad.optim.sgg_settings import SGGSettings
from regrad.transforms.gradient_grouping import (
    paper_scale,
    public_c4_scale,
    public_v2_centres,
    public_v2_scale,
)
from regrad.transforms.grouping import Grouping
from regrad.transforms.kmeans import assign

States = list[dict[str, Any]]


def recluster(base: Optimizer, params: list[Tensor], states: Any, settings: SGGSettings) -> None:
    """Group the entries of all ``params`` anew and update ``index`` and ``scale`` in their states.

    Parameters whose features are not finite, or (but for the public version 2) all equal, keep what they have
    and do not count for the global deviation.

    Args:
        base: The optimizer that has just stepped; its moments are the features.
        params: Parameters with gradients and at least K entries.
        states: The wrapper's state, a dictionary per parameter.
        settings: All settings.
    """
    features, chosen = [], []
    for param in params:
        values = feature_values(base, param, settings.feature)
        if _informative(values, needs_spread=settings.variant != "public_v2"):
            features.append(values)
            chosen.append(states[param])
    if not features:
        return
    signed = settings.feature in ("momentum", "gradient")
    grouping = settings.group(features, settings.clusters, statistic=settings.statistic, signed=signed)
    for values, state, boundaries in zip(features, chosen, grouping.boundaries, strict=True):
        index = assign(values, boundaries)
        state["index"] = index.to(settings.index_device or index.device)
        if "scale" not in state:
            state["scale"] = torch.ones(settings.clusters, device=state["index"].device)
    if settings.variant == "public_c4":
        for values, state in zip(features, chosen, strict=True):
            _update_public_c4(values, state, settings)
    else:
        (_update_paper if settings.variant == "paper" else _update_public_v2)(chosen, grouping, settings)


def feature_values(base: Optimizer, param: Tensor, feature: str) -> Tensor:
    """Return what is clustered, float32, in the shape of ``param``; momentum falls back to the gradient.

    Raises:
        RuntimeError: If ``feature`` is "second_moment" and ``base`` keeps none per entry.
    """
    if feature == "second_moment":
        values = second_moment(base, param)
        if values is None:
            raise RuntimeError(f"feature 'second_moment': {type(base).__name__} keeps no second moment per entry")
    else:
        values = momentum(base, param) if feature.endswith("momentum") else None
        values = param.grad if values is None else values
    assert values is not None
    values = (values.to_dense() if values.is_sparse else values).detach().float().contiguous()
    return values.abs() if feature.startswith("abs_") else values


def _informative(values: Tensor, *, needs_spread: bool) -> bool:
    least, largest = torch.stack(values.aminmax()).tolist()
    finite = abs(least) < float("inf") and abs(largest) < float("inf")  # False for nan as well
    return finite and (largest > least or not needs_spread)


def _stack(states: States, key: str, like: Tensor) -> Tensor:
    return torch.stack([state[key].to(like) for state in states])


def _update_paper(states: States, grouping: Grouping, settings: SGGSettings) -> None:
    numbers = grouping.statistics
    pooled = numbers.pooled if settings.global_deviation == "entries" else numbers.deviations.nanmedian()
    scales = paper_scale(
        _stack(states, "scale", numbers.deviations),
        numbers.deviations,
        pooled,
        beta3=settings.beta3,
        bounds=settings.bounds,
        eps=settings.eps,
    )
    for state, scale in zip(states, scales, strict=True):
        state["scale"].copy_(scale)


def _update_public_v2(states: States, grouping: Grouping, settings: SGGSettings) -> None:
    numbers = grouping.statistics
    overall = numbers.overall[:, None]
    for state in states:
        state.setdefault("centres", torch.ones_like(state["scale"]))
    decay = settings.beta3 if settings.centre_decay is None else settings.centre_decay
    centres = public_v2_centres(_stack(states, "centres", overall), numbers.magnitudes, overall, decay=decay)
    previous = _stack(states, "scale", overall)
    scales = public_v2_scale(previous, centres, overall, decay=settings.beta3, bounds=settings.bounds, eps=settings.eps)
    for state, centre, scale in zip(states, centres, scales, strict=True):
        state["centres"].copy_(centre)
        state["scale"].copy_(scale)


def _update_public_c4(values: Tensor, state: dict[str, Any], settings: SGGSettings) -> None:
    index = state["index"].to(values.device)
    used = public_c4_scale(values.abs(), index, bounds=settings.bounds, eps=settings.eps)
    state["scale"].fill_(1.0)[: len(used)].copy_(used)
