"""What can be made: a notebook a study, in the order of the report, then the paper and the site."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from regrad.results import Record, Spec, suggestion

PRESETS = ("smoke", "small", "full", "paper")


class Target(NamedTuple):
    """One notebook of the report.

    Attributes:
        name: What ``--only`` calls it.
        notebook: File name without suffix.
        study: Module under ``regrad.experiments`` with ``PRESETS`` and ``specs``; None if it trains nothing.
        figures: Names of the figures and tables that it exports.
    """

    name: str
    notebook: str
    study: str | None
    figures: tuple[str, ...] = ()


NOTEBOOKS = (
    Target("overview", "00_overview", None, ("tab-data",)),
    Target(
        "sign",
        "01_sign_placement",
        "sign_placement",
        ("fig-sign-lr", "fig-sign-curves", "fig-sign-snr", "fig-sign-dose", "tab-sign", "tab-sign-tuning"),
    ),
    Target(
        "micro-adam",
        "02_micro_adam",
        "micro_adam",
        (
            "fig-adam-lr",
            "fig-adam-lr-images",
            "fig-adam-c",
            "fig-adam-stability",
            "fig-adam-split",
            "fig-adam-scaling",
            "tab-adam",
            "tab-adam-images",
            "tab-adam-scaling",
            "tab-adam-tuning",
        ),
    ),
    Target(
        "own-statistics",
        "03_own_statistics",
        "own_statistics",
        ("fig-own-statistic", "fig-own-training"),
    ),
    Target("engine", "04_engine", None, ("fig-engine-cost", "tab-engine-cost")),
    Target(
        "sgg",
        "05_sgg",
        "sgg",
        (
            "fig-sgg-lr",
            "fig-sgg-effect",
            "fig-sgg-scales",
            "fig-sgg-robust",
            "fig-sgg-ablations",
            "tab-sgg",
            "tab-sgg-tuning",
            "tab-sgg-variants",
            "tab-sgg-ablations",
            "tab-sgg-finetuning",
            "tab-sgg-standins",
            "tab-sgg-cost",
            "tab-sgg-clusterings",
            "tab-sgg-printed",
        ),
    ),
    Target(
        "alsdgc",
        "06_alsdgc",
        "alsdgc",
        (
            "fig-alsdgc-theorems",
            "fig-alsdgc-tasks",
            "fig-alsdgc-width",
            "fig-alsdgc-adaptation",
            "fig-alsdgc-spikes",
            "tab-alsdgc",
            "tab-alsdgc-tasks",
            "tab-alsdgc-control",
            "tab-alsdgc-tuning",
        ),
    ),
    Target(
        "dgs",
        "07_dgs",
        "dgs",
        (
            "fig-dgs-theorems",
            "fig-dgs-lr",
            "fig-dgs-speed",
            "fig-dgs-bars",
            "tab-dgs-audit",
            "tab-dgs-images",
            "tab-dgs-reset",
            "tab-dgs-spiking-lars",
            "tab-dgs-spiking-adam",
            "tab-dgs-beyond",
            "tab-dgs-cost",
            "tab-dgs-tuning",
        ),
    ),
)
DOCUMENTS = ("paper", "site")


def plan_of(target: Target) -> Callable[[str, list[Record]], list[Spec]] | None:
    """Return the function ``specs(preset, records)`` of a target's study."""
    return import_module(f"regrad.experiments.{target.study}").specs if target.study else None


def select(only: str | None) -> tuple[list[Target], list[str]]:
    """Return the notebooks and documents that ``--only`` names; all of them for None.

    Args:
        only: Names of targets, figures or tables, separated by commas.

    Raises:
        ValueError: An unknown name, with the nearest known one.
    """
    if only is None:
        return list(NOTEBOOKS), list(DOCUMENTS)
    names = [name.strip() for name in only.split(",") if name.strip()]
    owner = {name: t.name for t in NOTEBOOKS for name in (t.name, t.notebook, *t.figures)}
    for name in names:
        if name not in owner and name not in DOCUMENTS:
            raise ValueError(f"--only: unknown target {name!r}{suggestion(name, [*owner, *DOCUMENTS])}")
    if not names:
        raise ValueError(f"--only {only!r}: no target given; ./reproduce.sh --list names them")
    wanted = {owner[name] for name in names if name in owner}
    return [t for t in NOTEBOOKS if t.name in wanted], [d for d in DOCUMENTS if d in names]


def notebook_path(folder: Path, target: Target) -> Path:
    """Return the source of a target's notebook."""
    return folder / f"{target.notebook}.ipynb"
