"""What the command line prints before it works: targets, what they lack, how long it may take."""

from regrad.pipeline.estimates import Work
from regrad.pipeline.folders import Folders
from regrad.pipeline.reproduce import Order
from regrad.runner.ensure import Bench
from regrad.runner.progress import duration

HOURS_TO_ANNOUNCE = 0.1


def works(folders: Folders, order: Order) -> list[tuple[str, Work]]:
    """Return what each target still has to do."""
    bench = Bench(folders.runs, folders.cache, order.device, order.jobs)
    return [(target.name, Work(target, order.preset, bench)) for target in order.targets]


def listing(folders: Folders, order: Order, *, everything: bool) -> str:
    """Return a line a target: runs there and missing, expected time; its figures too with ``everything``."""
    lines = [f"preset {order.preset}, device {order.device}"]
    figures = {target.name: target.figures for target in order.targets}
    for name, work in works(folders, order):
        there = len(work.specs) - len(work.missing)
        text = f"{name}: {there} of {len(work.specs)} first-stage runs are there"
        seconds = work.seconds()
        if work.missing and seconds is not None:
            text += f"; the rest takes about {duration(seconds)} of one process"
        lines.append(text if work.specs else f"{name}: no runs of its own")
        if everything:
            lines += [f"  {figure}" for figure in figures[name]]
    return "\n".join([*lines, *order.documents]) + "\n"


def announce(folders: Folders, order: Order) -> str:
    """Return the first line of a reproduction, with GPU hours where they matter."""
    text = f"regrad: preset {order.preset} on {order.device}, results in {folders.root}\n"
    if order.preset == "paper":
        hours = sum(work.gpu_hours() for _, work in works(folders, order))
        text += f"regrad: at least {hours:.0f} GPU hours for tuning, by 6 operations a parameter and token\n"
    return text
