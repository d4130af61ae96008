"""The dependency rules, executable. This table is the architecture diagram."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "regrad"

MAY_IMPORT = {
    "transforms": set(),
    "perexample": {"transforms"},
    "optim": {"transforms"},
    "scaling": {"transforms"},
    "atomic": set(),
    "archive": {"atomic", "results", "store"},
    "blessing": {"archive", "atomic", "results", "store"},
    "problems": {"atomic", "results"},
    "results": set(),
    "statistics": set(),
    "exits": set(),
    "fingerprint": set(),
    "presets": set(),
    "provenance": set(),
    "published": set(),
    "store": {"atomic", "results"},
    "executors": set(),
    "runner": {
        "archive",
        "atomic",
        "blessing",
        "executors",
        "fingerprint",
        "groups",
        "optim",
        "perexample",
        "problems",
        "provenance",
        "published",
        "results",
        "scaling",
        "store",
        "transforms",
    },
    "groups": {"results"},
    "claims": {"groups", "presets", "results", "statistics"},
    "report": {"atomic", "claims", "groups", "presets", "provenance", "published", "results", "statistics", "store"},
    "studies": {"claims", "groups", "report", "results", "statistics", "transforms"},
    "studies/runtime": {"optim", "perexample", "problems", "results", "runner", "scaling", "transforms"},
    "playground": {
        "groups",
        "archive",
        "claims",
        "optim",
        "perexample",
        "problems",
        "report",
        "results",
        "runner",
        "scaling",
        "statistics",
        "store",
        "studies",
        "transforms",
    },
    "pipeline": {
        "archive",
        "atomic",
        "blessing",
        "claims",
        "executors",
        "exits",
        "fingerprint",
        "presets",
        "problems",
        "provenance",
        "published",
        "report",
        "results",
        "runner",
        "statistics",
        "store",
        "studies",
    },
    "bibliography": {"studies"},
    "cite": {"atomic", "bibliography", "exits", "studies"},
    "checking": {"exits", "optim", "perexample", "scaling"},
    "console": {"checking", "cite", "cli", "exits"},
    "arguments": {"executors", "exits", "presets", "published", "results"},
    "cli": {
        "archive",
        "arguments",
        "blessing",
        "executors",
        "exits",
        "pipeline",
        "presets",
        "problems",
        "published",
        "report",
        "results",
        "store",
    },
    "__main__": {"console"},
}
NO_TORCH = {"archive", "atomic", "blessing", "exits", "results", "store", "fingerprint", "presets", "provenance"}
NO_TORCH |= {"claims", "groups", "published", "statistics"}
NO_TORCH |= {"report", "studies", "bibliography", "cite", "cli", "console", "arguments"}
CATCH_ALLS = {"utils", "helpers", "common", "misc"}
MODULES = sorted(p for p in SRC.rglob("*.py") if p != SRC / "__init__.py")


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return names


def part_of(path: Path) -> str:
    """The row of the table: the first folder, but a room's `runtime/` is a row of its own."""
    first, *rest = path.relative_to(SRC).parts
    return "studies/runtime" if first == "studies" and "runtime" in rest else first.removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_only_downward(path):
    part = part_of(path)
    imported = imported_modules(path)
    ours = {name.split(".")[1] for name in imported if name.startswith("regrad.")}
    assert ours <= MAY_IMPORT[part] | {part.split("/")[0]}
    if part in NO_TORCH:
        assert not any(name.split(".")[0] == "torch" for name in imported)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_modules_stay_small_and_say_what_they_hold(path):
    assert len(path.read_text().splitlines()) <= 300
    assert path.stem not in CATCH_ALLS
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__init__.py"], ids=lambda p: str(p.relative_to(SRC)))
def test_modules_import_from_the_defining_module_so_that_fingerprints_stay_narrow(path):
    """`from regrad.optim import X` would make a run depend on every optimizer (see fingerprint.py)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("regrad."):
            place = SRC.joinpath(*node.module.split(".")[1:])
            if place.is_dir():
                assert all((place / f"{alias.name}.py").is_file() for alias in node.names), node.module


@pytest.mark.parametrize("path", [p for p in MODULES if "studies" in p.parts], ids=lambda p: str(p.relative_to(SRC)))
def test_a_room_knows_no_other_room_and_only_its_runtime_may_import_torch(path):
    """What two studies share belongs to `report/`, `runner/` or `studies/` itself; specs alone name what runs."""
    room = path.relative_to(SRC / "studies").parts[0]
    rooms = {p.name for p in (SRC / "studies").iterdir() if (p / "study.py").is_file()}
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[:2] == ["regrad", "studies"] and len(parts) > 2 and parts[2] in rooms - {room}:
            assert room not in rooms, f"{room} imports {name}"
        if part_of(path) == "studies":
            assert "runtime" not in parts, f"{room} imports {name}: torch would come with it"


def test_rooms_plan_and_report_without_torch():
    """They may share a formula with `transforms`, from a module of it that needs no torch."""
    rooms = [p for p in MODULES if part_of(p) == "studies" and p.name != "__init__.py"]
    names = [".".join(("regrad", *p.relative_to(SRC).with_suffix("").parts)) for p in rooms]
    code = f"import sys, {', '.join(names)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_pipeline_imports_torch_only_when_it_has_to_run_something():
    code = "import sys, regrad.cli, regrad.pipeline.reproduce, regrad.pipeline.show; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
