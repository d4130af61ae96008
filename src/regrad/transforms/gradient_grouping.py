"""Scaling with Gradient Grouping (SGG): one learning-rate scale per cluster of momentum values.

Acts on: the update, entry by entry: theta_new = theta_old + S[c] * (base's theta_new - theta_old).

Source: SGG (arXiv 2506.01049v1), algorithm 1 and eqs. 5-7, and descriptions of the two public implementations
that look like the authors'; neither follows the equations, so both are kept as variants of their own.
"""

import torch
from torch import Tensor


def paper_scale(
    previous: Tensor,
    deviations: Tensor,
    pooled: Tensor,
    *,
    beta3: float,
    bounds: tuple[float, float],
    eps: float,
) -> Tensor:
    """Return S^t = beta3 S^{t-1} + (1 - beta3) clamp(D / (D_c + eps)), eqs. 6 and 7; [..., K].

    Clusters spread less than the whole model get larger steps.

    Args:
        previous: [..., K] the scales so far; 1 at the start.
        deviations: [..., K] D_c; nan keeps the previous scale (an empty cluster).
        pooled: [] or broadcastable, D: the same statistic over everything.
        beta3: EMA constant in [0, 1].
        bounds: The clamp, applied to the raw ratio before the EMA (the paper leaves the order open).
        eps: Added to D_c.
    """
    raw = (pooled / (deviations + eps)).clamp(*bounds)
    return torch.where(raw.isnan(), previous, beta3 * previous + (1 - beta3) * raw)


def public_v2_centres(previous: Tensor, magnitudes: Tensor, overall: Tensor, *, decay: float) -> Tensor:
    """Return the running cluster means E_c <- a E_c + (1 - a) mean|m|_c of the public "version 2"; [..., K].

    They start at 1, far above real momentum, and empty clusters take the tensor's mean: see
    `public_v2_scale`.

    Args:
        previous: [..., K] E.
        magnitudes: [..., K] mean |m| per cluster, nan if empty.
        overall: [..., 1] mean |m| of the tensor.
        decay: a.
    """
    return decay * previous + (1 - decay) * torch.where(magnitudes.isnan(), overall, magnitudes)


def public_v2_scale(
    previous: Tensor,
    centres: Tensor,
    overall: Tensor,
    *,
    decay: float,
    bounds: tuple[float, float],
    eps: float,
) -> Tensor:
    """Return clamp(b S + (1 - b) mean|m| / E_c), the rule of the public "version 2"; [..., K].

    While |m| << a^n the ratio is almost 0 and S after n events is b^n for every cluster: a hidden
    learning-rate schedule, not a grouping.

    Args:
        previous: [..., K] S.
        centres: [..., K] E from `public_v2_centres`.
        overall: [..., 1] mean |m| of the tensor.
        decay: b.
        bounds: The clamp, applied after the EMA.
        eps: Least value of E.
    """
    return (decay * previous + (1 - decay) * overall / centres.clamp_min(eps)).clamp(*bounds)


def public_c4_scale(magnitudes: Tensor, index: Tensor, *, bounds: tuple[float, float], eps: float) -> Tensor:
    """Return the [K] scales of the public C4 trainer: large momentum gets *large* steps, against eq. 6.

    S_c = clamp(centre_c / mean of the centres * mean over c of log1p(d / median of d)), d = |x - centre_c|;
    no EMA. An empty cluster gets 1.

    Args:
        magnitudes: Feature values of one tensor, any shape.
        index: Same shape, the cluster of each.
        bounds: The clamp.
        eps: Added to the median distance.
    """
    scales, centres = [], []
    for c in range(int(index.max()) + 1):
        x = magnitudes[index == c].double()
        d = (x - x.mean()).abs()
        scales.append(torch.log1p(d / (d.median() + eps)).mean() if len(x) else x.new_full((), torch.nan))
        centres.append(x.mean())
    centre = torch.stack(centres)
    scale = torch.stack(scales) * centre / (centre.nanmean() + eps)
    return scale.clamp(*bounds).nan_to_num_(1.0)


def public_c4_gradient_factor(param: Tensor, grad: Tensor) -> Tensor:
    """Return clamp(log1p(|p| / |g|), 0.1, 10), by which the public C4 trainer multiplies a gradient."""
    tiny = torch.finfo(torch.float32).tiny
    return torch.log1p(param.norm() / grad.norm().clamp_min(tiny)).clamp_(0.1, 10)


def public_c4_distances(grads: list[Tensor]) -> Tensor:
    """Return all entries' distances to their common mean, flat, float32; taken per parameter group."""
    entries = torch.cat([g.flatten().float() for g in grads])
    return entries.sub_(entries.mean()).abs_()


def public_c4_group_scale(distances: Tensor, reference: Tensor, *, bounds: tuple[float, float], eps: float) -> Tensor:
    """Return [] clamp(reference / median(d) * mean of log1p(d / median(d))), before its EMA over the steps.

    Args:
        distances: One group's distances.
        reference: [] the median of all groups' distances at the first step, frozen there.
        bounds: The clamp.
        eps: Added to the median.
    """
    median = distances.median() + eps
    return (reference / median * torch.log1p(distances / median).mean()).clamp(*bounds)


def materialize(index: Tensor, scale: Tensor, like: Tensor) -> Tensor:
    """Return S[index] in the shape, strides and device of ``like``; float64 if it is, else float32."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    table, place = scale.to(like.device, dtype), index.to(like.device).flatten().int()
    entries = table.index_select(0, place).view(like.shape)
    if like.is_contiguous():
        return entries
    return torch.empty_like(like, dtype=dtype).copy_(entries)


def scale_displacement(start: Tensor, param: Tensor, scale: Tensor) -> None:
    """Replace ``param`` by start + scale * (param - start), in place; it stays as it is where scale is 1."""
    if param.dtype == scale.dtype:
        torch.lerp(start, param, scale, out=param)
    else:
        param.copy_(torch.lerp(start.to(scale.dtype), param.to(scale.dtype), scale))
