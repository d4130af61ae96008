"""Your own per-example statistic: the mean of any elementwise function of each example's gradient, beside the mean."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from regrad.perexample.engine import gradient_statistics
from regrad.playground.controls import Choice, Control, Dial, Slider
from regrad.playground.explore import View
from regrad.problems.language import LanguageOptions, LanguageProblem
from regrad.report.marks import DASHED
from regrad.report.palette import BLUE
from regrad.report.style import PAGE_INCHES, canvas

LAYER = "blocks.0.feedforward.up.weight"


class Own(NamedTuple):
    """A function of yours, and where data lie."""

    function: Callable[[Tensor], Tensor]
    cache: Path


@lru_cache(maxsize=2)
def problem_of(cache: Path) -> LanguageProblem:
    """Return a decoder of 0.1 million weights on text that comes with Python."""
    return LanguageProblem.from_options(LanguageOptions(corpus="python-topics", model="0.1M"), cache=cache)


def controls(state: Own, values: Mapping[str, Any]) -> Mapping[str, Control]:
    model = problem_of(state.cache).init_model()
    matrices = [name for name, weight in model.named_parameters() if weight.dim() > 1 and "embedding" not in name]
    return {
        "layer": Choice(tuple(matrices), LAYER),
        "batch_size": Dial(("2", "4", "8", "16", "32"), "16"),
        "batch": Slider(0, 99, 0, whole=True),
    }


def draw(state: Own, *, layer: str, batch_size: str, batch: int) -> View:
    """Return one point an entry of a layer: your statistic against the mean gradient."""
    problem = problem_of(state.cache)
    examples = problem.batch(batch, int(batch_size))
    wanted = {"mean": "mean", "own": state.function}
    found = gradient_statistics(problem.init_model(), problem.losses, examples, wanted, method="vmap")
    mean, own = (found[name][layer].flatten()[::4] for name in wanted)
    if not bool(own.isfinite().all()):
        raise ValueError("your function returned what is not finite; allowed: finite values of finite gradients")
    with canvas(width=PAGE_INCHES, height=3.0) as (figure, axis):
        axis.scatter(mean.numpy(), own.numpy(), s=3, color=BLUE, alpha=0.4, linewidths=0)
        axis.axhline(0, **DASHED)
        axis.set(xlabel="mean gradient of an entry", ylabel="mean of yours", title=layer)
    agree = float((mean.sign() == own.sign()).double().mean())
    return View(figure, f"Same sign as the mean gradient: {100 * agree:.0f} % of the entries.")
