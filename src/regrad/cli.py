"""The command line: ``python -m regrad …``; ``reproduce.sh`` is a thin front of it."""

import argparse
import contextlib
import errno
import os
import sys
from pathlib import Path

from regrad.archive import ArchiveError
from regrad.arguments import DEVICES, Parser, count, data_parser, minutes, one_of, parser, runs_parser
from regrad.blessing import BlessingError
from regrad.executors.choice import VARIABLE, ExecutorError, check, chosen
from regrad.exits import ENVIRONMENT, USAGE
from regrad.pipeline.folders import Folders, checkout
from regrad.pipeline.order import Order
from regrad.pipeline.targets import select
from regrad.presets import PRESETS
from regrad.published import VARIABLE as REFERENCE
from regrad.published import chosen as published
from regrad.results import suggestion

WAYS = ("ddp", "fully_shard")
STORAGE = {"ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO"}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code. A disk that is full or not writable is one line, not a traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return command(words)
    except (ArchiveError, BlessingError) as error:
        sys.stderr.write(f"regrad: {error}\n")
        return ENVIRONMENT
    except OSError as error:
        if errno.errorcode.get(error.errno or 0) not in STORAGE:
            raise
        where = error.filename or "a file"
        sys.stderr.write(f"regrad: {where}: {error.strerror}; what was finished is kept, the same call goes on\n")
        return ENVIRONMENT


def command(words: list[str]) -> int:
    try:
        folders = checkout(Path.cwd())
    except FileNotFoundError as error:
        sys.stderr.write(f"regrad: {error}\n")
        return ENVIRONMENT
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:], folders)
    if words and not words[0].startswith("-"):
        known = [*COMMANDS, "check", "cite", "lab", "test"]
        sys.stderr.write(f"regrad: unknown command {words[0]!r}{suggestion(words[0], known)}\n")
        return USAGE
    return reproduce(words, folders)


def reproduce(words: list[str], folders: Folders) -> int:
    made = parser()
    options = made.parse_args(words)
    if options.quick and options.preset not in (None, "smoke"):
        made.error(f"--quick is --preset smoke, and --preset {options.preset} was given too; give one")
    try:
        targets, documents = select(options.explain if options.explain is not None else options.only, folders.notebooks)
    except ValueError as error:
        made.error(str(error))
    if options.bless is not None:
        return bless(made, options, folders)
    if options.from_reference is not None:
        use_reference(made, options, folders)
    # Imports below are late on purpose: a wrong word is answered before anything heavy is loaded.
    from regrad.pipeline.devices import choose_device, default_preset

    if options.executor:
        os.environ[VARIABLE] = options.executor  # for the notebooks too, which run in processes of their own
    try:
        chosen()
        device = choose_device(options.device)
    except (RuntimeError, ValueError) as error:
        made.error(str(error))
    preset = "smoke" if options.quick else options.preset or default_preset(device)
    if options.no_pdf:
        documents = [d for d in documents if d != "paper"]
    if options.check_only:
        return 0
    from regrad.pipeline.reproduce import reproduce as work
    from regrad.pipeline.show import announce, explanation, listing

    if options.verify:
        from regrad.pipeline.verify import verify

        complaints, sentences = verify(folders, device=device, jobs=options.jobs)
        sys.stdout.write("\n".join(complaints or sentences) + "\n")
        return 1 if complaints else 0
    order = Order(targets, documents, preset, device, options.jobs, options.offline, options.minutes)
    if options.explain is not None:
        sys.stdout.write(explanation(folders, order))
        return 0
    if options.list or options.dry_run:
        sys.stdout.write(listing(folders, order, everything=options.list))
        return 0
    try:
        check(device)
    except ValueError as error:
        made.error(str(error))
    except ExecutorError as error:
        sys.stderr.write(f"regrad: {error}\n")
        return ENVIRONMENT
    sys.stderr.write(announce(folders, order))
    return work(folders, order, fresh=options.fresh)


def check_set(made: Parser, option: str, name: str, folders: Folders) -> None:
    """Refuse a published set that is not there, by one line and exit code 2."""
    sets = sorted(path.parent.name for path in (folders.root / "results" / "reference").glob("*/runs"))
    if not sets:
        made.error(f"{option} {name}: results/reference has no set of records; take one from the repository")
    if name not in sets:
        made.error(f"{option}: unknown set {name!r}{suggestion(name, sets)}")


def bless(made: Parser, options: argparse.Namespace, folders: Folders) -> int:
    check_set(made, "--bless", options.bless, folders)
    if published():
        made.error(f"{REFERENCE} is set: --bless runs things, and --from-reference runs nothing")
    for name in ("from_reference", "only", "explain", "preset"):
        if getattr(options, name) is not None:
            made.error(f"--bless {options.bless} does not go with --{name.replace('_', '-')}")
    if options.check_only:
        return 0
    from regrad.pipeline.bless import MINUTES, Blessing

    spent = MINUTES if options.minutes is None else options.minutes
    return Blessing(folders, options.bless, jobs=options.jobs, minutes=spent).run()


def use_reference(made: Parser, options: argparse.Namespace, folders: Folders) -> None:
    """Make a published set stand in for the run store, and choose its preset and device."""
    name = options.from_reference
    check_set(made, "--from-reference", name, folders)
    preset, device = name.split("-")
    for option, given, fixed in (("preset", options.preset, preset), ("device", options.device, device)):
        if given not in (None, "auto", fixed):
            made.error(f"--from-reference {name} is --{option} {fixed}, and --{option} {given} was given too; give one")
    for option in ("quick", "fresh", "minutes"):
        if getattr(options, option) not in (None, False):
            made.error(f"--from-reference runs nothing; --{option} does not go with it")
    options.preset, options.device = preset, device
    os.environ[REFERENCE] = name


def data(words: list[str], folders: Folders) -> int:
    made = data_parser()
    options = made.parse_args(words)
    from regrad.problems.data.errors import DataError
    from regrad.problems.data.fetching import fetch
    from regrad.problems.data.sources import SOURCES, markdown_table

    names = [source.name for source in SOURCES]
    for name in options.fetch:
        if name not in names:
            made.error(f"--fetch: unknown data set {name!r}{suggestion(name, names)}")
    if not options.fetch:
        sys.stdout.write(markdown_table().rstrip() + f"\n\ncache: {folders.cache}\n")
    for name in options.fetch:
        try:
            sys.stdout.write(f"{name}: {fetch(name, folders.cache, offline=options.offline)}\n")
        except DataError as error:
            sys.stderr.write(f"regrad: {error}\n")
            return ENVIRONMENT
    return 0


def publish(words: list[str], folders: Folders) -> int:
    """Run ``publish``: for maintainers, whenever runs of a preset are to be kept in the repository."""
    made = Parser(prog="./reproduce.sh publish", allow_abbrev=False, description=publish.__doc__)
    made.add_argument("name", metavar="PRESET-DEVICE", help="name of the set, e.g. medium-cpu")
    name = made.parse_args(words).name
    allowed = [f"{preset}-{device}" for preset in PRESETS for device in DEVICES[1:]]
    if name not in allowed:
        made.error(f"unknown set {name!r}{suggestion(name, allowed)}")
    if published():
        made.error(f"{REFERENCE} is set: what was published is not published again")
    from regrad.pipeline.reference import publish as write

    if not (said := write(folders, name)):
        sys.stderr.write(f"regrad: nothing to publish: no run of {name} is there; ./reproduce.sh runs makes them\n")
        return ENVIRONMENT
    sys.stdout.write(f"{said}\n")
    return 0


def runs(words: list[str], folders: Folders) -> int:
    """Run ``runs``: what plans name and the store lacks, over all studies together."""
    made = runs_parser()
    options = made.parse_args(words)
    if published():
        made.error(f"{REFERENCE} is set: published records stand in for the run store, and nothing is run")
    from regrad.pipeline.devices import choose_device

    if options.executor:
        os.environ[VARIABLE] = options.executor
    try:
        targets, _ = select(options.only, folders.notebooks)
        device = choose_device(options.device)
        check(device)
    except ExecutorError as error:
        sys.stderr.write(f"regrad: {error}\n")
        return ENVIRONMENT
    except (RuntimeError, ValueError) as error:
        made.error(str(error))
    from regrad.pipeline.sweep import sweep

    return sweep(folders, Order(targets, [], options.preset, device, options.jobs, options.offline, options.minutes))


def ranks(words: list[str], folders: Folders) -> int:
    """Run ``ranks``, which torchrun starts in every process: missing runs, each on all processes together."""
    made = Parser(
        prog="torchrun --nproc-per-node N -m regrad ranks",
        allow_abbrev=False,
        description="Run what studies lack, each run on all processes; ./reproduce.sh finds the records.",
    )
    made.add_argument("--preset", type=one_of(PRESETS), required=True, help=f"scale: {', '.join(PRESETS)}")
    made.add_argument("--only", metavar="TARGETS", help="targets, separated by commas (default: all)")
    made.add_argument("--parallel", type=one_of(WAYS), default="ddp", help="ddp: replicas; fully_shard: shards")
    made.add_argument("--device", type=one_of(DEVICES), default="auto", help="auto, cpu or cuda")
    made.add_argument("--runs", type=count, metavar="N", help="at most N runs (default: all)")
    made.add_argument("--minutes", type=minutes, metavar="M", help="time for runs (default: until all are done)")
    with contextlib.ExitStack() as silence:
        if os.environ.get("RANK", "0") != "0":  # one line, not one a process
            silence.enter_context(contextlib.redirect_stderr(silence.enter_context(open(os.devnull, "w"))))
        options = made.parse_args(words)
        if "RANK" not in os.environ:
            made.error("ranks: not started by torchrun; allowed: torchrun --nproc-per-node 2 -m regrad ranks …")
        if published():
            made.error(f"{REFERENCE} is set: published records stand in for the run store, and nothing is run")
        from regrad.pipeline.devices import choose_device

        try:
            targets, _ = select(options.only, folders.notebooks)
            device = choose_device(options.device)
        except (RuntimeError, ValueError) as error:
            made.error(str(error))
    from regrad.pipeline.together import Together, carry_out

    order = Together(targets, options.preset, device, options.parallel, options.runs, options.minutes)
    return carry_out(folders, order)


COMMANDS = {"reproduce": reproduce, "data": data, "publish": publish, "ranks": ranks, "runs": runs}
