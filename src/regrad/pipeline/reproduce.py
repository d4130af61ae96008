"""The whole way: data, runs, notebooks, verdicts, report, site; each step only if its input changed."""

import json
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from regrad.atomic import write_atomically
from regrad.executors.choice import ExecutorError
from regrad.executors.local import worker_count
from regrad.exits import DONE, ENVIRONMENT, FAILED, TIME, USAGE
from regrad.fingerprint import code_fingerprint
from regrad.pipeline import manual, paper
from regrad.pipeline.folders import Folders
from regrad.pipeline.freshness import Freshness, inputs_hash
from regrad.pipeline.inputs import ledger_parts, notebook_parts
from regrad.pipeline.lock import BusyError, only_one
from regrad.pipeline.notebooks import NotebookError, check_parameters, execute
from regrad.pipeline.order import Order
from regrad.pipeline.partial import lacking
from regrad.pipeline.site_sources import inputs as site_inputs
from regrad.pipeline.sweep import Sweep, fetch_data
from regrad.pipeline.targets import LEDGER, notebook_path, plan_of
from regrad.problems.data.errors import DataError
from regrad.provenance import commit
from regrad.report.ledger.load import load
from regrad.report.manifest import manifest_path, read_manifest
from regrad.results import Record, one_line
from regrad.runner import limits
from regrad.runner.dependencies import entries
from regrad.runner.ensure import Bench, RunsFailedError, complete
from regrad.runner.progress import duration
from regrad.studies.catalogue import STUDIES
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
        for document in self.order.documents:
            {"paper": self.make_paper, "site": lambda: self.make_site(claims)}[document]()
        self.say(self.summary(time.monotonic() - start))
        return FAILED if self.failed else ENVIRONMENT if self.environment_lacks else DONE

    def try_notebook(self, target: Study) -> None:
        """Bring one notebook up to date, or say why that failed and go on."""
        if words := lacking(self.folders, target, self.order.preset, self.order.device):
            self.say(f"{target.name}: {words}: its claims are not tested")
            return
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

    def make_paper(self) -> None:
        """Bring ``paper/report.pdf`` up to date."""
        folders = self.folders
        paper.assemble(folders.generated)
        report = folders.paper / "report.pdf"  # no source, though figures are PDF too
        files = [p for p in sorted(folders.paper.rglob("*")) if p.suffix in (".tex", ".bib", ".pdf")]
        sources = [p for p in files if p != report]
        inputs = inputs_hash({"code": code_fingerprint("regrad.pipeline.paper")}, sources)
        if self.freshness.why_stale("paper", inputs) is None:
            self.say("paper: up to date")
            return
        if not paper.tex_is_there():
            self.environment_lacks.append("no LaTeX here: paper/report.pdf not made, all its sources are")
            return
        self.say("paper: typesetting report.pdf")
        try:
            complaints = paper.typeset(folders.paper)
        except paper.PaperError as error:
            self.failed.append("paper")
            self.say(f"paper: FAILED: {error}")
            return
        for complaint in complaints:
            self.say(f"paper: {complaint}")
        self.freshness.remember("paper", inputs, [report])

    def make_site(self, claims: list[dict[str, Any]]) -> None:
        """Bring the HTML site up to date."""
        folders = self.folders
        executed = [folders.executed / f"{t.notebook}.ipynb" for t in STUDIES]
        executed = [path for path in executed if path.exists()]
        has_manual = self.make_manual()
        pdf = folders.paper / "report.pdf"
        sources = [*executed, folders.claims, pdf, *site_inputs(folders)]
        inputs = inputs_hash({"code": code_fingerprint("regrad.pipeline.site"), "manual": str(has_manual)}, sources)
        if self.freshness.why_stale("site", inputs) is None:
            self.say("site: up to date")
            return
        from regrad.pipeline import site

        self.say("site: converting notebooks")
        facts = {"preset": self.order.preset, "device": self.order.device, "commit": commit()}
        facts |= {"manual": "manual/index.html"} if has_manual else {}
        pages: list[Path] = []
        if pdf.exists():
            facts["pdf"] = "report.pdf"
            write_atomically(folders.site / "report.pdf", pdf.read_bytes())
            pages.append(folders.site / "report.pdf")
        pages += site.build(executed, folders.site, claims=claims, facts=facts, folders=folders)
        self.freshness.remember("site", inputs, pages)

    def make_manual(self) -> bool:
        """Bring the manual up to date, in its folder of the site; return whether there is one."""
        parts = manual.inputs(self.folders)
        if not parts:
            return False
        if lacks := manual.missing():
            self.say(f"manual: not made: {', '.join(lacks)} not installed; ./reproduce.sh installs requirements.lock")
            return False
        inputs = inputs_hash({"code": code_fingerprint("regrad.pipeline.manual")}, [*parts, self.folders.claims])
        if self.freshness.why_stale("manual", inputs) is None:
            self.say("manual: up to date")
            return True
        self.say("manual: building")
        try:
            pages = manual.build(self.folders)
        except manual.ManualError as error:
            self.failed.append("manual")
            self.say(f"manual: FAILED: {error}")
            return False
        self.freshness.remember("manual", inputs, pages)
        return True


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
