"""A published set that is not complete: which studies wait for runs. What whole groups decide stands; others wait."""

from functools import cache
from pathlib import Path

from regrad.pipeline.folders import Folders
from regrad.pipeline.targets import plan_of
from regrad.runner.ensure import Bench, known
from regrad.studies.catalogue import STUDIES
from regrad.studies.study import Study


def lacking(folders: Folders, study: Study, preset: str, device: str) -> str:
    """Return in words what the set that stands in for the run store lacks of a study; nothing if it has all."""
    return missing_of(folders.runs, folders.cache, study, preset, device) if folders.published else ""


@cache  # as the set itself is: it does not change while a command reads it
def missing_of(runs: Path, data: Path, study: Study, preset: str, device: str) -> str:
    """Return in words what a store lacks of a study's runs."""
    plan = plan_of(study)
    if plan is None:
        return ""
    here, missing = known(plan, preset, Bench(runs, data, device))
    return f"{len(missing)} of {len(here) + len(missing)} runs are missing" if missing else ""


def unpublished(folders: Folders, preset: str, device: str) -> dict[str, str]:
    """Return what is lacking of each study that is not complete, under every name that the ledger has for it."""
    found = {study: lacking(folders, study, preset, device) for study in STUDIES}
    return {name: words for study, words in found.items() if words for name in (study.name, *study.families)}
