"""Dynamic Gradient Scaling in each of its readings.

Acts on: the gradient, before the base step (plain gradient descent, with momentum if asked for).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from regrad.optim.dgs_settings import check_group, check_tensors
from regrad.transforms.dgs_impact import Scratch, collective_impacts, l2_norms
from regrad.transforms.dgs_step import magnitude_step_, scaled_step_, smoothed_sign_step_

# a group, its parameters with a gradient, their directions, their γ
Work = tuple[dict[str, Any], list[Tensor], list[Tensor], list[Any]]


class DGS(Optimizer):
    """Dynamic Gradient Scaling: θ -= Δ, with Δ chosen by ``reading``.

    With g the gradient, G one tensor of it, and D = eps + sum_k γ_k |g_k|:

    ========================= ====== ==================== ================================================
    reading                   letter Δ                    what it is
    ========================= ====== ==================== ================================================
    "equation"                E1     lr β g_i / D         L1-normalised SGD, one scalar for all parameters
    "equation_per_tensor"     E1L    the same             with D summed over each tensor's own entries
    "equation_tensor_norms"   E1T    the same             with k over tensors and ‖G_k‖₂ for |g_k|
    "equation_as_rate"        E3     the same as E1       α := lr β / D, the rate's own heading
    "equation_magnitude_rate" E4     lr β |g_i| g_i / D   α_i := lr β |g_i| / D: large entries, large rates
    "steps"                   S1     lr g_i / (|g_i|+eps) smoothed signSGD, = Adam(betas=(0, 0))
    "steps_per_tensor"        S1T    lr G / (‖G‖₂ + eps)  per-tensor normalised SGD
    ========================= ====== ==================== ================================================

    The readings differ in step size by up to n (the parameter count): tune lr for each. With γ = 1, E1's
    step shrinks like 1/n; with the default γ = "1/n" D is a mean |gradient| and lr compares across models.

    Args:
        params: Parameters or groups, named or not. The sums of E1, E1T, E3 and E4 run over all groups and
            leave out parameters without a gradient.
        lr: α, base learning rate, >= 0; may be a one-element Tensor.
        reading: A row of the table, one for all groups.
        beta: β > 0, scales Δ. The steps have none: refused there unless 1.
        eps: ε (σ in the prose) > 0, in units of D or |g|.
        gamma: γ >= 0: a number; "1/n" with n the number of terms of the sum; or a list with a number or a
            tensor [*param] for each parameter of the group (tensors not for "equation_tensor_norms", whose
            terms are whole tensors). The steps have none: refused there unless "1/n".
        momentum: μ in [0, 1): m = μ m + g takes g's place in Δ, as in ``torch.optim.SGD``. Ours.
        weight_decay: Decoupled, >= 0: θ *= 1 - lr weight_decay before the update. Ours.
        maximize: Ascend instead of descend.
        foreach: Use torch's horizontally fused operations; ``None`` means on CUDA only.

    Gradients are not modified. Complex parameters and sparse gradients are refused.

    Raises:
        ValueError: If a hyperparameter is out of range, here or in a parameter group.

    Source:
        Logan Mann, "A Fine-Grained Approach to Optimizing Large Language Models in Deep Learning"
        (IJRASET 2024): its equation (E), its four steps (S). :mod:`regrad.transforms.dgs` has the formulas.
    Departures:
        The document gives β, σ and γ no value, and E1's lr none apart from the program's 1e-3.
        With gamma=0, beta=1, eps=1, "equation" is ``torch.optim.SGD`` bit for bit.
    """

    decoupled_weight_decay = True  # read by wrappers

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        *,
        reading: str = "equation",
        beta: float = 1.0,
        eps: float = 1e-8,
        gamma: float | str | Sequence[float | Tensor] = "1/n",
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "reading": reading,
            "beta": beta,
            "eps": eps,
            "gamma": gamma,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
        }
        check_group(defaults, reading)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, after checking its hyperparameters and its γ against its parameters."""
        if isinstance(param_group, dict):
            check_group({**self.defaults, **param_group}, self.defaults["reading"])
        super().add_param_group(param_group)
        try:
            check_tensors(self.param_groups[-1])
        except ValueError:
            self.param_groups.pop()
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; ``closure``, if given, is called once and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        work = [part for group in self.param_groups if (part := self._work(group))[1]]
        if not work:
            return loss
        scratch = self.__dict__.setdefault("_scratch", Scratch())  # not pickled, made anew where it is missing
        measures = _measures(work, scratch)
        for part in work:
            own = measures if len(measures) < 2 else [measures.pop(0) for _ in part[1]]
            _descend(part, own, scratch)
        return loss

    def _work(self, group: dict[str, Any]) -> Work:
        moving = [i for i, p in enumerate(group["params"]) if p.grad is not None]
        params = [group["params"][i] for i in moving]
        gamma = group["gamma"]
        gammas = [gamma[i] for i in moving] if isinstance(gamma, list | tuple) else [gamma] * len(moving)
        return group, params, [self._direction(p, group) for p in params], gammas

    def _direction(self, param: Tensor, group: dict[str, Any]) -> Tensor:
        grad = param.grad
        if grad is None or grad.layout != torch.strided:
            raise RuntimeError("DGS needs dense gradients, got a sparse one")
        grad = -grad if group["maximize"] else grad
        if not group["momentum"]:
            return grad
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = grad.clone()
            return state["momentum_buffer"]
        return state["momentum_buffer"].mul_(group["momentum"]).add_(grad)


def _measures(work: list[Work], scratch: Scratch) -> list[Tensor]:
    """What the denominators add to eps: a 0-dim tensor for all parameters, one for each, or none."""
    directions = [d for _, _, ds, _ in work for d in ds]
    reading = work[0][0]["reading"]
    if reading == "steps":
        return []
    if reading == "steps_per_tensor":
        return l2_norms(directions)
    return collective_impacts(directions, [y for *_, ys in work for y in ys], reading, scratch=scratch)


def _descend(work: Work, measures: list[Tensor], scratch: Scratch) -> None:
    group, params, directions, _ = work
    foreach = group["foreach"] if group["foreach"] is not None else all(p.is_cuda for p in params)
    lr, eps, reading = float(group["lr"]), group["eps"], group["reading"]
    if group["weight_decay"]:
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
    if reading == "steps":
        smoothed_sign_step_(params, directions, lr=lr, eps=eps, foreach=foreach, scratch=scratch)
        return
    rates = [lr * group["beta"] / (measure + eps) for measure in measures]
    if reading == "equation_magnitude_rate":
        magnitude_step_(params, directions, rates[0], scratch=scratch)
        return
    scaled_step_(params, directions, rates, foreach=foreach)
