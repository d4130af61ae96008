"""What the command line prints before it works: targets, what they lack, how long it may take."""

from regrad.pipeline.estimates import gpu_hours
from regrad.pipeline.explain import State, explained, in_a_line, standing
from regrad.pipeline.folders import Folders
from regrad.pipeline.reproduce import Order
from regrad.pipeline.targets import exports, notebook_path
from regrad.runner.ensure import Bench
from regrad.studies.study import Study


def standings(folders: Folders, order: Order) -> list[tuple[Study, State]]:
    """Return how each target stands, nothing being run."""
    bench = Bench(folders.runs, folders.cache, order.device, order.jobs)
    parameters = {"preset": order.preset, "device": order.device, "jobs": order.jobs}
    return [(target, standing(folders, target, parameters, bench)) for target in order.targets]


def listing(folders: Folders, order: Order, *, everything: bool) -> str:
    """Return a line a target: fresh or why not, runs missing, expected time; its figures too with ``everything``."""
    lines = [f"preset {order.preset}, device {order.device}"]
    for target, state in standings(folders, order):
        lines.append(in_a_line(target, state))
        if everything:
            lines += [f"  {figure}" for figure in exports(notebook_path(folders.notebooks, target))]
    return "\n".join([*lines, *order.documents]) + "\n"


def explanation(folders: Folders, order: Order) -> str:
    """Return why each target of an order will or will not run."""
    lines = [line for target, state in standings(folders, order) for line in explained(target, state)]
    return "\n".join([f"preset {order.preset}, device {order.device}", *lines]) + "\n"


def announce(folders: Folders, order: Order) -> str:
    """Return the first line of a reproduction, with GPU hours where they matter."""
    text = f"regrad: preset {order.preset} on {order.device}, results in {folders.root}\n"
    if order.preset == "paper":
        bench = Bench(folders.runs, folders.cache, order.device, order.jobs)
        hours = sum(gpu_hours(study, order.preset, bench) for study in order.targets)
        text += f"regrad: at least {hours:.0f} GPU hours for tuning, by 6 operations a parameter and token\n"
    return text
