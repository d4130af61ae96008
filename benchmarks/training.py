"""A training step's cost with derivatives by autograd, written out, and fused or in channels_last, interleaved.

    OMP_NUM_THREADS=1 python benchmarks/training.py --out results/reference/benchmarks/training-cpu.json

Process CPU time on one thread of forward pass, backward pass and a step of AdamW, round by round, every arm of a
workload once a round, so that other load on the machine hits all of them. ``by autograd`` is the composition of
torch's functions that the other arms equal: to the bit (``written out``, the default), or but for rounding (``fused``:
the option ``fused_attention``; ``channels_last``: the option ``memory_format``). Ratios are medians of ``by autograd``
over medians of the arm, with 95 % bootstrap intervals over rounds. The floor is the products' operations, counted by
torch, over what a product of 2048 × 512 × 512 reaches here in the same rounds. ``statistics`` are milliseconds of
per-example statistics of the decoder of 115,008 weights, by method and attention.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu
from torch.utils.flop_counter import FlopCounterMode

from regrad.perexample.engine import gradient_statistics
from regrad.problems.batch import Batch
from regrad.problems.classification import class_losses
from regrad.problems.models.attention import causal_attention, rotate
from regrad.problems.models.decoder import CONFIGS, Attention, Decoder, DecoderConfig
from regrad.problems.models.resnet import Block, ResNet, ResNetConfig, shortcut
from regrad.problems.models.rms_norm import RMSNorm
from regrad.report.benchmarks import write
from sgg_step import cpu_lines

Step = Callable[[], None]
DECODERS = {
    "13k": DecoderConfig(16, 32, 4, 2, 256),
    "37k": DecoderConfig(32, 64, 4, 2, 256),
    "115k": CONFIGS["0.1M"],
    "1M": CONFIGS["1M"],
}
BATCHES = ((16, 128), (32, 64))
WIDTHS, IMAGES = (4, 8, 16), (64, 1, 28, 28)
STATISTICS = (("mean_square", 1), ("variance", 1), *(("mean_sign", size) for size in (1, 2, 4, 8)))
PRODUCT = (2048, 512, 512)


class AutogradAttention(Attention):
    """Attention as a composition of torch's functions."""

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[B, T, hidden] -> [B, T, hidden]."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = causal_attention(rotate(query, cos, sin), rotate(key, cos, sin), value)
        return self.output(mixed.transpose(1, 2).flatten(-2))


class AutogradBlock(Block):
    """A residual network's block with rectifiers that copy."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H', W']."""
        y = self.norm2(self.convolution2(relu(self.norm1(self.convolution1(x)))))
        return relu(y + shortcut(x, y.shape[1]))


COMPOSED = {Attention: AutogradAttention, RMSNorm: nn.RMSNorm, Block: AutogradBlock}


def composed(model: nn.Module) -> nn.Module:
    """Put what autograd differentiates in place of what is written out."""
    for module in model.modules():
        module.__class__ = COMPOSED.get(type(module), type(module))
    return model


def seeded() -> torch.Generator:
    """The same generator for every arm."""
    return torch.Generator().manual_seed(0)


def token_losses(model: nn.Module, batch: Batch) -> Tensor:
    """Loss of each sequence, as the language problem has it."""
    tokens = class_losses(model(batch.inputs).flatten(0, 1), batch.targets.flatten())
    return tokens.unflatten(0, batch.targets.shape).mean(dim=1)


def training_step(model: nn.Module, losses: Callable[[nn.Module], Tensor], **options: Any) -> Step:
    """Forward pass, backward pass and a step of AdamW with these options."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **options)

    def step() -> None:
        losses(model).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def decoder(size: str, length: int, *, fused: bool = False) -> Decoder:
    """A decoder of preset medium's sizes, or of a million weights."""
    return Decoder(replace(DECODERS[size], context=length, fused=fused), generator=seeded())


def sequences(count: int, length: int) -> Batch:
    """Random ids: no time depends on them."""
    ids = torch.randint(256, (count, length + 1), generator=seeded())
    return Batch(ids[:, :-1], ids[:, 1:])


def decoder_arms(size: str, count: int, length: int) -> dict[str, Step]:
    """Steps of one decoder by arm."""
    batch = sequences(count, length)

    def step(model: nn.Module, **options: Any) -> Step:
        return training_step(model, lambda model: token_losses(model, batch), **options)

    return {
        "by autograd": step(composed(decoder(size, length))),
        "written out": step(decoder(size, length)),
        "fused": step(decoder(size, length, fused=True)),
        "fused, fused AdamW": step(decoder(size, length, fused=True), fused=True),
    }


def network_arms(width: int) -> dict[str, Step]:
    """Steps of one ResNet-20 by arm."""
    images, labels = torch.randn(IMAGES, generator=seeded()), torch.randint(10, IMAGES[:1], generator=seeded())

    def network(**options: Any) -> ResNet:
        return ResNet(ResNetConfig(width=width, channels=1, **options), generator=seeded())

    def step(model: nn.Module, **options: Any) -> Step:
        return training_step(model, lambda model: cross_entropy(model(images), labels, reduction="none"), **options)

    return {
        "by autograd": step(composed(network())),
        "written out": step(network()),
        "channels_last": step(network(memory_format="channels_last")),
        "channels_last, fused AdamW": step(network(memory_format="channels_last"), fused=True),
    }


def statistics_arms(count: int, length: int) -> dict[str, Step]:
    """Per-example statistics, by what is asked for, method and attention."""
    batch = sequences(count, length)
    arms = {}
    for fused, method, (name, size) in (
        (fused, method, what) for fused in (False, True) for method in ("vmap", "graph") for what in STATISTICS
    ):
        call = partial(gradient_statistics, decoder("115k", length, fused=fused), token_losses, batch)
        arm = f"{name}, groups of {size}, {method}, {'fused' if fused else 'written out'}"
        arms[arm] = partial(call, ["mean", name] if size == 1 else [name], method=method, group_size=size)
    return arms


def interleaved(arms: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Milliseconds by arm, round by round, after three rounds of warm-up."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds + 3):
        for name, step in arms.items():
            begin = time.process_time()
            step()
            times[name].append(1e3 * (time.process_time() - begin))
    return {name: t[3:] for name, t in times.items()}


def ratio(base: list[float], arm: list[float], draws: int = 2000) -> list[float]:
    """Ratio of medians, and the ends of its 95 % bootstrap interval over rounds."""
    pairs = np.array([base, arm])
    rounds = np.random.default_rng(0).integers(pairs.shape[1], size=(draws, pairs.shape[1]))
    drawn = np.median(pairs[:, rounds], axis=2)
    return [statistics.median(base) / statistics.median(arm), *np.quantile(drawn[0] / drawn[1], [0.025, 0.975])]


def product_step() -> Step:
    """One product of matrices, the measure of the floor."""
    rows, inner, columns = PRODUCT
    left, right = torch.randn(rows, inner), torch.randn(columns, inner)
    return lambda: nn.functional.linear(left, right)


def workload(arms: dict[str, Step], rounds: int) -> dict[str, Any]:
    """Times, ratios and floor of one workload."""
    times = interleaved(arms | {"product": product_step()}, rounds)
    product = statistics.median(times.pop("product"))
    with FlopCounterMode(display=False) as counter:
        arms["by autograd"]()
    rate = 2 * PRODUCT[0] * PRODUCT[1] * PRODUCT[2] / product  # operations in a millisecond
    return {
        "ms": {name: statistics.median(t) for name, t in times.items()},
        "ratio": {name: ratio(times["by autograd"], t) for name, t in times.items() if name != "by autograd"},
        "operations": counter.get_total_flops(),
        "gflops_of_a_product": rate / 1e6,
        "floor_ms": counter.get_total_flops() / rate,
    }


def measure(rounds: int) -> dict[str, Any]:
    """All workloads, each printed when it is done."""
    makers = {
        f"decoder {size}, {count} × {length}": partial(decoder_arms, size, count, length)
        for size in DECODERS
        for count, length in BATCHES
    } | {f"ResNet-20, width {width}": partial(network_arms, width) for width in WIDTHS}
    found = {}
    for name, make in makers.items():
        found[name] = workload(make(), rounds)
        row = found[name]
        ratios = "  ".join(f"{arm} x{r:.2f} [{low:.2f}, {high:.2f}]" for arm, (r, low, high) in row["ratio"].items())
        print(f"{name:24s} {row['ms']['by autograd']:7.2f} ms  {ratios}  floor {row['floor_ms']:.1f} ms", flush=True)
    return found


def measure_statistics(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of per-example statistics."""
    found = {}
    for count, length in BATCHES:
        times = interleaved(statistics_arms(count, length), rounds)
        found[f"{count} × {length}"] = {name: statistics.median(t) for name, t in times.items()}
        for name, t in found[f"{count} × {length}"].items():
            print(f"{count} × {length}  {name:50s} {t:7.2f} ms")
    return found


def main() -> None:
    """Measure everything, print it, and write one JSON document if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cpu = next((line.partition(":")[2].strip() for line in cpu_lines() if line.startswith("model name")), "")
    report = {
        "environment": {"cpu": cpu, "torch": torch.__version__, "threads": 1, "load": os.getloadavg()[0]},
        "rounds": options.rounds,
        "workloads": measure(options.rounds),
        "statistics": measure_statistics(max(3, options.rounds // 2)),
    }
    if options.out:
        write(options.out, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
