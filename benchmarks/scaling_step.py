"""Time one training step with ALSDGC V0 and V4 against ``clip_grad_norm_``, alone and with ``GradScaler``, in one run.

Usage: python benchmarks/scaling_step.py [--device cpu] [--rounds 60] [--json out.json]
The study of ALSDGC reads results/reference/benchmarks/scaling-step-cpu.json.

Arms take turns within every round, in an order that rotates, so that drift and neighbours hit all alike.
``rest`` is what follows the backward pass: unscale, clip, optimizer step, update.
``whole`` adds forward and backward. Ratios are medians over rounds of ratios within a round.
Clipping never fires for V4 (as in ordinary training); ``v4_clipping`` clips at every step.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

from regrad.report.benchmarks import write
from regrad.scaling.alsdgc import ALSDGC

BASE = "grad_scaler_clip"


def resnet_like(width=16, blocks=9):
    """Return a convolutional net with as many tensors as a ResNet-20 has (GroupNorm for BatchNorm)."""
    layers = [torch.nn.Conv2d(3, width, 3, padding=1, bias=False)]
    for _ in range(2 * blocks):
        layers += [torch.nn.GroupNorm(4, width), torch.nn.ReLU()]
        layers += [torch.nn.Conv2d(width, width, 3, padding=1, bias=False)]
    head = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 10))
    return torch.nn.Sequential(*layers, *head)


def perceptron():
    """Return three linear layers with 0.4 million parameters."""
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    return torch.nn.Sequential(linear(784, 400), relu(), linear(400, 200), relu(), linear(200, 10))


MODELS = {"resnet_like": (resnet_like, (16, 3, 8, 8)), "perceptron": (perceptron, (128, 784))}


class Arm:
    """One model, optimizer and scaler, stepped on its own."""

    def __init__(self, build, scaler, device, *, clip_norm=None, lr=1e-3):
        torch.manual_seed(0)
        self.model = build().to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        self.scaler, self.clip_norm = scaler, clip_norm

    def scaled_loss(self, x, y):
        """Return the scaled loss of a batch."""
        self.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.model(x), y)
        return loss if self.scaler is None else self.scaler.scale(loss)

    def finish(self):
        """Do all that follows the backward pass."""
        if self.clip_norm is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        if self.scaler is None:
            self.optimizer.step()
            return
        self.scaler.step(self.optimizer)
        self.scaler.update()


def arms(build, device):
    """Return the compared arms; the base clips at norm 1, whether or not that fires costs it the same."""
    return {
        BASE: Arm(build, torch.amp.GradScaler(device), device, clip_norm=1.0),
        "clip": Arm(build, None, device, clip_norm=1.0),
        "v0": Arm(build, ALSDGC("V0"), device, lr=1e-3 / 2**16),  # which it multiplies again
        "grad_scaler_alone": Arm(build, torch.amp.GradScaler(device), device),
        "v2": Arm(build, ALSDGC("V2", init_threshold=1e6), device),
        "v4": Arm(build, ALSDGC("V4", multiple=1e3), device),
        "v4_clipping": Arm(build, ALSDGC("V4", multiple=0.9, min_multiple=0.5, init_threshold=1e-3), device),
    }


def clock(device):
    """Return seconds: of this process on the CPU, of the wall after the device has finished elsewhere."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def timed(arm, batch, device, steps):
    """Return mean seconds per step of forward and backward, and of the rest."""
    passes = rest = 0.0
    for _ in range(steps):
        start = clock(device)
        arm.scaled_loss(*batch).backward()
        middle = clock(device)
        arm.finish()
        passes += middle - start
        rest += clock(device) - middle
    return passes / steps, rest / steps


def compare(name, device, rounds, steps):
    """Return medians in microseconds and ratios to the base arm."""
    build, shape = MODELS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(device)
    y = torch.randint(0, 10, shape[:1], generator=generator).to(device)
    compared = arms(build, device)
    for arm in compared.values():
        timed(arm, (x, y), device, 110 // steps * steps)  # past V4's warm-up
    times = {key: {"rest": [], "whole": []} for key in compared}
    for i in range(rounds):
        keys = list(compared)
        for key in keys[i % len(keys) :] + keys[: i % len(keys)]:
            passes, rest = timed(compared[key], (x, y), device, steps)
            times[key]["rest"].append(rest)
            times[key]["whole"].append(passes + rest)
    report = {}
    for key, parts in times.items():
        report[key] = {f"{part}_us": round(1e6 * statistics.median(seconds), 1) for part, seconds in parts.items()} | {
            f"{part}_ratio": round(statistics.median(map(lambda a, b: a / b, seconds, times[BASE][part])), 3)
            for part, seconds in parts.items()
        }
        report[key]["whole_seconds"] = parts["whole"]
    return report


def environment():
    """Return machine and software."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor() or platform.machine()
    return {"cpu": cpu, "torch": torch.__version__, "threads": torch.get_num_threads()}


def main(arguments=None):
    """Run the comparison and print or write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=5, help="steps per arm and round")
    parser.add_argument("--json", type=Path, help="write here instead of to standard output")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    report = {"environment": environment(), "device": options.device, "python": sys.version.split()[0]}
    report |= {"rounds": options.rounds, "steps": options.steps, "base": BASE}
    report["models"] = {name: compare(name, options.device, options.rounds, options.steps) for name in MODELS}
    text = json.dumps(report, indent=2)
    if options.json:
        write(options.json, text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
