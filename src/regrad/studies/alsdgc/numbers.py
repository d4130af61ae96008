"""What the prose cites of the study of ALSDGC: records in, texts out."""

import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from regrad.report.outcomes import Outcomes
from regrad.report.tables import gap_text, interval_text, seeds_text, significant
from regrad.results import Record
from regrad.studies.alsdgc.across import numbers as across_tasks
from regrad.studies.alsdgc.arms import ARMS
from regrad.studies.alsdgc.quantities import acted, best_fixed, recovery, runs, target, tasks, widths
from regrad.studies.alsdgc.scale import scale_numbers
from regrad.studies.alsdgc.sizes import TITLES
from regrad.studies.alsdgc.tables import gap


def theorem_numbers(curves: Mapping[str, Any]) -> dict[str, str]:
    return {
        "alsdgc/adam-limit": f"{curves['adam_limit']:.1f}",
        "alsdgc/multiplier": "65{,}536",
        "alsdgc/overflow-share": f"{100 * fmean(curves['overflow'][10:]):.0f}\\,\\%",
        "alsdgc/arrival": ", ".join(f"{steps:.0f}" for steps in curves["arrival"].values()),
        "alsdgc/rates": ", ".join(f"{lr:g}" for lr in curves["arrival"]),
        "alsdgc/clips": f"{100 * max(curves['clips'].values()):.0f}\\,\\%",
    }


def numbers(records: Iterable[Record]) -> dict[str, str]:
    outcomes = Outcomes(records)
    edges = [c.edge is not None for task in tasks(outcomes) for c in outcomes.part(task).choices().values()]
    rates = [f"{run.spec.optimizer.lr:g}" for run in runs(outcomes, "adam", "none")]
    texts = {
        "runs": str(len(outcomes.once)),
        "diverged": str(outcomes.once.diverged),
        "fresh-seeds": seeds_text(outcomes.part(*tasks(outcomes)).fresh),
        "edges": str(sum(edges)),
        "arms": str(len(outcomes.part("plain").arms)),
        "adam-lr": f"one untuned learning rate, {rates[0]}" if rates else "the learning rate tuned for Adam alone",
    }
    texts |= adam_numbers(outcomes) | acted_numbers(outcomes) | control_numbers(outcomes) | rate_numbers(outcomes)
    for task in tasks(outcomes):
        texts |= {f"{task}/{name}": text for name, text in task_numbers(outcomes, task).items()}
    own = {f"alsdgc/{name}": text for name, text in texts.items()}
    return own | across_tasks(outcomes) | scale_numbers(outcomes.records)


def control_numbers(outcomes: Outcomes) -> dict[str, str]:
    def less(part: str, arm: str, reference: str) -> str:
        own = outcomes.part(part)
        return gap_text(gap(outcomes, arm, part, than=reference), own.arm(arm), own.arm(reference))

    texts = {
        "fp16/v0-diverged": share(outcomes, "fp16", "V0"),
        "fp16/scale-1-gap": less("fp16", "scale-1", "grad_scaler"),
        "fp16/v4-gap": less("fp16", "V4", "grad_scaler"),
    }
    for part in ("fp16-resnet", "fp16-rnn"):
        texts |= {f"{part}/{arm.lower()}": less(part, arm, "grad_scaler") for arm in ("scale-1", "V2", "V3")}
    return texts


def adam_numbers(outcomes: Outcomes) -> dict[str, str]:
    """Return what each arm changes of Adam's test loss at one learning rate, on every task that has such runs."""
    parts = {"adam": "plain"} | {f"adam-{task}": task for task in tasks(outcomes)}
    kept = {part: TITLES[task] for part, task in parts.items() if runs(outcomes, part, "none")}

    def changes(arm: str) -> str:
        gaps = {title: gap(outcomes, arm, part, than="none") for part, title in kept.items()}
        texts = [f"{interval_text(found)} ({title})" for title, found in gaps.items() if found]
        return ", ".join(texts)

    return {f"adam/{arm}": changes(arm) for arm in ("V0", "lr-x2", "V1", "placebo")}


def acted_numbers(outcomes: Outcomes) -> dict[str, str]:
    """Return at which share of its steps V4 clipped on each task, in per cent, and where it never did."""
    found = {task: acted(runs(outcomes, task, "V4")) for task in tasks(outcomes)}
    shares = {TITLES[task]: fmean(of_task) for task, of_task in found.items() if of_task}
    texts = [f"{100 * share:.1f}\\,\\% ({title})" for title, share in shares.items()]
    idle = [title for title, share in shares.items() if not share]
    never = f"On {', '.join(idle)} they never clipped, and are no clipping bit for bit." if idle else ""
    return {"V4-acted": ", ".join(texts), "V4-idle": never}


def rate_numbers(outcomes: Outcomes) -> dict[str, str]:
    texts = {}
    for arm in ("none", "clip-1", "V0", "V4"):
        decades = widths(outcomes, arm).values()
        texts[f"width/{arm}"] = f"{fmean(decades):.2f}" if decades else ""
        waits = [recovery(run) if run.finite else math.inf for run in runs(outcomes, "spikes", arm)]
        back = [steps for steps in waits if steps < math.inf]
        mean = f"{significant(fmean(back), 3)} steps" if back else "for ever"
        texts[f"recovery/{arm}"] = f"{mean} ({len(back)} of {len(waits)})" if waits else ""
    return texts


def task_numbers(outcomes: Outcomes, task: str) -> dict[str, str]:
    own = outcomes.part(task)
    first, best = own.records[0], best_fixed(outcomes, task)
    gaps = {"V0": ("V0", best), "V4": ("V4", best), "V4-none": ("V4", "none"), "V4-default": ("V4", "clip-1")}
    return {
        "parameters": f"{first.parameters:,}",
        "batch": str(first.spec.batch_size),
        "steps": f"{first.spec.steps:,}",
        "target": f"{target(outcomes, task):.2f}",
        "best-norm": f"{ARMS[best].max_norm:g}",
        "none-diverged": share(outcomes, task, "none"),
        "V0-diverged": share(outcomes, task, "V0"),
    } | {
        name: gap_text(gap(outcomes, arm, task, than=than), own.arm(arm), own.arm(than))
        for name, (arm, than) in gaps.items()
    }


def share(outcomes: Outcomes, part: str, arm: str) -> str:
    """Return how many of how many fresh runs diverged; of an arm that tuning left without one, its tuning runs."""
    own = outcomes.part(part)
    # Zero of zero would read as never: without a fresh run the tuning is what can be told.
    if arm in own.untrainable:
        return "{0} of {0} in tuning".format(len(own.arm(arm).tuning))
    results = own.arm(arm).results
    return f"{results.diverged} of {len(results)}" if len(results) else ""
