"""Clippers and optimizers of kept libraries: ZClip, AGC, AdaGC, LAMB.

Acts on: the gradient (ZClip, AGC), or the gradient and the update (AdaGC, LAMB are whole optimizers).
The libraries are imported when one of these is built, so nothing else depends on them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

import regrad.transforms.checks as checks


class _ParameterHolder:
    """What ZClip takes for a model: only its parameters are used."""

    def __init__(self, params: Sequence[Tensor]) -> None:
        self.params = params

    def parameters(self) -> Iterator[Tensor]:
        return iter(self.params)

    def modules(self) -> Iterator[torch.nn.Module]:
        return iter(())


class ZClip:
    """The ``zclip`` package: clip norms whose z-score against a running mean is high.

    Args:
        capped: Keep the package's default cap, norm 1.0 at every step; False removes it, as in the paper.

    Source: ZClip (arXiv 2504.02507), with the package's constants: alpha 0.97, threshold 2.5, warm-up 25.
    """

    def __init__(self, *, capped: bool = False) -> None:
        checks.flag("capped", capped)
        zclip = import_module("zclip").ZClip
        self.clipper = zclip() if capped else zclip(max_grad_norm=None)

    def clip_(self, params: Sequence[Tensor]) -> None:
        """Clip the parameters' gradients in place."""
        self.clipper.step(_ParameterHolder(params))

    def state_dict(self) -> dict[str, Any]:
        """Return the warm-up's norms and the running moments."""
        state = {name: getattr(self.clipper, name) for name in ("initialized", "mean", "var")}
        return state | {"buffer": list(self.clipper.buffer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for name, value in state_dict.items():
            setattr(self.clipper, name, list(value) if name == "buffer" else value)


class AGC:
    """``pytorch_optimizer``'s adaptive gradient clipping: each unit's norm relative to its weights'.

    Args:
        ratio: Largest ratio λ of a unit's gradient norm to its weight norm, > 0.
        eps: Least weight norm that counts, > 0.
        skip_last: Number of trailing parameters of the optimizer left alone; 2 leaves out a final
            linear layer with bias, as the authors do.

    Source: Brock et al. 2021 (arXiv 2102.06171), equation 3.
    """

    def __init__(self, *, ratio: float = 0.01, eps: float = 1e-3, skip_last: int = 0) -> None:
        checks.positive("ratio", ratio)
        checks.positive("eps", eps)
        checks.integer_at_least("skip_last", skip_last, 0)
        self.agc = import_module("pytorch_optimizer.optimizer.agc").agc
        self.ratio = ratio
        self.eps = eps
        self.skip_last = skip_last

    @torch.no_grad()
    def clip_(self, params: Sequence[Tensor]) -> None:
        """Clip the parameters' gradients in place."""
        for param in params[: len(params) - self.skip_last]:
            if param.grad is not None:
                param.grad.copy_(self.agc(param, param.grad, agc_eps=self.eps, agc_clip_val=self.ratio))

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is no state."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore nothing."""


def adagc(params: Iterable[Tensor], *, lr: float = 1e-3, weight_decay: float = 0.0) -> Optimizer:
    """Build ``pytorch_optimizer``'s AdaGC: AdamW whose tensors are clipped to their own average norms.

    Args:
        params: Parameters of any shapes.
        lr: Learning rate.
        weight_decay: Decoupled weight decay; the library's default is 0.1.

    Source: arXiv 2502.11034.
    """
    checks.learning_rate("lr", lr)
    checks.non_negative("weight_decay", weight_decay)
    return import_module("pytorch_optimizer").AdaGC(params, lr=lr, weight_decay=weight_decay)


def lamb(params: Iterable[Tensor], *, lr: float = 1e-3, weight_decay: float = 0.0) -> Optimizer:
    """Build ``pytorch_optimizer``'s LAMB: Adam's update times a trust ratio per tensor.

    LAMB is made for large batches and neither clips nor scales; it is here because ALSDGC names it.

    Args:
        params: Parameters of any shapes.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.

    Source: You et al. 2020 (arXiv 1904.00962), version 3: no bias correction, weight norms cut at 10.
    Departures: by its own default the library (4.1) divides lr by 1 - beta1**t although the trust ratio
        has already fixed the step's length: a first step 10 times too long. ``adam_debias`` turns it off.
    """
    checks.learning_rate("lr", lr)
    checks.non_negative("weight_decay", weight_decay)
    return import_module("pytorch_optimizer").Lamb(params, lr=lr, weight_decay=weight_decay, adam_debias=True)


#: Base optimizers that ALSDGC names or that clip by themselves.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adagc": adagc, "lamb": lamb}
