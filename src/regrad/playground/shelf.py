"""The published records of one study at a time, read when they are asked for and held small.

A record of many curves is mostly floats: here a curve is two arrays of doubles, a third of what lists take. The file's
checksum stands for its content, and each run's name is checked against its spec; the rest is not validated again.
"""

import hashlib
import json
import lzma
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from regrad.archive import SUFFIX, ArchiveError
from regrad.groups import whole
from regrad.results import Circumstances, Curve, Fingerprint, Record, Spec, canonical, run_id
from regrad.runner.ensure import reached
from regrad.store import migrated
from regrad.studies.catalogue import STUDIES
from regrad.studies.study import Study


class Run(NamedTuple):
    """A published run."""

    record: Record  # with the tags of its study's plan
    went: Circumstances | None  # how it went
    size: int  # bytes of its line in the file


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a published file, one at a time in memory.

    Raises:
        ArchiveError: A byte was changed, added or lost; known at the end.
    """
    digest, count, last = hashlib.sha256(), 0, b""
    try:
        with lzma.open(path) as file:
            for line in file:
                if last:
                    digest.update(last)
                    count += 1
                    yield last
                last = line
    except (lzma.LZMAError, EOFError):
        last = b""
    if last != (canonical({"runs": count, "sha256": digest.hexdigest()}) + "\n").encode():
        raise ArchiveError(f"{path}: damaged; restore it from git, or publish the set anew")


def light(line: bytes) -> Run:
    """Return the run of a line."""
    parsed = json.loads(line)
    payload: dict[str, Any] = migrated(parsed["record"])
    spec, fingerprint = Spec(**payload["spec"]), Fingerprint(**payload["fingerprint"])
    if run_id(spec, fingerprint) != payload["run_id"]:
        raise ArchiveError(f"run {payload['run_id'][:12]}: the record belongs to another run")
    curves = {name: compact(curve) for name, curve in payload["curves"].items()}
    record = Record.model_construct(**payload | {"spec": spec, "fingerprint": fingerprint, "curves": curves})
    went = parsed["circumstances"]
    return Run(record, None if went is None else Circumstances(**went), len(line))


def compact(curve: dict[str, list[float]]) -> Curve:
    return Curve.model_construct(x=steps(tuple(curve["x"])), y=array("d", curve["y"]))


@lru_cache(maxsize=256)
def steps(x: tuple[float, ...]) -> array:
    """Return the steps of a curve, which all runs of a part share."""
    return array("d", x)


class Shelf:
    """A published set; it holds the records of the study that was asked for last.

    Args:
        folder: ``results/reference/<preset>-<device>``.

    Raises:
        ValueError: There is no such set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.preset = Path(folder), folder.name.partition("-")[0]
        self.studies = {s.name: s for s in STUDIES if s.trains and self.file(s).is_file()}
        if not self.studies:
            raise ValueError(f"{folder}: no published records; take a set from the repository")
        self.of = lru_cache(maxsize=1)(self.read)

    def file(self, study: Study) -> Path:
        return self.folder / "runs" / f"{study.name}{SUFFIX}"

    def read(self, name: str) -> list[Run]:
        """Return a study's runs in the order of its plan, with its plan's tags; of groups published whole."""
        study = self.studies[name]
        plan = study.plan
        assert plan is not None
        asked: list[Spec] = []  # when last: planning takes longer than reading

        def ask(preset: str, records: list[Record]) -> list[Spec]:
            asked[:] = plan(preset, records)
            return asked

        found = {run.record.spec.key(): run for run in map(light, lines(self.file(study)))}
        here, missing = reached(ask, self.preset, finder(found))
        for other in self.sharing(study) if missing else ():
            wanted = {spec.key() for spec in missing}
            if more := {key: run for run in map(light, lines(other)) if (key := run.record.spec.key()) in wanted}:
                found |= more
                here, missing = reached(ask, self.preset, finder(found))
        lacking = (spec for spec in asked if spec.key() not in found)
        return [found[record.spec.key()]._replace(record=record) for record in whole(here, lacking)]

    def sharing(self, study: Study) -> Iterator[Path]:
        """Yield the files that may hold runs of a study: a run that several name is in the first one's."""
        for other in self.studies.values():
            if other is study:
                return
            yield self.file(other)

    def records(self, name: str) -> list[Record]:
        """Return a study's records."""
        return [run.record for run in self.of(name)]


def finder(found: dict[str, Run]) -> Callable[[Spec], Record | None]:
    return lambda spec: run.record if (run := found.get(spec.key())) else None


@lru_cache(maxsize=4)
def shelf(folder: Path) -> Shelf:
    """Return a published set; the same one for all playgrounds of a notebook."""
    return Shelf(folder)
