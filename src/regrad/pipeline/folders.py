"""The folders of a checkout: the one place, with the notebooks and reproduce.sh, that knows their names."""

import os
from pathlib import Path
from typing import NamedTuple

from regrad.published import chosen

PIPELINE = "REGRAD_PIPELINE"  # set around the notebooks that the pipeline runs


class Folders(NamedTuple):
    """Where a checkout keeps things.

    Attributes:
        root: The checkout.
        cache: Downloaded data, outside git; see ``cache_folder``.
    """

    root: Path
    cache: Path

    @property
    def notebooks(self) -> Path:
        """Sources of the notebooks; never written to."""
        return self.root / "notebooks"

    @property
    def runs(self) -> Path:
        """The run store; with ``--from-reference`` the published records."""
        return (self.published or self.root / "results") / "runs"

    @property
    def published(self) -> Path | None:
        """The published set that stands in for the run store, None if none does."""
        return self.root / "results" / "reference" / chosen() if chosen() else None

    @property
    def executed(self) -> Path:
        """Executed notebooks."""
        return self.root / "results" / "notebooks"

    @property
    def state(self) -> Path:
        """What each target was last made from."""
        return self.root / "results" / "state"

    @property
    def claims(self) -> Path:
        """The computed verdicts."""
        return self.root / "results" / "claims.json"

    @property
    def paper(self) -> Path:
        """The report's sources."""
        return self.root / "paper"

    @property
    def generated(self) -> Path:
        """What the notebooks contribute to the report."""
        return self.paper / "generated"

    @property
    def exports(self) -> Path | None:
        """Where a notebook writes: into the report if the pipeline runs it, nowhere if somebody looks at it."""
        return self.generated if PIPELINE in os.environ else None

    @property
    def benchmarks(self) -> Path:
        """Committed records of the benchmarks, which some notebooks show."""
        return self.root / "results" / "reference" / "benchmarks"

    @property
    def site(self) -> Path:
        """The HTML pages."""
        return self.root / "site"


def cache_folder() -> Path:
    """Return the download folder: ``$REGRAD_CACHE``, ``$XDG_CACHE_HOME/regrad`` or ``~/.cache/regrad``."""
    if chosen := os.environ.get("REGRAD_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "regrad"


def checkout(start: Path) -> Folders:
    """Return the folders of the checkout that ``start`` lies in.

    Raises:
        FileNotFoundError: If no folder above ``start`` has ``notebooks/`` and ``paper/``.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "notebooks").is_dir() and (folder / "paper").is_dir():
            return Folders(folder, cache_folder())
    raise FileNotFoundError(f"{start}: not inside a regrad checkout (no notebooks/ and paper/ above it)")
