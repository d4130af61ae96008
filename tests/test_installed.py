"""What a plain install has: a console script, a version, types and the public names, with torch and numpy alone."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from torch import nn

import regrad
from regrad.console import main
from regrad.studies.catalogue import PAPERS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# None in sys.modules makes an import fail: the packages of the laboratory are then as if not installed.
PLAIN = "import sys; sys.modules.update(dict.fromkeys(['pydantic', 'rich', 'matplotlib', 'pandas', 'scipy'])); "


def plain(code, folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", PLAIN + code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_console_script_needs_neither_a_checkout_nor_the_laboratory_s_packages(tmp_path):
    code = (
        "from regrad.console import main; codes = [main(w) for w in (['--help'], ['cite'], ['--version'], ['chek'])]; "
        "print(codes, 'torch' in sys.modules)"
    )
    done = plain(code, tmp_path)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 3] False", done.stderr
    assert done.stdout.startswith("usage: regrad")
    assert "@inproceedings{li2025sgg," in done.stdout
    assert f"regrad {regrad.__version__}" in done.stdout
    assert done.stderr.startswith("regrad: 'chek' is not known here; allowed: check, cite")


def test_inside_a_checkout_the_same_call_is_the_reproduction_s(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "./reproduce.sh" in capsys.readouterr().out


def test_check_says_what_it_tried_and_a_broken_step_fails_it(capsys, monkeypatch):
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert f"torch {torch.__version__}" in out
    assert out.count("ok  ") == 5
    monkeypatch.setattr("regrad.optim.sign_sgd.SignSGD.step", lambda self, closure=None: None)
    assert main(["check"]) == 1
    assert "FAIL SignSGD" in capsys.readouterr().out


MINE = """
import torch
import yaml
from torch import nn

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        h = self.layer(x)
        return h{}

model, batch = Mine(), torch.rand(4, 3)

def losses(model, x):
    return model(x).square().sum(1)
"""


@pytest.mark.parametrize(("plus", "code", "word"), [("", 0, "graph  exact"), (" - h.mean(0)", 1, "see each other")])
def test_check_of_a_file_compares_its_model_with_the_loop(tmp_path, capsys, plus, code, word):
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(plus))
    assert main(["check", str(path)]) == code
    assert word in capsys.readouterr().out


def test_check_of_a_wrong_file_is_one_line(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("model = 1\n")
    assert main(["check", str(path)]) == 2
    assert re.fullmatch(r"regrad: check: \S+ defines no losses, batch; .*\n", capsys.readouterr().err)
    assert main(["check", "nowhere.py"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_wrong_method_is_found_out(monkeypatch):
    model, batch = nn.Linear(3, 2), torch.rand(4, 3)

    def losses(model, x):
        return model(x).square().sum(1)

    good = regrad.check(model, losses, batch)
    assert good
    assert [report.method for report in good.methods] == ["graph", "vmap", "loop"]
    assert good.truth == "the loop in float64"

    def doubled(module, losses, batch, *, sums, options):
        for row in range(sums.rows):
            gradients = [torch.full_like(p, 2.0)[None] for p in module.parameters()]
            sums.fold_all(dict(zip(dict(module.named_parameters()), gradients, strict=True)), row)

    monkeypatch.setitem(sys.modules["regrad.perexample.engine"].METHODS, "vmap", doubled)
    bad = regrad.check(model, losses, batch)
    assert not bad
    assert [report.exact for report in bad.methods] == [True, False, True]
    assert "vmap   WRONG" in str(bad)


def test_check_reports_noise_refusals_and_models_bound_to_float32():
    batch = torch.rand(4, 3)

    def losses(model, x):
        return model(x).square().sum(1)

    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.randn(len(x), 2)

    assert any("differ between two calls" in c for c in regrad.check(Noisy(3, 2), losses, batch).complaints)

    class Single(nn.Linear):
        def forward(self, x):
            return super().forward(x.float() @ torch.eye(3))

    report = regrad.check(Single(3, 2), losses, batch)
    assert report
    assert "own precision" in report.truth
    refused = regrad.check(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval(), losses, batch, methods=("graph",))
    assert refused
    with pytest.raises(ValueError, match="2 or more are required"):
        regrad.check(nn.Linear(3, 2), losses, batch[:1])


def test_public_names_are_those_of_their_modules_and_unknown_ones_say_which_there_are():
    from regrad.optim import SGG

    assert regrad.SGG is SGG
    assert set(regrad.__all__) <= set(dir(regrad))
    assert all(getattr(regrad, name).__doc__ for name in regrad.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Adam'; it has ALSDGC, DGS"):
        _ = regrad.Adam


def test_the_library_is_loaded_without_the_laboratory(tmp_path):
    code = (
        f"from regrad import {', '.join(regrad.__all__)}; "
        "print(sorted({n.split('.')[1] for n in sys.modules if n.startswith('regrad.')}))"
    )
    done = plain(code, tmp_path)
    assert done.stdout.strip() == "['optim', 'perexample', 'scaling', 'transforms']", done.stderr


def test_pyproject_says_what_an_index_shows():
    assert {"Typing :: Typed"} | {f"Programming Language :: Python :: 3.{v}" for v in (11, 12, 13)} <= set(
        PROJECT["classifiers"]
    )
    # The papers' addresses are those of the one table that spells them.
    linked = {f"Paper: {p.name[0].lower() + p.name[1:] if ' ' in p.name else p.name}": p.url for p in PAPERS.values()}
    assert PROJECT["urls"] == {name: url for name, url in linked.items() if url}
    assert {"optimizer", "per-example gradients", "PyTorch"} <= set(PROJECT["keywords"])
    assert PROJECT["scripts"] == {"regrad": "regrad.console:run"}
    assert (ROOT / "src" / "regrad" / "py.typed").is_file()


def dependencies(*names):
    """Distributions that the named ones need, themselves included, as pip would install them here."""
    found, pending = {}, list(names)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found[name] = distribution(name)
        needed = [Requirement(line) for line in found[name].requires or ()]
        pending += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


@pytest.mark.slow
def test_a_wheel_holds_the_library_and_works_with_torch_and_numpy_alone(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        modes = {info.external_attr >> 16 & 0o777 for info in archive.infolist() if not info.is_dir()}
        archive.extractall(tmp_path / "installed")
    assert {"regrad/py.typed", "regrad/citations.bib", "regrad/console.py", "regrad/optim/sgg.py"} <= set(names)
    parts = {name.split("/")[1] for name in names if name.startswith("regrad/") and name.count("/") > 1}
    assert parts == {"optim", "perexample", "scaling", "transforms"}
    assert modes <= {0o644, 0o664}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    # An environment of these two and what they need, and of nothing else that is installed here.
    alone = tmp_path / "alone"
    alone.mkdir()
    for owned in dependencies("torch", "numpy").values():
        for top in {file.parts[0] for file in owned.files if file.parts[0] not in ("..", "__pycache__")}:
            (alone / top).symlink_to(Path(str(owned.locate_file(top))))
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'installed')!r}, {str(alone)!r}]; import regrad; "
        "from regrad.console import main; assert main(['check']) == 0 == main(['cite']); "
        "[getattr(regrad, n) for n in regrad.__all__]; print(regrad.__file__)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(tmp_path / "installed") in done.stdout.splitlines()[-1]


USE = """
from collections.abc import Mapping

import torch
from torch import Tensor, nn

import regrad
from regrad import ALSDGC, DGS, SGG, MicroAdam, SignSGD, assign_grad, gradient_statistics


def losses(model: nn.Module, batch: Tensor) -> Tensor:
    out: Tensor = model(batch)
    return out.square().sum(1)


def train(model: nn.Module, batch: Tensor) -> float:
    optimizer = MicroAdam(model.named_parameters(), lr=1e-3, preconditioner="variance")
    statistics = gradient_statistics(model, losses, batch, ["mean", "variance"])
    optimizer.step(statistics=statistics, batch_size=len(batch))
    wrapped = SGG(torch.optim.AdamW(model.parameters()), clusters=2)
    scaler = ALSDGC("V4")
    scaler.scale(losses(model, batch).mean()).backward()
    scaler.step(wrapped)
    scaler.update()
    others: list[torch.optim.Optimizer] = [SignSGD(model.parameters(), 1e-3), DGS(model.parameters(), 1e-3)]
    mean: Mapping[str, Tensor] = statistics["mean"]
    assign_grad(model, mean)
    return scaler.get_scale() + len(others) + len(regrad.__version__)
"""


@pytest.mark.slow
def test_mypy_accepts_a_strict_user(tmp_path):
    """`py.typed` tells type checkers that the package's own annotations hold."""
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "wrong.py").write_text("from regrad import SGG\nSGG(3)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    environment = os.environ | {"MYPYPATH": str(ROOT / "src")}
    for name, errors in (("use.py", 0), ("wrong.py", 1)):
        done = subprocess.run([*command, name], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert len([x for x in done.stdout.splitlines() if x.startswith(name)]) == errors, done.stdout + done.stderr


def test_the_visible_ci_calls_what_ours_calls_and_tries_every_python_that_is_claimed():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert {"run": ".ci/run"} in jobs["all"]["steps"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    claimed = [c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert jobs["library"]["strategy"]["matrix"]["python-version"] == claimed
