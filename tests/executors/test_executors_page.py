"""docs/executors.md shows the committed benchmark's table, and names every executor and variable."""

import importlib.util
import json
from pathlib import Path

from regrad.executors.choice import EXECUTORS
from regrad.executors.ray import ADDRESS, GPUS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "executors.md").read_text(encoding="utf-8")
RECORD = ROOT / "results" / "reference" / "benchmarks" / "executors-cpu.json"
MEDIANS = {"start": 5.25, "overhead": 0.0015, "sweep": 10.0, "efficiency": 0.95}


def benchmark():
    found = importlib.util.spec_from_file_location("executors_benchmark", ROOT / "benchmarks" / "executors.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def record():
    return {
        "environment": {"cpu": "a CPU", "cores": 2, "torch": "2.13.0"},
        "asked": {"rounds": 5, "runs": 8, "steps": 400, "run_seconds": 2.5},
        "executors": {"ray": {"workers": 2, "median": MEDIANS}},
    }


def test_the_table_shows_seconds_milliseconds_and_efficiency():
    said = benchmark().table(record())
    assert "| ray | 2 | 5.25 | 1.50 | 10.0 | 0.95 |" in said
    assert said.endswith("torch 2.13.0: a sweep is 8 training runs of 400 steps, 2.5 s each.")


def test_a_new_table_takes_the_old_one_s_place_and_nothing_else(tmp_path):
    of, page = benchmark(), tmp_path / "page.md"
    page.write_text(f"before\n{of.BEGIN}\nold\n{of.END}\nafter\n")
    for _ in range(2):
        of.into(page, "new")
        assert page.read_text() == f"before\n{of.BEGIN}\nnew\n{of.END}\nafter\n"


def test_efficiency_is_the_inline_time_over_workers_times_time():
    # 10 s inline, 5.5 s with two workers: 10 / (2 · 5.5) = 0.909…
    one = {"start": 0.0, "overhead": 0.0}
    found = benchmark().summary({"inline": [one | {"sweep": 10.0}], "local": [one | {"sweep": 5.5}]})
    assert round(found["local"]["median"]["efficiency"], 3) == 0.909
    assert found["inline"]["median"]["efficiency"] == 1.0


def test_the_page_shows_the_committed_measurement():
    of = benchmark()
    shown = PAGE.partition(of.BEGIN)[2].partition(of.END)[0].strip()
    expected = of.table(json.loads(RECORD.read_text())) if RECORD.is_file() else "Not measured yet."
    assert shown == expected


def test_the_page_names_every_executor_and_variable():
    for name in (*EXECUTORS, ADDRESS, GPUS):
        assert f"`{name}`" in PAGE
