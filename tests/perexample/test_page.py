"""The page that explains the engine knows every file of it, and its example runs."""

import re
from pathlib import Path

import torch
from perexample_agreement import check_against_the_loop
from torch import nn

from regrad.perexample.rules.registry import MODULE_RULES

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "src" / "regrad" / "perexample"
PAGE = (ROOT / "docs" / "per_example.md").read_text(encoding="utf-8")


def test_the_page_s_table_of_files_is_the_folder():
    files = PAGE.split("## Files")[1].split("## ")[0]
    first_cells = [line.split("|")[1] for line in files.splitlines() if line.startswith("|")]
    named = set(re.findall(r"`([\w/]+\.py)`", " ".join(first_cells)))
    modules = {str(path.relative_to(ENGINE)) for path in ENGINE.rglob("*.py")} - {"rules/__init__.py"}
    assert named == modules


def test_files_in_the_text_and_the_drawing_exist():
    drawing = (ROOT / "docs" / "manual" / "pictures" / "engine.svg").read_text(encoding="utf-8")
    assert "surgery.py" in drawing
    for name in re.findall(r"[\w/]+\.py\b", PAGE + drawing):
        places = (ENGINE / name, ENGINE / "rules" / name, ROOT / name, ROOT / "tests" / "perexample" / name)
        assert any(place.is_file() for place in places), name


def test_the_page_s_rule_for_a_layer_of_one_s_own_agrees_with_the_loop(float64):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    namespace = {}
    try:
        exec(compile(code, "per_example.md", "exec"), namespace)
        model = nn.Sequential(nn.Linear(4, 4), namespace["Scale"](4), nn.Tanh())
        check_against_the_loop(model, lambda m, x: m(x).square().flatten(1).sum(1), torch.randn(5, 6, 4))
    finally:
        MODULE_RULES.pop(namespace.get("Scale"), None)


def test_the_page_counts_what_the_table_of_architectures_says():
    table = (ROOT / "benchmarks" / "coverage.md").read_text(encoding="utf-8")
    verdicts = [line.split("|")[2].strip() for line in table.splitlines() if line.startswith(("| hf/", "| timm/"))]
    exact, refused = (sum(v.startswith(word) for v in verdicts) for word in ("exact", "refused"))
    assert exact + refused == len(verdicts)
    assert f"{exact} of {len(verdicts)} are exact, {refused} refused, none wrong" in PAGE
    assert f"In float64: {exact} exact, 0 wrong, {refused} refused" in table
