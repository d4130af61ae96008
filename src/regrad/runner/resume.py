"""Long runs go on, bit for bit, where a signal, a time limit or a crash stopped them.

What changes over a run is its model with its buffers, optimizer, scheduler, scaler, what it has recorded, and
the generators of torch, numpy and Python. Data order and augmentation follow from (seed, step) alone
(`regrad.problems.randomness`), and a model is in its training mode at every step boundary, so they are not kept.

Runs import nothing of this module: it is not in their code fingerprints, and a resumed run has the record of
an undisturbed one, byte for byte.
"""

import hashlib
import io
import logging
import math
import os
import random
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, cast

import numpy as np
import torch

from regrad.atomic import write_atomically
from regrad.runner.hanging import OutOfTime, Watch
from regrad.runner.limits import CHECKPOINT, seconds
from regrad.runner.train import Moving

logger = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGUSR2)  # of preemption: from a person or scheduler, from Slurm through submitit
MAGIC = b"regrad checkpoint 1 "


def generators() -> dict[str, Any]:
    """Return the states of the global generators; nothing of ours draws from them, a library may."""
    name, keys, *rest = cast("tuple[Any, ...]", np.random.get_state())
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],
        "python": [version, list(internal), gauss],
    }


def set_generators(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))


def on_cpu(state: Any) -> Any:
    """Return a generator's state, or a list with some, on the CPU: from elsewhere no generator takes it."""
    if isinstance(state, torch.Tensor):
        return state.cpu()
    return [on_cpu(part) for part in state] if isinstance(state, list) else state


def capture(moving: Moving, step: int) -> dict[str, Any]:
    """Return everything that a run needs to go on after ``step`` steps: tensors, numbers, text, lists of them."""
    return {
        "step": step,
        "model": moving.model.state_dict(),
        "optimizer": moving.optimizer.state_dict(),
        "scheduler": moving.scheduler.state_dict(),
        "scaler": None if moving.scaler is None else moving.scaler.state_dict(),
        "curves": {name: list(points) for name, points in moving.curves.points.items()},
        "generators": generators(),
    }


def restore(moving: Moving, kept: dict[str, Any]) -> int:
    """Put a run into a kept state; return how many steps it has taken."""
    moving.model.load_state_dict(kept["model"])
    moving.optimizer.load_state_dict(kept["optimizer"])
    moving.scheduler.load_state_dict(kept["scheduler"])
    if moving.scaler is not None:
        moving.scaler.load_state_dict(kept["scaler"])
    moving.curves.points.update({name: (x, y) for name, (x, y) in kept["curves"].items()})
    set_generators(kept["generators"])
    return int(kept["step"])


class Keeper:
    """Keeps one run's checkpoint: every so many seconds, and when the process is asked to stop.

    A context manager: inside, SIGTERM and SIGUSR2 are answered at the next step boundary, by a checkpoint and
    then by what would have happened without it; a run whose steps stop coming ends with `HangError`, and one that
    goes on when time is over (``until``, as `time.time` has it) with `OutOfTime`.
    """

    def __init__(
        self, folder: Path, run_id: str, *, device: str = "cpu", every: float | None = None, until: float = math.inf
    ) -> None:
        self.path, self.run_id, self.device = Path(folder) / f"{run_id}.checkpoint", run_id, device
        self.every = seconds(CHECKPOINT) if every is None else every
        self.last, self.asked, self.watch, self.until = time.monotonic(), 0, Watch(until=until), until
        self.before: dict[int, Any] = {}
        # Where a checkpoint is read to. The CPU: model and optimizer take their tensors to where theirs live, and the
        # step counts that Adam keeps on the CPU would elsewhere make the host wait for the device at every step.
        self.where = "cpu"

    def __enter__(self) -> "Keeper":
        if threading.current_thread() is threading.main_thread():  # elsewhere only time makes checkpoints
            self.before = {number: signal.signal(number, self._ask) for number in STOPPING}
            self.watch.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.end()
        for number, handler in self.before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self.before = {}

    def _put_off(self) -> None:
        if self.before:  # inside the context, and in the main thread, where signals are answered
            self.watch.put_off()

    def _ask(self, number: int, _: FrameType | None) -> None:
        self.asked = number

    def resume(self, moving: Moving) -> int:
        """Put the run where its checkpoint left it; return the steps taken, 0 without a good checkpoint."""
        self._put_off()
        kept = self.agreed(self._kept())
        return 0 if kept is None else restore(moving, kept)

    def agreed(self, kept: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the state to go on from; a run on several processes goes on if all of them have the same step."""
        return kept

    def agree(self, due: bool, asked: int, over: bool) -> tuple[bool, int, bool]:
        """Return whether a checkpoint is due, which signal asked to stop, 0 for none, and whether time is over.

        The same on all processes of a run.
        """
        return due, asked, over

    def after(self, step: int, moving: Moving) -> None:
        """Keep a checkpoint if it is time or the process was asked to stop, and in that case stop."""
        self._put_off()
        over = time.time() >= self.until
        due = over or bool(self.asked) or time.monotonic() - self.last >= self.every
        due, asked, over = self.agree(due, self.asked, over)
        if not due:
            return
        buffer = io.BytesIO()
        torch.save({"run_id": self.run_id} | capture(moving, step), buffer)
        body = buffer.getvalue()
        write_atomically(self.path, MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        self.last = time.monotonic()
        if asked:
            self.asked = 0
            # Handlers go back first: the signal sent again must meet whatever would have answered it without us.
            self.__exit__()
            os.kill(os.getpid(), asked)
            time.sleep(1.0)  # the signal ends this process here, unless its owner had another wish
        if over:
            raise OutOfTime

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)

    def _kept(self) -> dict[str, Any] | None:
        try:
            return self._read()
        except FileNotFoundError:
            return None
        except (ValueError, RuntimeError) as error:
            logger.warning("%s: %s; the run starts anew", self.path, str(error).splitlines()[0])
            self.drop()
            return None

    def _read(self) -> dict[str, Any]:
        head, _, body = self.path.read_bytes().partition(b"\n")
        if head != MAGIC + hashlib.sha256(body).hexdigest().encode():
            raise ValueError("checksum mismatch")
        # Tensors, numbers and text only: a checkpoint that somebody else wrote must not execute anything.
        kept = torch.load(io.BytesIO(body), map_location=self.where, weights_only=True)
        if kept["run_id"] != self.run_id:
            raise ValueError("the checkpoint belongs to another run")
        kept["generators"] = {name: on_cpu(state) for name, state in kept["generators"].items()}
        return kept
