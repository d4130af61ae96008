"""The runs of a study at tiny sizes, on the CPU and on the simulated device: ``python simulated_runs.py STUDY …``.

Prints JSON: a row for each arm, with what differs, how often the host waits, and what torch could not do there.
"""

import argparse
import contextlib
import json
import math
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tiny_problems
import torch
from simulated_device import waits

import nested
from regrad.problems import classification, imagenet
from regrad.problems import images as image_classes
from regrad.results import Part, Spec, canonical
from regrad.runner.build import build_problem, resolve
from regrad.runner.ensure import reached
from regrad.runner.gradients import Backward
from regrad.runner.registry import PROBLEMS
from regrad.runner.resume import Keeper
from regrad.runner.train import Moving, train
from regrad.studies.catalogue import STUDIES

STEPS = 5
INTERVAL = 2
SMALL = {"examples": 8, "every": 1, "steps": 2, "warmup_steps": 1}
STRUCTURE = {"norm", "model", "architecture", "tied_head", "augment", "network_kind", "rank"}
LANGUAGE = {"model": "0.1M", "documents": None, "tokenizer": "bytes", "vocabulary": None}
"""Options of parts that only say how large something is, and what they are here."""


def shrunk(part: Part) -> Part:
    """The same part, its sizes tiny."""
    options = {name: min(v, SMALL[name]) if name in SMALL else v for name, v in part.options.items()}
    if "interval" in options:
        options["interval"] = INTERVAL
    if part.base:
        options["base"] = shrunk(part.base).model_dump()
    if part.name == "gradient_noise":
        options |= {"examples": 16, "batch_size": 8, "groups": [4]}
    return Part(name=part.name, options=options)


def tiny_problem(part: Part) -> Part:
    """The same problem, on the made-up data of the other tests."""
    tiny = {k: v for k, v in tiny_problems.OPTIONS[part.name][0].items() if k not in STRUCTURE}
    options = dict(part.options) | tiny
    if part.name == "language":
        options |= LANGUAGE
    if part.name == "sized_language":
        options |= {k: v for k, v in LANGUAGE.items() if k != "model"} | {"heads": 2}
        options.pop("model", None)
    options |= {"rank": 2} if options.get("rank") else {}
    options |= {"model": "0.1M"} if part.name == "sentiment" and "model" in options else {}
    options |= {"spike_steps": [1]} if options.get("spike_steps") else {}
    options |= {"pretraining": "digits", "pretraining_steps": 2} if options.get("pretraining") else {}
    return Part(name=part.name, options={k: v for k, v in options.items() if v is not None or k == "rank"})


def tiny(spec: Spec) -> Spec:
    """The same run in five steps of eight examples."""
    return spec.model_copy(
        update={
            "problem": tiny_problem(spec.problem),
            "optimizer": shrunk(spec.optimizer),
            "scaler": spec.scaler and shrunk(spec.scaler),
            "measures": tuple(map(shrunk, spec.measures)),
            "steps": STEPS, "batch_size": 8, "evaluations": 1, "seed": 0,
        }
    )  # fmt: skip


def nameless(part: Part | None) -> Any:
    """A part without its learning rate."""
    if part is None:
        return None
    options = {k: v for k, v in part.options.items() if k not in ("lr", "base")}
    return [part.name, options, nameless(part.base)]


def label(spec: Spec) -> str:
    """What a row is called: all that is particular to its kind of run but the problem's sizes."""
    kind = {k: v for k, v in spec.problem.options.items() if k in STRUCTURE | {"fused_attention", "halved", "reset"}}
    parts = [nameless(spec.optimizer), nameless(spec.gradient), nameless(spec.scaler)]
    return " ".join([spec.problem.name, canonical(kind), canonical(parts), spec.precision])


def kinds(study: str, presets: list[str]) -> list[Spec]:
    """Tiny runs that have every problem, optimizer, gradient, scaler and measure that a study's plan names."""
    plan = next(s for s in STUDIES if s.name == study).plan
    assert plan is not None
    found: list[Spec] = []
    seen: set[str] = set()
    for preset in presets:
        for record in reached(plan, preset, nested.pretended)[0]:
            made = tiny(record.spec)
            arm, problem = label(made).split(" ", 2)[2], canonical(made.problem.model_dump())
            new = {arm, problem, *(canonical(m.model_dump()) for m in made.measures)} - seen
            found += [made] if new else []
            seen |= new
    return found


def problems() -> list[Spec]:
    """A run of plain descent on every problem of the registry, in each of its tiny variants."""
    descent = {"optimizer": Part(name="sgd", options={"lr": 0.1}), "steps": 2, "batch_size": 4, "seed": 0}
    parts = [Part(name=name, options=o) for name, variants in tiny_problems.OPTIONS.items() for o in variants]
    return [Spec(problem=part, evaluations=1, measures=(Part(name="test"),), **descent) for part in parts]


class Counting:
    """A keeper that notes the waits of each step, and keeps and takes up checkpoints if it has a `Keeper`."""

    def __init__(self, keeper: Keeper | None = None) -> None:
        self.keeper, self.begun = keeper, 0
        self.steps: list[list[str]] = []

    def resume(self, moving: Moving) -> int:
        return self.keeper.resume(moving) if self.keeper else 0

    def after(self, step: int, moving: Moving) -> None:
        self.steps.append(waits[self.begun :])
        if self.keeper:
            self.keeper.after(step, moving)


class Interrupted(Exception):  # noqa: N818 - the run goes on
    pass


class Stopping(Keeper):
    """Keeps a checkpoint after the third step, and stops."""

    def after(self, step: int, moving: Moving) -> None:
        super().after(step, moving)
        if step == 3:
            raise Interrupted


def one(spec: Spec, device: str, cache: Path, keeper: Keeper | None = None) -> tuple[dict[str, Any], Counting]:
    """Train; return the curves and who counted."""
    problem, counting = build_problem(spec, cache=cache, device=device), Counting(keeper)
    plain = problem.batch

    def batch(step: int, size: int) -> Any:
        counting.begun = len(waits)
        return plain(step, size)

    problem.batch = batch  # type: ignore[method-assign]
    torch.manual_seed(0)
    curves, _ = train(spec, problem, problem.init_model(), counting)
    return {name: [*curve.x, *curve.y] for name, curve in curves.export().items()}, counting


def note_waits_of_cuda() -> None:
    """Let torch say where the host waits for a GPU."""
    torch.cuda.set_sync_debug_mode("warn")
    warnings.filterwarnings("always", message=".*synchronizing")
    plain = warnings.showwarning

    def note(message: Any, *rest: Any, **more: Any) -> None:
        waits.append(str(message)) if "synchroniz" in str(message) else plain(message, *rest, **more)

    warnings.showwarning = note


def row(spec: Spec, cache: Path, device: str) -> dict[str, Any]:
    """What became of one kind of run."""
    if device == "cuda":  # not before the process forked
        note_waits_of_cuda()
    made: dict[str, Any] = {"arm": label(spec), "measures": [m.name for m in spec.measures]}
    try:
        expected = one(spec, "cpu", cache)[0]
        found, counting = one(spec, device, cache)
        made |= {"differs": differences(expected, found), "waits": [len(step) for step in counting.steps]}
        made["of"] = sorted({name for step in counting.steps for name in step})
        again, after = resumed(spec, cache, device)
        made["resumed"] = again == found and [len(step) for step in after.steps] == made["waits"][3:]
    except Exception as error:  # noqa: BLE001 - the row says what torch said
        made["refused"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        made["trace"] = traceback.format_exc()
    return made


def apart(spec: Spec, cache: Path, device: str, fault: str = "") -> dict[str, Any]:
    """The row, made in a process of its own: what torch cannot do there may end the process."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        if fault:
            FAULTS[fault]()
        with os.fdopen(writing, "w") as pipe:
            json.dump(row(spec, cache, device), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        written = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        return json.loads(written)
    ended = {"arm": label(spec), "refused": f"ended by signal {-status}"}
    if (gradient := spec.gradient) is None or gradient.options.get("method") != "vmap":
        return ended
    other = gradient.model_copy(update={"options": gradient.options | {"method": "graph"}})
    return apart(spec.model_copy(update={"gradient": other}), cache, device) | {"instead of": ended["arm"]}


def resumed(spec: Spec, cache: Path, device: str) -> tuple[dict[str, Any], Counting]:
    """The curves and waits of a run that stopped after its third step and went on from its checkpoint."""
    with contextlib.suppress(Interrupted):
        one(spec, device, cache, Stopping(cache, "run", device=device, every=0.0))
    keeper = Keeper(cache, "run", device=device, every=math.inf)
    try:
        found, counting = one(spec, device, cache, keeper)
    finally:
        keeper.drop()
    return found, counting


def differences(expected: dict[str, Any], found: dict[str, Any]) -> dict[str, float]:
    """How far numbers are apart, over their size, where it is more than nothing; nan for other curves."""
    if expected.keys() != found.keys() or any(len(expected[k]) != len(found[k]) for k in expected):
        return {"curves": math.nan}
    apart = {
        name: max(abs(a - b) / max(abs(a), 1e-3) for a, b in zip(values, found[name], strict=True))
        for name, values in expected.items()
    }
    return {name: value for name, value in apart.items() if value}


@contextlib.contextmanager
def made_up_data() -> Iterator[Path]:
    """Lend a folder; in place of data files problems load the made-up arrays."""
    with tempfile.TemporaryDirectory() as folder:
        for name, entry in PROBLEMS.items():
            arrays = lambda cls, options, cache, name=name: tiny_problems.arrays_of(name)  # noqa: E731
            resolve(entry).load = classmethod(arrays)
        imagenet.read_image = tiny_problems.photograph
        with contextlib.suppress(ImportError):
            encoder = tiny_problems.encoder_folder(Path(folder))
            resolve(PROBLEMS["minilm"]).from_options.__func__.__globals__["minilm_folder"] = lambda cache: encoder
        yield Path(folder)


def read_a_number() -> None:
    """Seed a fault: every step reads its loss."""
    plain = Backward.__call__

    def call(self: Backward, model: Any, losses: Any, batch: Any) -> Any:
        losses(model, batch).mean().item()
        return plain(self, model, losses, batch)

    Backward.__call__ = call  # type: ignore[method-assign]


def leave_on_the_host() -> None:
    """Seed a fault: targets stay where they were read."""
    image_classes.class_losses = lambda logits, targets: plain_losses(logits, targets.cpu())  # type: ignore[assignment]
    plain_losses = classification.class_losses
    classification.class_losses = image_classes.class_losses


def draw_on_the_device() -> None:
    """Seed a fault: numbers for the device come from a generator of the host's."""
    plain = Backward.__call__

    def call(self: Backward, model: Any, losses: Any, batch: Any) -> Any:
        made = plain(self, model, losses, batch)
        for p in model.parameters():
            p.grad += 0 * torch.empty_like(p).normal_(generator=torch.Generator())
        return made

    Backward.__call__ = call  # type: ignore[method-assign]


FAULTS = {"item": read_a_number, "host": leave_on_the_host, "generator": draw_on_the_device}


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study")
    parser.add_argument("--presets", default="smoke")
    parser.add_argument("--only", default="")
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--device", default="sim", help="sim, or cuda where there is one")
    parser.add_argument("--faults", action="store_true", help="the first run, well and with each fault")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    with made_up_data() as cache:
        everything = problems() if options.study == "problems" else kinds(options.study, options.presets.split(","))
        chosen = [spec for spec in everything if options.only in label(spec)]
        faults = ["", *FAULTS] if options.faults else [""]
        rows = [apart(spec, cache, options.device, fault) for spec in chosen[: options.most] for fault in faults]
    sys.stdout.write(json.dumps(rows))
    sys.stdout.flush()
    os._exit(0)  # torch takes the device's hooks down after Python has gone


if __name__ == "__main__":
    main()
