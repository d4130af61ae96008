"""Time and memory of one step of each DGS reading beside torch.optim.SGD and Adam, in one run.

    OMP_NUM_THREADS=1 python benchmarks/dgs_step.py --out results/reference/benchmarks/dgs-step-cpu.json

One thread, process CPU time, the optimizers one after another in each round in a shuffled order (each on its
own copy of the parameters, so that none finds a warm cache), median over rounds; of the document's
own models the record keeps every round. Memory is what the optimizer keeps between steps, in bytes a weight.
Prints JSON. Two limits hold for the document's own models: "steps" <= 0.6 × Adam(betas=(0, 0)), its equal, and
"equation" <= 1.5 × SGD.
Networks beyond the cache are measured beside them: there "equation" is bounded by torch's speed at
summing |g|, "tensor norms" (whose sum has a vectorised kernel) and "read once" (a bare g.sum()) show how far.
"""

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from regrad.optim.dgs import DGS
from regrad.problems.models.resnet import ResNet, ResNetConfig
from regrad.report.benchmarks import write
from regrad.transforms.dgs import READINGS

LIMITS = {"steps": ("Adam(0, 0)", 0.6), "equation": ("SGD", 1.5)}
LIMITED = ("ResNet-20", "ResNet-32")
KEPT = ("SGD", "Adam", "Adam(0, 0)", "equation", "steps")  # every round of these is in the record


def networks() -> dict[str, list[torch.Size]]:
    """The shapes of the parameters of each network."""
    shapes = {
        f"ResNet-{depth}": [p.shape for p in ResNet(ResNetConfig(depth=depth)).parameters()] for depth in (20, 32)
    }
    return {
        **shapes,
        "12 matrices, 1.6 M": [torch.Size((256, 256))] * 8 + [torch.Size((1024, 256))] * 4,
        "4 matrices, 4.2 M": [torch.Size((1024, 1024))] * 4,
        "24 matrices, 25 M": [torch.Size((1024, 1024))] * 24,
    }


def parameters(shapes: list[torch.Size]) -> list[torch.nn.Parameter]:
    """Parameters with gradients of a realistic size, the same on every call."""
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for p in params:
        p.grad = 1e-3 * torch.randn(p.shape, generator=generator)
    return params


def contestants(shapes: list[torch.Size]) -> dict[str, Callable[[], object]]:
    """One step of each optimizer, by name."""
    tiny = 1e-6
    read = [p.grad for p in parameters(shapes)]
    return {
        "SGD": torch.optim.SGD(parameters(shapes), lr=tiny).step,
        "SGD, momentum": torch.optim.SGD(parameters(shapes), lr=tiny, momentum=0.9).step,
        "Adam": torch.optim.Adam(parameters(shapes), lr=tiny).step,
        "Adam(0, 0)": torch.optim.Adam(parameters(shapes), lr=tiny, betas=(0.0, 0.0)).step,
        "Adam(0, 0) foreach": torch.optim.Adam(parameters(shapes), lr=tiny, betas=(0.0, 0.0), foreach=True).step,
        **{reading: DGS(parameters(shapes), tiny, reading=reading).step for reading in READINGS},
        "read once": lambda: [grad.sum() for grad in read if isinstance(grad, Tensor)],
    }


def timed(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU microseconds of each step, round by round; the first tenth of the rounds only warms up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    shuffle = random.Random(0)
    order = list(steps.items())
    for i in range(rounds + rounds // 10 + 1):
        shuffle.shuffle(order)
        for name, step in order:
            begin = time.process_time_ns()
            step()
            if i > rounds // 10:
                times[name].append((time.process_time_ns() - begin) / 1e3)
    return times


def kept_bytes(shapes: list[torch.Size]) -> dict[str, float]:
    """Bytes a weight that each optimizer keeps between steps."""
    found = {}
    for name, step in contestants(shapes).items():
        optimizer = getattr(step, "__self__", None)
        if isinstance(optimizer, torch.optim.Optimizer):
            step()
            tensors = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
            found[name] = sum(t.numel() * t.element_size() for t in tensors) / sum(map(torch.Size.numel, shapes))
    return {name: round(value, 3) for name, value in found.items()}


def environment() -> dict[str, object]:
    """Machine and software."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor() or platform.machine()
    return {"cpu": cpu, "cores": os.cpu_count(), "torch": torch.__version__, "threads": torch.get_num_threads()}


def measured(name: str, shapes: list[torch.Size], rounds: int) -> dict[str, object]:
    """One network's row: microseconds, and the ratios that the limits are about."""
    count = sum(shape.numel() for shape in shapes)
    times = timed(contestants(shapes), max(9, min(rounds, int(rounds * 3e6 / count))))
    micros = {arm: statistics.median(values) for arm, values in times.items()}
    rounds_kept = {arm: [round(value, 1) for value in times[arm]] for arm in KEPT} if name in LIMITED else {}
    adam = min(micros["Adam(0, 0)"], micros["Adam(0, 0) foreach"])
    return {
        "parameters": count,
        "tensors": len(shapes),
        "microseconds": {name: round(value, 1) for name, value in micros.items()},
        "ratio to SGD": {name: round(value / micros["SGD"], 2) for name, value in micros.items()},
        "steps / Adam(0, 0)": round(micros["steps"] / micros["Adam(0, 0)"], 2),
        "steps / the faster Adam(0, 0)": round(micros["steps"] / adam, 2),
        "equation / SGD": round(micros["equation"] / micros["SGD"], 2),
        "rounds": rounds_kept,
    }


def main() -> None:
    """Measure, print JSON, and say whether the two limits hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {name: measured(name, shapes, options.rounds) for name, shapes in networks().items()}
    held = {
        f"{reading} <= {limit} x {peer}": all(
            rows[name]["microseconds"][reading] <= limit * rows[name]["microseconds"][peer] for name in LIMITED
        )
        for reading, (peer, limit) in LIMITS.items()
    }
    found = {"environment": environment(), "networks": rows, "bytes": kept_bytes(networks()["ResNet-20"])}
    text = json.dumps(found | {"limits on " + ", ".join(LIMITED): held})
    print(text)
    if options.out:
        write(options.out, text + "\n")


if __name__ == "__main__":
    main()
