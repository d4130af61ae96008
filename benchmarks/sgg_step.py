"""Cost of SGG's steps beside the unwrapped optimizers, in one process, interleaved, on one thread.

    OMP_NUM_THREADS=1 python benchmarks/sgg_step.py --out results/reference/benchmarks/sgg-step-cpu.json

Process CPU time per optimizer step, medians over rounds in which every arm takes one step after the other, so
that other load on the machine hits all of them. Two decoder-only language models in shape: 5 M and 25 M
parameters. Ratios are to the unwrapped optimizer's step. Beside AdamW's the forward and backward pass of a
decoder of that shape is timed too (``training``: seconds, round by round; SGG's ordinary step around torch's foreach
AdamW is there the same operations with S multiplied in), and, at the smallest model, a step that reclusters with each
clustering algorithm (``clusterings``).
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import pytorch_optimizer
import torch

from regrad.optim.sgg import SGG
from regrad.problems.models.decoder import Decoder, DecoderConfig
from regrad.report.benchmarks import write
from regrad.studies.sgg.runtime.compared_groupings import COMPARED
from regrad.transforms.grouping import GROUPINGS
from regrad.transforms.scaled_steps import adam_step

INTERVAL = 500
SEQUENCES, LENGTH = 4, 128  # of the forward and backward pass
BASES = {
    "AdamW": lambda p: torch.optim.AdamW(p),
    "AdamW foreach": lambda p: torch.optim.AdamW(p, foreach=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, fused=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-3),
    "SGD momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
    "NAdam": lambda p: torch.optim.NAdam(p),
    "RAdam": lambda p: torch.optim.RAdam(p),
    "Adafactor": lambda p: torch.optim.Adafactor(p),
    "Lamb": lambda p: pytorch_optimizer.Lamb(p),
    "CAME": lambda p: pytorch_optimizer.CAME(p),
}


def shapes(width: int, depth: int, vocabulary: int) -> list[tuple[int, ...]]:
    """Weight shapes of a decoder with gated feed-forward layers and a tied embedding."""
    hidden = 8 * width // 3 // 32 * 32
    layer = [(width, width)] * 4 + [(hidden, width)] * 2 + [(width, hidden), (width,), (width,)]
    return [(vocabulary, width), *(layer * depth), (width,)]


SIZES = {"5M": (256, 5, 4096), "25M": (512, 6, 10240)}
MODELS = {name: shapes(*size) for name, size in SIZES.items()}
CLUSTERINGS = {name: name for name in GROUPINGS} | COMPARED


def parameters(model: str, seed: int = 0) -> list[torch.nn.Parameter]:
    """Gaussian weights and gradients; momentum then looks like a sum of Gaussians."""
    random = torch.Generator().manual_seed(seed)
    params = [torch.nn.Parameter(0.02 * torch.randn(shape, generator=random)) for shape in MODELS[model]]
    for p in params:
        p.grad = 1e-3 * torch.rand((), generator=random).item() * torch.randn(p.shape, generator=random)
    return params


def seconds(step) -> float:
    """Process CPU time of one call."""
    start = time.process_time()
    step()
    return time.process_time() - start


def interleaved(arms: dict[str, object], rounds: int) -> dict[str, dict[str, float]]:
    """Median, least and largest milliseconds per arm."""
    times = {name: [] for name in arms}
    for _ in range(rounds):
        for name, step in arms.items():
            times[name].append(1e3 * seconds(step))
    return {name: {"median": statistics.median(t), "min": min(t), "max": max(t)} for name, t in times.items()}


def after_recluster(base, params, **settings) -> SGG:
    """A wrapper that has just grouped once and will not do so again soon."""
    optimizer = SGG(base(params), interval=INTERVAL, **settings)
    optimizer.progress["steps"] = INTERVAL - 1
    optimizer.step()
    return optimizer


def recluster_step(optimizer: SGG) -> None:
    """One step that reclusters."""
    optimizer.progress["steps"] = INTERVAL - 1
    optimizer.step()


def ordinary_step(optimizer: SGG) -> None:
    """One step that does not."""
    optimizer.progress["steps"] = 1
    optimizer.step()


def foreach_step(optimizer: SGG) -> None:
    """One that does not, with the operations of torch's foreach AdamW, on whole tensors, and S multiplied in."""
    (group,), base = optimizer.base.param_groups, optimizer.base
    for scaled in (False, True):
        params = [p for p in group["params"] if ("scale" in optimizer.state.get(p, {})) == scaled]
        for p in params:
            base.state[p]["step"] += 1
        moments = tuple([base.state[p][name] for p in params] for name in ("exp_avg", "exp_avg_sq"))
        scales = [optimizer._entry_scale(p).entries for p in params] if scaled else None
        steps = [float(base.state[p]["step"]) for p in params]
        with torch.no_grad():
            adam_step(params, [p.grad for p in params], moments, steps=steps, settings=group, scales=scales)


def measure_base(model: str, name: str, rounds: int) -> dict[str, object]:
    """Ordinary and recluster steps around one base optimizer."""
    base = BASES[name]
    plain = base(parameters(model))
    wrapped = after_recluster(base, parameters(model))
    lean = after_recluster(base, parameters(model), materialize=False)
    arms = {
        "plain": plain.step,
        "ordinary": lambda: ordinary_step(wrapped),
        "lean": lambda: ordinary_step(lean),
    }
    if name.startswith("AdamW"):
        compiled = after_recluster(base, parameters(model), compiled=True)
        arms["compiled"] = lambda: ordinary_step(compiled)
    result = interleaved(arms, rounds)
    few = {
        "plain": plain.step,
        "recluster": lambda: recluster_step(wrapped),
        "lean": lambda: recluster_step(lean),
    }
    seldom = interleaved(few, max(rounds // 4, 3))
    one, normal = result["plain"]["median"], result["ordinary"]["median"]
    recluster = seldom["recluster"]["median"]
    return {
        "ms": result,
        "ms_recluster": seldom,
        "ordinary_ratio": normal / one,
        "ordinary_ratio_without_materialized_scale": result["lean"]["median"] / one,
        "compiled_ratio": result["compiled"]["median"] / one if "compiled" in result else None,
        "recluster_in_steps": recluster / seldom["plain"]["median"],
        "amortised_ratio": ((INTERVAL - 1) * normal / one + recluster / seldom["plain"]["median"]) / INTERVAL,
    }


def training_pass(model: str):
    """One forward and backward pass of a decoder of the model's shape, as a function of nothing."""
    width, depth, vocabulary = SIZES[model]
    config = DecoderConfig(width, 8 * width // 3 // 32 * 32, 4, depth, vocabulary, context=LENGTH, tied=True)
    random = torch.Generator().manual_seed(0)
    decoder = Decoder(config, generator=random)
    ids = torch.randint(vocabulary, (SEQUENCES, LENGTH + 1), generator=random)

    def once() -> None:
        decoder.zero_grad(set_to_none=True)
        logits = decoder(ids[:, :-1])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()

    return once


def measure_training(model: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of a training step's parts around both AdamWs, round by round; the first, cold round is left out."""
    arms = {"forward_backward": training_pass(model)}
    for name, base in {"adamw": "AdamW", "foreach": "AdamW foreach", "fused": "AdamW fused"}.items():
        wrapped = after_recluster(BASES[base], parameters(model))
        arms[name] = BASES[base](parameters(model)).step
        ordinary = foreach_step if name == "foreach" else ordinary_step
        arms[f"{name}+sgg ordinary"] = lambda wrapped=wrapped, ordinary=ordinary: ordinary(wrapped)
        arms[f"{name}+sgg recluster"] = lambda wrapped=wrapped: recluster_step(wrapped)
    times = {name: [] for name in arms}
    for _ in range(rounds + 1):
        for name, step in arms.items():
            times[name].append(seconds(step))
    return {name: t[1:] for name, t in times.items()}


def measure_clusterings(model: str, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a step around AdamW that reclusters, by clustering algorithm."""
    arms = {}
    for name, grouping in CLUSTERINGS.items():
        optimizer = SGG(BASES["AdamW"](parameters(model)), interval=INTERVAL, grouping=grouping)
        arms[name] = lambda optimizer=optimizer: recluster_step(optimizer)
    return interleaved(arms, rounds)


def saved_bytes(model: str) -> dict[str, float]:
    """Size of the wrapper's saved state, without the base optimizer's."""
    optimizer = after_recluster(BASES["AdamW"], parameters(model))
    state = optimizer.state.values()
    tensors = [t for entry in state for t in entry.values()]
    total = sum(t.numel() * t.element_size() for t in tensors)
    scaled = sum(entry["index"].numel() for entry in state)
    return {"bytes": total, "scaled_entries": scaled, "bytes_per_scaled_entry": total / scaled}


def environment() -> dict[str, object]:
    """Where this is measured."""
    names = [line.partition(":")[2].strip() for line in cpu_lines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "tokens": SEQUENCES * LENGTH,
    }


def cpu_lines() -> list[str]:
    """The kernel's description of the processors, where there is one."""
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def main() -> None:
    """Measure everything and print or write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--bases", nargs="+", default=list(BASES), choices=BASES)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = {"environment": environment(), "interval": INTERVAL, "rounds": arguments.rounds, "models": {}}
    for model in arguments.models:
        entries = sum(p.numel() for p in parameters(model))
        results = {name: measure_base(model, name, arguments.rounds) for name in arguments.bases}
        report["models"][model] = {
            "entries": entries,
            "state": saved_bytes(model),
            "bases": results,
            "training": measure_training(model, max(arguments.rounds, 5)),
        }
        for name, r in results.items():
            print(
                f"{model:4s} {name:13s} {r['ms']['plain']['median']:8.2f} ms"
                f"  ordinary x{r['ordinary_ratio']:.2f}"
                f"  without materialized scale x{r['ordinary_ratio_without_materialized_scale']:.2f}"
                + (f"  compiled x{r['compiled_ratio']:.2f}" if r["compiled_ratio"] else "")
                + f"  recluster {r['recluster_in_steps']:.1f} steps  amortised x{r['amortised_ratio']:.3f}"
            )
    report["clusterings"] = {"model": arguments.models[0], "ms": measure_clusterings(arguments.models[0], 3)}
    document = json.dumps(report, indent=1)
    if arguments.out:
        write(Path(arguments.out), document + "\n")


if __name__ == "__main__":
    main()
