"""Which architectures of other libraries the engine takes, and at what price: python benchmarks/coverage.py --jobs 2.

Writes benchmarks/coverage.md, a line a model: exact in float64, refused and why, or wrong; the same under autocast;
what goes a slow way; time and memory of a step with mean and mean square beside an ordinary one, in float32. Methods
that a refusal names are tried. Names as arguments print those models' lines and write nothing. Needs transformers, and
timm for its own models (`pip install --no-deps timm`); downloads nothing.
"""

import argparse
import copy
import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

import coverage_models as models
from coverage_costs import costs
from regrad.perexample import gradient_statistics

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# What the engine makes of {hf} architectures of Hugging Face and {timm} of timm

By `python benchmarks/coverage.py`: {versions} on a CPU, each model made small from its configuration, without dropout.

* In float64: {float64}. Every method that a refusal names was tried.
* Under autocast to bfloat16: {autocast}. Exact is as near to float32 as plain backward passes are, at most 1.5 times
  as far; where plain passes of single examples and of the batch differ, the farther counts.
* A step with mean and mean square takes {m_time:.2f} times an ordinary one's time and {m_memory:.2f} times its memory
  (medians; float32, one core). Models of two layers of width 16 take a few milliseconds, of which most is calls:
  larger ones come nearer to 1.
* Slow ways, in {slow} models: functions without a rule, example by example, and weights that are computed from
  parameters or used in parts, whose gradients are formed whole.

| model | in float64 | under autocast | slow paths | time | memory |
|---|---|---|---|---|---|
"""

STATISTICS = ["mean", "mean_square", "norm"]
# Some models compute a part in float32, whatever they are made in.
EXACT, EXACT_IN_FLOAT32, NEAR_IN_FLOAT32, NEAR_IN_HALF = 1e-6, 1e-3, 1e-2, 1.5


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
        found = gradient_statistics(model, losses, batch, STATISTICS)
        error = distance(found, truth)
    except ValueError as refusal:
        return (
            f"refused: {str(refusal).splitlines()[0]}{_try_remedy(str(refusal), (model, losses, batch), truth, most)}"
        )
    if error > most and distance(found, in_company(model, losses, batch)) <= most:
        return "exact, as plain backward passes of the batch tell; torch's own of a batch of one example differ"
    return "exact" if error <= most else f"WRONG by {error:.1e}"


def in_company(model: nn.Module, losses: models.Losses, batch: torch.Tensor) -> dict[str, Any]:
    """The statistics by a backward pass from each example's loss in turn, all examples having gone forwards at once.

    torch's batch normalisation goes wrong where a batch of one meets a gradient whose layout it takes for another.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    values = losses(model, batch)
    rows = [
        torch.autograd.grad(
            value, list(parameters.values()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for value in values
    ]
    stacks = {name: torch.stack(gradients) for name, gradients in zip(parameters, zip(*rows, strict=True), strict=True)}
    return {
        "mean": {name: stack.mean(0) for name, stack in stacks.items()},
        "mean_square": {name: stack.square().mean(0) for name, stack in stacks.items()},
        "norm": torch.stack([stack.flatten(1).square().sum(1) for stack in stacks.values()]).sum(0).sqrt(),
    }


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
        cast(model, batch)
    except (RuntimeError, TypeError) as error:
        return f"fails without the engine, too: {str(error).splitlines()[0]}"
    try:
        truth = gradient_statistics(model, losses, batch, ["mean", "norm"], method="loop")
    except ValueError as refusal:
        return f"refused by every method: {str(refusal).splitlines()[0]}"
    if distance(found := in_company(model, losses, batch), truth) <= NEAR_IN_FLOAT32:
        alone = gradient_statistics(model, cast, batch, ["mean", "norm"], method="loop")
    else:
        truth, alone = {key: found[key] for key in truth}, in_company(model, cast, batch)
    loop = distance(alone, truth)
    plain = distance(mean(cast), mean(losses))
    try:
        ours = distance(gradient_statistics(model, cast, batch, ["mean", "norm"]), truth)
    except ValueError as refusal:
        return f"refused: {str(refusal).splitlines()[0]}"
    verdict = "exact" if ours <= max(NEAR_IN_HALF * max(loop, plain), 0.01) else "WRONG"
    return f"{verdict} ({ours:.1e} from float32, the loop {loop:.1e}, a plain backward pass {plain:.1e})"


Row = dict[str, Any]


def row(name: str) -> Row:
    """Everything that the table says of a model."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("regrad").setLevel(logging.ERROR)
    answer: Row = {"name": name, "float64": _or_why_not(examine, name), "autocast": _or_why_not(examine_autocast, name)}
    if answer["float64"].startswith("exact"):
        answer["slow"], answer["time"], answer["memory"] = costs(*models.make(name))
    return answer


def _or_why_not(verdict: Callable[[str], str], name: str) -> str:
    try:
        return verdict(name)
    except (ImportError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        return f"not run: {type(error).__name__}: {' '.join(str(error).splitlines()[:1])}"


def line(one: Row) -> str:
    """A model's row of the table."""
    cells = [one["name"], one["float64"], one["autocast"], one.get("slow") or "-"]
    cells += [f"{one[key]:.2f}" if key in one else "-" for key in ("time", "memory")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page(rows: list[Row]) -> str:
    """The whole table, with its counts in front."""
    counts = {key: Counter(one[key].split()[0].rstrip(":,") for one in rows) for key in ("float64", "autocast")}
    middle = {key: median(one[key] for one in rows if key in one) for key in ("time", "memory")}
    slow = sum(bool(one.get("slow")) for one in rows)
    timm = sum(one["name"].startswith("timm/") for one in rows)
    told = {key: _told(found) for key, found in counts.items()}
    head = HEAD.format(
        hf=len(rows) - timm, timm=timm, slow=slow, versions=_versions(timm > 0), **told,
        **{f"m_{key}": value for key, value in middle.items()},
    )  # fmt: skip
    return head + "\n".join(map(line, rows)) + "\n"


def _told(found: Counter[str]) -> str:
    others = {"refused": "refused with the reason", "fails": "fail without the engine, too", "not": "not run"}
    rest = [f"{found[verdict]} {said}" for verdict, said in others.items() if found[verdict]]
    return ", ".join([f"{found['exact']} exact", f"{found['WRONG']} wrong", *rest])


def _versions(timm: bool) -> str:
    packages = ("transformers", *(["timm"] if timm else []), "torch")
    return ", ".join(f"{package} {'.'.join(version(package).split('.')[:2])}" for package in packages)


def main() -> None:
    """Print the rows as they come, and write the table once all are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these, printed and not written")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        for one in pool.map(row, arguments.names or models.NAMES):
            rows.append(one)
            print(line(one), flush=True)
    if not arguments.names:
        PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
