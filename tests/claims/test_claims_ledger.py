"""The committed ledger is sound, and what is wrong with another is said in one line."""

import copy
import tomllib
from pathlib import Path

import pytest

from regrad.claims.evaluate import evaluate_all
from regrad.claims.load import load, load_ledger, parse_ledger
from regrad.claims.schema import arms_of
from regrad.pipeline.proofread import codes_in
from regrad.studies.catalogue import STUDIES

LEDGER = Path(__file__).parents[2] / "paper" / "claims.toml"
RAW = tomllib.loads(LEDGER.read_text(encoding="utf-8"))


def test_the_per_example_papers_claims_are_all_there():
    ids = {claim.id for claim in load(LEDGER) if claim.paper == "per-example"}
    assert ids == {"C1", "C2", "C2b", "C3", "C3b", "C3c", "C4", "C4b", "C5", "C6", "C7", "C7s", "C8"}


def test_every_claim_says_how_it_would_be_falsified_and_asks_for_enough_seeds():
    for claim in load(LEDGER):
        assert len(claim.falsified) > 20, claim.id
        assert claim.quotation, claim.id
        assert claim.place, claim.id
        kinds = {test.kind for test in claim.test}
        if kinds & {"paired", "trend", "prediction", "rate"}:
            assert claim.presets.get("small", 5) >= 5, claim.id
            assert claim.presets.get("full", 8) >= 8, claim.id


def test_every_claim_about_training_at_medium_names_the_base_that_must_be_trained():
    for claim in load(LEDGER):
        if {test.kind for test in claim.test} - {"ratio", "construction"} and "medium" in claim.presets:
            assert claim.requires, claim.id


def test_a_construction_is_counted_once_and_the_formal_audit_proves_something_else():
    _, claims, audits = load_ledger(LEDGER)
    proofs = [test.proof for claim in claims for test in claim.test if test.kind == "construction"]
    proofs += [audit.proof for audit in audits]
    assert len(proofs) == len(set(proofs))
    assert sum(any(test.kind == "construction" for test in claim.test) for claim in claims) <= 6


@pytest.mark.parametrize("claim", RAW["claim"], ids=lambda claim: claim["id"])
def test_no_code_key_stands_in_what_is_read_of_a_claim(claim):
    texts = [claim.get(field, "") for field in ("sentence", "short", "falsified", "note")]
    # Files of this repository are named as such, and a test by its id where it proves a sentence.
    assert [found for text in texts for found in codes_in(text) if not found.startswith("test id")] == []


def test_what_latex_prints_of_the_ledger_is_ascii():
    # The quotation's original may be Chinese; it is for readers of the file.
    for entry in [*RAW["claim"], *RAW["audit"], *RAW["task"]]:
        printed = [value for key, value in entry.items() if isinstance(value, str) and key != "original"]
        assert "".join(printed).isascii(), entry


def test_every_study_of_the_ledger_is_in_the_catalogue_and_tests_the_paper_that_it_is_about():
    papers = {name: study.paper.key for study in STUDIES if study.paper for name in (study.name, *study.families)}
    assert {claim.id: papers[claim.study] for claim in load(LEDGER)} == {c.id: c.paper for c in load(LEDGER)}


def test_no_arm_is_compared_with_itself():
    for claim in load(LEDGER):
        for test in claim.test:
            assert len(set(arms_of(test))) == len(arms_of(test)), claim.id


def test_every_claim_of_the_ledger_survives_a_study_without_runs():
    verdicts = evaluate_all(load(LEDGER), {}, preset="small", device="cpu")
    assert {v.verdict for v in verdicts} == {"not tested"}
    assert all(v.why for v in verdicts)


def change(edit):
    values = copy.deepcopy(RAW)
    edit(values)
    return values


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d["claim"][0].update(sentense="x"), "C3: unknown key 'sentense'; did you mean 'sentence'"),
        (lambda d: d["claim"][0]["test"][0].update(margins=1.0), "'test 1 margins'; did you mean 'margin'"),
        (lambda d: d["claim"][0]["test"][0].pop("margin"), "claim C3: 'test 1 margin' is missing"),
        (lambda d: d["claim"][0]["test"][0].update(kind="pared"), "kind 'pared'; did you mean 'paired'"),
        (lambda d: d["claim"][0]["test"][0].pop("kind"), "'test 1 kind' is missing"),
        (lambda d: d["claim"][0]["test"][0].update(margin=0.0), "margin = 0.0: input should be greater"),
        (lambda d: d["claim"][0]["test"][0].update(margin=float("nan")), "margin = nan"),
        (lambda d: d["claim"][0]["test"][0].update(margin=True), "margin = True"),
        (lambda d: d["claim"][0]["test"][0].update(direction="down"), "direction = 'down'"),
        (lambda d: d["claim"][0]["test"][0].update(control=[]), "control"),
        (lambda d: d["claim"][1]["test"][0].update(ladder=["a", "b"]), "ladder"),
        (lambda d: d["claim"][10]["test"][0].update(range=[2.0, 1.0]), "allowed: 0 <= low < high"),
        (lambda d: d["claim"][0].pop("id"), "claim number 1: 'id' is missing"),
        (lambda d: d["claim"][1].update(id="C3"), "claim C3: 2 entries; allowed: one"),
        (lambda d: d["claim"][0].update(presets={"smoke": 5}), "presets smoke"),
        (lambda d: d["claim"][0].update(presets={"small": True}), "presets small = True"),
        (lambda d: d["claim"][0].update(presets={}), "presets"),
        (lambda d: d["claim"][0].update(test=[]), "test"),
        (lambda d: d["claim"][0].update(test=[{"kind": "construction", "proof": "x"}]), "proof = 'x'"),
        (lambda d: d.update(claims=[]), "unknown key 'claims'; did you mean 'claim'"),
        (lambda d: d.update(claim={}), "not a list of tables"),
    ],
)
def test_a_faulty_ledger_is_refused_in_one_line(edit, words):
    with pytest.raises(ValueError, match=words.replace("[", r"\[")) as caught:
        parse_ledger(change(edit))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_file_that_is_not_toml_is_named(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text("[[claim]\n")
    with pytest.raises(ValueError, match=r"claims\.toml: not TOML"):
        load(path)
    path.write_text('[[claim]]\nid = "X"\n')
    with pytest.raises(ValueError, match=r"claims\.toml: claim X: 'paper' is missing"):
        load(path)


def test_claims_cannot_be_changed_after_loading():
    with pytest.raises(ValueError, match="frozen"):
        load(LEDGER)[0].test[0].margin = 1.0
