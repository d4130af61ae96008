"""SignSGD with the sign where you want it: before the batch mean, after it, or after the momentum.

Acts on: the per-example gradients (placement "example"), the gradient ("batch") or the update ("ema").
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from regrad.transforms.checks import flag, in_range, learning_rate, non_negative, one_of, optional_flag
from regrad.transforms.placements import PLACEMENTS
from regrad.transforms.sign import sign_direction, sign_directions


class SignSGD(Optimizer):
    """Sign descent, θ -= lr u, with the sign taken at one of three places.

    =========== =================================== ========= ===========================================
    placement   average                             update u  ``p.grad`` must hold
    =========== =================================== ========= ===========================================
    "example"   m = EMA(mean of per-example signs)  m         mean_i sign(g_i): in [-1, 1]
    "batch"     m = EMA(sign(gbar))                 m         gbar, the mean gradient
    "ema"       m = EMA(gbar)                       sign(m)   gbar, the mean gradient
    =========== =================================== ========= ===========================================

    EMA(z)_t = b EMA_{t-1} + (1 - b) z_t from 0, not debiased; b is ``momentum``. sign(0) = 0. The loop
    for "example", with :mod:`regrad.perexample` (``group_size=k`` for signs of k-example means)::

        signs = gradient_statistics(model, losses, batch, ["mean_sign"], group_size=1)
        assign_grad(model, signs["mean_sign"])
        optimizer.step()

    **Learning rates differ by placement.** Averaging raises a signal-to-noise ratio by
    κ_b = sqrt((1 + b)/(1 - b)) (4.36 at b = 0.9). Where noise dominates, the root-mean-square update
    per coordinate is 1/(κ_b sqrt(B/k)), 1/κ_b and 1 for "example", "batch" and "ema"; so give each
    placement its own range, centred at lr("ema") divided by that figure
    (:func:`regrad.transforms.placements.noise_limited_update_rms`). One shared grid is no fair comparison.

    **Equal updates.** With ``momentum=0``, "batch" and "ema" are the same update, bit for bit; so are
    "example" and "batch" at B = 1 or k = B. "ema" is ``optax.signum``.

    Args:
        params: Parameters or groups, named or not.
        lr: Learning rate, >= 0, in units of the parameter per step; may be a one-element Tensor.
        momentum: b in [0, 1). 0 keeps no state.
        placement: "example", "batch" or "ema".
        weight_decay: Decoupled: θ *= 1 - lr weight_decay before the update; >= 0.
        maximize: Ascend instead of descend.
        foreach: Use torch's horizontally fused operations; ``None`` means on CUDA only. Same bits.

    Gradients are not modified. Complex parameters are treated as pairs of reals (both parts get a
    sign). Sparse gradients are refused.

    Raises:
        ValueError: If a hyperparameter is out of range, here or in a parameter group.

    Source:
        Bernstein et al. 2018 (signSGD, Signum); Roulet and Agarwala, arXiv 2510.00236, whose abstract
        names the question where the sign goes.
    Departures:
        The equations of "example" and "batch" are our reconstruction: the paper's body was not
        available to us. "ema" follows the first author's ``optax.signum``.
    """

    decoupled_weight_decay = True  # read by wrappers

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        *,
        momentum: float = 0.9,
        placement: str = "ema",
        weight_decay: float = 0.0,
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "placement": placement,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
        }
        _check(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, after checking its hyperparameters."""
        if isinstance(param_group, dict):
            _check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; ``closure``, if given, is called once and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step_group(params, group)
        return loss

    def _step_group(self, params: list[Tensor], group: dict[str, Any]) -> None:
        reals = [_real(p) for p in params]
        grads = [_real(_dense_grad(p)) for p in params]
        if group["maximize"]:
            grads = [-grad for grad in grads]
        averages = [_real(self._average(p)) for p in params] if group["momentum"] else None
        foreach = group["foreach"] if group["foreach"] is not None else all(p.is_cuda for p in reals)
        lr = float(group["lr"])
        decay = 1 - lr * group["weight_decay"]
        (_step_foreach if foreach else _step_plain)(reals, grads, averages, group, lr=lr, decay=decay)

    def _average(self, param: Tensor) -> Tensor:
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return state["momentum_buffer"]


def _step_plain(params, grads, averages, group, *, lr, decay) -> None:
    how = {"momentum": group["momentum"], "placement": group["placement"]}
    for i, param in enumerate(params):
        if decay != 1:
            param.mul_(decay)
        param.add_(sign_direction(grads[i], None if averages is None else averages[i], **how), alpha=-lr)


def _step_foreach(params, grads, averages, group, *, lr, decay) -> None:
    if decay != 1:
        torch._foreach_mul_(params, decay)
    directions = sign_directions(grads, averages, momentum=group["momentum"], placement=group["placement"])
    torch._foreach_add_(params, directions, alpha=-lr)


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _dense_grad(param: Tensor) -> Tensor:
    if param.grad.is_sparse:  # type: ignore[union-attr]
        raise RuntimeError("SignSGD does not support sparse gradients: use Embedding(sparse=False)")
    return param.grad  # type: ignore[return-value]


def _check(group: dict[str, Any]) -> None:
    learning_rate("lr", group["lr"])
    in_range("momentum", group["momentum"], 0, 1, open_high=True)
    one_of("placement", group["placement"], PLACEMENTS)
    non_negative("weight_decay", group["weight_decay"])
    flag("maximize", group["maximize"])
    optional_flag("foreach", group["foreach"])
