"""Cost of per-example gradient statistics beside every peer, interleaved in one run.

    OMP_NUM_THREADS=1 python benchmarks/perexample.py --out perexample.json
    python benchmarks/perexample.py --device cuda --out perexample_cuda.json

A ratio is (forward + backward + statistics) / (the fastest ordinary forward + backward of the same round); its median
over rounds is reported with quartiles. On a CPU time is process CPU time on one thread, and peak memory comes from the
profiler's record of every allocation and release during one step; on a GPU CUDA events and the caching allocator's
peak, under bfloat16 autocast. Memory ratios are to the leanest ordinary step, whose gradients count.

Measured in a process as a user has it. glibc's default gives freed memory back to the system at moments that depend on
what was allocated last, which charges page faults to whichever arm comes next; with `--keep-memory` it is told not to,
for all arms alike (the settings are in the record).
Peers that are not installed (opacus; backpack-for-pytorch with --no-deps, einops, unfoldNd) are left out; a peer that
cannot run a workload is recorded with its reason. `--compile` adds the compiled arms, which take minutes to build.
"""

import argparse
import contextlib
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# 32 MiB is the most that glibc takes for the second.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(1 << 33), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}


def measure(name: str, build: Callable[[], Any], options: argparse.Namespace) -> dict[str, Any]:
    """All arms of one workload."""
    import torch

    from perexample_arms import arms

    torch.manual_seed(0)
    steps, report = {}, {}
    for arm, make in arms(build(), compiled=options.compile).items():
        if options.arms and arm not in options.arms:
            continue
        try:
            step = make()
            with amp(options.device):
                step()
                step()
                report[arm] = {"peak_bytes": peak_bytes(step, options.device), "seconds": []}
            steps[arm] = step
        except Exception as error:  # noqa: BLE001 (a peer may fail in any way; the record says how)
            report[arm] = {"error": f"{type(error).__name__}: {error}".split("\n")[0][:300]}
    for _ in range(options.rounds):
        for arm, step in steps.items():
            with amp(options.device):
                report[arm]["seconds"].append(seconds(step, options.device))
    summarise(report)
    print(table(name, report), flush=True)
    return report


def amp(device: str) -> Any:
    """bfloat16 autocast on a GPU, nothing on a CPU."""
    import torch

    return torch.autocast("cuda", torch.bfloat16) if device == "cuda" else contextlib.nullcontext()


def seconds(step: Callable[[], Any], device: str) -> float:
    """Process CPU time of a step, or its time on the GPU."""
    import torch

    gc.collect()
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        step()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    begin = time.process_time()
    answer = step()
    spent = time.process_time() - begin
    del answer
    return spent


def peak_bytes(step: Callable[[], Any], device: str) -> int:
    """The most a step holds beyond what was there when it began."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        answer = step()
    del answer
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def summarise(report: dict[str, Any]) -> None:
    """Add ratios to the best ordinary step of the same round, and to the leanest."""
    plain = [r for arm, r in report.items() if arm.startswith("ordinary") and "seconds" in r]
    best = [min(times) for times in zip(*(r["seconds"] for r in plain), strict=True)]
    leanest = min(r["peak_bytes"] for r in plain)
    for r in report.values():
        if "seconds" in r:
            ratios = [t / b for t, b in zip(r["seconds"], best, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            r |= {"ratio": middle, "ratio_quartiles": [low, high], "ratio_of_minima": min(r["seconds"]) / min(best)}
            r["memory_ratio"] = r["peak_bytes"] / leanest


def table(name: str, report: dict[str, Any]) -> str:
    """For the terminal."""
    lines = [f"\n{name}", f"{'arm':34}{'ratio':>8}{'quartiles':>16}{'minima':>8}{'memory':>8}{'ms':>10}"]
    for arm, r in report.items():
        if "error" in r:
            lines.append(f"{arm:34}{r['error'][:80]}")
            continue
        low, high = r["ratio_quartiles"]
        ms = 1e3 * statistics.median(r["seconds"])
        spread = f"{low:.2f} – {high:.2f}"
        lines.append(
            f"{arm:34}{r['ratio']:8.3f}{spread:>16}{r['ratio_of_minima']:8.3f}{r['memory_ratio']:8.2f}{ms:10.1f}"
        )
    return "\n".join(lines)


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """What a reader needs to place the numbers."""
    import torch

    device = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    model = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "")
    return {
        "torch": torch.__version__, "python": platform.python_version(), "device": device, "cpu": model,
        "threads": torch.get_num_threads(), "rounds": options.rounds, "load": os.getloadavg(),
        "malloc": {key: os.environ.get(key) for key in MALLOC},
        "time": "CUDA events" if options.device == "cuda" else "process CPU time",
        "memory": "allocator peak" if options.device == "cuda" else "profiler allocation events",
    }  # fmt: skip


def earlier(path: str, now: dict[str, Any]) -> dict[str, Any]:
    """What the file holds of an equal environment, so that workloads can be measured one by one; else nothing."""
    with contextlib.suppress(OSError), open(path) as file:
        found = json.load(file)
        if all(found["environment"][key] == value for key, value in now.items() if key not in ("load", "rounds")):
            return found
    return {"environment": now, "workloads": {}}


def parameters(workloads: dict[str, Callable[[], Any]]) -> dict[str, int]:
    """Weights of each workload's model."""
    return {name: sum(p.numel() for p in build().make(True).parameters()) for name, build in workloads.items()}


def kept_bytes(widths: tuple[int, ...] = (64, 128, 256), times: tuple[int, ...] = (1, 2, 4)) -> list[dict[str, int]]:
    """Bytes that one decoder block keeps for its backward pass, and those of its per-example gradients.

    For widths D and sequence lengths L of `times` D; counted, not timed: tensors that autograd saves, each
    storage once and parameters left out, against B times the parameters, in float32 with B = 2.
    """
    import torch

    from perexample_workloads import DecoderBlock

    found = []
    for width in widths:
        for length in (width * k for k in times):
            block, x = DecoderBlock(width, 4, True), torch.randn(2, length, width)
            own = {p.untyped_storage().data_ptr() for p in block.parameters()}
            storages: dict[int, int] = {}

            def keep(t: Any, storages: dict[int, int] = storages) -> Any:
                storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
                return t

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
                answer = block(x)
            kept = sum(size for pointer, size in storages.items() if pointer not in own)
            parameters = sum(p.numel() for p in block.parameters())
            del answer
            found.append({"D": width, "L": length, "per_example_gradients": 2 * 4 * parameters, "activations": kept})
    return found


def main() -> None:
    """Measure the chosen workloads and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="perexample.json", help="workloads measured here before stay in it")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workloads", nargs="*", help="all by default")
    parser.add_argument("--arms", nargs="*", help="all by default; needs an ordinary one")
    parser.add_argument("--keep-memory", action="store_true", help="the C library keeps freed memory")
    options = parser.parse_args()
    if options.keep_memory and any(os.environ.get(key) != value for key, value in MALLOC.items()):
        # glibc reads these once, when the process starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})
    import torch

    from perexample_workloads import workloads
    from regrad.report.benchmarks import write

    if options.device == "cpu":
        torch.set_num_threads(1)
    chosen = workloads(options.device)
    if options.workloads:
        chosen = {name: chosen[name] for name in options.workloads}
    record = earlier(options.out, environment(options))
    record |= {"bytes": kept_bytes(), "parameters": parameters(workloads(options.device))}
    for name, build in chosen.items():
        record["workloads"][name] = measure(name, build, options)
        write(Path(options.out), json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
