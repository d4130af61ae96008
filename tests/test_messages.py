"""docs/messages.md is the catalogue of error messages: each is made to happen here, is one line, and names the value.

``python tests/test_messages.py`` writes the page's tables anew.
"""

import contextlib
import errno
import io
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from filelock import FileLock
from torch import nn

from regrad import blessing
from regrad.atomic import write_atomically
from regrad.blessing import Extension, Link
from regrad.cli import main
from regrad.executors.slurm_settings import settings
from regrad.optim.dgs import DGS
from regrad.optim.micro_adam import MicroAdam
from regrad.optim.sgg import SGG
from regrad.optim.sign_sgd import SignSGD
from regrad.perexample.engine import assign_grad, gradient_statistics
from regrad.perexample.requests import clipped_mean
from regrad.pipeline.folders import Folders
from regrad.pipeline.notebooks import check_parameters, execute, parameters_of
from regrad.pipeline.reproduce import Order, reproduce
from regrad.problems.language import LanguageOptions
from regrad.report.benchmarks import read
from regrad.results import Part, Spec, parse
from regrad.runner.dependencies import entries
from regrad.runner.ensure import Bench, ensure
from regrad.runner.hanging import HangError, Watch
from regrad.runner.ranks import check as check_ranks
from regrad.scaling.alsdgc import ALSDGC
from regrad.store import Store, seal
from regrad.studies.catalogue import STUDIES
from test_notebook_execution import FINISH, write
from tiny_runs import record, spec

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "messages.md"


class World:
    """A checkout without results, the current folder, on a machine without a GPU."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.patch = folder / "checkout", patch
        (self.root / "results" / "reference" / "medium-cpu" / "runs").mkdir(parents=True)
        for name in ("notebooks", "paper"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("generated", "report.pdf"))
        patch.chdir(self.root)
        patch.setenv("REGRAD_CACHE", str(folder / "cache"))
        for name in ("RANK", "REGRAD_EXECUTOR", "REGRAD_REFERENCE", "REGRAD_IMAGENET"):
            patch.delenv(name, raising=False)
        patch.setattr("torch.cuda.is_available", lambda: False)
        patch.setattr("regrad.pipeline.devices.gpu_is_there", lambda: False)

    def call(self, *words: str, code: int, **environment: str) -> str:
        """What the command line says."""
        for name, value in environment.items():
            self.patch.setenv(name, value)
        heard = io.StringIO()
        with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(io.StringIO()):
            try:
                left = main(list(words))
            except SystemExit as error:
                left = error.code
        assert left == code, (words, left, heard.getvalue())
        return heard.getvalue().removesuffix("\n")

    def work(self, order: Order) -> str:
        """What the work itself says last but one: the last line is its summary."""
        heard = io.StringIO()
        with contextlib.redirect_stderr(heard):
            reproduce(Folders(self.root, self.root / "cache"), order)
        return heard.getvalue().removesuffix("\n")

    def full_disk(self) -> str:
        """A call on a disk that is full."""

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.root / "results" / ".lock-holder"))

        self.patch.setattr("regrad.pipeline.lock.write_atomically", full)
        self.patch.setattr("regrad.cli.check", lambda device: None)
        return self.call("--quick", "--only", "overview", code=3).splitlines()[-1]

    def locked(self) -> str:
        """A second call while somebody works."""
        (self.root / "results" / ".lock-holder").write_text(f"process {os.getpid()} since Mon Nov 23 10:00:00 2026\n")
        with FileLock(self.root / "results" / ".lock"):
            said = self.work(Order([STUDIES[0]], [], "smoke", "cpu"))
        return said.replace(str(os.getpid()), "4711")

    def notebook(self, *cells: str, timeout: float = 60.0) -> str:
        """A notebook with these cells beside its parameters."""
        path = write(self.root, *cells)
        return raised(RuntimeError, lambda: execute(path, self.root / "out.ipynb", {}, timeout=timeout))

    def failing_run(self, error: str) -> str:
        """A sweep in which a run raises."""

        def broken(*_, **__):
            raise eval(error)

        self.patch.setattr("regrad.runner.train.run", broken)
        return raised(RuntimeError, lambda: ensure([spec()], Bench(self.root / "runs", self.root / "cache", jobs=1)))


class Entry(NamedTuple):
    """One message.

    Attributes:
        cause: Makes it happen, and returns it.
        value: What the message must hold: the value that is wrong, or the place.
        remedy: What the page says beside it.
    """

    cause: Callable[[World], str]
    value: str
    remedy: str


def raised(kind: type[Exception], function: Callable[[], object]) -> str:
    """The message of an exception."""
    with pytest.raises(kind) as caught:
        function()
    return str(caught.value)


def refused(function: Callable[[], object]) -> Callable[[World], str]:
    return lambda _: raised(ValueError, function)


def optimizer(make: Callable[[list[nn.Parameter]], object]) -> Callable[[World], str]:
    return refused(lambda: make([("w", nn.Parameter(torch.zeros(2)))]))


def statistics(
    model: nn.Module,
    *,
    batch: int = 4,
    wanted: Any = ("mean",),
    losses: Any = lambda model, batch: model(batch).sum(dim=1),
    **how: Any,
) -> Callable[[World], str]:
    inputs = torch.zeros(batch, 3)
    return refused(lambda: gradient_statistics(model, losses, inputs, wanted, **how))


def stepped(make: Callable[[nn.Parameter], Any], *closure: Any, **options: Any) -> Callable[[World], str]:
    """A step of an optimizer whose parameter has a gradient."""

    def step() -> None:
        weight = nn.Parameter(torch.zeros(2))
        weight.grad = torch.ones(2)
        make(weight).step(*closure, **options)

    return refused(step)


def unscaled(_: World) -> str:
    weight = nn.Parameter(torch.zeros(2))
    weight.sum().backward()
    return raised(RuntimeError, lambda: ALSDGC("V4").step(torch.optim.SGD([weight], lr=0.1)))


def stepped_beside(_: World) -> str:
    base = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    wrapper = SGG(base)
    with pytest.warns(UserWarning, match="was called beside") as heard:
        [base.step() for _ in range(2)]
    assert wrapper.base is base
    (only,) = heard
    assert only.filename == __file__
    return str(only.message)


def bad_spec(**changes: object) -> Callable[[World], str]:
    good = spec().model_dump(mode="json")
    return refused(lambda: parse(Spec, good | changes))


def calls(*words: str, code: int = 2, **environment: str) -> Callable[[World], str]:
    return lambda world: world.call(*words, code=code, **environment)


def hang(_: World) -> str:
    watch = Watch(0.2)
    watch.put_off()
    try:
        return raised(HangError, lambda: time.sleep(30))
    finally:
        watch.end()


def other_schema(world: World) -> str:
    store, made = Store(world.root / "runs"), record()
    path = store.path(made.run_id)
    path.parent.mkdir(parents=True)
    path.write_bytes(seal(made.model_dump(mode="json", exclude={"spec": {"tags"}}) | {"schema_version": 9}))
    return warned(lambda: store.get(made.run_id))


def damaged(world: World) -> str:
    store, made = Store(world.root / "runs"), record()
    store.put(made)
    store.path(made.run_id).write_bytes(store.path(made.run_id).read_bytes().replace(b"2.5", b"2.4"))
    return warned(lambda: store.get(made.run_id))


def warned(function: Callable[[], object]) -> str:
    """What a function logs."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger("regrad").addHandler(handler)
    try:
        function()
    finally:
        logging.getLogger("regrad").removeHandler(handler)
    return heard.getvalue().removesuffix("\n")


def forged(world: World) -> str:
    """A chain that extends a code without a repeated run."""
    link = Link(
        previous=blessing.anchor([]),
        date="2026-01-01",
        commit="c",
        torch="t",
        machine="m",
        extensions=(Extension(old="a", new="b", runs=3),),
    )
    write_atomically(world.root / blessing.FILE, seal([link.model_dump(mode="json")]))
    return raised(blessing.BlessingError, lambda: blessing.read(world.root))


def unmeasured(world: World) -> str:
    (world.root / "step-cpu.json").write_text("{}")
    return raised(ValueError, lambda: read(world.root / "step-cpu.json"))


def misspelt_parameter(world: World) -> str:
    return raised(ValueError, lambda: check_parameters(world.root / "notebooks" / "00_overview.ipynb", {"prest": 1}))


def no_parameters(world: World) -> str:
    return raised(ValueError, lambda: parameters_of(write(world.root, "pass", tagged=0)))


def without_tex(world: World) -> str:
    world.patch.setattr("regrad.pipeline.paper.tex_is_there", lambda: False)
    return world.work(Order([], ["paper"], "smoke", "cpu")).splitlines()[-1]


CATALOGUE: dict[str, tuple[str, list[Entry]]] = {
    "The command line": (
        "Before any work; exit code 2.",
        [
            Entry(calls("--preset", "smal"), "'smal'", "One of the five presets."),
            Entry(calls("--quick", "--preset", "full"), "full", "Give one of the two."),
            Entry(calls("--only", "sgn"), "'sgn'", "`./reproduce.sh --list` names targets, figures and tables."),
            Entry(calls("--only", ","), "--only", "Name at least one target."),
            Entry(calls("--jobs", "0"), "'0'", "At least one process; leave it out for one a core."),
            Entry(calls("--device", "gpu"), "'gpu'", "auto, cpu or cuda."),
            Entry(calls("--device", "cuda"), "cuda", "torch sees no GPU: see the driver, or use cpu."),
            Entry(calls("--ofline"), "'--ofline'", "`./reproduce.sh --help` lists the options."),
            Entry(calls("tset"), "'tset'", "Commands: reproduce (the default), data, test, lab, cite, publish."),
            Entry(calls("--from-reference", "big-cpu"), "'big-cpu'", "A folder of `results/reference/` with `runs/`."),
            Entry(calls("--bless", "big-cpu"), "'big-cpu'", "A folder of `results/reference/` with `runs/`."),
            Entry(calls("--from-reference", "--minutes", "3"), "--minutes", "Leave it out."),
            Entry(calls("--bless", "medium-cpu", "--minutes", "nan"), "'nan'", "At least 0, and finite."),
            Entry(calls("data", "--fetch", "nwes"), "'nwes'", "`./reproduce.sh data` lists the data sets."),
            Entry(calls("ranks", "--preset", "smoke"), "torchrun", "See [executors](executors.md), torchrun."),
        ],
    ),
    "Variables": (
        "Before any work; exit code 2.",
        [
            Entry(calls("--quick", "--dry-run", REGRAD_EXECUTOR="pbs"), "'pbs'", "See [executors](executors.md)."),
            Entry(
                lambda world: (world.patch.setenv("REGRAD_CHECKPOINT_SECONDS", "-1"),
                               world.work(Order([], [], "smoke", "cpu")))[1],
                "'-1'", "Seconds between two checkpoints of a run.",
            ),
            Entry(
                lambda world: (world.patch.setenv("REGRAD_HANG_SECONDS", "soon"),
                               world.work(Order([], [], "smoke", "cpu")))[1],
                "'soon'", "Seconds after which a run without a new step is ended.",
            ),
            Entry(
                calls("--quick", "--only", "overview", REGRAD_EXECUTOR="ray", REGRAD_RAY_GPUS="2"), "'2'",
                "Share of a GPU that a run takes.",
            ),
            Entry(
                lambda world: (world.patch.setenv("REGRAD_SLURM_TIME", "0"), raised(ValueError, settings))[1], "'0'",
                "docs/running.md, On a Slurm cluster, lists the variables.",
            ),
        ],
    ),
    "Specs, notebooks and the ledger": (
        "What people write; before any work; exit code 2.",
        [
            Entry(bad_spec(steps=0), "0", "Correct the study's module under `regrad.studies`."),
            Entry(bad_spec(batch_size=True), "True", "A whole number; a boolean is none."),
            Entry(bad_spec(stpes=5), "stpes", "The nearest field is named."),
            Entry(bad_spec(schedule={"warmup": 1.5}), "1.5", "A share of the steps."),
            Entry(bad_spec(precision="fp8"), "'fp8'", "fp32, or autocast to fp16 or bf16."),
            Entry(
                refused(lambda: entries(spec(optimizer=Part(name="adm")))), "'adm'",
                "The names are in `regrad.runner.registry`.",
            ),
            Entry(
                refused(lambda: LanguageOptions(sequence_length=0)), "0",
                "See the problem's options.",
            ),
            Entry(refused(lambda: LanguageOptions(modle="1M")), "'modle'", "The nearest is named."),
            Entry(misspelt_parameter, "'prest'", "A notebook's parameters are in its cell tagged `parameters`."),
            Entry(no_parameters, "0 cells", "Tag one cell `parameters`."),
        ],
    ),
    "The machine": (
        "Exit code 3; the same call goes on once it is mended.",
        [
            Entry(
                lambda world: (world.patch.chdir(world.root.parent), world.call("--quick", code=3))[1], "…",
                "Call it inside the repository.",
            ),
            Entry(World.locked, "4711", "Wait for it. A killed process leaves no lock."),
            Entry(World.full_disk, ".lock-holder", "Make room, or make the folder writable."),
            Entry(without_tex, "no LaTeX", "Install the packages that README.md names."),
            Entry(
                calls("data", "--fetch", "fashion-mnist", "--offline", code=3), "fashion-mnist",
                "Once without `--offline`, or copy the file into the cache.",
            ),
        ],
    ),
    "Runs": (
        "The others go on; exit code 1 at the end; tried again by the next call.",
        [
            Entry(lambda w: w.failing_run("MemoryError('no room')"), "MemoryError", "Fewer `--jobs`."),
            Entry(hang, "0.2 s", "`REGRAD_HANG_SECONDS`, or look at what it waits for."),
            Entry(damaged, "checksum mismatch", "Nothing to do: the run is repeated. Check the disk."),
            Entry(other_schema, "9", "Made by a newer regrad: update, or let it be repeated."),
            Entry(forged, "repeated none", "`git checkout` the set's `blessings.json`, or delete it and bless anew."),
            Entry(unmeasured, "step-cpu.json", "`git checkout results/reference/benchmarks`."),
            Entry(
                refused(lambda: check_ranks(spec(batch_size=6), nn.Linear(1, 1), 4, "ddp")), "6",
                "A batch that the processes of torchrun share evenly.",
            ),
            Entry(
                lambda _: raised(
                    ValueError, lambda: check_ranks(spec(batch_size=8), nn.Sequential(nn.BatchNorm1d(2)), 4, "ddp")
                ), "BatchNorm1d", "Each process would normalise its share alone.",
            ),
        ],
    ),
    "Notebooks": (
        "The last good output stays in place; exit code 1.",
        [
            Entry(lambda w: w.notebook("1 / 0"), "ZeroDivisionError", "The cell's error."),
            Entry(lambda w: w.notebook("import sys", "sys.exit(0)", FINISH), "tiny.ipynb", "Every cell must run."),
            Entry(lambda w: w.notebook("x = 1"), "tiny.ipynb", "The last cell calls `exporter.finish()`."),
            Entry(lambda w: w.notebook("import time; time.sleep(99)", timeout=5), "5 s", "See `NOTEBOOK_SECONDS`."),
        ],
    ),
    "Optimizers and the loss scaler": (
        "`ValueError` when it is made.",
        [
            Entry(optimizer(lambda p: DGS(p, lr=float("nan"))), "nan", "Also refused: negative, infinite, a boolean."),
            Entry(optimizer(lambda p: DGS(p, lr=0.1, reading="equations")), "'equations'", "One of the readings."),
            Entry(optimizer(lambda p: SignSGD(p, lr=0.1, momentum=1.0)), "1.0", "The range is in the message."),
            Entry(optimizer(lambda p: MicroAdam(p, lr=-1.0)), "-1.0", "At least 0."),
            Entry(optimizer(lambda p: SGG(torch.optim.SGD(p, lr=0.1), interval=0)), "0", "Steps between clusterings."),
            Entry(
                optimizer(lambda p: SGG(torch.optim.LBFGS([p[0][1]]))), "LBFGS", "An optimizer without a closure.",
            ),
            Entry(refused(lambda: ALSDGC(init_scale=0.0)), "0.0", "The range is in the message."),
            Entry(optimizer(lambda p: DGS(p, lr=0.1, reading="S1")), "'S1'", "Its name is in the message."),
            Entry(
                optimizer(lambda p: SGG((x for _, x in p), lr=0.1)), "SGG(AdamW(", "The optimizer inside takes `lr`.",
            ),
            Entry(optimizer(lambda p: SGG(torch.optim.SGD(p), lr=0.1)), "0.1", "The optimizer inside takes it."),
        ],
    ),
    "Steps": (
        "Before anything moves; the last one is a warning, said once.",
        [
            Entry(stepped(lambda w: MicroAdam([("w", w)])), "'w'", "See `gradient_statistics`."),
            Entry(
                stepped(lambda w: MicroAdam([("w", w)]), statistics={"w": torch.ones(2)}, batch_size=4), "'w'",
                "Not one statistic of it.",
            ),
            Entry(stepped(lambda w: MicroAdam([("w", w)]), {}), "dict", "What stands first is a closure."),
            Entry(
                stepped(lambda w: SGG(torch.optim.SGD([w])), statistics={}), "SGD",
                "Put MicroAdam inside, or leave it out.",
            ),
            Entry(unscaled, "scaler.scale(loss)", "As `torch.amp.GradScaler` asks for."),
            Entry(stepped_beside, "SGD.step()", "Also what a training loop was given: the wrapper."),
        ],
    ),
    "Per-example gradients": (
        "`ValueError` before any gradient; the module is named.",
        [
            Entry(
                statistics(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))), "BatchNorm1d",
                "See the message.",
            ),
            Entry(statistics(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))), "Dropout", "See the message."),
            Entry(statistics(nn.Linear(3, 2), wanted=["median"]), "'median'", "One of those named, or a function."),
            Entry(statistics(nn.Linear(3, 2), method="hooks"), "'hooks'", "loop, vmap or graph."),
            Entry(statistics(nn.Linear(3, 2), method="vmap", chunk_size=0), "0", "At least 1."),
            Entry(statistics(nn.Linear(3, 2), batch=1, wanted=["variance"]), "1", "Two examples or more."),
            Entry(statistics(nn.Linear(3, 2), wanted=[clipped_mean]), "clipped_mean", "Call it."),
            Entry(statistics(nn.Linear(3, 2), wanted={"sum": torch.sum}), "'sum'", "See the message."),
            Entry(
                statistics(nn.Linear(3, 2), wanted={"p": lambda g: g / g.norm()}), "'p'", "Clip with `clipped_mean`.",
            ),
            Entry(statistics(nn.Linear(3, 2), wanted={"p": lambda g: g.sign_()}), "'p'", "`torch.sign`, say."),
            Entry(statistics(nn.Linear(3, 2), losses=nn.MSELoss()), "MSELoss", "Write a function of model and batch."),
            Entry(statistics(nn.Linear(3, 2), losses=lambda x: x), "<lambda>", "Likewise."),
            Entry(statistics(nn.Linear(3, 2), losses=lambda m, x: m(x).mean()), "[4]", "See the message."),
            Entry(
                statistics(nn.Linear(3, 2), losses=lambda m, x: m(x).mean(), method="loop"), "[4]", "See the message.",
            ),
            Entry(
                statistics(nn.Linear(3, 2), losses=lambda m, x: m(x).sum(1).detach()), "detached", "See the message.",
            ),
            Entry(
                refused(lambda: assign_grad(nn.Linear(1, 1), {"mean": {"weight": torch.ones(1, 1)}})), "'mean'",
                "One statistic of the answer.",
            ),
            Entry(
                statistics(nn.Linear(3, 2), parameters=["head"]), "'head'",
                "A name of `named_parameters` or `named_modules`.",
            ),
            Entry(statistics(nn.Linear(3, 2), wanted=["gram"], chunk_size=1), "chunk_size", "See the message."),
        ],
    ),
}  # fmt: skip


def message(entry: Entry) -> str:
    """Make it happen, in a checkout of its own; paths are shortened."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        world = World(Path(folder), patch)
        said = entry.cause(world)
        patch.undo()  # back to a folder that stays
        return said.replace(str(world.root), "…").replace(folder, "…")


def cell(text: str) -> str:
    """A message as the page shows it, whatever time its making took."""
    return re.sub(r"^done in \d+ s", "done in 0 s", text).replace("|", "\\|")


def page() -> str:
    """The whole page."""
    lines = [
        "# Messages",
        "",
        "Every mistake is one line that says what, which value and what is allowed. Each line of this page is made to",
        "happen by `tests/test_messages.py`, which also writes the page (`…` stands for a folder).",
    ]
    for title, (when, found) in CATALOGUE.items():
        lines += ["", f"## {title}", "", when, "", "| message | |", "|---|---|"]
        lines += [f"| `{cell(message(entry))}` | {entry.remedy} |" for entry in found]
    return "\n".join(lines) + "\n"


ENTRIES = [
    pytest.param(entry, id=f"{title}-{number}")
    for title, (_, found) in CATALOGUE.items()
    for number, entry in enumerate(found)
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_mistake_is_the_line_that_the_page_shows(entry):
    said = message(entry)
    assert len(said.splitlines()) == 1
    assert entry.value in said
    assert "Traceback" not in said
    assert f"| `{cell(said)}` | {entry.remedy} |" in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_shows_nothing_else():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) == len(ENTRIES)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
