"""Typeset the report: LaTeX without shell escape, equal bytes from equal input, a log that is read."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from regrad.atomic import write_atomically
from regrad.studies.catalogue import STUDIES

PRETEX = r"\pdftrailerid{regrad}"  # pdfTeX would hash the output folder, a new one each time, into the PDF
EPOCH = "1767225600"  # 2026-01-01: the date in the PDF's metadata, so that the bytes repeat
PROBLEM = re.compile(
    r"^(Overfull \\[hv]box.*|\S.* Warning: (?:Reference|Citation).*undefined.*|.*multiply defined.*)$", re.M
)


class PaperError(RuntimeError):
    """The report could not be typeset; the message is LaTeX's first error."""


def tex_is_there() -> bool:
    """Return whether latexmk and pdflatex are on the path."""
    return all(shutil.which(tool) for tool in ("latexmk", "pdflatex"))


def manifest(generated: Path) -> list[dict]:
    """Return the rows of all notebooks' manifests."""
    parts = sorted((generated / "manifest").glob("*.json"))
    return [row for part in parts for row in json.loads(part.read_text())]


def assemble(generated: Path) -> None:
    """Write what the report reads as one: all numbers, the sections of the studies in their order, the manifest."""
    names = sorted(path.stem for path in (generated / "numbers").glob("*.tex"))
    lines = [f"\\input{{generated/numbers/{name}}}" for name in names]
    write_atomically(generated / "numbers.tex", ("\n".join(lines) + "\n").encode())
    sections = "".join(f"\\input{{sections/{study.section}}}\n" for study in STUDIES if study.section)
    write_atomically(generated / "sections.tex", sections.encode())
    body = json.dumps(manifest(generated), indent=1, sort_keys=True) + "\n"
    write_atomically(generated / "manifest.json", body.encode())


def typeset(paper: Path) -> list[str]:
    """Make ``report.pdf`` from ``report.tex``; the old one stays if that fails.

    Returns:
        LaTeX's complaints that a reader would see: overfull boxes, undefined references and citations.

    Raises:
        PaperError: LaTeX's first error message.
    """
    environment = os.environ | {"SOURCE_DATE_EPOCH": EPOCH, "FORCE_SOURCE_DATE": "1", "TZ": "UTC"}
    with tempfile.TemporaryDirectory(prefix="regrad-paper-") as folder:
        command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
        command += [f"-usepretex={PRETEX}", f"-output-directory={folder}", "report.tex"]
        done = subprocess.run(command, cwd=paper, env=environment, capture_output=True, text=True, errors="replace")
        log_file = Path(folder) / "report.log"
        log = log_file.read_text(errors="replace") if log_file.exists() else done.stdout
        if done.returncode:
            errors = [line for line in log.splitlines() if line.startswith("!")]
            raise PaperError(errors[0] if errors else f"latexmk ended with exit code {done.returncode}")
        write_atomically(paper / "report.pdf", (Path(folder) / "report.pdf").read_bytes())
    return PROBLEM.findall(log)
