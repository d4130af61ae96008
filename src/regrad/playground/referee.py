"""Be the referee: other margins, gates, seeds and looks, and what becomes of the verdicts.

The rules are the ledger's and so is the code: with nothing moved the verdicts are the published ones. What changes is
what the rules are given. A ratio of costs has a range and no margin, and a proof has neither: those stand.
"""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from regrad.claims.load import load
from regrad.claims.looks import LOOKS, cut, judge_all
from regrad.claims.plain import as_rows
from regrad.claims.schema import Claim, Construction
from regrad.playground.cards import summary, verdicts
from regrad.playground.controls import Choice, Control, Slider
from regrad.playground.explore import View
from regrad.playground.narrowing import choice
from regrad.playground.shelf import Shelf, shelf
from regrad.report.board import fig_board
from regrad.results import Record
from regrad.studies.catalogue import PAPERS

GATES = ("the ledger's", "the floor", "the competent value", "none")
NONE, PLANNED = "none", "as planned"
MEASURED = ("alsdgc", "dgs")  # studies some of whose claims are decided from a benchmark's record
Row = dict[str, Any]


class Bench:
    """What the referee reads: the published records and verdicts, the ledger and the benchmarks.

    Args:
        folder: ``results/reference/<preset>-<device>``.
    """

    def __init__(self, folder: Path) -> None:
        self.shelf: Shelf = shelf(folder)
        self.root = folder.parents[2]
        self.device = folder.name.partition("-")[2]

    @cached_property
    def published(self) -> list[Row]:
        return verdicts(self.shelf.folder)

    @cached_property
    def claims(self) -> dict[str, list[Claim]]:
        """The ledger's claims by study, of the studies with published runs."""
        found = load(self.root / "paper" / "claims.toml")
        by_study = {name: [claim for claim in found if claim.study == name] for name in self.shelf.studies}
        return {name: claims for name, claims in by_study.items() if claims}

    def fixed(self, study: str) -> list[Row]:
        """Return the rows of a study that come from no run: benchmarks, and proofs as they were published."""
        proofs = [test for claim in self.claims[study] for test in claim.test if isinstance(test, Construction)]
        rows: list[Row] = [{"proof": test.proof, "passed": True} for test in proofs]
        if study in MEASURED:
            cost = import_module(f"regrad.studies.{study}.cost")
            rows += cost.claim_rows(cost.benchmark(self.root))
        return rows


@lru_cache(maxsize=2)
def bench(folder: Path) -> Bench:
    """Return the referee's bench of a published set."""
    return Bench(folder)


def moved(claim: Claim, factor: float, gate: str) -> Claim:
    """Return a claim with its margins times a factor and its bases held against another bar."""
    tests = tuple(
        test.model_copy(update={"margin": test.margin * factor}) if hasattr(test, "margin") else test
        for test in claim.test
    )
    bars = {"the floor": "floor", "the competent value": "competent"}
    requires = () if gate == NONE else claim.requires
    if gate in bars:
        tasks = [r.task.model_copy(update={"bar": getattr(r.task, bars[gate])}) for r in claim.requires]
        requires = tuple(r.model_copy(update={"task": task}) for r, task in zip(claim.requires, tasks, strict=True))
    return claim.model_copy(update={"test": tests, "requires": requires})


def with_seeds(claim: Claim, without: str, seeds: str) -> Claim:
    """Return a claim that asks for no more seeds than are left: else it would only be "not tested"."""
    most = {preset: n if seeds == PLANNED else min(n, int(seeds)) for preset, n in claim.presets.items()}
    if without != NONE:  # also of the first look, which asks for all seeds that it has
        most = {name: max(1, min([n, *(LOOKS[name].ns if name in LOOKS else ())]) - 1) for name, n in most.items()}
    return claim.model_copy(update={"presets": most})


def judged(
    state: Bench, study: str, *, margin_times: float, gate: str, without_seed: str, seeds_read: str
) -> list[Row]:
    """Return the verdicts on a study's claims under other rules.

    Args:
        state: What is judged.
        study: Whose claims.
        margin_times: Factor of every margin.
        gate: One of ``GATES``: what a claim's base must beat.
        without_seed: A seed whose runs do not count, or ``"none"``.
        seeds_read: ``"as planned"``, or how many.
    """
    module = import_module(f"regrad.studies.{study}.claims")
    fixed = state.fixed(study)
    records = [r for r in state.shelf.records(study) if counts(r, without_seed)]
    if seeds_read != PLANNED:
        records = cut(records, int(seeds_read))
    moved_claims = (moved(claim, margin_times, gate) for claim in state.claims[study])
    claims = [with_seeds(claim, without_seed, seeds_read) for claim in moved_claims]
    found = judge_all(
        claims,
        lambda some: [*module.claim_rows(some), *fixed],
        records,
        LOOKS.get(state.shelf.preset) if seeds_read == PLANNED else None,
        preset=state.shelf.preset,
        device=state.device,
    )
    waiting = {row["id"]: row for row in state.published if row["waits"]}  # no rule makes up for runs to come
    return [waiting.get(row["id"], row) for row in as_rows(found)]


def counts(record: Record, without: str) -> bool:
    return record.spec.tags["phase"] == "tune" or str(record.spec.seed) != without


def controls(state: Bench, values: Mapping[str, Any]) -> Mapping[str, Control]:
    names = tuple(state.claims)
    study = values["study"] if values.get("study") in names else names[0]
    seeds = sorted({r.spec.seed for r in state.shelf.records(study) if r.spec.tags["phase"] != "tune"})
    return {
        "study": choice("study", names),
        "margin_times": Slider(0.1, 10.0, 1.0, log=True),
        "gate": Choice(GATES),
        "without_seed": Choice((NONE, *map(str, seeds))),
        "seeds_read": Choice((PLANNED, *(str(n) for n in range(2, len(seeds) + 1)))),
    }


def draw(state: Bench, *, study: str, **rules: Any) -> View:
    """Return the board of a study's verdicts as these rules give them, and which of them changed."""
    new = {row["id"]: row for row in judged(state, study, **rules)}
    old = {row["id"]: row for row in state.published}
    rows = [row | new[row["id"]] | {"label": row["label"]} for row in state.published if row["id"] in new]
    changed = [
        f"{name}: {old[name]['verdict']} → {row['verdict']}: {row['why']}"
        for name, row in new.items()
        if name in old and row["verdict"] != old[name]["verdict"]
    ]
    return View(fig_board(rows, PAPERS), "\n".join([*summary(state.published, rows, len(changed)), *changed]))
