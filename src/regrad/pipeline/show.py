"""What the command line prints before it works: targets, what they lack, how long it may take."""

from regrad.pipeline.decided import so_far
from regrad.pipeline.estimates import gpu_hours
from regrad.pipeline.explain import History, State, explained, in_a_line, standing
from regrad.pipeline.folders import Folders
from regrad.pipeline.order import Order
from regrad.pipeline.targets import exports, notebook_path, plan_of
from regrad.runner.ensure import Bench, finder, whole_groups
from regrad.runner.progress import duration
from regrad.studies.study import Study


def standings(folders: Folders, order: Order) -> list[tuple[Study, State]]:
    """Return how each target stands, nothing being run."""
    bench = Bench(folders.runs, folders.cache, order.device, order.jobs)
    parameters = {"preset": order.preset, "device": order.device, "jobs": order.jobs}
    history = History(folders)
    return [(target, standing(folders, target, parameters, bench, history)) for target in order.targets]


def listing(folders: Folders, order: Order, *, everything: bool) -> str:
    """Return a line a target: fresh or why not, runs missing, expected time; its figures too with ``everything``."""
    states = standings(folders, order)
    lines = [f"preset {order.preset}, device {order.device}", in_all([state for _, state in states])]
    for target, state in states:
        lines.append(in_a_line(target, state))
        if state.missing and (plan := plan_of(target)):
            bench = Bench(folders.runs, folders.cache, order.device)
            found = so_far(folders, target, whole_groups(plan, order.preset, finder(bench)), preset=order.preset)
            lines += [f"  its claims so far: {found}"] if found else []
        if everything:
            lines += [f"  {figure}" for figure in exports(notebook_path(folders.notebooks, target))]
    return "\n".join([*lines, *order.documents]) + "\n"


def in_all(states: list[State]) -> str:
    """Return the line of all targets: runs that are there, those that are missing, how long these take."""
    done, lacking = sum(len(state.records) for state in states), sum(len(state.missing) for state in states)
    seconds = sum(state.seconds or 0.0 for state in states)
    left = f", about {duration(seconds)} of one process" if seconds else ""
    return f"in all: {done} of {done + lacking} runs named so far are there" + (left if lacking else "")


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
