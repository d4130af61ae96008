"""Every stamp follows from what is on disk, and every way in which it may not is found and named."""

import json
import shutil
import subprocess
import sys
from functools import partial
from importlib import import_module

import pytest

from regrad.pipeline import explain, verify
from regrad.pipeline.explain import explained, in_a_line, standing
from regrad.published import standing_in
from regrad.runner.ensure import Bench
from test_pipeline import FIRST, ROOT, STUDY, cache, world  # noqa: F401 - fixtures
from tiny_runs import spec

PARAMETERS = {"preset": "smoke", "device": "cpu", "jobs": 1}
TABLE = "tables/tab-study.tex"


@pytest.fixture
def made(world, monkeypatch):  # noqa: F811
    """A checkout in which everything was made."""
    monkeypatch.setattr(verify, "STUDIES", (FIRST, STUDY))
    world.run()
    return world


def complaints(made):
    return verify.verify(made.folders, device="cpu")[0]


def state(made, target=STUDY):
    bench = Bench(made.folders.runs, made.folders.cache, "cpu", 1)
    return standing(made.folders, target, PARAMETERS, bench)


def test_what_was_just_made_holds(made):
    said, (sentence,) = verify.verify(made.folders, device="cpu")
    assert said == []
    assert sentence.startswith("2 figures, ")
    assert sentence.endswith("2 runs: every stamp holds")


def test_nothing_made_is_a_complaint(world):  # noqa: F811
    assert verify.verify(world.folders, device="cpu")[0] == ["nothing was made here yet: run ./reproduce.sh"]


def test_a_changed_byte_is_found(made):
    path = made.folders.generated / TABLE
    path.write_bytes(path.read_bytes().replace(b"a table", b"a tabla"))
    assert f"{TABLE}: changed since its export" in complaints(made)


def test_a_file_that_is_gone_is_found(made):
    (made.folders.generated / TABLE).unlink()
    assert f"{TABLE}: is gone" in complaints(made)


def test_a_file_that_no_notebook_wrote_is_found(made):
    (made.folders.generated / "tables" / "tab-typed.tex").write_text("1.23")
    assert "tables/tab-typed.tex: in no notebook's manifest" in complaints(made)


def test_a_damaged_record_and_a_missing_one_are_two_sentences(made):
    damaged, gone = [p for p in made.folders.runs.rglob("??/*.json") if "circumstances" not in p.name]
    damaged.write_bytes(damaged.read_bytes().replace(b"loss", b"lass", 1))
    said = complaints(made)
    assert f"{TABLE}: of its 2 records 1 are damaged" in said
    assert "01_study: stale, 1 of its runs are missing" in said
    gone.unlink()
    assert f"{TABLE}: of its 2 records 2 are missing" in complaints(made), "the damaged one went into quarantine"


def test_what_was_published_verifies_though_other_code_made_it_and_says_so(made, monkeypatch):
    """As in a fresh clone after --from-reference: nothing of its own, records of a set, code that changed since."""
    target = made.folders.root / "results" / "reference" / "smoke-cpu" / "runs"
    shutil.copytree(made.folders.runs, target)
    monkeypatch.setattr(verify, "published_runs", partial(verify.published_runs, studies=(STUDY,)))
    monkeypatch.setattr(import_module("regrad.pipeline.bless"), "plan_of", lambda study: lambda *_: made.specs)
    real = explain.fingerprint
    for module in (explain, import_module("regrad.runner.ensure"), import_module("regrad.pipeline.bless")):
        other = lambda s, device: real(s, device).model_copy(update={"code": "f" * 16})  # noqa: E731
        monkeypatch.setattr(module, "fingerprint", other)
    with standing_in("smoke-cpu"):
        made.run()
    shutil.rmtree(made.folders.root / "results" / "runs")
    said, sentences = verify.verify(made.folders, device="cpu")
    assert said == []
    assert sentences[1] == "results/reference/smoke-cpu: 2 runs: 2 made by other code and not repeated under today's"


@pytest.mark.parametrize(("key", "value"), [("stamp", "preset paper"), ("run_set", "00000000"), ("preset", "small")])
def test_a_manifest_that_its_records_contradict_is_found(made, key, value):
    path = made.folders.generated / "manifest" / "01_study.json"
    rows = json.loads(path.read_text())
    next(row for row in rows if row["name"] == TABLE)[key] = value
    path.write_text(json.dumps(rows))
    assert any(line.startswith(f"{TABLE}: its ") for line in complaints(made))


def test_a_changed_notebook_is_named(made):
    path = made.source(STUDY)
    path.write_text(path.read_text().replace("jobs = 0", "jobs = 3"))
    assert "01_study: stale, changed: file notebooks/01_study.ipynb" in complaints(made)


def test_verdicts_edited_by_hand_are_found(made):
    text = made.folders.claims.read_text()
    made.folders.claims.write_text(text.replace("not tested", "reproduced", 1))
    assert complaints(made)[-1].startswith("results/claims.json: is not what")


def test_another_number_of_jobs_changes_nothing(made):
    made.run(jobs=2)
    assert made.executed == []


def test_a_fresh_target_is_explained_in_two_lines(made):
    assert explained(STUDY, state(made)) == [
        "study: nothing will run: everything it was made from, and all it made, is as it was",
        "  runs: 2 are there, 0 missing: fresh",
        "  notebook: fresh",
    ]
    assert in_a_line(STUDY, state(made)) == "study: fresh"
    assert in_a_line(FIRST, state(made, FIRST)) == "first: fresh; it has no runs of its own"


def test_missing_runs_are_counted_with_their_cause_and_time(made):
    made.specs.append(spec(seed=7))
    found = state(made)
    lines = explained(STUDY, found)
    assert lines[0] == "study: will run: 1 runs, then its notebook"
    assert "    1 × never run here" in lines
    assert "    language, sgd, seed 7, 2 steps" in lines
    assert lines[-1].startswith("  expected: ")
    assert in_a_line(STUDY, found).startswith("study: stale, 1 of its runs are missing (2 are there), about ")


def test_code_that_changed_is_the_cause(made, monkeypatch):
    real = explain.fingerprint
    other = lambda s, device: real(s, device).model_copy(update={"code": "f" * 16})  # noqa: E731
    monkeypatch.setattr(explain, "fingerprint", other)
    monkeypatch.setattr(import_module("regrad.runner.ensure"), "fingerprint", other)
    assert "    2 × changed since: code" in explained(STUDY, state(made))


def test_a_changed_ledger_runs_the_notebook_and_trains_nothing(made):
    path = made.folders.paper / "claims.toml"
    path.write_text(path.read_text() + "\n")
    lines = explained(STUDY, state(made))
    assert lines[0] == "study: will run: its notebook, and no training"
    assert "  notebook: changed: file paper/claims.toml" in lines


def test_neither_imports_torch():
    code = (
        "import sys; from regrad.cli import main; main(['--explain', 'overview,engine']); main(['--verify']); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
