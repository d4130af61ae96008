"""The environment is named once: lock, conda file and extras agree, and cover what the code imports."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Imported only where the user asks for it, by name, with a sentence if it is missing; not in the lock.
# Triton comes with torch's CUDA build; the slow suite installs it.
OPTIONAL = {"datasets", "ray", "submitit", "triton"}


def pins(lines):
    return dict(line.strip().split("==") for line in lines if line.strip() and not line.startswith("#"))


LOCK = pins((ROOT / "requirements.lock").read_text().splitlines())
LOCKED = {canonicalize_name(name): version for name, version in LOCK.items()}


def third_party(folder, *, at_import=False):
    """Modules imported in a folder that are neither ours nor Python's; those at the top of a file only, if asked."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in tree.body if at_import else ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    local = {p.stem for where in (folder, "benchmarks") for p in (ROOT / where).rglob("*.py")}
    return {name for name in found if name not in sys.stdlib_module_names and name not in local | {"regrad"}}


def distributions(modules):
    known = packages_distributions()
    return {module: {canonicalize_name(name) for name in known.get(module, [module])} for module in modules}


def test_the_lock_pins_exactly_and_names_each_package_once():
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line) for line in lines)
    assert len(LOCKED) == len(lines)
    assert lines == sorted(lines, key=lambda line: line.split("==")[0].lower())


def test_the_lock_names_no_build_of_torch_so_that_pip_takes_the_machine_s():
    assert "+" not in LOCKED["torch"]
    assert not any(name.startswith(("nvidia-", "triton", "torchvision")) for name in LOCKED)


def test_the_slow_suite_takes_the_triton_that_torch_s_cuda_build_asks_for():
    pin = re.search(r"^TRITON=triton==([\d.]+) ", (ROOT / "reproduce.sh").read_text(), re.M)
    assert pin is not None
    asked = [Requirement(line) for line in requires("torch") or () if line.startswith("triton")]  # none of the CPU's
    assert all(requirement.specifier.contains(pin[1]) for requirement in asked)


def test_conda_gets_the_same_pins():
    parsed = yaml.safe_load((ROOT / "environment.yml").read_text())
    (inner,) = [d["pip"] for d in parsed["dependencies"] if isinstance(d, dict)]
    assert pins(inner) == LOCK
    plain = [d for d in parsed["dependencies"] if isinstance(d, str)]
    assert {d.split("=")[0] for d in plain} >= {"python", "pip"}
    assert parsed["name"] == "regrad"


def test_every_import_of_the_package_is_in_the_lock():
    missing = {m: d for m, d in distributions(third_party("src") - OPTIONAL).items() if not d & set(LOCKED)}
    assert missing == {}


def test_every_import_of_the_tests_is_in_the_lock():
    missing = {m: d for m, d in distributions(third_party("tests") - OPTIONAL).items() if not d & set(LOCKED)}
    assert missing == {}


def declared(*extras):
    wanted = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in wanted}


def test_every_import_of_the_package_is_a_declared_dependency():
    known = set(declared(*(extra for extra in EXTRAS if extra not in ("dev", "bench"))))
    missing = {m: d for m, d in distributions(third_party("src") - OPTIONAL).items() if not d & known}
    assert missing == {}


def test_optimizers_and_transforms_need_the_two_plain_dependencies_only():
    """`pip install regrad` gives the optimizers: torch and numpy, nothing of the pipeline."""
    plain = set(declared())
    for part in ("transforms", "optim", "perexample"):
        found = distributions(third_party(f"src/regrad/{part}", at_import=True) - OPTIONAL)
        assert all(d & plain for d in found.values()), (part, found)


@pytest.mark.parametrize("extra", ["reproduce", "hf", "slurm", "dev"])
def test_the_lock_satisfies_what_is_declared(extra):
    for name, requirement in declared(extra).items():
        assert name in LOCKED, name
        assert requirement.specifier.contains(LOCKED[name], prereleases=True), (name, LOCKED[name])


def test_no_dependency_is_declared_that_nothing_uses():
    used = {name for d in distributions(third_party("src") | third_party("tests")).values() for name in d}
    used |= {"jupyterlab", "papermill", "nbconvert", "mypy", "ruff", "pytest-timeout", "pytest-xdist", "bandit"}
    used |= {canonicalize_name(n) for n in ("pytorch-optimizer", "zclip", "playwright")}  # named in strings
    used |= {"furo", "myst-parser", "sphinx", "sphinx-autoapi"}  # named in strings, and by the site's conf.py
    used |= {"expecttest"}  # torch's own tests import it
    unused = set(declared("reproduce", "dev")) - used
    assert unused <= {"jinja2", "pyyaml"}


def test_torch_is_the_only_pin_that_the_code_depends_on_and_older_ones_are_allowed():
    assert declared()["torch"].specifier.contains("2.11.0")
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_template_of_the_site_is_installed_with_the_package():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert data["regrad.pipeline"] == ["templates/**/*"]
    assert (ROOT / "src" / "regrad" / "pipeline" / "templates" / "index.html").is_file()
