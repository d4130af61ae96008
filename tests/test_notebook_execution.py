"""Executing a notebook: each way in which papermill calls a failure a success is closed."""

import os
import textwrap
import time

import nbformat
import psutil
import pytest

from regrad.pipeline.notebooks import NotebookError, check_complete, check_parameters, execute, parameters_of

DEFAULTS = 'preset = "smoke"\njobs = 0\nfast = True'
FINISH = '"exported 1 files of tiny"'
LIMIT = 90.0


def write(folder, *cells, parameters=DEFAULTS, tagged=1):
    """A notebook ``tiny.ipynb`` with a parameters cell and these code cells."""
    made = [nbformat.v4.new_markdown_cell("# Tiny", id="title")]
    for k in range(max(1, tagged)):
        cell = nbformat.v4.new_code_cell(parameters, id=f"parameters-{k}")
        cell.metadata["tags"] = ["parameters"] if tagged else []
        made.append(cell)
    made += [nbformat.v4.new_code_cell(textwrap.dedent(c).strip(), id=f"cell-{k}") for k, c in enumerate(cells)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "notebooks" / "tiny.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), path)
    return path


@pytest.fixture
def output(tmp_path):
    """Where an earlier, good execution lies."""
    path = tmp_path / "results" / "tiny.ipynb"
    path.parent.mkdir()
    path.write_text("the last good output")
    return path


def test_a_good_notebook_is_executed_with_its_parameters_and_equal_bytes(tmp_path):
    source = write(tmp_path, "import os\n(preset, jobs, fast, os.path.basename(os.getcwd()))", FINISH)
    before = source.read_bytes()
    outputs = [tmp_path / f"{k}.ipynb" for k in (1, 2)]
    for path in outputs:
        execute(source, path, {"preset": "small", "jobs": 2, "fast": False}, timeout=LIMIT)
    assert source.read_bytes() == before
    notebook = nbformat.read(outputs[0], as_version=4)
    shown = notebook.cells[3].outputs[0].data["text/plain"]
    assert shown == "('small', 2, False, 'notebooks')"
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert outputs[0].stat().st_mode == source.stat().st_mode
    assert str(tmp_path) not in outputs[0].read_text(), "the folder of the checkout is in the output"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        pytest.param(["raise ValueError('one\\ntwo')", FINISH], "ValueError: one", id="a cell fails"),
        pytest.param(["import os", "os._exit(0)", FINISH], "died", id="the kernel exits"),
        pytest.param(["import os", "os.kill(os.getpid(), 9)", FINISH], "died", id="the kernel is killed"),
        pytest.param(
            ["import os", "os.kill(os.getppid(), 9)", FINISH],
            "papermill was ended by SIGKILL",
            id="papermill is killed",
        ),
        pytest.param(
            ["import sys", "sys.exit(0)", FINISH], "code cell 5 of 5 did not run", id="a cell leaves with success"
        ),
    ],
)
def test_a_notebook_that_does_not_reach_its_end_is_an_error_and_the_last_good_output_stays(
    tmp_path, output, cells, said
):
    source = write(tmp_path, *cells)
    with pytest.raises(NotebookError) as caught:
        execute(source, output, {"preset": "small"}, timeout=LIMIT)
    message = str(caught.value)
    assert message.startswith("tiny.ipynb: ")
    assert said in message
    assert "\n" not in message
    assert output.read_text() == "the last good output"
    assert [p.name for p in output.parent.iterdir()] == ["tiny.ipynb"]


def at_work(process_id):
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_notebook_that_takes_too_long_is_ended_with_its_kernel(tmp_path, output):
    source = write(
        tmp_path,
        f"""
        import os, time
        open({str(tmp_path / "kernel")!r}, "w").write(str(os.getpid()))
        time.sleep(600)
        """,
        FINISH,
    )
    for limit in (12.0, 60.0):  # a busy machine may need longer to start the kernel at all
        start = time.monotonic()
        with pytest.raises(NotebookError, match=rf"tiny\.ipynb: not finished after {limit:.0f} s"):
            execute(source, output, {}, timeout=limit)
        assert time.monotonic() - start < limit + 8
        if (tmp_path / "kernel").exists():
            break
    assert output.read_text() == "the last good output"
    kernel = int((tmp_path / "kernel").read_text())
    end = time.monotonic() + 5
    while at_work(kernel) and time.monotonic() < end:
        time.sleep(0.1)
    left = at_work(kernel)
    if left:
        os.kill(kernel, 9)
    assert not left, "the kernel outlived its notebook"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prest": "small"}, r"tiny\.ipynb: no parameter 'prest'; did you mean 'preset'\?"),
        ({"Jobs": 1}, r"no parameter 'Jobs'; did you mean 'jobs'\?"),
        ({"preset": "small", "zzz": 1}, r"no parameter 'zzz'; allowed: fast, jobs, preset"),
    ],
)
def test_a_misspelt_parameter_is_refused_before_anything_runs(tmp_path, output, monkeypatch, given, said):
    source = write(tmp_path, FINISH)
    monkeypatch.setattr("subprocess.Popen", None)  # starting anything would be an error of another kind
    with pytest.raises(ValueError, match=said):
        execute(source, output, given, timeout=LIMIT)
    assert output.read_text() == "the last good output"


@pytest.mark.parametrize("tagged", [0, 2])
def test_a_notebook_without_exactly_one_parameters_cell_is_refused_before_anything_runs(tmp_path, monkeypatch, tagged):
    source = write(tmp_path, FINISH, tagged=tagged)
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(ValueError, match=rf"tiny\.ipynb: {tagged} cells tagged 'parameters'; allowed: exactly 1"):
        execute(source, tmp_path / "out.ipynb", {}, timeout=LIMIT)


@pytest.mark.parametrize(
    "parameters",
    ["x =", "import os", "x = os.getcwd()", "x: int = 1", "a.b = 1", "f'{1}'", "x = [y for y in ()]", "(a, b) = 1, 2"],
)
def test_a_parameters_cell_with_more_than_literals_is_refused(tmp_path, parameters):
    with pytest.raises(ValueError, match=r"tiny\.ipynb: the parameters cell may only assign literals to names"):
        parameters_of(write(tmp_path, FINISH, parameters=parameters))


def test_parameters_are_read_without_running_the_notebook(tmp_path):
    path = write(tmp_path, FINISH, parameters="# a comment\npreset = 'a'\njobs = -1\nnames = ['x', 2]\nnone = None")
    assert parameters_of(path) == {"preset": "a", "jobs": -1, "names": ["x", 2], "none": None}
    check_parameters(path, {})


def executed(*cells):
    made = [nbformat.v4.new_code_cell(source, execution_count=count) for source, count in cells]
    if made:
        made[-1].outputs = [nbformat.v4.new_output("execute_result", data={"text/plain": FINISH})]
    return nbformat.v4.new_notebook(cells=made)


def test_every_cell_must_have_run_even_if_papermill_calls_it_completed():
    """After a kernel's death the saved notebook says ``completed`` of every cell: the counts tell."""
    check_complete(executed(("a", 1), ("", None), ("b", 2)), "n")
    with pytest.raises(NotebookError, match="n: code cell 2 of 3 did not run"):
        check_complete(executed(("a", 1), ("b", None), ("c", 2)), "n")
    with pytest.raises(NotebookError, match="did not export"):
        check_complete(executed(), "n")
    with pytest.raises(NotebookError, match="did not export"):
        check_complete(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("a", execution_count=1)]), "n")
