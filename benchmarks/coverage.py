"""Which architectures of other libraries the engine takes: python benchmarks/coverage.py [--autocast] [NAME …].

One line a model: exact in float64, refused and why, or wrong; then, in float32, the time of a step with two statistics
beside an ordinary one, and the functions that went to the fallback. Methods that a refusal names are tried. Needs
transformers, and timm for its own; downloads nothing.
"""

import argparse
import copy
import re
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import coverage_models as models
from regrad.perexample import gradient_statistics
from regrad.perexample.calls import name_of
from regrad.perexample.rules import fallback

STATISTICS = ["mean", "mean_square", "norm"]
# Some models compute a part in float32, whatever they are made in.
EXACT, EXACT_IN_FLOAT32, NEAR_IN_HALF = 1e-6, 1e-3, 1.5


def distance(found: dict[str, Any], truth: dict[str, Any]) -> float:
    """The worst error, as a share of each parameter's largest entry, or of the model's if that is noise."""
    worst = 0.0
    for key, values in truth.items():
        named = values if isinstance(values, dict) else {"": values}
        others = found[key] if isinstance(values, dict) else {"": found[key]}
        named = {name: value for name, value in named.items() if value.numel()}
        largest = max(float(value.abs().max()) for value in named.values())
        for name, right in named.items():
            scale = max(float(right.abs().max()), 1e-6 * largest, 1e-300)
            off = float((others[name].double() - right.double()).abs().max()) / scale
            worst = off if not off <= worst else worst  # what is no number is the worst of all
    return worst


def examine(name: str) -> str:
    """The verdict in float64, or in float32 where a model insists on it."""
    model, losses, batch = models.make(name)
    try:
        wide = copy.deepcopy(model).double()
        return _verdict(wide, losses, batch.double() if batch.is_floating_point() else batch, EXACT)
    except (RuntimeError, TypeError):
        return _verdict(model, losses, batch, EXACT_IN_FLOAT32) + " (in float32)"


def _verdict(model: nn.Module, losses: models.Losses, batch: torch.Tensor, most: float) -> str:
    try:
        truth = gradient_statistics(model, losses, batch, STATISTICS, method="loop")
    except ValueError as refusal:
        return f"refused by every method: {str(refusal).splitlines()[0]}"
    try:
        error = distance(gradient_statistics(model, losses, batch, STATISTICS), truth)
    except ValueError as refusal:
        return (
            f"refused: {str(refusal).splitlines()[0]}{_try_remedy(str(refusal), (model, losses, batch), truth, most)}"
        )
    return "exact" if error <= most else f"WRONG by {error:.1e}"


def _try_remedy(refusal: str, asked: Any, truth: dict[str, Any], most: float) -> str:
    """What comes of the methods that a refusal names."""
    tried = []
    for method in re.findall(r"method='(\w+)'", refusal):
        error = distance(gradient_statistics(*asked, STATISTICS, method=method), truth)
        tried.append(f"{method} is exact" if error <= most else f"{method} is WRONG by {error:.1e}")
    return f" [tried: {', '.join(tried)}]" if tried else ""


def examine_autocast(name: str) -> str:
    """Whether the answer under autocast to bfloat16 is as near to float32's as plain backward passes are.

    Those of single examples, which is the loop, or one of the batch: torch's kernels round a batch otherwise than an
    example, and where a gradient is a difference of large numbers that may be all of it (SegFormer's and PVT's).
    """
    model, losses, batch = models.make(name)

    def cast(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return losses(model, batch).float()

    def mean(run: models.Losses) -> dict[str, Any]:
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(
            run(model, batch).mean(), list(parameters.values()), allow_unused=True, materialize_grads=True
        )
        return {"mean": dict(zip(parameters, gradients, strict=True))}

    try:
        truth = gradient_statistics(model, losses, batch, ["mean", "norm"], method="loop")
    except ValueError as refusal:
        return f"refused by every method: {str(refusal).splitlines()[0]}"
    loop = distance(gradient_statistics(model, cast, batch, ["mean", "norm"], method="loop"), truth)
    plain = distance(mean(cast), mean(losses))
    try:
        ours = distance(gradient_statistics(model, cast, batch, ["mean", "norm"]), truth)
    except ValueError as refusal:
        return f"refused: {str(refusal).splitlines()[0]}"
    verdict = "exact" if ours <= max(NEAR_IN_HALF * max(loop, plain), 0.01) else "WRONG"
    return f"{verdict} ({ours:.1e} from float32, the loop {loop:.1e}, a plain backward pass {plain:.1e})"


def slow_paths(run: Callable[[], Any]) -> list[str]:
    """Functions that the fallback carries out, example by example."""
    seen: list[str] = []
    original = fallback._OneFunction.__init__

    def watched(self: Any, call: Any) -> None:
        seen.append(name_of(call.func))
        original(self, call)

    fallback._OneFunction.__init__ = watched  # type: ignore[method-assign]
    try:
        run()
    finally:
        fallback._OneFunction.__init__ = original  # type: ignore[method-assign]
    return sorted(set(seen))


def cost(name: str) -> str:
    """Time beside an ordinary step, and slow paths."""
    model, losses, batch = models.make(name)
    step = lambda: gradient_statistics(model, losses, batch, ["mean", "mean_square"])  # noqa: E731
    paths = slow_paths(step)
    ratio = _seconds(step) / _seconds(lambda: losses(model, batch).mean().backward())
    return f"{ratio:.2f} x" + (f"; slow: {', '.join(paths)}" if paths else "")


def _seconds(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return sorted(times)[2]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=models.NAMES)
    parser.add_argument("--autocast", action="store_true", help="compare under autocast to bfloat16")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    verdicts = []
    for name in arguments.names:
        try:
            verdict = examine_autocast(name) if arguments.autocast else examine(name)
            more = cost(name) if verdict == "exact" else ""
        except (ImportError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            verdict, more = f"not run: {type(error).__name__}: {str(error).splitlines()[:1]}", ""
        verdicts.append(verdict.split()[0].rstrip(":"))
        print(f"| {name} | {verdict} | {more} |", flush=True)
    print({verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))})


if __name__ == "__main__":
    main()
