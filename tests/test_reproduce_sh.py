"""The front door: bash that parses, is thin, knows no machine, and hands its words on."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [ROOT / "reproduce.sh", ROOT / ".ci" / "run"]

each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)


@each_script
def test_it_parses_and_can_be_run(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert path.stat().st_mode & stat.S_IXUSR
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in path.read_text()


@each_script
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_has_no_complaint(path):
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True)
    assert done.stdout == ""


@each_script
def test_it_names_no_machine_no_user_and_no_mirror(path):
    text = path.read_text()
    assert not re.search(
        r"https?://|/home/|/root|/work|/mnt|/Users/|--index-url|--extra-index|localhost|\d+\.\d+\.\d+\.\d+", text
    )


def test_the_whole_repository_names_no_machine():
    """No tracked text names a user's folder or a private package index."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    for name in names or []:
        path = ROOT / name
        if not path.is_file() or path == Path(__file__) or path.suffix in (".pdf", ".json", ".png"):
            continue
        found = re.search(
            r"/home/\w+|/root/|/Users/\w+|--index-url|--extra-index-url", path.read_text(errors="replace")
        )
        assert not found, (name, found)


def test_it_never_removes_anything_but_what_it_made():
    text = (ROOT / "reproduce.sh").read_text()
    assert not re.search(r"\brm\b|\bgit\b|\bmv\b", text)


@pytest.fixture
def checkout(tmp_path):
    """The script in an otherwise empty checkout whose python writes down how it was called."""
    folder = tmp_path / "a checkout with spaces, ü"
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "reproduce.sh", folder)
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).write_text("")
    python = folder / ".venv" / "bin" / "python"
    python.write_text(
        f'#!/bin/bash\n[ "$1" = -c ] && exit 0\nprintf "%s|" "$@" >>"{tmp_path}/called"\necho >>"{tmp_path}/called"\n'
    )
    python.chmod(0o755)
    for tool in ("latexmk", "pdflatex", "chromium"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).write_text("#!/bin/bash\n")
        (tmp_path / "bin" / tool).chmod(0o755)
    return folder


def call(checkout, *words, **environment):
    called = checkout.parent / "called"
    called.unlink(missing_ok=True)
    kept = {k: v for k, v in os.environ.items() if k not in ("CONDA_PREFIX", "CONDA_DEFAULT_ENV")}
    path = f"{checkout.parent / 'bin'}:{os.environ['PATH']}"
    script = str(checkout / "reproduce.sh")
    done = subprocess.run(
        [script, *words], cwd="/", capture_output=True, text=True, env=kept | {"PATH": path} | environment
    )
    lines = called.read_text().splitlines() if called.exists() else []
    return done, lines


def test_a_missing_environment_is_installed_from_the_lock_once(checkout):
    done, lines = call(checkout, "--list")
    assert done.returncode == 0, done.stderr
    assert [line.split("|")[:3] for line in lines[:2]] == [["-m", "pip", "install"]] * 2
    assert "requirements.lock" in lines[0]
    assert "--no-deps|--editable|.|" in lines[1]
    assert lines[2] == "-m|regrad|--list|"
    done, lines = call(checkout, "--list")
    assert lines == ["-m|regrad|--list|"]
    assert done.stderr == ""


@pytest.mark.parametrize("file", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_is_installed_again(checkout, file):
    call(checkout, "--list")
    (checkout / file).write_text("changed\n")
    _, lines = call(checkout, "--list")
    assert sum("pip" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("words", "handed"),
    [
        ((), "-m|regrad|"),
        (("--quick", "--jobs", "2"), "-m|regrad|--quick|--jobs|2|"),
        (("--only", "a b"), "-m|regrad|--only|a b|"),
        (("data", "--fetch", "news"), "-m|regrad|data|--fetch|news|"),
        (("tset",), "-m|regrad|tset|"),
        (("test", "-k", "a or b"), "-m|pytest|-k|a or b|"),
        (("test", "--slow", "-x"), "-m|pytest|-m|slow|--numprocesses|auto|--maxprocesses|8|--dist|worksteal|-x|"),
        (
            ("test", "--reliability", "-x"),
            "-m|pytest|-m|reliability|tests/reliability|--numprocesses|auto|--maxprocesses|8|--dist|worksteal|-x|",
        ),
    ],
    ids=str,
)
def test_words_are_handed_on_unchanged(checkout, words, handed):
    _, lines = call(checkout, *words)
    assert lines[-1] == handed


@pytest.mark.parametrize("arguments", ["", "--ServerApp.base_url=/a/prefix/ --ip=0.0.0.0"])
def test_the_lab_opens_its_start_page_as_anybody_and_behind_a_prefix(checkout, arguments):
    _, lines = call(checkout, "lab", "--no-browser", REGRAD_LAB_ARGS=arguments, HOME=str(checkout))
    root = ["--allow-root"] if os.getuid() == 0 else []
    page = "--LabApp.default_url=/lab/tree/results/lab/start.ipynb"
    words = ["-m", "jupyter", "lab", "--notebook-dir=.", *root, page, *arguments.split()]
    assert lines[-2:] == ["-m|regrad.pipeline.start_page|", "|".join([*words, "--no-browser", ""])]


def test_it_works_from_any_folder_through_a_link_and_in_any_locale(checkout, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(checkout / "reproduce.sh")
    call(checkout, "--list")
    done = subprocess.run(
        [str(link), "--list"], cwd="/", capture_output=True, text=True, env=os.environ | {"LANG": "C"}
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_pip_that_fails_is_an_environment_error_said_in_words(checkout):
    python = checkout / ".venv" / "bin" / "python"
    python.write_text('#!/bin/bash\n[ "$1" = -c ] && exit 0\n[ "$2" = pip ] && exit 1\nexit 0\n')
    done, _ = call(checkout, "--list")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "regrad: pip could not install requirements.lock"
    assert not (checkout / ".venv" / ".regrad-lock").exists()


def test_an_active_conda_environment_of_the_right_name_is_used(checkout, tmp_path):
    conda = tmp_path / "conda"
    (conda / "bin").mkdir(parents=True)
    (conda / "bin" / "python").write_text(
        f'#!/bin/bash\nprintf "conda|" >>"{tmp_path}/called"; echo "$*" >>"{tmp_path}/called"\n'
    )
    (conda / "bin" / "python").chmod(0o755)
    _, lines = call(checkout, "--list", CONDA_PREFIX=str(conda), CONDA_DEFAULT_ENV="regrad")
    assert all(line.startswith("conda|") for line in lines)
    _, lines = call(checkout, "--list", CONDA_PREFIX=str(conda), CONDA_DEFAULT_ENV="base")
    assert not any(line.startswith("conda|") for line in lines)


def test_latex_is_not_installed_for_calls_that_typeset_nothing():
    """`wants_tex`, as bash runs it."""
    text = (ROOT / "reproduce.sh").read_text()
    function = re.search(r"^wants_tex\(\).*?^}", text, re.M | re.S).group()
    for words, wanted in [
        ([], True),
        (["--quick"], True),
        (["--no-pdf"], False),
        (["--offline"], False),
        (["--quick", "--list"], False),
        (["--dry-run"], False),
        (["--help"], False),
        (["data", "--fetch", "news"], False),
    ]:
        done = subprocess.run(["bash", "-c", f'{function}\nwants_tex "$@"', "x", *words])
        assert (done.returncode == 0) == wanted, words


def test_a_browser_that_is_missing_is_installed_for_the_whole_suite_only_and_failure_is_no_error(tmp_path):
    text = (ROOT / "reproduce.sh").read_text()
    wanted = ("install_chromium", "install_from_debian")
    functions = "\n".join(re.search(rf"^{name}\(\).*?^}}", text, re.M | re.S).group() for name in wanted)
    tools = tmp_path / "only"
    tools.mkdir()
    for name, body in [("apt-get", f'echo "$*" >>"{tmp_path}/apt"; exit 1'), ("id", "echo 0")]:
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    bash = shutil.which("bash")
    script = f"set -euo pipefail\n{functions}\ninstall_chromium"
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, env={"PATH": str(tools)})
    assert done.returncode == 0
    assert (tmp_path / "apt").read_text() == "update -qq\n"
    assert done.stderr.splitlines()[-1] == "regrad: this could not be installed; going on without the browser's tests"
    assert "if [ $# = 0 ]; then\n        install_chromium\n" in text


@pytest.mark.parametrize(("code", "said"), [(0, ""), (1, "could not be installed; going on without the tests")])
def test_the_slow_suite_installs_what_tests_the_gpu_s_kernel_and_goes_on_without(checkout, code, said):
    python = checkout / ".venv" / "bin" / "python"
    stub = python.read_text().replace("&& exit 0\n", '&& { [ "${2#import}" = "$2" ]; exit; }\n')
    python.write_text(stub + f'[[ "$*" = *--no-deps\\ triton* ]] && exit {code} || exit 0\n')
    done, lines = call(checkout, "test", "--slow")
    assert re.fullmatch(r"-m\|pip\|install\|.*--no-deps\|triton==[\d.]+\|", lines[-2])
    assert lines[-1].startswith("-m|pytest|-m|slow|")
    assert said in done.stderr
    assert not any("triton" in line for line in call(checkout, "test", "-k", "x")[1])
