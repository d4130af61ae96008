"""Blessings: which published runs today's code would still make, by a sample of them repeated bit for bit.

A record's fingerprint names the code that made it. Where code was edited without a change of any number, part
of the published runs is repeated under the new code; if every repeated number is the recorded one to the bit, a
link says that the old code's runs count as the new code's. It is an honest sample, never a re-run: every
link says which runs were repeated, whole or up to their second evaluation.

The links of a set are one chain in ``blessings.json`` beside its records. A link holds the hash of the one before
it, and the first that of the set itself, so that nothing can be taken out, put in or moved to other records; each
names at least one repeated run for every code that it extends. A file that breaks one of these rules is refused whole.
"""

import functools
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from regrad.archive import Archive, opened
from regrad.atomic import write_atomically
from regrad.results import Frozen, Record, canonical, run_set, sha256
from regrad.store import Store, seal, unseal

FILE = "blessings.json"


class BlessingError(ValueError):
    """A chain of blessings is damaged, or does not belong to the records beside it; the message is one line."""


class Extension(Frozen):
    """One code's runs, and the code that would still make them."""

    old: str  # code part of the fingerprint of records, or the ``new`` of an earlier link
    new: str  # code part of today's fingerprint of the same specs
    runs: int
    begun: tuple[str, ...] = ()  # names of runs that were repeated up to their second evaluation
    whole: tuple[str, ...] = ()  # names of runs that were repeated whole


class Link(Frozen):
    """One blessing."""

    previous: str  # hash of the link before, or of the set of runs for the first
    date: str  # day, year-month-day
    commit: str
    torch: str
    machine: str  # processor, in words
    extensions: tuple[Extension, ...]  # what was extended; every one has a repeated run

    def digest(self) -> str:
        return sha256(canonical(self.model_dump(mode="json")))


class Chain:
    """The blessings of one published set."""

    def __init__(self, links: Iterable[Link] = ()) -> None:
        self.links = tuple(links)
        self.newer: dict[str, set[str]] = {}
        for link in self.links:
            for extension in link.extensions:
                self.newer.setdefault(extension.old, set()).add(extension.new)

    def reaches(self, old: str, new: str) -> bool:
        """Return whether the runs of code ``old`` count as those of code ``new``."""
        return new in self.successors(old)

    def successors(self, old: str) -> set[str]:
        """Return every code whose runs those of ``old`` count as, itself included."""
        reached, pending = {old}, [old]
        while pending:
            for newer in self.newer.get(pending.pop(), set()) - reached:
                reached.add(newer)
                pending.append(newer)
        return reached

    def predecessors(self, new: str) -> list[str]:
        olds = {extension.old for link in self.links for extension in link.extensions}
        return sorted(old for old in olds - {new} if self.reaches(old, new))

    def repeated(self) -> dict[str, str]:
        """Return the name of each repeated run to ``"whole"`` or ``"begun"`` (whole if both), and the last day."""
        days = [(link.date, extension) for link in self.links for extension in link.extensions]
        begun = {name: f"begun {day}" for day, extension in days for name in extension.begun}
        return begun | {name: f"whole {day}" for day, extension in days for name in extension.whole}


def anchor(run_ids: Iterable[str]) -> str:
    """Return the hash that the first link of a set's chain holds."""
    return sha256("regrad published set " + canonical(sorted(set(run_ids))))


def check(chain: Chain, runs: Store | Archive) -> None:
    """Hold a chain against the records of its set.

    Raises:
        BlessingError: A link does not follow from the one before it, or extends a code of which it repeated no run.
    """
    names = runs.names()
    previous = anchor(names)
    known = Chain()
    for number, link in enumerate(chain.links, 1):
        where = f"{FILE}: link {number}"
        if link.previous != previous:
            what = "the one before it" if number > 1 else f"set {run_set(names)} of the records beside it"
            raise BlessingError(f"{where} does not follow from {what}")
        for extension in link.extensions:
            if not extension.begun + extension.whole:
                raise BlessingError(f"{where} extends code {extension.old} and repeated none of its runs")
            for name in extension.begun + extension.whole:
                record = runs.get(name)
                if record is None or not known.reaches(record.fingerprint.code, extension.old):
                    raise BlessingError(f"{where}: run {name[:12]} is no run of code {extension.old} in this set")
        previous = link.digest()
        known = Chain(chain.links[:number])


def read(folder: Path) -> Chain:
    """Return the chain of a published set, empty where none was made; its file may have changed since the last call.

    Raises:
        BlessingError: It is damaged, or belongs to other records.
    """
    path = folder / FILE
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else Chain()


@functools.cache
def _read(path: Path, modified_ns: int) -> Chain:
    try:
        chain = Chain(Link.model_validate(link) for link in unseal(path.read_bytes()))
    except (ValidationError, TypeError) as error:
        raise BlessingError(f"{path}: holds no links: {str(error).splitlines()[0]}") from None
    except ValueError as error:
        raise BlessingError(f"{path}: {error}; restore it from git, or delete it and bless the set anew") from None
    check(chain, opened(path.parent / "runs"))
    return chain


def append(folder: Path, link: Link) -> None:
    """Write a chain with one more link (BlessingError: the link does not fit)."""
    chain = Chain((*read(folder).links, link))
    check(chain, opened(folder / "runs"))
    write(folder, chain)


def anchored(chain: Chain, run_ids: Iterable[str]) -> Chain:
    """Return the chain of a set that has become these runs: the same links, each following from the one before."""
    links: list[Link] = []
    for link in chain.links:
        previous = links[-1].digest() if links else anchor(run_ids)
        links.append(link.model_copy(update={"previous": previous}))
    return Chain(links)


def write(folder: Path, chain: Chain) -> None:
    """Write a chain beside its records."""
    write_atomically(folder / FILE, seal([each.model_dump(mode="json") for each in chain.links]))


def chains(store: Path) -> list[Chain]:
    """Return the chains that a run store's records may be found by: its own set's, or all published ones beside it.

    Args:
        store: ``results/runs``, or the ``runs`` of a published set.

    Raises:
        BlessingError: One is damaged.
    """
    folders = [store.parent, *sorted(store.parent.glob("reference/*"))]
    return [read(folder) for folder in folders if (folder / FILE).is_file()]


def older_codes(store: Path, code: str) -> list[str]:
    return sorted({old for chain in chains(store) for old in chain.predecessors(code)})


def with_checks(records: Iterable[Record], chain: Chain) -> list[Record]:
    repeated = chain.repeated()
    return [r.model_copy(update={"repeated": repeated[r.run_id]}) if r.run_id in repeated else r for r in records]
