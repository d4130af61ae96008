"""Preset medium of Adam's preconditioner carried through its looks by the ledger's own claims, on records by hand."""

import pytest

from micro_adam_records import record
from regrad.claims import load as reader
from regrad.claims.load import load
from regrad.claims.verdicts import decide
from regrad.presets import PRESETS as NAMES
from regrad.studies.looks import LEDGER
from regrad.studies.micro_adam import plan as study
from regrad.studies.micro_adam.claims import claim_rows
from regrad.studies.micro_adam.sizes import PRESETS

LEAN = PRESETS["medium"]._replace(
    language=PRESETS["smoke"].language,
    points=3,
    batch_points=3,
    batch_sizes=(4, 8, 16),
    multiples=(2.0, 8.0, 32.0),
    stability_steps=4,
    evaluations=4,
    examples=16,
)


@pytest.fixture(autouse=True)
def shrunk(monkeypatch):
    """The claims without their gates, decided at preset medium, whose runs are tiny."""
    claims = [c.model_copy(update={"presets": dict.fromkeys(NAMES, 5), "requires": ()}) for c in load(LEDGER)]
    monkeypatch.setattr(reader, "load", lambda path: claims)
    monkeypatch.setattr("regrad.claims.verdicts.load", lambda path: claims)
    monkeypatch.setitem(PRESETS, "medium", LEAN)


def clear(spec):
    """Without clipping what the variance leads is lost above its optimum, at some seeds from the second multiple on."""
    made = record(spec)
    if spec.tags["part"] != "stability":
        return made
    spared = spec.tags["multiple"] == "2" and spec.seed % 4 == 0
    last = 6.0 if spec.tags["arm"] in ("micro_adam", "micro_adam_var") and not spared else 3.0
    curve = made.curves["validation_loss"].model_copy(update={"y": [5.5, last, last]})
    return made.model_copy(update={"curves": made.curves | {"validation_loss": curve}})


def carried_out(make):
    records, counts = [], []
    while len(specs := study.specs("medium", records)) > len(records):
        named = {spec.key() for spec in specs}
        assert {r.spec.key() for r in records} <= named, "a run was taken back"
        records = [make(spec) for spec in specs]
        counts.append(len(specs))
    return records


def seeds(records, part):
    found = {}
    for r in records:
        if r.spec.tags["part"] == part and r.spec.tags["phase"] != "tune":
            found.setdefault(r.spec.tags["arm"], set()).add(r.spec.seed)
    return {arm: len(of_arm) for arm, of_arm in found.items()}


def test_a_claim_that_the_first_look_decides_asks_for_no_seed_of_the_second():
    records = carried_out(clear)
    verdicts = {v["id"]: v["verdict"] for v in decide(LEDGER, "micro_adam", claim_rows, records, preset="medium")}
    assert {verdicts[name] for name in ("C4", "C5", "C6")} == {"reproduced"}
    # That no run of either rule diverged leaves C7s without a case: ten seeds are asked, and no more.
    assert seeds(records, "scaling") == {"lr~B^0": 5, "lr~B^0.5": 10, "lr~B^1": 10}
    assert {seeds(records, "language")[arm] for arm in ("c=0.25", "c=4", "micro_adam+clip")} == {5}
    assert seeds(records, "stability")["micro_adam+clip"] == 5


def test_an_open_claim_asks_for_more_seeds_of_exactly_the_arms_that_its_tests_read():
    """Of 15 runs 5 and 10 are lost: too few for the first look's level, so C4b, C5 and C6 are open."""
    records = carried_out(record)
    more = {arm for arm, count in seeds(records, "stability").items() if count > 5}
    assert more == {"adam", "micro_adam", "micro_adam_var", "micro_adam+clip", "micro_adam_var+clip"}
    language = seeds(records, "language")
    assert {arm for arm, count in language.items() if count > 5} == more
    assert {arm for arm, count in language.items() if count == 5} == {"c=0.25", "c=4", "adam+clip"}
