"""What can be made: a notebook a study, in the order of the report, then the paper and the site."""

import json
import re
from pathlib import Path

from regrad.results import suggestion
from regrad.studies.catalogue import STUDIES
from regrad.studies.study import Plan, Study

DOCUMENTS = ("paper", "site")
LEDGER = "claims"  # what gathers the verdicts of all notebooks exports under this name, as if it were one


def plan_of(study: Study) -> Plan | None:
    """Return the function ``specs(preset, records)`` of a study, None for one that trains nothing."""
    return study.plan


def notebook_path(folder: Path, study: Study) -> Path:
    """Return the source of a study's notebook."""
    return folder / f"{study.notebook}.ipynb"


def exports(notebook: Path) -> list[str]:
    """Return the names of the figures and tables that a notebook's cells export, in their order; none without it."""
    if not notebook.is_file():  # whoever runs it says so
        return []
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    # As text: names must be known without running anything, and a test holds that this finds every call.
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return re.findall(r"\.(?:figure|table)\(\s*\"([^\"]+)\"", code)


def whole(name: str) -> str:
    """Return the study's name that only one study's begins like ``name``; ``name`` itself where that is not so."""
    begun = name.replace("-", "_")
    studies = [study.name for study in STUDIES if study.name.startswith(begun)]
    return begun if begun in studies else studies[0] if len(studies) == 1 else name


def select(only: str | None, notebooks: Path) -> tuple[list[Study], list[str]]:
    """Return the studies and documents that ``--only`` names; all of them for None.

    Args:
        only: Names of studies (or how only one of them begins), notebooks, figures or tables, separated by commas;
            in a study's name ``-`` and ``_`` are one.
        notebooks: Folder of the notebooks, whose cells say which figures and tables they export.

    Raises:
        ValueError: An unknown name, with the nearest known one.
    """
    if only is None:
        return list(STUDIES), list(DOCUMENTS)
    names = [whole(name.strip()) for name in only.split(",") if name.strip()]
    owner = {name: study for study in STUDIES for name in (study.name, study.notebook)}
    owner |= {name: study for study in STUDIES for name in exports(notebook_path(notebooks, study))}
    for name in names:
        if name not in owner and name not in DOCUMENTS:
            raise ValueError(f"--only: unknown target {name!r}{suggestion(name, [*owner, *DOCUMENTS])}")
    if not names:
        raise ValueError(f"--only {only!r}: no target given; ./reproduce.sh --list names them")
    selected = {owner[name].name for name in names if name in owner}
    return [study for study in STUDIES if study.name in selected], [d for d in DOCUMENTS if d in names]
