"""What a Slurm job of ours asks for, from environment variables; a wrong value is one line."""

import os
import re
from typing import NamedTuple

CLUSTERS = ("slurm", "local", "debug")
WORD = re.compile(r"[A-Za-z0-9_.,:@-]+")


class Settings(NamedTuple):
    """The values of the variables ``REGRAD_SLURM_<NAME>``."""

    cluster: str  # CLUSTER: ``slurm``; or, for tests, ``local`` (processes here) or ``debug`` (this process)
    partition: str | None  # PARTITION: of the cluster; None is its default
    account: str | None  # ACCOUNT: who pays; None is the cluster's default
    minutes: int  # TIME: limit of one job, at least 1. A job at its limit is requeued with what it has left.
    cpus: int  # CPUS: cores a job, at least 1
    gpus: int  # GPUS: GPUs a job, at least 0
    gigabytes: int | None  # MEMORY: a job's, at least 1; None is the cluster's default
    chunk: int  # CHUNK: runs that one job does one after another, at most, at least 1
    requeues: int  # REQUEUES: how often a job at its time limit is submitted again, at least 0


def settings() -> Settings:
    """Return the settings in force (ValueError: a variable has a value that is not allowed)."""
    return Settings(
        cluster=cluster(),
        partition=word("PARTITION"),
        account=word("ACCOUNT"),
        minutes=integer("TIME", 1, 60),
        cpus=integer("CPUS", 1, 1),
        gpus=integer("GPUS", 0, 0),
        gigabytes=integer("MEMORY", 1, 0) or None,
        chunk=integer("CHUNK", 1, 16),
        requeues=integer("REQUEUES", 0, 10),
    )


def cluster() -> str:
    found = os.environ.get("REGRAD_SLURM_CLUSTER", "slurm")
    if found not in CLUSTERS:
        raise ValueError(f"REGRAD_SLURM_CLUSTER is {found!r}; allowed: {', '.join(CLUSTERS)}")
    return found


def word(name: str) -> str | None:
    """Return a variable that goes into the job's script as one word, None where it is not set."""
    found = os.environ.get(f"REGRAD_SLURM_{name}")
    if found is not None and not WORD.fullmatch(found):
        raise ValueError(f"REGRAD_SLURM_{name} is {found!r}; allowed: letters, digits and _ . , : @ -")
    return found


def integer(name: str, least: int, default: int) -> int:
    found = os.environ.get(f"REGRAD_SLURM_{name}")
    if found is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", found) or int(found) < least:
        raise ValueError(f"REGRAD_SLURM_{name} is {found!r}; allowed: an integer of at least {least}")
    return int(found)
