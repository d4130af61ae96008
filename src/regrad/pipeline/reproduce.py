"""The whole way: data, runs, notebooks, verdicts, report, site; each step only if its input changed."""

import json
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from regrad.claims.load import load
from regrad.executors.choice import ExecutorError
from regrad.executors.local import worker_count
from regrad.exits import DONE, ENVIRONMENT, FAILED, TIME, USAGE
from regrad.pipeline.documents import MISTAKES, Document, report, site
from regrad.pipeline.folders import Folders
from regrad.pipeline.freshness import Freshness
from regrad.pipeline.inputs import ledger_parts, notebook_parts
from regrad.pipeline.lock import BusyError, only_one
from regrad.pipeline.notebooks import NotebookError, check_parameters, execute
from regrad.pipeline.order import Order
from regrad.pipeline.partial import lacking
from regrad.pipeline.sweep import Sweep, fetch_data, take_rates
from regrad.pipeline.targets import LEDGER, notebook_path, plan_of
from regrad.problems.data.errors import DataError
from regrad.provenance import commit
from regrad.report.manifest import manifest_path, read_manifest
from regrad.results import Record, one_line
from regrad.runner import limits
from regrad.runner.dependencies import entries
from regrad.runner.ensure import Bench, RunsFailedError, complete
from regrad.runner.progress import duration
from regrad.studies.study import Study

NOTEBOOK_SECONDS = {"smoke": 120.0, "small": 600.0, "medium": 1200.0, "full": 3600.0, "paper": 7200.0}


class Reproduction:
    """One call of ``reproduce`` on one checkout."""

    def __init__(self, folders: Folders, order: Order, console: Console | None = None) -> None:
        self.folders, self.order = folders, order
        self.console = console or Console(file=sys.stderr, highlight=False)
        self.bench = Bench(folders.runs, folders.cache, order.device, order.jobs)
        self.freshness = Freshness(folders.state, folders.root)
        self.failed: list[str] = []
        self.environment_lacks: list[str] = []

    def say(self, text: str) -> None:
        """Print one line of progress."""
        self.console.print(text, markup=False, soft_wrap=True)

    def parameters(self) -> dict[str, Any]:
        """Return what every notebook's ``parameters`` cell is given."""
        order = self.order
        return {"preset": order.preset, "device": order.device, "jobs": order.jobs}

    def check(self) -> None:
        """Look for mistakes in what people write, before any work.

        Raises:
            ValueError: One line: an error in a notebook's parameters, the ledger, a spec or a variable.
        """
        limits.check()
        load(self.folders.paper / "claims.toml")
        for target in self.order.targets:
            check_parameters(notebook_path(self.folders.notebooks, target), self.parameters())
            plan = plan_of(target)
            for spec in plan(self.order.preset, []) if plan else []:
                entries(spec)

    def run(self) -> int:
        """Make everything that was asked for; return the exit code."""
        start = time.monotonic()
        if not self.folders.published and (taken := take_rates(self.folders, self.order)):
            self.say(f"learning rates: {taken} published tuning runs of a larger preset taken over")
        if self.order.minutes is not None and (code := Sweep(self.folders, self.order).run()) == TIME:
            return code
        if self.folders.published:  # nothing to train: notebooks one a core
            # Threads suffice: each waits for a process of papermill.
            with ThreadPoolExecutor(worker_count(self.order.jobs, "cpu")) as pool:
                try:
                    list(pool.map(self.try_notebook, self.order.targets))
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        else:
            for target in self.order.targets:
                self.try_notebook(target)
        claims = self.make_ledger()
        facts = {"preset": self.order.preset, "device": self.order.device, "commit": commit()}
        makers = {"paper": lambda: report(self.folders), "site": lambda: site(self.folders, claims, facts)}
        for name in self.order.documents:  # one after the other: the site holds the report
            self.make_document(makers[name]())
        self.say(self.summary(time.monotonic() - start))
        return FAILED if self.failed else ENVIRONMENT if self.environment_lacks else DONE

    def try_notebook(self, target: Study) -> None:
        """Bring one notebook up to date, or say why that failed and go on."""
        if words := lacking(self.folders, target, self.order.preset, self.order.device):
            self.say(f"{target.name}: {words}: claims that need them are not tested")
        try:
            self.make_notebook(target)
        except (NotebookError, RunsFailedError, DataError, ExecutorError) as error:
            self.failed.append(target.name)
            self.say(f"{target.name}: FAILED: {error}")

    def summary(self, seconds: float) -> str:
        """Return the last line."""
        parts = [f"{what} failed" for what in self.failed] + self.environment_lacks
        return f"done in {duration(seconds)}" + (": " + "; ".join(parts) if parts else "")

    def records(self, target: Study) -> list[Record]:
        """Return the records of a target's study, running what is missing."""
        plan = plan_of(target)
        if plan is None:
            return []
        if not self.folders.published:
            fetch_data(self.folders, plan, self.order.preset, offline=self.order.offline)
        return complete(plan, self.order.preset, self.bench)

    def make_notebook(self, target: Study) -> None:
        """Bring one notebook up to date."""
        source = notebook_path(self.folders.notebooks, target)
        output = self.folders.executed / source.name
        records = self.records(target)
        inputs = notebook_parts(self.folders, target, self.parameters(), records)
        reason = self.freshness.why_stale(target.name, inputs)
        if reason is None:
            self.say(f"{target.name}: up to date ({len(records)} runs)")
            return
        self.say(f"{target.name}: executing {source.name} ({reason})")
        self.freshness.forget(target.name)  # a kill while it runs must leave it stale, whatever it wrote until then
        limit = NOTEBOOK_SECONDS[self.order.preset]
        execute(source, output, self.parameters(), timeout=limit, live=not self.folders.published)
        self.freshness.remember(target.name, inputs, [output, *self.exports(target.notebook)])

    def make_ledger(self) -> list[dict[str, Any]]:
        """Bring the file of verdicts and the report's ledger up to date; return the verdicts."""
        folders, preset, device = self.folders, self.order.preset, self.order.device
        parts = ledger_parts(folders, preset, device)
        if self.freshness.why_stale(LEDGER, parts) is None:
            return json.loads(folders.claims.read_text(encoding="utf-8"))["claims"]
        from regrad.pipeline import verdicts

        claims = verdicts.write(folders, preset=preset, device=device)
        self.freshness.remember(LEDGER, parts, [folders.claims, *self.exports(LEDGER)])
        return claims

    def exports(self, notebook: str) -> list[Path]:
        """Return what a notebook exported, its manifest included."""
        generated = self.folders.generated
        files = [generated / row.name for row in read_manifest(generated, notebook)]
        return [manifest_path(generated, notebook), *files]

    def make_document(self, document: Document) -> None:
        """Bring the report or the site up to date, or say why that failed and go on."""
        name = document.name
        if self.freshness.why_stale(name, document.inputs) is None:
            self.say(f"{name}: up to date")
            return
        if document.lacks:
            self.environment_lacks.append(document.lacks)
            return
        self.say(f"{name}: building")
        try:
            files, complaints = document.make()
        except MISTAKES as error:
            self.failed.append(name)
            self.say(f"{name}: FAILED: {error}")
            return
        for complaint in complaints:
            self.say(f"{name}: {complaint}")
        self.freshness.remember(name, document.inputs, files)


def reproduce(folders: Folders, order: Order, *, fresh: bool = False) -> int:
    """Carry out an order, alone on this checkout; return the exit code.

    Args:
        folders: The checkout.
        order: What to make.
        fresh: Set earlier runs aside first.
    """
    try:
        with only_one(folders.root):
            reproduction = Reproduction(folders, order)
            try:
                reproduction.check()
            except ValueError as error:
                sys.stderr.write(f"regrad: {one_line(error)}\n")
                return USAGE
            if fresh and (old := set_aside(folders)):
                sys.stderr.write(f"regrad: earlier runs are kept in {old}\n")
            return reproduction.run()
    except BusyError as error:
        sys.stderr.write(f"regrad: {error}\n")
        return ENVIRONMENT


def set_aside(folders: Folders) -> Path | None:
    """Move all runs and states out of the way, so that everything is made anew; return where they went."""
    old = [path for path in (folders.runs, folders.state) if path.exists()]
    if not old:
        return None
    results = folders.root / "results"
    number = 1 + sum(1 for _ in results.glob("superseded-*"))
    target = results / f"superseded-{number}"
    target.mkdir(parents=True)
    for path in old:
        shutil.move(path, target / path.name)
    return target
