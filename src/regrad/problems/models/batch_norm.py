"""BatchNorm of few channels whose values lie side by side in memory (channels_last), with its derivative written out.

torch's kernel goes through such a tensor channel by channel, for fewer than 8 channels four times slower than through
one with whole images side by side. Here k pixels are one row of k · channels numbers; sums over rows are vectors, and
their k parts are added at the end. With x̂ = (x - mean) r, r = (variance + ε)^-½ and M values a channel,

    y = w x̂ + b;   db = sum(g),   dw = sum(g x̂),   dx = w r (g - db / M - x̂ dw / M).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NARROW = 8  # channels from which on torch's kernel is as fast
ROW = 16  # numbers in a row of float32 registers


class NarrowBatchNorm2d(nn.BatchNorm2d):
    """torch's, of fewer than `NARROW` channels in the memory format channels_last."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        if not self.training or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
            return super().forward(x)
        y, mean, variance = _BatchNorm.apply(x, self.weight, self.bias, self.eps)
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return y


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        rows = _rows(x)
        mean = _channel_sums(rows, len(weight)) / (x.numel() // len(weight))
        unit = rows - _repeated(mean, rows)
        variance = _channel_sums(unit.square(), len(weight)) / (x.numel() // len(weight))
        scale = torch.rsqrt(variance + eps)
        unit *= _repeated(scale, rows)
        y = torch.empty_like(x, memory_format=torch.channels_last)
        torch.mul(unit, _repeated(weight, rows), out=_rows(y)).add_(_repeated(bias, rows))
        ctx.save_for_backward(unit, scale, weight)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        unit, scale, weight = ctx.saved_tensors
        g, count = _rows(gradients[0]), unit.numel() // len(weight)
        db, dw = _channel_sums(g, len(weight)), _channel_sums(g * unit, len(weight))
        dx = torch.empty_like(gradients[0], memory_format=torch.channels_last)
        rows = torch.mul(unit, _repeated(-dw / count, unit), out=_rows(dx))
        rows += g
        rows -= _repeated(db / count, unit)
        rows *= _repeated(weight * scale, unit)
        return dx, dw, db, None


def _rows(x: Tensor) -> Tensor:
    """[B, C, H, W] as [rows, pixels · C]; a view where x is in channels_last."""
    pixels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    together = 1
    while together * x.shape[1] < ROW and len(pixels) % (2 * together) == 0:
        together *= 2
    return pixels.view(-1, together * x.shape[1])


def _channel_sums(rows: Tensor, channels: int) -> Tensor:
    return rows.sum(0).view(-1, channels).sum(0)


def _repeated(channels: Tensor, rows: Tensor) -> Tensor:
    return channels.repeat(rows.shape[1] // len(channels))
