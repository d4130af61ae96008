"""What JupyterLab writes when it saves a notebook of this repository: what people wrote, without outputs.

Looking at a tracked notebook, or running it, then changes no file: what is saved is what was there.
"""

import subprocess
from pathlib import Path
from typing import Any

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LOOKED = ("collapsed", "execution", "jupyter", "scrolled", "trusted")  # how a cell was last looked at, and when


def without_outputs(model: dict[str, Any], path: str, contents_manager: Any) -> None:
    """Take outputs, and what a kernel added, out of a tracked notebook that is about to be saved.

    Args:
        model: What the server saves, changed in place. Files that git does not know keep what is in them.
        path: Where, below the server's root.
        contents_manager: The server's.
    """
    if model["type"] != "notebook" or not tracked(Path(contents_manager.root_dir), path.lstrip("/")):
        return
    notebook = model["content"]
    notebook["metadata"] = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    for cell in notebook["cells"]:
        cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key not in LOOKED}
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None


def tracked(root: Path, name: str) -> bool:
    """Return whether git has a file; without git, whether it is one of the notebooks' folder."""
    try:
        command = ["git", "ls-files", "--error-unmatch", "--", name]
        return subprocess.run(command, cwd=root, capture_output=True).returncode == 0
    except OSError:
        return name.startswith("notebooks/")
