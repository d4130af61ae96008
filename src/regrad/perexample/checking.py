"""Acts on: nothing. Whether the fast methods give a model the per-example gradients that the loop defines."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, batch_size, check_call, check_losses, map_examples, take
from regrad.perexample.compiled import run_as_written
from regrad.perexample.engine import gradient_statistics
from regrad.perexample.refusals import Refused

STATISTICS = ("mean", "mean_square", "norm")
# Of the largest entry of a parameter's statistic: what rounding may cost, and mistakes exceed.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}


@dataclass(frozen=True)
class MethodReport:
    """What one method did: its largest relative error and where, or the sentence by which it refused."""

    method: str
    error: float = 0.0
    where: str = ""
    refusal: str = ""
    exact: bool = True


@dataclass(frozen=True)
class CheckReport:
    """The answer of :func:`check`; true where every method that answered was exact, and at least one did.

    Attributes:
        methods: one report a method, in the order asked for.
        complaints: what is wrong with the model itself, one sentence each; empty if nothing is.
        tolerance: the relative error up to which a method counts as exact.
        truth: what the methods were compared with.
    """

    methods: tuple[MethodReport, ...]
    complaints: tuple[str, ...]
    tolerance: float
    truth: str

    def __bool__(self) -> bool:
        """Whether the statistics can be trusted."""
        answered = [report for report in self.methods if not report.refusal]
        return not self.complaints and bool(answered) and all(report.exact for report in answered)

    def __str__(self) -> str:
        """A line a method and a complaint."""
        lines = [f"compared with {self.truth}; exact: a relative error of at most {self.tolerance:g}"]
        for report in self.methods:
            if report.refusal:
                lines.append(f"{report.method:6s} refused: {report.refusal}")
            else:
                word = "exact" if report.exact else "WRONG"
                lines.append(f"{report.method:6s} {word}: {report.error:.1e} at most, in {report.where}")
        return "\n".join([*lines, *(f"model: {complaint}" for complaint in self.complaints)])


@run_as_written
def check(
    model: nn.Module, losses: Losses, batch: Any, *, methods: tuple[str, ...] = ("graph", "vmap", "loop")
) -> CheckReport:
    """Compare the methods of `gradient_statistics` with a loop over single examples in float64.

    Run it once for a model of yours, with a few examples; it costs some backward passes an example. It also looks
    at the model itself: whether an example's loss is the same alone as among others, and the same twice.

    Args:
        model: as for `gradient_statistics`; left as it is.
        losses: as for `gradient_statistics`.
        batch: a small batch, 2 examples or more.
        methods: those to compare.

    Returns:
        A report: print it, or take it for a truth value.

    Raises:
        ValueError: if the batch has fewer than 2 examples, or the losses are not one a example.
    """
    size = batch_size(batch)
    if size < 2:
        raise ValueError(f"batch: {size} example; 2 or more are required, to see whether examples stay apart")
    check_call(losses, model, batch)
    check_losses(losses(model, batch), size)
    tolerance = max(TOLERANCES.get(p.dtype, 1e-3) for p in model.parameters() if p.requires_grad)
    complaints = tuple(_complaints(model, losses, batch, tolerance))
    try:
        truth, words = _truth(model, losses, batch)
    except Refused as refusal:  # then nobody knows the truth
        why = str(refusal)
        reports = tuple(MethodReport(method, refusal=why) for method in methods)
        return CheckReport(reports, complaints or (why,), tolerance, "nothing, for the loop refuses the model")
    reports = tuple(_compare(method, model, losses, batch, truth=truth, tolerance=tolerance) for method in methods)
    return CheckReport(reports, complaints, tolerance, words)


def _truth(model: nn.Module, losses: Losses, batch: Any) -> tuple[dict[str, Any], str]:
    try:
        double = copy.deepcopy(model).double()
        wide = map_examples(batch, lambda x: x.double() if x.is_floating_point() else x, list)
        return gradient_statistics(double, losses, wide, STATISTICS, method="loop"), "the loop in float64"
    except (RuntimeError, TypeError) as error:  # a model that names a dtype, or that cannot be copied
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        words = f"the loop in the model's own precision (float64 failed: {reason})"
        return gradient_statistics(model, losses, batch, STATISTICS, method="loop"), words


def _compare(
    method: str, model: nn.Module, losses: Losses, batch: Any, *, truth: Mapping[str, Any], tolerance: float
) -> MethodReport:
    try:
        answer = gradient_statistics(model, losses, batch, STATISTICS, method=method)
    except (ValueError, RuntimeError, TypeError, NotImplementedError) as error:
        return MethodReport(method, refusal=(str(error).splitlines() or [type(error).__name__])[0])
    worst, where = 0.0, "all"
    for statistic in STATISTICS:
        tensors = truth[statistic] if isinstance(truth[statistic], Mapping) else {"": truth[statistic]}
        found = answer[statistic] if isinstance(answer[statistic], Mapping) else {"": answer[statistic]}
        largest = max((float(t.abs().max()) for t in tensors.values() if t.numel()), default=0.0)
        for name, right in tensors.items():
            off = _relative(found[name], right, largest)
            if not off <= worst:  # nan is the worst of all
                worst, where = off, f"{statistic} {name}".strip()
    return MethodReport(method, worst, where, exact=worst <= tolerance)


def _relative(found: Tensor, right: Tensor, largest: float) -> float:
    if not right.numel():
        return 0.0
    # A parameter whose gradient is zero on paper has rounding noise only: it is measured by the others' size.
    size = max(float(right.abs().max()), 1e-6 * largest) or 1.0
    return float((found.double() - right.double()).abs().max()) / size


def _complaints(model: nn.Module, losses: Losses, batch: Any, tolerance: float) -> list[str]:
    with torch.no_grad():
        together, again = losses(model, batch).double(), losses(model, batch).double()
        rows = range(batch_size(batch))
        alone = torch.cat([losses(model, take(batch, slice(i, i + 1))).double() for i in rows])
    size = float(together.abs().max()) or 1.0
    if not float((together - again).abs().max()) <= tolerance * size:
        return ["its losses differ between two calls (noise in the forward pass?): methods would see other losses"]
    if not float((together - alone).abs().max()) <= tolerance * size:
        row = int((together - alone).abs().argmax())
        return [
            f"example {row}'s loss is {float(together[row]):.6g} among the others and {float(alone[row]):.6g} alone: "
            "examples see each other (batch statistics, in-batch negatives, sorting), so they have no gradient of "
            "their own"
        ]
    return []
