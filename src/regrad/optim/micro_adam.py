"""Adam, MicroAdam and their relatives: which part of the gradient's second moment preconditions the step.

Acts on: the per-example gradients, through their mean and variance (or mean square).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from regrad.optim.statistic_inputs import BatchStatistics, Sample, Statistics, step_inputs
from regrad.transforms.adam_family import (
    adam_step_,
    average_,
    average_square_,
    bounded_sum,
    coefficient,
    resolution,
)
from regrad.transforms.checks import betas, flag, in_range, integer_at_least, learning_rate, non_negative


class MicroAdam(Optimizer):
    """Adam with a preconditioner of the family ν_c = μ² + c σ² (per-example mean μ and variance σ²).

    The update of all members is θ -= lr m̂/(sqrt(ν̂) + eps), m = EMA(gbar), after the decoupled decay
    θ *= 1 - lr weight_decay; all averages are debiased. They differ in ν:

    ================= ============================== ============ ================================ =========
    preconditioner    ν averages                     E[ν]         ``statistics`` needed            equations
    ================= ============================== ============ ================================ =========
    "adam"            gbar²                          μ² + σ²/B    none                             published
    "micro"           (1/B) sum g_i²                 μ² + σ²      "mean_square", or "variance"     published
                                                                  and ``batch_size``
    "variance"        v = 1/(B-1) sum (g_i - gbar)²  σ²           "variance"                       ours
    "mean_square"     gbar² - v/B, bounded after     μ²           "variance" and ``batch_size``    ours
    a number c >= 0   gbar² + (c - 1/B) v            μ² + c σ²    "variance" and ``batch_size``    ours
    ================= ============================== ============ ================================ =========

    A training loop, with :func:`regrad.perexample.gradient_statistics`::

        optimizer = MicroAdam(model.named_parameters(), lr=1e-3, preconditioner="micro")
        for batch in batches:
            statistics = gradient_statistics(model, losses, batch, ["mean", "variance"])
            optimizer.step(statistics=statistics, batch_size=len(batch[0]))
            scheduler.step()

    Where another library calls ``optimizer.step()``, call `hand_over` before.

    **Which gradient.** m (and gbar² in ν) read ``p.grad`` as in every torch optimizer, or, where
    ``p.grad`` is None, ``statistics["mean"]``. Both at once are refused, unless they are one tensor: a
    forgotten ``p.grad`` would otherwise freeze training silently. A parameter with neither is skipped if it is
    frozen or no statistics are given, and refused otherwise: its name is then another model's.
    To clip, use :func:`regrad.transforms.clip_statistics.clip_statistics`, which keeps mean and
    variance consistent; clipping ``p.grad`` alone leaves the variance as it was.

    **Degeneracy.** Where σ²/B >> μ² for most coordinates, ν_micro ≈ ν_variance ≈ B ν_adam: these are
    then one algorithm with the learning rate rescaled by sqrt(B). Sweep lr for "micro" and "variance"
    up to 2 sqrt(B) times Adam's, and report the share μ²/(μ² + σ²/B). ``eps`` should stay negligible.

    **Below 1/B** a sample of ν may be negative: two averages are kept, of gbar² and of (c - 1/B) v,
    and their sum is bounded from below by ``floor`` times Adam's ν when it is read. The share of
    coordinates where the floor decided is ``state[p]["clipped_share"]``, a 0-dim tensor.

    Args:
        params: Parameters or groups. Named (``model.named_parameters()``) where statistics are used.
        lr: Learning rate, >= 0; may be a one-element Tensor.
        betas: Decay rates of m and ν, in [0, 1).
        eps: Added to sqrt(ν̂), >= 0.
        preconditioner: A name of the table, or c as a number.
        weight_decay: Decoupled, >= 0.
        floor: In [0, 1], used for c < 1. None: what the average can resolve at that step
            (:func:`regrad.transforms.adam_family.resolution`), from 1 at the start to 0.03 for β2 = 0.999.
        maximize: Ascend instead of descend.

    Gradients and statistics are not modified. "adam" takes complex parameters (as pairs of reals);
    the others refuse them. Sparse gradients are refused. There is no foreach path: next to the
    statistics' cost the step is small.

    Raises:
        ValueError: If a hyperparameter is out of range, or parameters lack names that are needed.

    Source:
        Published: "adam", Kingma and Ba 2015 with the decoupled decay of Loshchilov and Hutter 2019;
        "micro", Wang and Aitchison, arXiv 2402.18824, in the form of V. Roulet's example code for optax
        (October 2025, an unmerged proposal), first author of Roulet and Agarwala, arXiv 2510.00236.
    Departures:
        That paper's body was not available to us: "variance" and "mean_square" (its MicroAdamVar and
        MicroAdamMSQ, known by name only), every other c, and the floor are our reconstructions.
        Unrelated to the memory-efficient MicroAdam of Modoranu et al., NeurIPS 2024, arXiv 2405.15593.
    """

    decoupled_weight_decay = True  # read by wrappers

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        preconditioner: str | float = "micro",
        weight_decay: float = 0.0,
        floor: float | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "preconditioner": preconditioner,
            "weight_decay": weight_decay,
            "floor": floor,
            "maximize": maximize,
        }
        _check(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, after checking its hyperparameters and that it has the names it needs."""
        if isinstance(param_group, dict):
            _check({**self.defaults, **param_group})
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["preconditioner"] != "adam" and "param_names" not in group:
            self.param_groups.pop()
            raise ValueError(
                f"preconditioner={group['preconditioner']!r} looks statistics up by parameter name: "
                "pass model.named_parameters() instead of model.parameters()"
            )

    def hand_over(self, *, statistics: Statistics, batch_size: int | None = None) -> None:
        """Keep statistics for the next plain ``step()``: for loops that call it themselves, and pass nothing.

        As Accelerate, the Trainer of transformers and Lightning do. A step that is then skipped, as a gradient
        scaler skips one, leaves them: hand over anew before every step.

        Args:
            statistics: As for `step`.
            batch_size: As for `step`.
        """
        self._handed_over = {"statistics": statistics, "batch_size": batch_size}

    def take_over(self) -> dict[str, Any]:
        """Return what was handed over, once."""
        kept, self._handed_over = getattr(self, "_handed_over", {}), {}
        return kept

    @torch.no_grad()
    @_disable_dynamo  # its counter is a number: inside a compiled function every step would be compiled anew
    def step(  # type: ignore[override]
        self,
        closure: Callable[[], float] | None = None,
        *,
        statistics: Statistics | None = None,
        batch_size: int | None = None,
    ) -> float | None:
        """Take one step. Nothing moves if an input is refused.

        Args:
            closure: If given, called once under ``enable_grad``; its loss is returned.
            statistics: {"mean" | "variance" | "mean_square": {parameter name: [*param]}}, as
                :func:`regrad.perexample.gradient_statistics` returns them; others are ignored. All
                of per-example gradients, not divided by B: "mean" is gbar.
            batch_size: B, the number of examples behind the statistics.

        Raises:
            ValueError: If a statistic or ``batch_size`` is missing, misshapen or out of range, or if a
                gradient is given twice.
            TypeError: If a preconditioner other than "adam" meets a complex parameter.
            RuntimeError: If a gradient is sparse.
        """
        loss = None
        if closure is not None:
            if not callable(closure):
                raise ValueError(f"closure: {type(closure).__name__} is no function; pass step(statistics=…) by name")
            with torch.enable_grad():
                loss = closure()
        if statistics is None and batch_size is None:
            statistics, batch_size = map(self.take_over().get, ("statistics", "batch_size"))
        if batch_size is not None:
            integer_at_least("batch_size", batch_size, 1)
        batch = BatchStatistics(statistics or {}, batch_size)
        # All inputs are checked before the first parameter moves: a refused step changes nothing.
        work = [(group, step_inputs(group, batch)) for group in self.param_groups]
        for group, inputs in work:
            for param, grad, sample in inputs:
                self._step_param(param, grad, sample, group)
        return loss

    def _step_param(self, param: Tensor, grad: Tensor, sample: Sample | None, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(param, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)
        state["step"] += 1
        lr = float(group["lr"])
        if group["weight_decay"]:
            param.mul_(1 - lr * group["weight_decay"])
        grad = _real(-grad if group["maximize"] else grad)
        _real(state["exp_avg"]).lerp_(grad, 1 - group["betas"][0])
        nu = _second_moment(state, grad, sample, group)
        how = {"step": state["step"], "lr": lr, "betas": group["betas"], "eps": group["eps"]}
        adam_step_(_real(param), (_real(state["exp_avg"]), nu), **how)


def _second_moment(state: dict[str, Any], grad: Tensor, sample: Sample | None, group: dict[str, Any]) -> Tensor:
    beta = group["betas"][1]
    square = _real(state["exp_avg_sq"])
    if sample is not None and sample.replaces:
        average_(square, sample.spread, beta)
        return square
    average_square_(square, grad, beta)
    if sample is None:
        return square
    if sample.may_be_negative:
        return _bounded_second_moment(state, sample, group)
    return square.add_(sample.spread, alpha=(1 - beta) * sample.scale)


def _bounded_second_moment(state: dict[str, Any], sample: Sample, group: dict[str, Any]) -> Tensor:
    # c < 1/B is possible for c < 1 only: there the part that may be negative is averaged apart.
    beta, square = group["betas"][1], state["exp_avg_sq"]
    if "exp_avg_excess" not in state:
        state["exp_avg_excess"] = torch.zeros_like(square, memory_format=torch.preserve_format)
    average_(state["exp_avg_excess"], sample.spread, beta, scale=sample.scale)
    floor = resolution(beta, state["step"]) if group["floor"] is None else group["floor"]
    nu, state["clipped_share"] = bounded_sum(square, state["exp_avg_excess"], floor)
    return nu


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _check(group: dict[str, Any]) -> None:
    learning_rate("lr", group["lr"])
    betas("betas", group["betas"])
    non_negative("eps", group["eps"])
    coefficient(group["preconditioner"])
    non_negative("weight_decay", group["weight_decay"])
    flag("maximize", group["maximize"])
    if group["floor"] is not None:
        in_range("floor", group["floor"], 0, 1)
