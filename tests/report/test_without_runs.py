"""What did not run is never said to have diverged: tables and numbers of published runs, of one part and all finite."""

import re
import warnings
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name

import pytest

from regrad.playground.shelf import Shelf
from regrad.published import SET
from regrad.report.export import rendered
from regrad.report.gates import tasks_of
from regrad.report.outcomes import Outcomes
from regrad.report.style import say_where_empty
from regrad.report.tables import NO_GAP, NOT_RUN, diverged_text, end_text, gap_text
from regrad.studies.alsdgc import numbers as alsdgc_numbers
from regrad.studies.alsdgc import tables as alsdgc_tables
from regrad.studies.dgs import chapter as dgs_chapter
from regrad.studies.dgs import numbers as dgs_numbers
from regrad.studies.dgs import tables as dgs_tables
from regrad.studies.micro_adam import numbers as micro_adam_numbers
from regrad.studies.micro_adam import tables as micro_adam_tables
from regrad.studies.sgg import numbers as sgg_numbers
from regrad.studies.sgg import tables as sgg_tables
from regrad.studies.sign_placement import numbers as sign_numbers
from regrad.studies.sign_placement import tables as sign_tables

ROOT = Path(__file__).parents[2]
LEDGER = ROOT / "paper" / "claims.toml"
REPAIRED = [{"largest difference to SGD": 1.0, "scaling lines": "used", "steps": 1}]
# The part that stays, and what the study makes of its records: data frames, and one mapping of numbers.
MADE = {
    "sign_placement": ("language", (sign_tables.results_table,), sign_numbers.numbers),
    "micro_adam": (
        "language",
        (micro_adam_tables.results_table, micro_adam_tables.scaling_table),
        micro_adam_numbers.numbers,
    ),
    "sgg": (
        "pretraining",
        (
            sgg_tables.results_table,
            sgg_tables.variants_table,
            sgg_tables.ablations_table,
            sgg_tables.finetuning_table,
            sgg_tables.standins_table,
        ),
        sgg_numbers.numbers,
    ),
    "alsdgc": (
        "plain",
        (alsdgc_tables.results_table, alsdgc_tables.tasks_table, alsdgc_tables.control_table),
        alsdgc_numbers.numbers,
    ),
    "dgs": (
        "images",
        (
            dgs_tables.images_table,
            dgs_tables.reset_table,
            lambda records: dgs_tables.spiking_table(records, "lars"),
            dgs_tables.beyond_table,
        ),
        lambda records: dgs_numbers.numbers(records, REPAIRED),
    ),
}
FALSE = re.compile(r"^(diverged|infinite|0/0|0 of 0|nan)\b|no number, as there is no seed|no finite")


@pytest.fixture(scope="module")
def records():
    """The published records of each study, without the diverged ones and those of its other parts."""
    shelf = Shelf(ROOT / "results" / "reference" / SET)
    return {
        name: finite([run for run in shelf.records(name) if run.spec.tags["part"] == part])
        for name, (part, _, _) in MADE.items()
    }


def finite(records):
    """The records of those learning rates of an arm at which none diverged: a grid has the same seeds everywhere."""
    lost = {(r.spec.tags["arm"], r.spec.optimizer.lr) for r in records if r.diverged}
    return [r for r in records if (r.spec.tags["arm"], r.spec.optimizer.lr) not in lost]


@pytest.mark.parametrize("study", MADE)
def test_tables_say_nothing_of_divergence(records, study):
    for table in MADE[study][1]:
        frame = table(records[study])
        cells = [str(cell) for column in frame for cell in frame[column]]
        assert [cell for cell in cells if FALSE.search(cell)] == [], table


@pytest.mark.parametrize("study", MADE)
def test_numbers_are_left_out(records, study):
    texts = MADE[study][2](records[study])
    assert {key: text for key, text in texts.items() if FALSE.search(text)} == {}


def test_an_arm_that_ran_and_has_no_number_has_diverged(records):
    runs = [r for r in records["sign_placement"] if r.spec.tags["phase"] == "fresh"]
    lost = [run.model_copy(update={"status": "diverged"}) for run in runs]
    good, bad, none = Outcomes(runs).arm("ema"), Outcomes(lost).arm("ema"), Outcomes([])
    assert end_text(good).endswith("]")
    assert (end_text(bad), end_text(none)) == ("diverged", NOT_RUN)
    assert (gap_text(None, good, bad), gap_text(None, good, none)) == (NO_GAP, "")
    assert (diverged_text(bad), diverged_text(none)) == (f"{len(bad)}/{len(bad)}", "")


def test_an_arm_lost_in_its_tuning_has_diverged(records):
    tuning = [r for r in records["sign_placement"] if r.spec.tags["phase"] == "tune"]
    lost = [run.model_copy(update={"status": "diverged"}) for run in tuning]
    assert end_text(Outcomes(lost).arm("ema")) == "diverged"
    assert end_text(Outcomes(tuning).arm("ema")) == NOT_RUN


def figures():
    """Every figure of runs, as the notebooks know them: study, and the function's place."""
    for study in MADE:
        for path in sorted((ROOT / "src" / "regrad" / "studies" / study).glob("*.py")):
            for name in re.findall(r"^def (fig_\w+)\(records\b", path.read_text(), re.MULTILINE):
                yield study, f"regrad.studies.{study}.{path.stem}:{name}"


def drawn(study, place, runs):
    draw = resolve_name(place)
    known = {"margin": 0.02, "tasks": dgs_chapter.required(ROOT) if study == "dgs" else tasks_of(LEDGER, study)}
    asked = [p for p in list(signature(draw).parameters.values())[1:] if p.default is p.empty]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = draw(runs, *(known[parameter.name] for parameter in asked))
    say_where_empty(figure)
    return rendered(figure, "png", {"Software": None})


@pytest.mark.parametrize(("study", "place"), list(figures()))
def test_a_figure_is_drawn_of_one_part_and_of_nothing(records, study, place):
    """A few minutes on a GPU leave such a set."""
    of_a_part, of_nothing = (drawn(study, place, runs) for runs in (records[study], []))
    assert of_a_part.startswith(b"\x89PNG")
    assert of_nothing.startswith(b"\x89PNG")


@pytest.mark.parametrize("study", MADE)
def test_tables_and_numbers_are_made_of_nothing(study):
    _, tables, numbers = MADE[study]
    for table in tables:
        assert not any(FALSE.match(str(cell)) for cell in table([]).to_numpy().flatten())
    assert not any(FALSE.match(text) for text in numbers([]).values())
