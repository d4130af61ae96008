"""The words of the command line: parsers whose errors are one line with the value, what is allowed and a suggestion.

argparse and not tyro: nothing heavy is imported before the words have been checked.
"""

import argparse
import math
import sys
from typing import NoReturn

from regrad.executors.choice import EXECUTORS
from regrad.exits import USAGE
from regrad.presets import PRESETS
from regrad.published import SET
from regrad.results import suggestion

DEVICES = ("auto", "cpu", "cuda")


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line on standard error, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message, with the nearest option for an unknown one, and exit."""
        if message.startswith("unrecognized arguments: "):
            rest = message.removeprefix("unrecognized arguments: ")
            word = next(iter(rest.split()), rest).split("=")[0]
            message = f"unknown option {word!r}{suggestion(word, list(self._option_string_actions))}"
        sys.stderr.write(f"regrad: {message}\n")
        raise SystemExit(USAGE)


def one_of(allowed: tuple[str, ...]):
    """Return an argparse type that accepts the allowed words and suggests the nearest for others."""

    def check(word: str) -> str:
        if word not in allowed:
            near = suggestion(word, list(allowed)).partition("; did you mean ")[2]
            hint = f"did you mean {near} " if near else ""
            raise argparse.ArgumentTypeError(f"{word!r} is not known; {hint}allowed: {', '.join(allowed)}")
        return word

    return check


def number(kind: type[int] | type[float], least: int, words: str):
    """Return an argparse type for finite numbers from ``least`` on; ``words`` say what is allowed."""

    def check(word: str) -> float:
        try:
            value = kind(word)
        except ValueError:
            value = -1
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"{word!r}; allowed: {words} of at least {least}")
        return value

    return check


count = number(int, 1, "an integer")
minutes = number(float, 0, "minutes, a finite number")


def parser() -> Parser:
    """Return the parser of ``reproduce``; its help is the help of ``reproduce.sh``."""
    made = Parser(
        prog="./reproduce.sh",
        allow_abbrev=False,
        description="Reproduce the report: runs, figures, verdicts, PDF and HTML. Goes on where it stopped.",
        epilog="Other calls: ./reproduce.sh test [pytest arguments] | lab | data [--fetch NAME …] | runs | cite | "
        "check. Exit codes: 0 done, 1 a target failed, 2 usage, 3 environment, 4 time is over.",
    )
    add = made.add_argument
    add("--preset", type=one_of(PRESETS), help=f"scale: {', '.join(PRESETS)} (default: what fits the machine)")
    add("--quick", action="store_true", help="the same as --preset smoke")
    add("--only", metavar="TARGETS", help="targets, figures or tables, separated by commas")
    add("--verify", action="store_true", help="derive every stamp again from disk; fail on a stale or unstamped figure")
    add("--explain", metavar="TARGETS", help="why targets, figures or tables will or will not run, and how long")
    add("--list", action="store_true", help="list targets, whether they are fresh, and what they still need")
    add("--bless", metavar="SET", help="repeat a sample of published runs by today's code; equal bits keep SET fresh")
    add("--minutes", type=minutes, metavar="M", help="time for runs: what is open then goes on by the same call")
    add("--jobs", type=count, default=0, metavar="N", help="runs at a time (default: one a core; what fits on a GPU)")
    add("--device", type=one_of(DEVICES), default="auto", help="auto, cpu or cuda")
    add("--executor", type=one_of(tuple(EXECUTORS)), help="where runs execute: local (default), ray or slurm")
    add("--engine", type=one_of(tuple(EXECUTORS)), dest="executor", help=argparse.SUPPRESS)  # what it was called
    add(
        "--from-reference",
        nargs="?",
        const=SET,
        metavar="SET",
        help=f"rebuild all from results/reference/SET (default: {SET}): no training, no torch",
    )
    add("--fresh", action="store_true", help="set all earlier runs aside and start anew")
    add("--dry-run", action="store_true", help="say what would run, and stop")
    add("--offline", action="store_true", help="use no network: data must be in the cache")
    add("--no-pdf", action="store_true", help="do not typeset the report")
    add("--check-only", action="store_true", help=argparse.SUPPRESS)  # for reproduce.sh: are the words right?
    return made


def runs_parser() -> Parser:
    """Return the parser of ``runs``."""
    made = Parser(
        prog="./reproduce.sh runs",
        allow_abbrev=False,
        description="Run what the studies' plans name, those runs first that decide most; no notebooks. "
        "Begins with what was published of this preset; safe to kill; the same call goes on.",
    )
    made.add_argument("--preset", type=one_of(PRESETS), required=True, help=f"scale: {', '.join(PRESETS)}")
    made.add_argument("--only", metavar="TARGETS", help="targets, separated by commas (default: all)")
    made.add_argument("--minutes", type=minutes, metavar="M", help="time for runs (default: until all are done)")
    add = made.add_argument
    add("--jobs", type=count, default=0, metavar="N", help="runs at a time (default: one a core; what fits on a GPU)")
    made.add_argument("--device", type=one_of(DEVICES), default="auto", help="auto, cpu or cuda")
    made.add_argument("--executor", type=one_of(tuple(EXECUTORS)), help="where runs execute: local, ray or slurm")
    made.add_argument("--offline", action="store_true", help="use no network: data must be in the cache")
    return made


def data_parser() -> Parser:
    made = Parser(prog="./reproduce.sh data", allow_abbrev=False, description="List data sets, or fetch some.")
    made.add_argument("--fetch", nargs="+", metavar="NAME", default=[], help="data sets to fetch into the cache")
    made.add_argument("--offline", action="store_true", help="only check what is in the cache")
    return made
