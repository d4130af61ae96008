"""Tokens a second of the decoder on a GPU, and what SGG adds to AdamW's step there, by size.

    python benchmarks/gpu_steps.py --out results/reference/benchmarks/steps-cuda.json

Each size trains on sequences of 256 tokens under bfloat16 autocast. An arm is an optimizer; in each round every arm
takes some whole steps after the other (forward, backward, optimizer), so that what else the GPU does hits all alike,
and seconds run until the device is done. SGG's are ordinary steps: its clusters are made before. `--rehearse` runs two
tiny sizes on the CPU, to see that the script goes through.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from regrad.optim.sgg import SGG
from regrad.problems.models.decoder import CONFIGS, Decoder
from regrad.report.benchmarks import write

LENGTH = 256
BATCHES = {"60M": 64, "130M": 32, "0.1M": 2, "0.3M": 2}
INTERVAL = 10_000  # no recluster but the first is timed
STEPS = 5  # of an arm in a round
ARMS = {
    "AdamW": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-4),
    "AdamW foreach + SGG": lambda model: clustered(torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True)),
    "AdamW fused + SGG compiled": lambda model: clustered(
        torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True), compiled=True
    ),
    "AdamW fused": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True),
}


def clustered(base: torch.optim.Optimizer, *, compiled: bool = False) -> SGG:
    """Return SGG around an optimizer, about to recluster at its first step."""
    made = SGG(base, interval=INTERVAL, compiled=compiled)
    made.progress["steps"] = INTERVAL - 1
    return made


def wait(device: str) -> None:
    """Wait until the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer, ids: Tensor) -> None:
    """Take a training step; the host never waits for its loss."""
    with torch.autocast(ids.device.type, torch.bfloat16):
        logits = model(ids[:, :-1])
    cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten()).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def measure(size: str, device: str, rounds: int) -> dict[str, Any]:
    """Return seconds of a step by arm and round, and tokens a second by the medians."""
    torch.manual_seed(0)
    config = replace(CONFIGS[size], context=LENGTH, fused=True)
    made = {arm: Decoder(config).to(device) for arm in ARMS}
    optimizers = {arm: ARMS[arm](model) for arm, model in made.items()}
    ids = torch.randint(0, config.vocabulary, (BATCHES[size], LENGTH + 1)).to(device)
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for turn in range(rounds + 1):  # the first warms up and makes SGG's clusters
        for arm, model in made.items():
            wait(device)
            begin = time.perf_counter()
            for _ in range(STEPS):
                take_step(model, optimizers[arm], ids)
            wait(device)
            seconds[arm] += [(time.perf_counter() - begin) / STEPS] if turn else []
    tokens = BATCHES[size] * LENGTH
    rates = {arm: tokens / statistics.median(values) for arm, values in seconds.items()}
    return {
        "parameters": sum(p.numel() for p in made["AdamW"].parameters()),
        "tokens": tokens,
        "seconds": seconds,
        "tokens a second": rates,
        "SGG over AdamW": rates["AdamW"] / rates["AdamW foreach + SGG"],
        "SGG compiled over AdamW fused": rates["AdamW fused"] / rates["AdamW fused + SGG compiled"],
    }


def main() -> None:
    """Measure and write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU")
    options = parser.parse_args()
    device, sizes = ("cpu", ("0.1M", "0.3M")) if options.rehearse else ("cuda", ("60M", "130M"))
    name = "rehearsal on a CPU" if options.rehearse else torch.cuda.get_device_name()
    report: dict[str, Any] = {"device": name, "torch": torch.__version__, "precision": "bfloat16 autocast", "sizes": {}}
    for size in sizes:
        report["sizes"][size] = measure(size, device, options.rounds)
        write(options.out, json.dumps(report, indent=1) + "\n")  # after each: time may be over
        rates = report["sizes"][size]["tokens a second"]
        print(f"{size}: " + ", ".join(f"{arm} {rate:,.0f} tokens/s" for arm, rate in rates.items()), flush=True)


if __name__ == "__main__":
    main()
