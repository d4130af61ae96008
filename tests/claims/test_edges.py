"""No verdict against an arm whose best learning rate lies on the edge of its grid."""

from test_looks import claim, records, rows_of

import tiny_runs
from asking import asked
from regrad.claims.edges import edges
from regrad.claims.looks import judge_all
from regrad.results import Part, run_id
from regrad.statistics.sequential import DESIGN, single

ABOUT = {"preset": "medium", "device": "cpu"}


def fresh_rows(**effects):
    return lambda some: rows_of(effects)([r for r in some if r.spec.tags["phase"] == "fresh"])


CLEAR = fresh_rows(clear=(1.0, 0.05))


def tuning(arm, losses, problem=None):
    made = []
    for lr, loss in losses.items():
        tags = {"part": "main", "arm": arm, "phase": "tune"}
        changes = {"problem": problem} if problem else {}
        spec = tiny_runs.spec(seed=1000, optimizer=Part(name="sgd", options={"lr": lr}), tags=tags, **changes)
        metrics = {"validation_loss": loss}
        made.append(tiny_runs.record(spec, run_id=run_id(spec, tiny_runs.FINGERPRINT), metrics=metrics))
    return made


INSIDE, HIGH = {0.05: 3.0, 0.1: 2.0, 0.2: 2.5}, {0.05: 3.0, 0.1: 2.5, 0.2: 2.0}


def test_an_optimum_inside_its_grid_is_no_edge():
    found = edges(tuning("new", INSIDE) + tuning("old", HIGH))
    assert {key[0]: edge for key, edge in found.items()} == {"old": "high"}


def test_a_claim_is_not_tested_against_an_arm_on_an_edge():
    [sure] = judge_all([claim("clear")], CLEAR, [*tuning("old", INSIDE), *records(5)], single(5), **ABOUT)
    [void] = judge_all([claim("clear")], CLEAR, [*tuning("old", HIGH), *records(5)], single(5), **ABOUT)
    assert sure.verdict == "reproduced"
    assert void.verdict == "not tested"
    assert "the best learning rate of old lies on an edge of its grid (high)" in void.why


def test_a_tuning_on_another_problem_does_not_count():
    other = Part(name="language", options=tiny_runs.TOPICS | {"sequence_length": 16})
    [verdict] = judge_all([claim("clear")], CLEAR, [*tuning("old", HIGH, other), *records(5)], single(5), **ABOUT)
    assert verdict.verdict == "reproduced"


def test_an_arm_on_an_edge_asks_for_no_more_seeds():
    rows = fresh_rows(open=(1.0, 1.0))
    wanted = asked([claim("open")], rows, records(5), DESIGN)
    assert wanted == {("main", "new"), ("main", "old")}
    assert not asked([claim("open")], rows, [*tuning("old", HIGH), *records(5)], DESIGN)
