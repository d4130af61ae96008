"""Whether a target is up to date: content hashes of what it was made from and of what it made.

Our own forty lines and not ``doit``: a target also counts as stale when one of its *outputs* was
changed or damaged, and the state is saved after every target, so that ``kill -9`` loses nothing.
Modification times play no part.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regrad.atomic import write_atomically
from regrad.results import canonical, sha256
from regrad.store import seal, unseal

NAMED = 4


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, ``"absent"`` if there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        return "absent"


def inputs_hash(values: Mapping[str, Any], files: Iterable[Path]) -> str:
    """Return one hash of plain values and of files' contents, under their names."""
    contents = {path.name + "@" + path.parent.name: file_hash(path) for path in files}
    return sha256(canonical({"values": dict(values), "files": contents}))


def difference(before: "str | Mapping[str, str]", now: "str | Mapping[str, str]") -> str:
    """Return in words what changed, by name where the parts are known."""
    if isinstance(before, str) or isinstance(now, str):
        return "its notebook, code, parameters or records changed"
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"changed: {', '.join(names[:NAMED])}{more}"


class Freshness:
    """Remembers, a file a target, what the target was made from.

    Args:
        folder: Where the state is kept.
        root: Folder that outputs are named relative to, so that a moved checkout stays fresh.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root

    def why_stale(self, target: str, inputs: "str | Mapping[str, str]") -> str | None:
        """Return why ``target`` has to be made, None if it need not be.

        Args:
            target: Its name.
            inputs: One hash, or one of each part, of which those that changed are named.
        """
        try:
            state = unseal((self.folder / f"{target}.json").read_bytes())
        except FileNotFoundError:
            return "never made here"
        except ValueError:
            return "its state file is damaged"
        if state["inputs"] != inputs:
            return difference(state["inputs"], inputs)
        for name, digest in state["outputs"].items():
            if file_hash(self.root / name) != digest:
                return f"{name} is missing or was changed"
        return None

    def remember(self, target: str, inputs: "str | Mapping[str, str]", outputs: Iterable[Path]) -> None:
        """Record that ``target`` was made from ``inputs`` and consists of ``outputs``."""
        digests = {path.relative_to(self.root).as_posix(): file_hash(path) for path in outputs}
        content = seal({"inputs": inputs if isinstance(inputs, str) else dict(inputs), "outputs": digests})
        write_atomically(self.folder / f"{target}.json", content)

    def forget(self, target: str) -> None:
        """Make ``target`` stale."""
        (self.folder / f"{target}.json").unlink(missing_ok=True)
