"""Memory and time of one training step of the decoder, counted on paper and measured, by size.

    OMP_NUM_THREADS=1 python benchmarks/scale.py --out results/reference/benchmarks/scale-cpu.json

On paper (the step runs on torch's meta device, without numbers): parameters; bytes of weights, gradients, the
state of AdamW and of SGG; bytes that the forward pass saves for the backward pass, counted tensor by tensor; and
floating-point operations of the step, counted by torch. Measured, at sizes that fit here: seconds and the growth
of the process's peak memory, each size in a process of its own. The time on paper is operations over one
rate, the median over the measured sizes; the table says how far each size is from it. docs/scale.md shows the table.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from regrad.optim.sgg import SGG
from regrad.problems.models.decoder import CONFIGS, Decoder
from regrad.report.benchmarks import write

ROOT = Path(__file__).parents[1]
LENGTH, BATCH = 256, 4
MEASURED = ("0.1M", "0.3M", "1M", "3M", "10M", "25M", "60M")
SIZES = (*MEASURED, "130M", "350M", "1B")
OPTIMIZERS = {"AdamW": 8.0, "AdamW + SGG": 13.0}  # bytes a weight: two moments; 1 of index and 4 of scale more
GPU_PEAK, GPU_SHARE = 989e12, 0.4  # an H100's dense bfloat16 peak from its data sheet, and an assumed share of it
MARKS = ("<!-- scale:begin (benchmarks/scale.py) -->", "<!-- scale:end -->")


def loss_of(model: torch.nn.Module, ids: Tensor) -> Tensor:
    """Return the mean next-token loss."""
    logits = model(ids[:, :-1])
    return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def on_paper(size: str, batch: int = BATCH) -> dict[str, float]:
    """Return what a step of a size needs, without computing a number."""
    saved: dict[int, int] = {}
    model = Decoder(replace(CONFIGS[size], context=1024, fused=True)).to("meta")
    ids = torch.zeros(batch, LENGTH + 1, dtype=torch.long, device="meta")
    kept = []  # so that no storage's number is given away twice
    own = {p.untyped_storage()._cdata for p in model.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.append(storage)
        if storage._cdata not in own:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = loss_of(model, ids)
        loss.backward()
    count = sum(p.numel() for p in model.parameters())
    return {"parameters": count, "saved bytes": sum(saved.values()), "operations": counter.get_total_flops()}


def peak_bytes() -> int:
    """Return the largest memory that this process has had since it was started."""
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(size: str, rounds: int) -> dict[str, float]:
    """Return median seconds of a step around SGG(AdamW) and the growth of the peak memory, in this process."""
    torch.set_num_threads(1)
    model = Decoder(replace(CONFIGS[size], context=1024, fused=True))
    optimizer = SGG(torch.optim.AdamW(model.parameters(), lr=1e-4), interval=2)
    ids = torch.randint(0, CONFIGS[size].vocabulary, (BATCH, LENGTH + 1))
    before = peak_bytes() - 4 * sum(p.numel() for p in model.parameters())
    seconds = []
    for _ in range(rounds + 3):  # three steps of warm-up: the second one makes the clusters
        begin = time.process_time()
        loss_of(model, ids).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.process_time() - begin)
    return {"seconds": statistics.median(seconds[3:]), "grown bytes": peak_bytes() - before}


def apart(size: str, rounds: int) -> dict[str, float]:
    """Measure in a process of its own, so that peaks do not mix."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (size, rounds))


def record(rounds: int) -> dict[str, Any]:
    """Return everything counted and measured."""
    rows = {size: on_paper(size) for size in SIZES}
    for size in MEASURED:
        rows[size] |= apart(size, max(3, min(rounds, round(rounds * 1e6 / rows[size]["parameters"]))))
    rate = statistics.median(rows[size]["operations"] / rows[size]["seconds"] for size in MEASURED)
    return {
        "torch": torch.__version__, "threads": 1, "batch": BATCH, "length": LENGTH, "rate": rate, "sizes": rows
    }  # fmt: skip


def gigabytes(value: float) -> str:
    """Return bytes as gigabytes with two or three figures."""
    return f"{value / 1e9:.2f}" if value < 1e10 else f"{value / 1e9:.0f}"


def needed(row: dict[str, float], optimizer: str) -> float:
    """Return the bytes of weights, gradients, optimizer state and saved tensors."""
    return row["parameters"] * (8 + OPTIMIZERS[optimizer]) + row["saved bytes"]


def table(found: dict[str, Any]) -> str:
    """Return the Markdown table."""
    lines = [
        "| size | parameters | weights + gradients + AdamW, GB | with SGG, GB | saved by the forward pass, GB | "
        "memory measured / on paper | seconds a step: on paper | measured | GPU hours for 20 tokens a parameter |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size, row in found["sizes"].items():
        count = row["parameters"]
        paper = row["operations"] / found["rate"]
        here = "seconds" in row
        memory = f"{row['grown bytes'] / needed(row, 'AdamW + SGG'):.2f}" if here else "not run here"
        seconds = f"{row['seconds']:.3g}" if here else "not run here"
        tokens = found["batch"] * found["length"]
        hours = row["operations"] / tokens * 20 * count / (GPU_PEAK * GPU_SHARE) / 3600
        cells = [
            size, f"{count:,}", gigabytes(16 * count), gigabytes(21 * count), gigabytes(row["saved bytes"]),
            memory, f"{paper:.3g}", seconds, f"{hours:.2g}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def filled(text: str, found: dict[str, Any]) -> str:
    """Return the document with the table between its marks."""
    head, _, rest = text.partition(MARKS[0])
    return head + MARKS[0] + "\n" + table(found) + "\n" + MARKS[1] + rest.partition(MARKS[1])[2]


def main() -> None:
    """Measure, print the table, and if asked to write the record and the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = record(options.rounds)
    print(table(found))
    if options.out:
        write(options.out, json.dumps(found) + "\n")
        document = ROOT / "docs" / "scale.md"
        document.write_text(filled(document.read_text(), found))


if __name__ == "__main__":
    main()
