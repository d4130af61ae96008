"""From records on disk to the ledger: each of the five verdicts on records that were built for it."""

import json

import numpy as np
import pytest

import tiny_runs
from regrad.claims.kinds.outcome import VERDICTS
from regrad.claims.verdicts import decide
from regrad.pipeline import verdicts
from regrad.pipeline.folders import Folders
from regrad.report.costs import cost as cost_of_run
from regrad.report.export import Exporter
from regrad.results import Part, rows, run_id
from regrad.store import Store

LEDGER = """
[[claim]]
id = "X1"
paper = "sgg"
sentence = "New ends lower than old."
quotation = "x"
place = "x"
source = "primary"
study = "x"
presets = { small = 5 }
falsified = "x"
[[claim.test]]
kind = "paired"
metric = "test_loss"
direction = "lower"
margin = 0.1
unit = "nats"
treatment = ["new"]
control = ["old"]
"""
PROOF = (
    LEDGER[: LEDGER.index("[[claim.test]]")]
    + """
[[claim.test]]
kind = "construction"
proof = "tests/test_x.py::test_it"
"""
)
NOISE = np.random.default_rng(11).normal(size=(2, 6))


def made(arm, seed, value):
    """A fresh-seed run's record; a value of None is a run that became non-finite."""
    spec = tiny_runs.spec(
        seed=seed, optimizer=Part(name="sgd", options={"lr": 0.1 if arm == "new" else 0.2}),
        tags={"study": "x", "arm": arm, "phase": "fresh"},
    )  # fmt: skip
    outcome = {"status": "diverged", "metrics": {}} if value is None else {"metrics": {"test_loss": value}}
    return tiny_runs.record(spec, run_id=run_id(spec, tiny_runs.FINGERPRINT), **outcome)


def study(effect, scale, lost=0):
    """Six seeds of two arms; ``effect`` is how much higher new ends, the first ``lost`` of new diverge."""
    new = [None if s < lost else 2 + effect + scale * NOISE[0, s] for s in range(6)]
    old = [2 + scale * NOISE[1, s] for s in range(6)]
    return [made(arm, s, v) for arm, values in (("new", new), ("old", old)) for s, v in enumerate(values)]


CASES = {
    "a true effect": (study(-1.0, 0.05), "reproduced", "beyond 0 in the claimed direction"),
    "the effect the other way": (study(1.0, 0.05), "not reproduced", "against the claimed direction"),
    "a null, well measured": (study(0.0, 0.01), "not reproduced", "tie"),
    "a significant tie inside the margin": (study(-0.03, 0.001), "not reproduced", "tie"),
    "too few seeds for the spread": (study(-0.5, 1.0), "inconclusive", "neither 0 nor a gain as large"),
    "an arm that always diverges": (study(-1.0, 0.05, lost=6), "not reproduced", "treatment alone at 6 seeds"),
    "one good arm that diverges once": (study(-1.0, 0.05, lost=1), "inconclusive", "treatment alone at 1 seeds"),
}


@pytest.mark.parametrize("name", CASES)
def test_records_get_the_verdict_they_were_built_for(name, tmp_path):
    records, verdict, words = CASES[name]
    (tmp_path / "claims.toml").write_text(LEDGER)
    found = [{**r, "metric": "test_loss"} for r in rows(records, "test_loss", "fresh")]
    [row] = decide(tmp_path / "claims.toml", "x", lambda _: found, records, preset="small")
    assert row["verdict"] == verdict, row["why"]
    assert words in row["why"]
    [smoke] = decide(tmp_path / "claims.toml", "x", lambda _: found, records, preset="smoke")
    assert smoke["verdict"] == "not tested"


def test_a_passing_proof_refutes_and_without_its_run_nothing_is_said(tmp_path):
    (tmp_path / "claims.toml").write_text(PROOF)
    passed = [{"proof": "tests/test_x.py::test_it", "passed": True}]
    about = {"preset": "small", "device": "cpu"}
    assert decide(tmp_path / "claims.toml", "x", lambda _: passed, **about)[0]["verdict"] == "refuted by construction"
    assert decide(tmp_path / "claims.toml", "x", lambda _: [], **about)[0]["verdict"] == "not tested"


def test_the_cases_here_show_all_verdicts_but_those_of_proofs_and_presets():
    assert {verdict for _, verdict, _ in CASES.values()} == set(VERDICTS) - {"refuted by construction", "not tested"}


def test_a_verdict_travels_from_the_store_into_the_claims_file_with_its_cost(tmp_path):
    folders, records = Folders(tmp_path, tmp_path), CASES["a true effect"][0]
    folders.paper.mkdir()
    (folders.paper / "claims.toml").write_text(LEDGER)
    for record in records:
        Store(folders.runs).put(record)
    found = [{**r, "metric": "test_loss"} for r in rows(records, "test_loss", "fresh")]
    exporter = Exporter(folders.generated, notebook="05_sgg", preset="small", records=records)
    exporter.claims(decide(folders.paper / "claims.toml", "x", lambda _: found, records, preset="small"))
    exporter.finish()
    cost = tmp_path / "results" / "reference" / verdicts.PUBLISHED / verdicts.COST
    cost.parent.mkdir(parents=True)
    took = {"SGG": [cost_of_run(record, None) for record in records]}
    cost.write_text(json.dumps(verdicts.cost_of_runs(took), sort_keys=True))
    verdicts.write(folders, preset="small", device="cpu")
    [row] = json.loads(folders.claims.read_text())["claims"]
    assert (row["verdict"], row["n"]) == ("reproduced", 6)
    assert "SGG & 12 & 0 &" in (folders.generated / "tables" / "tab-compute.tex").read_text()
    assert r"\setval{ledger/summary}{1 reproduced}" in (folders.generated / "numbers" / "claims.tex").read_text()
