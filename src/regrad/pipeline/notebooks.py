"""Execute a notebook by papermill, with its traps closed.

papermill only warns of a misspelt parameter, marks every cell completed after the kernel died,
treats ``sys.exit(0)`` as success with cells pending, writes its output piecemeal and never times out.
"""

import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrad.atomic import write_atomically
from regrad.pipeline.folders import PIPELINE
from regrad.published import chosen
from regrad.results import suggestion

if TYPE_CHECKING:  # nbformat takes a second to import, which a notebook that is up to date need not wait for
    from nbformat import NotebookNode

SENTINEL = "exported "
LIVE = "torch"  # tag of cells that need torch, besides the runs
SESSION = "JPY_SESSION_NAME"  # which a notebook server sets for the kernels that somebody looks at
VOLATILE = {"papermill", "execution", "widgets"}


class NotebookError(RuntimeError):
    """A notebook did not run to its end; the last good output is still in place."""


def parameters_of(path: Path) -> dict[str, Any]:
    """Return the defaults in a notebook's cell tagged ``parameters``.

    Raises:
        ValueError: If there is not exactly one such cell, or it holds more than literals.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    sources = ["".join(c["source"]) for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])]
    if len(sources) != 1:
        raise ValueError(f"{path.name}: {len(sources)} cells tagged 'parameters'; allowed: exactly 1")
    values = {}
    try:
        for node in ast.parse(sources[0]).body:
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
                raise ValueError("not an assignment to a name")
            values[node.targets[0].id] = ast.literal_eval(node.value)
    except (ValueError, SyntaxError):
        raise ValueError(f"{path.name}: the parameters cell may only assign literals to names") from None
    return values


def check_parameters(path: Path, given: dict[str, Any]) -> None:
    """Refuse a parameter that the notebook does not have.

    Raises:
        ValueError: Its name, and the nearest one that the notebook has.
    """
    known = parameters_of(path)
    for name in given:
        if name not in known:
            raise ValueError(f"{path.name}: no parameter {name!r}{suggestion(name, list(known))}")


def without_live_cells(path: Path) -> "NotebookNode":
    """Return a notebook whose cells tagged ``torch`` are shown and not executed."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for number, cell in enumerate(notebook.cells):
        if LIVE in cell.metadata.get("tags", []):
            text = "Not executed: this page was made from published records, without torch."
            shown = f"{text}\n\n```python\n{cell.source}\n```"
            notebook.cells[number] = nbformat.v4.new_markdown_cell(shown, id=cell["id"])
    return notebook


def execute(path: Path, output: Path, parameters: dict[str, Any], *, timeout: float, live: bool = True) -> None:
    """Execute ``path`` and write ``output`` only if every cell ran.

    Args:
        path: The notebook's source, which is not changed.
        output: The executed copy.
        parameters: Values for its ``parameters`` cell.
        timeout: Seconds for the whole notebook.
        live: Whether to execute its cells tagged ``torch`` as well.

    Raises:
        NotebookError: A cell failed, the kernel died, the notebook left early or ran out of time.
        ValueError: A parameter that the notebook does not have.
    """
    import nbformat

    check_parameters(path, parameters)
    if "records" in parameters_of(path):
        parameters = {"records": "published" if chosen() else "own", **parameters}
    with tempfile.TemporaryDirectory(prefix="regrad-notebook-") as folder:
        draft, source = Path(folder) / path.name, path
        if not live:
            source = Path(folder) / f"source-{path.name}"
            source.write_text(nbformat.writes(without_live_cells(path)), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "regrad.pipeline.watched_papermill",
            str(source),
            str(draft),
            "--no-progress-bar",
            "--log-level",
            "ERROR",
        ]
        command += ["--cwd", str(path.parent), "-k", "python3"]
        for name, value in parameters.items():
            command += ["-p" if not isinstance(value, str) else "-r", name, str(value)]
        code, errors = run_group(command, timeout)
        if code != 0:
            raise NotebookError(f"{path.name}: {failure(draft, errors, code)}")
        notebook = nbformat.read(draft, as_version=4)
        check_complete(notebook, path.name)
        write_atomically(output, (nbformat.writes(without_times(notebook)) + "\n").encode())


def run_group(command: list[str], timeout: float) -> tuple[int, str]:
    """Run a command in its own process group, killed whole at the limit; return exit code and errors."""
    # One thread, so that kernels beside one another do not slow each other; no random hashes in what sets print.
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        PIPELINE: "1",
    }
    environment.pop(SESSION, None)  # a notebook that starts this is watched, the one that is run here is not
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        errors = process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired:
        raise NotebookError(f"{Path(command[3]).name}: not finished after {timeout:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, errors


def failure(draft: Path, errors: str, code: int) -> str:
    """Return the last line of what went wrong in a cell, or of what papermill printed."""
    if code < 0:
        return f"papermill was ended by {signal.Signals(-code).name}"
    if draft.exists():
        import nbformat

        for cell in nbformat.read(draft, as_version=4).cells:
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    return f"{output.ename}: {output.evalue}".splitlines()[0]
    lines = [line for line in errors.splitlines() if line.strip()]
    return lines[-1] if lines else f"papermill ended with exit code {code}"


def check_complete(notebook: "NotebookNode", name: str) -> None:
    """Refuse an executed notebook with cells that did not run or without the exporter's last line.

    Raises:
        NotebookError: The first cell that did not run, or the missing last line.
    """
    code_cells = [c for c in notebook.cells if c.cell_type == "code"]
    for number, cell in enumerate(code_cells, 1):
        if cell.source.strip() and cell.execution_count is None:
            raise NotebookError(f"{name}: code cell {number} of {len(code_cells)} did not run")
    last = str(code_cells[-1].get("outputs", "")) if code_cells else ""
    if SENTINEL not in last:
        raise NotebookError(f"{name}: the last cell did not export; it must end with exporter.finish()")


def without_times(notebook: "NotebookNode") -> "NotebookNode":
    """Drop what differs from one execution to the next, so that equal results give equal bytes."""
    for holder in (notebook, *notebook.cells):
        for key in VOLATILE & set(holder.metadata):
            del holder.metadata[key]
        if "injected-parameters" in holder.metadata.get("tags", []):
            holder["id"] = "injected-parameters"  # papermill draws a new one each time
    return notebook
