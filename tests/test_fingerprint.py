"""A run's fingerprint changes with the code that it executes and with nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from regrad import fingerprint
from regrad.archive import Archive
from regrad.published import SET
from regrad.results import Part
from regrad.runner import dependencies, registry
from tiny_runs import spec

PACKAGE = Path(fingerprint.__file__).parent
SIGN = spec(
    optimizer=Part(name="sign_sgd", options={"lr": 0.1, "momentum": 0.9, "placement": "example"}),
    gradient=Part(name="example_signs"),
    measures=(Part(name="gradient_noise"),),
)
MICRO = spec(optimizer=Part(name="micro_adam", options={"lr": 0.1}), gradient=Part(name="statistics"))
SPECS = {"sign": SIGN, "micro": MICRO, "sgd": (SGD := spec())}


@pytest.fixture(scope="module")
def one_copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy") / "regrad"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def copy(one_copy, monkeypatch):
    """A copy of the package, which fingerprints are taken of; edits are undone."""
    texts = {path: path.read_text() for path in one_copy.rglob("*.py")}
    monkeypatch.setattr(fingerprint, "__file__", str(one_copy / "fingerprint.py"))
    yield one_copy
    fingerprint.code_fingerprint.cache_clear()
    for path, text in texts.items():
        if path.read_text() != text:
            path.write_text(text)


@pytest.fixture(scope="module")
def before():
    """The fingerprints of the code as it is."""
    return codes()


def codes():
    fingerprint.code_fingerprint.cache_clear()
    return {name: dependencies.fingerprint(spec, "cpu").code for name, spec in SPECS.items()}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def edited(path, old, new, before):
    """Names of the specs whose fingerprint an edit changes; the edit is undone."""
    text = path.read_text()
    edit(path, old, new)
    after = codes()
    path.write_text(text)
    return {name for name in before if before[name] != after[name]}


def test_the_copy_has_the_fingerprint_of_the_original(copy, before):
    assert codes() == before


def test_comments_docstrings_and_layout_change_nothing(copy, before):
    for path in copy.rglob("*.py"):
        text = path.read_text()
        path.write_text("# a comment\n" + text.replace('"""', '"""Other words. ', 1) + "\n\n# the end\n")
    edit(copy / "runner" / "train.py", "trainable(model))", "\n        # why\n        trainable( model ))")
    assert codes() == before


def test_a_mere_touch_changes_nothing(copy, before):
    for path in copy.rglob("*.py"):
        os.utime(path, (1, 1))
    assert codes() == before


EVERY = {"sign", "micro", "sgd"}


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("optim/sign_sgd.py", "def __init__(", "extra = 1\n\n    def __init__(", {"sign"}),
        ("optim/micro_adam.py", "class MicroAdam", "EXTRA = 1\n\n\nclass MicroAdam", {"micro"}),
        ("transforms/placements.py", "PLACEMENTS =", "EXTRA = 1\nPLACEMENTS =", {"sign"}),
        ("studies/sign_placement/runtime/gradient_noise.py", "CHUNK = 16", "CHUNK = 8", {"sign"}),
        ("runner/train.py", "spec.steps + 1)", "spec.steps + 2)", EVERY),
        ("problems/models/decoder.py", "10_000.0", "20_000.0", EVERY),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".py") else "",
)
def test_an_edit_changes_the_runs_that_execute_the_code_and_no_others(copy, before, file, old, new, changes):
    """An optimizer changes its own runs, so does what it imports; the training loop and the model change all."""
    assert edited(copy / file, old, new, before) == changes


def test_plots_plans_and_the_pipeline_change_no_run(copy, before):
    unrelated = [p for part in ("claims", "report", "pipeline", "statistics") for p in copy.glob(f"{part}/**/*.py")]
    unrelated += [p for p in copy.glob("studies/**/*.py") if "runtime" not in p.parts]
    unrelated += [copy / "store.py", copy / "cli.py", copy / "runner" / "ensure.py", copy / "runner" / "progress.py"]
    assert len(unrelated) > 20
    for path in unrelated:
        path.write_text(path.read_text() + "\n\nEXTRA = 1\n")
    assert codes() == before


@pytest.fixture(scope="module")
def published():
    """The specs of the published runs by the modules that their fingerprints start from."""
    groups = {}
    for record in Archive(PACKAGE.parents[1] / "results" / "reference" / SET / "runs"):
        groups.setdefault(tuple(dependencies.modules(record.spec)), []).append(record.spec)
    return groups


def code_of(published):
    """The code's part of the fingerprint, as it is now, for each group of runs."""
    fingerprint.code_fingerprint.cache_clear()
    return {modules: fingerprint.code_fingerprint(*modules) for modules in published}


def optimizers(*names):
    """Whether a spec's optimizer, or the one inside it, is among these."""
    return lambda spec: bool({part.name for part in (spec.optimizer, spec.optimizer.base) if part} & {*names})


def uses_the_engine(spec):
    """Whether a spec's gradient or a measure of it is made of per-example gradients."""
    named = {part.name for part in (*spec.measures, spec.gradient) if part}
    return bool(named & {"example_signs", "statistics", "elementwise", "moment_split"})


@pytest.mark.parametrize(
    ("file", "concerned"),
    [
        ("optim/sgg.py", optimizers("sgg", "sgg_compared")),
        ("optim/dgs.py", optimizers("dgs")),
        ("optim/micro_adam.py", optimizers("micro_adam")),
        ("optim/sign_sgd.py", optimizers("sign_sgd")),
        ("perexample/engine.py", uses_the_engine),
        ("studies/sgg/figures.py", lambda spec: False),
        ("report/style.py", lambda spec: False),
        ("studies/dgs/plan.py", lambda spec: False),
        ("runner/registry.py", lambda spec: False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_edit_reruns_exactly_the_published_runs_that_execute_the_file(copy, published, file, concerned):
    before = code_of(published)
    path = copy / file
    path.write_text(path.read_text() + "\n\nEXTRA = 1\n")
    after = code_of(published)
    rerun = [spec for modules, specs in published.items() if before[modules] != after[modules] for spec in specs]
    own = [spec for specs in published.values() for spec in specs if concerned(spec)]
    assert len(rerun) == len(own)
    assert all(concerned(spec) for spec in rerun)
    assert len(rerun) > 15 or not own


def test_a_new_name_in_the_registry_changes_no_run_and_another_entry_its_own(monkeypatch):
    before = codes()
    monkeypatch.setitem(registry.OPTIMIZERS, "newcomer", "regrad.optim.dgs:DGS")
    assert codes() == before
    monkeypatch.setitem(registry.OPTIMIZERS, "sgd", "torch.optim:Adam")
    assert {name for name, code in codes().items() if code != before[name]} == {"sgd"}


# Everything that versions of Python tokenize differently: f-strings above all, nested ones and ones over lines.
ODD = '''
"""A docstring."""
import os
class Empty:
    """Only words."""
def f(a, *, b=1):  # a comment
    "more words"
    "and more"
    x = f"{a!r:>{b}} {{}} {f'{b}' + 'c'}" 'tail'
    y = (
        f"""{a
        } on lines {b:
        .2f}""",
    )
    if a:

        return x, y
\treturn rf"\\{a}"
'''.replace("\treturn", "    return")


def test_tokens_are_what_python_executes():
    tokens = fingerprint.code_tokens(ODD)
    assert tokens[:6] == ["import", "os", "<newline>", "class", "Empty", ":"]
    assert not any("words" in token or "comment" in token for token in tokens)
    assert """f"{a!r:>{b}} {{}} {f'{b}' + 'c'}\"""" in tokens
    assert tokens.count("<indent>") == tokens.count("<dedent>") == 3
    assert fingerprint.code_tokens(ODD.replace("b=1", "b=2")) != tokens
    assert fingerprint.code_tokens(ODD.replace("    if a:", "    if  a : # why")) == tokens
    assert fingerprint.code_tokens("if a:\n  b\n  c\n") != fingerprint.code_tokens("if a:\n  b\nc\n")


PYTHONS = {
    found.resolve() if "shims" not in str(found) else found
    for version in ("3.11", "3.12", "3.13", "3.14")
    if (which := shutil.which(f"python{version}")) and (found := Path(which))
}


@pytest.mark.parametrize("python", sorted(PYTHONS), ids=lambda path: path.name)
def test_every_python_here_hashes_equal_code_equally(python, tmp_path):
    """All modules of the package, and what versions tokenize differently."""
    (tmp_path / "odd.py").write_text(ODD)
    code = (
        "import sys, hashlib, pathlib; sys.path.insert(0, sys.argv[1]); from regrad.fingerprint import code_tokens\n"
        "for path in sys.argv[2:]:\n"
        "    for file in sorted(pathlib.Path(path).rglob('*.py')):\n"
        "        text = '\\n'.join(code_tokens(file.read_text(encoding='utf-8')))\n"
        "        print(file.name, hashlib.sha256(text.encode()).hexdigest())"
    )
    words = [str(PACKAGE.parent), str(PACKAGE), str(tmp_path)]
    said = {}
    for interpreter in (python, sys.executable):
        done = subprocess.run([str(interpreter), "-I", "-c", code, *words], capture_output=True, text=True)
        if "pyenv" in done.stderr:  # a version manager's name without a Python behind it
            pytest.skip(f"{interpreter} starts no Python")
        assert done.returncode == 0, done.stderr
        said[interpreter] = done.stdout
    assert len(said[sys.executable].splitlines()) > 250
    assert said[python] == said[sys.executable]


def test_a_subprocess_with_another_copy_agrees(tmp_path):
    """As a user has it: edit an optimizer, start again."""
    shutil.copytree(PACKAGE, tmp_path / "regrad", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "from regrad.fingerprint import code_fingerprint as f; print(f('regrad.optim.sign_sgd'), f('regrad.optim.sgg'))"
    )

    def run():
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return done.stdout.split()

    before = run()
    assert before[0] == fingerprint.code_fingerprint("regrad.optim.sign_sgd")
    edit(tmp_path / "regrad" / "optim" / "sign_sgd.py", "def __init__(", "extra = 1\n\n    def __init__(")
    after = run()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_running_process_keeps_the_fingerprint_of_the_code_it_imported(copy):
    first = fingerprint.code_fingerprint("regrad.optim.sign_sgd")
    edit(copy / "optim" / "sign_sgd.py", "def __init__(", "extra = 1\n\n    def __init__(")
    assert fingerprint.code_fingerprint("regrad.optim.sign_sgd") == first


def test_an_unknown_module_is_refused():
    with pytest.raises(ValueError, match=r"no module 'regrad\.optimm'"):
        fingerprint.closure(["regrad.optimm"])


def test_the_versions_of_others_code_are_in_the_fingerprint(monkeypatch):
    """A method taken from another library: its version is part of the run, torch's is named apart."""
    monkeypatch.setitem(registry.OPTIMIZERS, "adam", "pytorch_optimizer:Lamb")
    theirs = spec(optimizer=Part(name="adam", options={"lr": 0.1}))
    assert set(dependencies.libraries(theirs)) == {"pytorch-optimizer"}
    assert dependencies.libraries(theirs)["pytorch-optimizer"] != "absent"
    before = dependencies.fingerprint(theirs, "cpu").code
    monkeypatch.setattr(dependencies, "library_versions", lambda names: dict.fromkeys(names, "0"))
    assert dependencies.fingerprint(theirs, "cpu").code != before


def test_data_and_device_are_in_the_fingerprint(monkeypatch):
    before = dependencies.fingerprint(SGD, "cpu")
    assert dependencies.fingerprint(SGD, "cuda") == before.model_copy(update={"device": "cuda"})
    monkeypatch.setattr(dependencies.sources, "fingerprint", lambda name: "other bytes")
    assert dependencies.fingerprint(SGD, "cpu").data != before.data


def test_a_missing_library_is_absent_and_not_an_error():
    assert fingerprint.library_versions(["no-such-distribution"]) == {"no-such-distribution": "absent"}


def test_a_notebook_names_the_modules_that_its_cells_import():
    found = fingerprint.notebook_modules(PACKAGE.parents[1] / "notebooks" / "01_sign_placement.ipynb")
    rooms = {f"regrad.studies.sign_placement.{module}" for module in ("plan", "figures")}
    assert rooms | {"regrad.report.export"} <= set(found)
    assert not any(name.startswith("regrad.optim") for name in found)
