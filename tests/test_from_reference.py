"""The whole report is rebuilt from published records where torch cannot be imported, and says the same to the digit."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from browsing import CHROMIUM, barriers, chromium, served, watched
from regrad import cli
from regrad.pipeline.notebooks import LIVE
from regrad.published import SET, VARIABLE
from regrad.report.export import Exporter, decode, encode
from regrad.runner.ensure import Bench, RunsFailedError, ensure
from regrad.store import Store
from tiny_runs import FINGERPRINT, record, spec

pytestmark = pytest.mark.slow  # a minute for the report; what the records say is tested everywhere else too
ROOT = Path(__file__).parents[1]
PATIENCE = 120_000  # milliseconds
PARTS = ("notebooks", "paper", "docs", "examples", "results/reference", "README.md", "CITATION.cff", "pyproject.toml")


def copied(root):
    """The files of this checkout that a report is made from, and nothing that was made in it."""
    for part in PARTS:
        made = shutil.ignore_patterns("generated", "report.pdf", ".ipynb_checkpoints")
        (root / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, root / part, ignore=made)
        else:
            shutil.copy(ROOT / part, root / part)
    return root


@pytest.fixture(scope="module")
def rebuild(tmp_path_factory):
    """What runs ``--from-reference`` in a folder, where importing torch raises in every process."""
    blocked = tmp_path_factory.mktemp("blocked")
    (blocked / "torch").mkdir()
    (blocked / "torch" / "__init__.py").write_text('raise ImportError("torch is not there")\n')
    paths = os.pathsep.join([str(blocked), str(ROOT / "src")])

    def run(root):
        done = subprocess.run(
            [sys.executable, "-m", "regrad", "--from-reference", "--offline"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": paths, "REGRAD_CACHE": str(root / "no-data")},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert "failed" not in done.stderr.splitlines()[-1], done.stderr[-3000:]
        return done.stderr

    return run


@pytest.fixture(scope="module")
def rebuilt(rebuild, tmp_path_factory):
    """A checkout in which that ran, and its seconds."""
    root = copied(tmp_path_factory.mktemp("checkout"))
    start = time.monotonic()
    rebuild(root)
    return root, time.monotonic() - start


def test_every_verdict_is_the_published_one_to_the_digit(rebuilt):
    made = json.loads((rebuilt[0] / "results" / "claims.json").read_text())["claims"]
    published = json.loads((ROOT / "results" / "reference" / SET / "claims.json").read_text())["claims"]
    different = [new["id"] for new, old in zip(made, published, strict=True) if new != old]
    assert different == []


@pytest.mark.skipif(not (shutil.which("latexmk") and shutil.which("pdftotext")), reason="needs LaTeX and poppler")
def test_a_stranger_stumbles_over_nothing_in_the_report_or_on_the_site(rebuilt):
    from regrad.pipeline import proofread

    root = rebuilt[0]
    claims = json.loads((root / "results" / "claims.json").read_text())["claims"]
    assert proofread.report(root / "paper" / "report.pdf", claims) == []
    assert proofread.site(root / "site") == []
    assert len(proofread.main_text(proofread.pages(root / "paper" / "report.pdf"))) <= 20


def test_the_site_made_again_in_another_folder_has_equal_bytes(rebuild, rebuilt, tmp_path):
    """Board, ledger, notebooks, playgrounds and manual; notebooks and PDF are up to date there and stay as they are."""
    again = tmp_path / "again"
    shutil.copytree(rebuilt[0], again, ignore=shutil.ignore_patterns("site"))
    said = rebuild(again)
    assert "site: building" in said
    assert "executing" not in said
    found, expected = (contents(root / "site") for root in (again, rebuilt[0]))
    assert found.keys() == expected.keys()
    assert [name for name, data in found.items() if data != expected[name]] == []


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(600)
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_no_page_of_the_site_keeps_anybody_out(rebuilt):
    pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    folder = rebuilt[0] / "site"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    assert {"index.html", "manual/methods/sgg.html", "05_sgg.html", "sign.html", "train_one.html"} < set(names)
    with served(folder) as address, chromium(PATIENCE) as browser, watched(browser, address, PATIENCE) as new_page:
        page = new_page()
        assert [line for name in names for line in barriers(page, address, name)] == []


def test_every_figure_and_table_is_there_and_nothing_was_trained(rebuilt):
    from regrad.pipeline.targets import exports, notebook_path
    from regrad.studies.catalogue import STUDIES

    generated = rebuilt[0] / "paper" / "generated"
    there = {path.stem for path in [*generated.glob("figures/*.pdf"), *generated.glob("tables/*.tex")]}
    notebooks = [notebook_path(ROOT / "notebooks", study) for study in STUDIES]
    assert {name for path in notebooks for name in exports(path)} - there == set()
    assert not (rebuilt[0] / "results" / "runs").exists()
    assert (rebuilt[0] / "site" / "index.html").is_file()
    if shutil.which("latexmk"):
        assert (rebuilt[0] / "paper" / "report.pdf").is_file()


def test_cells_that_need_torch_are_shown_and_said_not_to_have_run(rebuilt):
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(source, as_version=4).cells
        live = {cell["id"]: cell.source for cell in cells if LIVE in cell.metadata.get("tags", [])}
        made = nbformat.read(rebuilt[0] / "results" / "notebooks" / source.name, as_version=4).cells
        shown = {cell["id"]: cell for cell in made if cell["id"] in live}
        for name, code in live.items():
            assert shown[name].cell_type == "markdown"
            assert shown[name].source.startswith("Not executed: ")
            assert code in shown[name].source


def test_every_stamp_follows_from_the_published_records(rebuilt):
    done = subprocess.run(
        [sys.executable, "-m", "regrad", "--from-reference", "--verify"],
        cwd=rebuilt[0],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip().splitlines()[0].endswith("every stamp holds"), done.stdout[-2000:]
    assert done.returncode == 0


def test_published_runs_are_found_by_their_spec_whatever_code_made_them_and_missing_ones_do_not_run(
    tmp_path, monkeypatch
):
    folder = tmp_path / "small-cpu" / "runs"
    Store(folder).put(record(spec(seed=7)))
    monkeypatch.setenv(VARIABLE, "small-cpu")
    bench = Bench(folder, tmp_path, "cpu", 1)
    [found] = ensure([spec(seed=7, tags={"arm": "a"})], bench)
    assert (found.fingerprint, found.spec.tags) == (FINGERPRINT, {"arm": "a"})
    with pytest.raises(RunsFailedError, match="runs: 1 of 2 runs are not in results/reference/small-cpu"):
        ensure([spec(seed=7), spec(seed=8)], bench)


def test_a_fact_is_kept_in_order_with_any_keys_and_read_back_without_computing(tmp_path):
    value = {"b": (1, 2.5), "a": {0.1: [None, "x"], 1e-3: []}}
    assert decode(encode(value)) == {"b": [1, 2.5], "a": {0.1: [None, "x"], 1e-3: []}}
    assert list(decode(encode(value))) == ["b", "a"]
    about = {"notebook": "00_x", "preset": "smoke", "records": []}
    first = Exporter(tmp_path / "first", **about)
    second = Exporter(tmp_path / "second", **about, published=tmp_path / "first")
    kept = first.fact("some-curves", lambda name: value | {"name": name}, "n")
    read = second.fact("some-curves", pytest.fail, "computed again")
    (tmp_path / "first").rename(tmp_path / SET)
    of_runs_alone = Exporter(tmp_path / "third", **about, published=tmp_path / "full-cuda")
    borrowed = of_runs_alone.fact("some-curves", pytest.fail, "computed again")
    (tmp_path / SET).rename(tmp_path / "first")
    assert kept == read == borrowed == decode(encode(value)) | {"name": "n"}
    (tmp_path / "first" / "live" / "some-curves.json").write_text('{"payload": 1, "sha256": "0"}')
    with pytest.raises(ValueError, match="checksum mismatch"):
        second.fact("some-curves", pytest.fail, "computed again")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from-reference", "mediun-cpu"], "--from-reference: unknown set 'mediun-cpu'; did you mean 'medium-cpu'"),
        (
            ["--from-reference", "medium-cpu", "--preset", "full"],
            "--from-reference medium-cpu is --preset medium, and --preset full was given too; give one",
        ),
        (["--from-reference", "--fresh"], "--from-reference runs nothing; --fresh does not go with it"),
        (["--from-reference", "--minutes", "2"], "--from-reference runs nothing; --minutes does not go with it"),
    ],
)
def test_what_does_not_go_with_it_is_refused_in_one_line(words, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in said
    assert said.count("\n") == 1
    assert VARIABLE not in os.environ


def test_a_published_set_is_not_published_again(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv(VARIABLE, "medium-cpu")
    with pytest.raises(SystemExit):
        cli.main(["publish", "medium-cpu"])
    assert "what was published is not published again" in capsys.readouterr().err
