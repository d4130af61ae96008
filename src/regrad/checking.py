"""``regrad check``: does this installation compute what it should, and are a user's per-example gradients exact?"""

import platform
import runpy
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from regrad import __version__
from regrad.exits import FAILED, USAGE

Prepare = Callable[[Any], Callable[[], None]]  # of a network: a function that takes one step

HELP = """\
usage: regrad check [FILE.py]

Without a file: does this installation compute what it should? With one: FILE.py is run and defines
  model    a torch.nn.Module
  losses   losses(model, batch) -> one loss per example, [B]
  batch    a small batch, 2 examples or more
and the methods graph, vmap and loop are compared with a loop in float64. Exit code 0: exact, 1: not.
"""


def check(words: list[str]) -> int:
    """Run ``check``; return the exit code."""
    if words and words[0] in ("-h", "--help"):
        sys.stdout.write(HELP)
        return 0
    if len(words) > 1 or (words and not Path(words[0]).is_file()):
        sys.stderr.write(f"regrad: check: {' '.join(words)!r}; allowed: nothing, or the name of one Python file\n")
        return USAGE
    return check_file(Path(words[0])) if words else check_installation()


def check_file(path: Path) -> int:
    from regrad.perexample.checking import check as compare

    found = runpy.run_path(str(path))
    if missing := [name for name in ("model", "losses", "batch") if name not in found]:
        sys.stderr.write(f"regrad: check: {path} defines no {', '.join(missing)}; see regrad check --help\n")
        return USAGE
    try:
        report = compare(found["model"], found["losses"], found["batch"])
    except ValueError as error:
        sys.stderr.write(f"regrad: check: {error}\n")
        return FAILED
    sys.stdout.write(f"{report}\n")
    return 0 if report else FAILED


def check_installation() -> int:
    import numpy
    import torch

    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {numpy.__version__}"
    sys.stdout.write(f"regrad {__version__}, {versions}\n")
    good = True
    for what, test in checks():
        try:
            answer = test()
        except Exception as error:  # noqa: BLE001 - whatever a broken installation raises is the answer
            answer = f"{type(error).__name__}: {error}"
        good = good and answer == ""
        sys.stdout.write(f"{'ok  ' if not answer else 'FAIL'} {what}{': ' if answer else ''}{answer}\n")
    return 0 if good else FAILED


def checks() -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is tried and a function that returns what went wrong, nothing if all is well."""
    import torch

    from regrad.optim.dgs import DGS
    from regrad.optim.micro_adam import MicroAdam
    from regrad.optim.sgg import SGG
    from regrad.optim.sign_sgd import SignSGD
    from regrad.perexample.engine import gradient_statistics
    from regrad.scaling.alsdgc import ALSDGC

    batch = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))

    def scaled(make: Callable[[Any], Any]) -> Prepare:
        def prepare(network: Any) -> Callable[[], None]:
            optimizer, scaler = make(network), ALSDGC("V4", init_scale=2.0)

            def once() -> None:
                scaler.scale(losses(network, batch).mean()).backward()
                scaler.step(optimizer)
                scaler.update()

            return once

        return prepare

    def micro(network: Any) -> Callable[[], None]:
        optimizer = MicroAdam(network.named_parameters(), lr=1e-2)

        def once() -> None:
            statistics = gradient_statistics(network, losses, batch, ["mean", "variance"])
            optimizer.step(statistics=statistics, batch_size=len(batch))

        return once

    yield "per-example gradients: graph, vmap and loop agree with float64", partial(exact, batch)
    for what, prepare in {
        "MicroAdam lowers a loss": micro,
        "SGG(AdamW), under ALSDGC": scaled(lambda m: SGG(torch.optim.AdamW(m.parameters(), 1e-2), interval=5)),
        "SignSGD, under ALSDGC": scaled(lambda m: SignSGD(m.parameters(), 1e-3)),
        "DGS, under ALSDGC": scaled(lambda m: DGS(m.parameters(), 1e-2)),
    }.items():
        yield what, partial(falls, prepare, batch)


def model() -> Any:
    import torch
    from torch import nn

    made = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3))
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.rand(p.shape, generator=torch.Generator().manual_seed(p.numel())) - 0.5)
    return made


def losses(network: Any, x: Any) -> Any:
    return network(x).square().sum(1)


def exact(batch: Any) -> str:
    from regrad.perexample.checking import check as compare

    report = compare(model(), losses, batch)
    return "" if report and not any(r.refusal for r in report.methods) else str(report).replace("\n", "; ")


def falls(prepare: Prepare, batch: Any) -> str:
    network = model()
    before, once = losses(network, batch).mean().item(), prepare(network)
    for _ in range(20):
        network.zero_grad()
        once()
    after = losses(network, batch).mean().item()
    return "" if after < before else f"the loss went from {before:.3g} to {after:.3g} in 20 steps"
