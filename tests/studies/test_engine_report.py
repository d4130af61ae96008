"""The cost of per-example statistics: what is drawn, printed and judged, from a benchmark's record made by hand."""

import json
import math
from pathlib import Path

import pytest
import torch

from regrad.claims.evaluate import evaluate_all
from regrad.claims.load import load
from regrad.report.benchmarks import read, write
from regrad.studies.engine import claims, figures, numbers, tables
from regrad.studies.engine.arms import workload_timings

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "results" / "reference" / "benchmarks" / "perexample-cpu.json"


def arm(seconds, peak, best=1.0, leanest=100):
    ratios = sorted(s / best for s in seconds)
    return {"seconds": seconds, "peak_bytes": peak, "ratio": ratios[len(ratios) // 2], "memory_ratio": peak / leanest}


def record(surgery=1.05, rounds=20, growth=0.5):
    def noisy(value):
        return [value + 0.001 * (k % 3) for k in range(rounds)]

    arms = {
        "ordinary": arm(noisy(1.0), 100),
        "ordinary, plain attention": arm(noisy(1.2), 90),
        "ordinary, compiled": arm(noisy(0.1), 1),
        "surgery": arm(noisy(surgery), 95),
        "vmap": arm(noisy(1.3), 300),
        "Opacus ghost (norms only)": {"error": "RuntimeError: view size"},
    }
    about = {"device": "x86_64", "cpu": "A Processor", "torch": "2.13.0", "threads": 1, "time": "process CPU time"}
    sizes = [{"D": 64, "L": 64 * k, "per_example_gradients": 1000 * growth, "activations": 1000 * k} for k in (1, 2, 4)]
    name = claims.WORKLOAD
    return {"environment": about, "workloads": {name: arms}, "parameters": {name: 1_250_000}, "bytes": sizes}


def verdicts(benchmark):
    ledger = [claim for claim in load(ROOT / "paper" / "claims.toml") if claim.study == "engine"]
    found = evaluate_all(ledger, {"engine": claims.claim_rows(benchmark)}, preset="small", device="cpu")
    return {v.claim.id: v.verdict for v in found}


@pytest.mark.parametrize(
    ("decoder", "mlp", "verdict"),
    [(1.05, 1.09, "reproduced"), (1.05, 1.2, "not reproduced"), (1.2, 1.05, "not reproduced")],
)
def test_the_claim_on_dense_layers_needs_both_workloads_through_one_product(decoder, mlp, verdict):
    """The ordinary step is the one with the surgery's product, also where torch's own is faster."""
    benchmark, product = record(surgery=decoder), {"ordinary, our product": arm([1.0] * 20, 100)}
    benchmark["workloads"][claims.WORKLOAD] |= product | {"ordinary": arm([0.5] * 20, 50)}
    # One workload alone can refute and not confirm.
    assert verdicts(benchmark)["C1"] == ("not tested" if decoder < 1.1 else "not reproduced")
    benchmark["workloads"]["MLP B64"] = product | {"surgery": arm([mlp] * 20, 95)}
    assert verdicts(benchmark)["C1"] == verdict


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"C1": "not tested", "C2": "not tested", "C2b": "reproduced"}),
        ({"growth": 1.2}, {"C2b": "not reproduced"}),
    ],
)
def test_the_claims_on_cost_follow_from_rounds_and_bytes(changes, expected):
    assert verdicts(record(**changes)).items() >= expected.items()


def test_times_are_divided_by_the_best_ordinary_step_of_the_round_and_a_compiled_one_is_none():
    rows = [r for r in claims.claim_rows(record()) if r["arm"] == "backward"]
    assert {r["value"] for r in rows if r["metric"] == "peak_bytes"} == {90.0}
    assert max(r["value"] for r in rows if r["metric"] == "seconds") == pytest.approx(1.002)


def test_a_claim_on_vmap_is_decided_from_its_own_rounds():
    rows = [r["value"] for r in claims.claim_rows(record(rounds=2)) if (r["arm"], r["metric"]) == ("vmap", "seconds")]
    assert rows == pytest.approx([1.3, 1.301])


def test_a_workload_is_a_line_with_a_marker_an_arm_for_time_and_one_for_memory():
    seconds, memory = figures.fig_cost(record()).axes
    for axis, found in ((seconds, [1.301, 1.051]), (memory, [3.0, 0.95])):  # ours last, so that nothing hides it
        one, *markers = axis.lines
        assert list(one.get_xdata()) == [1, 1]  # the ordinary pass; what failed has no marker
        assert [(line.get_marker(), *line.get_xydata()[0]) for line in markers] == [
            ("o", pytest.approx(found[0]), 0), ("D", pytest.approx(found[1]), 0),
        ]  # fmt: skip
        assert axis.get_xscale() == "log"


def test_workloads_stand_one_under_the_other_and_arms_are_named_once():
    benchmark = record()
    benchmark["workloads"]["slow in places"] = record(surgery=6.0)["workloads"][claims.WORKLOAD]
    figure = figures.fig_cost(benchmark)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [claims.WORKLOAD, "slow in places"]
    assert list(figure.axes[0].get_yticks()) == [0, -1]
    assert sorted(text.get_text() for text in figure.legends[0].get_texts()) == ["surgery (ours)", "vmap"]


def test_the_table_has_a_line_a_workload_and_a_dash_for_what_did_not_run():
    (line,) = tables.cost_table(record()).to_dict("records")
    assert line["surgery"] == "1.05 / 0.95"
    assert line["weights (M)"] == "1.25"
    assert line["Opacus"] == line["BackPACK"] == line["chunked"] == "-"


def test_the_chunks_of_a_table_are_those_that_were_timed():
    benchmark = record()
    benchmark["workloads"][claims.WORKLOAD]["vmap, chunks of 16"] = arm([1.4], 120)
    (line,) = tables.cost_table(benchmark).to_dict("records")
    assert line["chunked"] == "1.40 / 1.20"


def test_the_prose_cites_the_range_of_our_times():
    benchmark = record()
    benchmark["workloads"]["MLP B64"] = {"surgery": arm([1.5], 95)}
    assert numbers.numbers(benchmark) == {
        "engine/machine": numbers.source(benchmark),
        "engine/workloads": "2",
        "engine/range": "1.05 to 1.50",
    }


def test_the_largest_difference_of_two_answers_is_absolute_and_over_all_parameters():
    first = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
    second = {"a": torch.tensor([1.0, 4.5]), "b": torch.tensor([2.0])}
    assert numbers.largest_difference(first, second) == 2.5


def test_the_stamp_names_machine_and_rounds():
    assert numbers.source(record()) == "A Processor, torch 2.13.0, 1 thread, medians of 20 rounds"
    several = record()
    several["workloads"]["MLP B64"] = record(rounds=5)["workloads"][claims.WORKLOAD]
    assert numbers.source(several).endswith("medians of 5 to 20 rounds")
    several["environment"] |= {"time": "CUDA events", "device": "A Card"}
    assert numbers.source(several).startswith("A Card, torch")


def test_the_committed_record_has_every_workload_of_the_issue_and_ratios_that_are_its_medians():
    benchmark = read(COMMITTED)
    assert {"decoder B64 V4096", "decoder B64 T32", "MLP B64", "decoder B16 d512"} <= set(benchmark["workloads"])
    assert len(benchmark["workloads"][claims.WORKLOAD]["surgery"]["seconds"]) >= 20
    for name in benchmark["workloads"]:
        arms = workload_timings(benchmark, name)
        assert all(math.isfinite(r["ratio"]) and r["memory_ratio"] >= 0 for r in arms.values())
        assert {"ordinary", "surgery", "vmap", "ExpandedWeights"} <= set(arms)
    assert numbers.numbers(benchmark)["engine/workloads"] == str(len(benchmark["workloads"]))
    assert len(figures.fig_cost(benchmark).axes[0].get_yticks()) == len(benchmark["workloads"])


def test_the_table_of_a_gpu_has_its_lines_before_anything_was_measured_and_fills_them(tmp_path):
    empty = tables.gpu_table(tmp_path)
    assert list(empty["measured"]) == [tables.UNMEASURED] * 6 == list(tables.gpu_table(COMMITTED.parent)["measured"])
    assert list(empty["bound"])[:2] == ["1.10", "1.20"]
    name = "decoder 160M B512 T128"
    write(tmp_path / "perexample-cuda.json", json.dumps({"workloads": {name: {"surgery": arm([1.15], 95)}}}))
    rates = {"tokens a second": {"AdamW fused": 123456.0}, "SGG over AdamW": 1.0123}
    write(tmp_path / "steps-cuda.json", json.dumps({"sizes": {"60M": rates}}))
    assert list(tables.gpu_table(tmp_path)["measured"]) == [
        tables.UNMEASURED, "1.15", "123,456", "1.012", tables.UNMEASURED, tables.UNMEASURED
    ]  # fmt: skip
    (tmp_path / "steps-cuda.json").write_text("{}")
    with pytest.raises(ValueError, match="checksum mismatch"):
        tables.gpu_table(tmp_path)
