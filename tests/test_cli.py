"""The command line: every misspelt word is one line and exit code 2 before any work; each good one does its part."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from regrad.cli import main
from regrad.executors.choice import chosen
from regrad.pipeline.folders import Folders
from regrad.pipeline.reproduce import ENVIRONMENT, USAGE, Order, reproduce
from regrad.pipeline.targets import exports, notebook_path
from regrad.results import Part
from regrad.studies.catalogue import STUDIES
from tiny_runs import spec

ROOT = Path(__file__).parents[1]

# What is typed, and what the one line must say: the option, the value, what is allowed.
BAD = [
    (["--preset", "smal"], ["--preset", "'smal'", "did you mean 'small'?"]),
    (["--preset", "Smoke"], ["--preset", "'Smoke'", "did you mean 'smoke'?"]),
    (["--preset", "huge"], ["--preset", "'huge'", "allowed: smoke, small, medium, full, paper"]),
    (["--preset="], ["--preset", "''", "smoke"]),
    (["--preset"], ["--preset", "expected one argument"]),
    (["--presets", "smoke"], ["'--presets'", "did you mean '--preset'?"]),
    (["--prese", "smoke"], ["'--prese'", "did you mean '--preset'?"]),
    (["--quik"], ["'--quik'", "did you mean '--quick'?"]),
    (["--quick", "--preset", "small"], ["--quick", "--preset small", "give one"]),
    (["--quick", "--preset", "paper"], ["--preset paper"]),
    (["--quick=yes"], ["--quick", "yes"]),
    (["--only", "sing_placement"], ["--only", "'sing_placement'", "did you mean 'sign_placement'?"]),
    (["--only", "s"], ["--only", "'s'", "did you mean"]),
    (["--only", "sign,papre"], ["--only", "'papre'", "did you mean 'paper'?"]),
    (["--only", "fig-sign-lrs"], ["'fig-sign-lrs'", "did you mean 'fig-sign-lr'?"]),
    (["--only", "01_sign_placment"], ["did you mean '01_sign_placement'?"]),
    (["--only", ""], ["--only", "no target"]),
    (["--only", " , "], ["--only", "no target"]),
    (["--only"], ["--only", "expected one argument"]),
    (["--jobs", "0"], ["--jobs", "'0'", "at least 1"]),
    (["--jobs", "-1"], ["--jobs"]),
    (["--jobs=-3"], ["--jobs", "'-3'", "at least 1"]),
    (["--jobs", "two"], ["--jobs", "'two'", "integer"]),
    (["--jobs", "1.5"], ["--jobs", "'1.5'"]),
    (["--jobs", "nan"], ["--jobs", "'nan'"]),
    (["--jobs", "True"], ["--jobs", "'True'"]),
    (["--jobs", "1e3"], ["--jobs", "'1e3'"]),
    (["--jobs", ""], ["--jobs", "''"]),
    (["--device", "gpu"], ["--device", "'gpu'", "auto, cpu, cuda"]),
    (["--device", "cpus"], ["--device", "did you mean 'cpu'?"]),
    (["--device", "cuda"], ["--device cuda", "auto, cpu"]),
    (["--executor", "slrum"], ["--executor", "'slrum'", "did you mean 'slurm'?", "allowed: local, ray, slurm"]),
    (["--executor", "Ray"], ["--executor", "'Ray'", "did you mean 'ray'?"]),
    (["--executor"], ["--executor", "expected one argument"]),
    (["--bless"], ["--bless", "expected one argument"]),
    (["--bless", "small-gpu"], ["--bless", "small-gpu", "results/reference has no set"]),
    (["--bless", "small-cpu", "--minutes", "-1"], ["--minutes", "'-1'", "at least 0"]),
    (["runs"], ["--preset"]),
    (["runs", "--preset", "medum"], ["'medum'", "did you mean 'medium'?"]),
    (["runs", "--preset", "smoke", "--minutes", "soon"], ["--minutes", "'soon'"]),
    (["runs", "--preset", "smoke", "--only", "sing"], ["--only", "'sing'"]),
    (["--verfy"], ["'--verfy'", "did you mean '--verify'?"]),
    (["--explain"], ["--explain", "expected one argument"]),
    (["--explain", "sgn"], ["'sgn'", "sgg"]),
    (["--fresh=1"], ["--fresh"]),
    (["--ofline"], ["did you mean '--offline'?"]),
    (["--no-pfd"], ["did you mean '--no-pdf'?"]),
    (["--dryrun"], ["did you mean '--dry-run'?"]),
    (["--list", "sign"], ["'sign'"]),
    (["-x"], ["'-x'"]),
    (["tset"], ["'tset'", "did you mean 'test'?"]),
    (["smoke"], ["'smoke'", "data", "test"]),
    (["reproduce", "--quik"], ["did you mean '--quick'?"]),
    (["reproduce", "sign"], ["'sign'"]),
    (["data", "--fetch", "nwes"], ["--fetch", "'nwes'", "did you mean 'news'?"]),
    (["data", "--fetch", "news", "cifar"], ["'cifar'", "did you mean"]),
    (["data", "--fetch"], ["--fetch"]),
    (["data", "--ftech"], ["did you mean '--fetch'?"]),
    (["data", "news"], ["'news'"]),
    (["publish", "smal-cpu"], ["'smal-cpu'", "did you mean 'small-cpu'?"]),
    (["publish"], ["PRESET-DEVICE"]),
]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout without results, the current folder, on a machine without a GPU."""
    root = tmp_path / "a checkout, ü"
    for name in ("notebooks", "paper"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("generated", "report.pdf", "build"))
    monkeypatch.chdir(root)
    monkeypatch.setenv("REGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("regrad.pipeline.devices.gpu_is_there", lambda: False)
    return root


@pytest.fixture
def worked(monkeypatch):
    """The orders that reached the work."""
    orders = []
    monkeypatch.setattr(
        "regrad.pipeline.reproduce.reproduce", lambda folders, order, fresh: (orders.append((order, fresh)), 0)[1]
    )
    return orders


def call(words):
    """The exit code, whether main returns it or argparse raises it."""
    try:
        return main(words)
    except SystemExit as left:
        return left.code


@pytest.mark.parametrize(("words", "said"), BAD, ids=lambda value: " ".join(value) if value else "")
def test_a_bad_call_is_one_line_and_exit_code_2_before_any_work(checkout, worked, capsys, words, said):
    assert call(words) == USAGE == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("regrad: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    for part in said:
        assert part in err
    assert worked == []
    assert sorted(p.name for p in checkout.iterdir()) == ["notebooks", "paper"]
    assert not (checkout.parent / "cache").exists()


def test_there_are_enough_bad_calls():
    assert len(BAD) >= 25
    assert len({tuple(words) for words, _ in BAD}) == len(BAD)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["data", "--help"], ["reproduce", "--help"], ["publish", "-h"]])
def test_help_is_exit_code_0(checkout, worked, capsys, words):
    assert call(words) == 0
    assert "usage: ./reproduce.sh" in capsys.readouterr().out
    assert worked == []


def test_help_names_every_option_and_what_it_can_be(checkout, capsys):
    call(["--help"])
    text = capsys.readouterr().out
    options = "--preset --quick --only --list --jobs --device --executor --fresh --dry-run --offline --no-pdf --help"
    for word in options.split():
        assert word in text
    for word in ("smoke, small, medium, full, paper", "auto, cpu or cuda", "2 usage", "3 environment", "test", "lab"):
        assert word in " ".join(text.split())
    assert "check-only" not in text


@pytest.mark.parametrize("words", [["--list"], ["--dry-run"], ["--list", "--quick"], ["--dry-run", "--only", "sign"]])
def test_listing_and_dry_run_say_what_is_missing_and_change_nothing(checkout, worked, capsys, words):
    assert call(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "preset " + ("smoke" if "--quick" in words else "small") in out
    assert "\nsign_placement: stale, " in out
    assert " of its runs are missing (0 are there)" in out
    assert worked == []
    assert sorted(p.name for p in checkout.iterdir()) == ["notebooks", "paper"]


def test_a_listing_names_every_target_figure_and_document(checkout, capsys):
    call(["--list", "--quick"])
    text = capsys.readouterr().out
    for target in STUDIES:
        for name in (target.name, *exports(notebook_path(ROOT / "notebooks", target))):
            assert name in text
    assert text.endswith("paper\nsite\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"preset": "small", "device": "cpu", "jobs": 0, "offline": False, "documents": ["paper", "site"]}),
        (["reproduce"], {"preset": "small"}),
        (["--quick"], {"preset": "smoke"}),
        (["--quick", "--preset", "smoke"], {"preset": "smoke"}),
        (["--preset", "full"], {"preset": "full"}),
        (["--jobs", "3", "--offline"], {"jobs": 3, "offline": True}),
        (["--minutes", "2.5"], {"minutes": 2.5}),
        (["--device", "cpu"], {"device": "cpu"}),
        (["--no-pdf"], {"documents": ["site"]}),
        (["--only", "sign"], {"documents": []}),
        (["--only", "micro-adam"], {"documents": []}),
        (["--only", "fig-sign-dose, paper"], {"documents": ["paper"]}),
    ],
    ids=str,
)
def test_a_good_call_becomes_an_order(checkout, worked, words, expected):
    assert call(words) == 0
    ((order, fresh),) = worked
    assert {name: getattr(order, name) for name in expected} == expected
    assert not fresh


@pytest.fixture
def executors(monkeypatch):
    """The executor's variables are put back; no setting of the caller's is in force."""
    monkeypatch.setenv("REGRAD_EXECUTOR", "local")
    for name in [n for n in os.environ if n.startswith("REGRAD_SLURM_")]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_an_executor_reaches_the_notebooks_through_the_environment(checkout, worked, executors):
    executors.setenv("REGRAD_SLURM_CLUSTER", "local")
    assert call(["--executor", "slurm"]) == 0
    assert os.environ["REGRAD_EXECUTOR"] == "slurm"
    assert len(worked) == 1
    assert call(["--executor", "local"]) == 0
    assert os.environ["REGRAD_EXECUTOR"] == "local"


def test_the_former_names_of_option_and_variable_still_work(checkout, worked, executors):
    executors.setenv("REGRAD_SLURM_CLUSTER", "local")
    assert call(["--engine", "slurm"]) == 0
    assert os.environ["REGRAD_EXECUTOR"] == "slurm"
    executors.delenv("REGRAD_EXECUTOR")
    executors.setenv("REGRAD_ENGINE", "ray")
    assert chosen() == "ray"
    executors.setenv("REGRAD_EXECUTOR", "local")
    assert chosen() == "local"


@pytest.mark.parametrize(
    ("name", "value", "words", "said"),
    [
        ("REGRAD_EXECUTOR", "slrum", [], "REGRAD_EXECUTOR is 'slrum'; allowed: local, ray, slurm"),
        ("REGRAD_EXECUTOR", "", ["--list"], "REGRAD_EXECUTOR is ''; allowed"),
        ("REGRAD_SLURM_TIME", "1:00", ["--executor", "slurm"], "REGRAD_SLURM_TIME is '1:00'; allowed: an integer"),
        ("REGRAD_SLURM_GPUS", "-1", ["--executor", "slurm", "--device", "cuda"], "REGRAD_SLURM_GPUS is '-1'"),
        ("REGRAD_SLURM_GPUS", "0", ["--executor", "slurm", "--device", "cuda"], "--device cuda: "),
    ],
)
def test_a_wrong_variable_of_an_executor_is_one_line_and_exit_code_2(
    checkout, worked, capsys, executors, name, value, words, said
):
    executors.setenv(name, value)
    assert call(words) == USAGE
    err = capsys.readouterr().err
    assert err.startswith(f"regrad: {said}")
    assert err.count("\n") == 1
    assert worked == []


@pytest.mark.parametrize(("executor", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_an_executor_whose_package_is_missing_is_one_line_and_exit_code_3(
    checkout, worked, capsys, executors, executor, package
):
    executors.setattr("regrad.executors.choice.find_spec", lambda name: None)
    assert call(["--executor", executor]) == ENVIRONMENT
    line = f"regrad: the executor {executor} needs {package}, which is not installed: pip install {package}\n"
    assert capsys.readouterr().err == line
    assert worked == []


def test_a_machine_without_slurm_is_one_line_and_exit_code_3(checkout, worked, capsys, executors):
    pytest.importorskip("submitit", reason="submitit is not installed")
    executors.setenv("PATH", str(checkout))
    assert call(["--executor", "slurm"]) == ENVIRONMENT
    assert "needs sbatch, which is not on PATH" in capsys.readouterr().err
    assert worked == []


def test_only_takes_the_targets_that_own_what_is_named(checkout, worked):
    call(["--only", "tab-sign,fig-sign-dose,tab-data"])
    assert [t.name for t in worked[0][0].targets] == ["overview", "sign_placement"]


def test_fresh_is_handed_on(checkout, worked):
    call(["--fresh"])
    assert worked[0][1] is True


def test_check_only_looks_at_the_words_and_does_nothing(checkout, worked):
    assert call(["--quick", "--check-only"]) == 0
    assert call(["--quik", "--check-only"]) == 2
    assert worked == []


def test_the_default_preset_follows_the_device(checkout, worked, monkeypatch):
    monkeypatch.setattr("regrad.pipeline.devices.choose_device", lambda wanted: "cuda")
    call([])
    assert (worked[0][0].preset, worked[0][0].device) == ("full", "cuda")


def test_outside_a_checkout_is_an_environment_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(["--quick"]) == ENVIRONMENT == 3
    assert "not inside a regrad checkout" in capsys.readouterr().err


def test_data_lists_every_source_with_licence_and_cache(checkout, capsys):
    assert call(["data"]) == 0
    text = capsys.readouterr().out
    for word in ("fashion-mnist", "news", "sha256:", "MIT", f"cache: {checkout.parent / 'cache'}"):
        assert word in text


def test_data_that_is_not_there_offline_is_an_environment_error_in_one_line(checkout, capsys):
    assert call(["data", "--fetch", "news", "--offline"]) == ENVIRONMENT
    err = capsys.readouterr().err
    assert err.startswith("regrad: news: not in the cache and offline")
    assert err.count("\n") == 1


def test_nothing_to_publish_is_said(checkout, capsys):
    assert call(["publish", "small-cpu"]) == ENVIRONMENT
    assert "nothing to publish" in capsys.readouterr().err


def test_as_a_process_a_misspelt_word_leaves_no_traceback_and_imports_no_torch(checkout):
    code = (
        "import sys; from regrad.cli import main\ntry:\n main(sys.argv[1:])\nfinally:\n print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--preset", "smal"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == "False\n"
    assert "Traceback" not in done.stderr


# -- the work, alone on a checkout


def order(**changes):
    return Order(**({"targets": [], "documents": [], "preset": "smoke", "device": "cpu"} | changes))


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("notebooks/00_overview.ipynb", "preset = ", "prset = ", ["no parameter 'preset'", "did you mean 'prset'?"]),
        ("notebooks/00_overview.ipynb", '"parameters"', '"paramters"', ["0 cells tagged 'parameters'"]),
        ("paper/claims.toml", "note = ", "noet = ", ["claim C3", "unknown key 'noet'", "did you mean 'note'?"]),
        ("paper/claims.toml", "[[task]]", "clam = 1\n[[task]]", ["unknown key 'clam'", "did you mean 'claim'?"]),
        ("paper/claims.toml", "[[claim]]", "[[claim]", ["not TOML"]),
    ],
)
def test_a_misspelt_parameter_or_key_is_exit_code_2_before_any_work(checkout, capsys, file, old, new, said):
    edit(checkout / file, old, new)
    assert reproduce(Folders(checkout, checkout / "c"), order(targets=list(STUDIES[:1]))) == USAGE
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    for part in said:
        assert part in err
    assert {p.name for p in (checkout / "results").iterdir()} <= {".lock", ".lock-holder"}
    assert not (checkout / "paper" / "generated").exists()


def test_a_name_that_no_table_knows_in_a_spec_is_exit_code_2_before_any_work(checkout, capsys, monkeypatch):
    wrong = spec(optimizer=Part(name="sign_sdg", options={"lr": 0.1}))
    monkeypatch.setattr("regrad.pipeline.reproduce.plan_of", lambda target: lambda preset, records: [wrong])
    assert reproduce(Folders(checkout, checkout / "c"), order(targets=[STUDIES[1]])) == USAGE
    assert "unknown optimizer 'sign_sdg'; did you mean 'sign_sgd'?" in capsys.readouterr().err


HOLDER = """
import sys, time
from pathlib import Path
from regrad.pipeline import reproduce as module
from regrad.pipeline.folders import Folders
class Slow(module.Reproduction):
    def run(self):
        Path(sys.argv[2]).touch()
        time.sleep(600)
module.Reproduction = Slow
module.reproduce(Folders(Path(sys.argv[1]), Path("c")), module.Order([], [], "smoke", "cpu"))
"""


def test_of_two_at_once_the_second_says_who_works_and_a_killed_one_leaves_no_lock(checkout, capsys):
    ready = checkout / "ready"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(checkout), str(ready)])
    try:
        end = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert reproduce(Folders(checkout, checkout / "c"), order()) == ENVIRONMENT
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert f"is being reproduced by process {holder.pid} since " in err
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert reproduce(Folders(checkout, checkout / "c"), order()) == 0


def test_the_lock_is_free_after_the_work(checkout):
    assert reproduce(Folders(checkout, checkout / "c"), order()) == 0
    FileLock(checkout / "results" / ".lock").acquire(timeout=0).lock.release()
    assert (checkout / "results" / "claims.json").exists()
