"""RMSNorm, its derivative written out, with every number that of torch's own under autograd, to the bit.

With r = (mean(x²) + ε)^-1/2 over the last axis, y = x r w; the gradient g of u = x r gives
dx = g r + 2 c x with c = -½ sum(g x) r³ / n: torch's CPU composition of it makes more passes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import has_torch_function


class _Unit(torch.autograd.Function):
    """u and r of x, given twice: autograd adds both terms of dx, one after the other, to what the residual brought."""

    @staticmethod
    def forward(x: Tensor, again: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        r = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        return x * r, r

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return *_UnitBackward.apply(gradients[0], *ctx.saved_tensors), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        x = args[0].movedim(in_dims[0], 0)
        return _Unit.apply(x, x, args[2]), (0, 0)


class _UnitBackward(torch.autograd.Function):
    """Both terms of dx."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        c = -0.5 * (g * x).sum(-1, keepdim=True) * r.pow(3) / x.shape[-1]
        return g * r, x * (2 * c)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Nothing: a second derivative is refused."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("RMSNorm: no second derivative; use torch.nn.RMSNorm instead")

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        return _UnitBackward.apply(*(x.movedim(dim, 0) for x, dim in zip(args, in_dims, strict=True))), (0, 0)


class RMSNorm(nn.RMSNorm):
    """torch's, in fewer passes on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """[*, features] -> [*, features]."""
        # Whoever watches torch's functions, as per-example gradients do, is to see the one with the weight.
        watched = has_torch_function((x, self.weight)) or torch.compiler.is_compiling()
        if watched or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
            return super().forward(x)
        return _Unit.apply(x, x, self.eps)[0] * self.weight
