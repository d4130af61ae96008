"""One bit flipped, or the end cut off, in every kind of file that is kept: never read silently.

A damaged record or note counts as missing, and its file is put aside. A damaged state file, table, number,
verdict, manifest, executed notebook or report makes its target stale, so that it is made again.
"""

import logging
import random

import numpy as np
import pytest

from regrad.atomic import write_atomically
from regrad.pipeline.freshness import Freshness
from regrad.problems.data.artefacts import derived
from regrad.report.export import Exporter
from regrad.results import Circumstances
from regrad.store import Store
from tiny_runs import record

pytestmark = pytest.mark.reliability
FLIPS, CUTS = 250, 60
HOW = Circumstances(seconds=1.0, peak_bytes=1, threads=1, commit="abc", machine="a machine")


def damages(data, seed=0):
    """``FLIPS`` copies with one bit flipped and ``CUTS`` with the end cut off, all different."""
    draw = random.Random(seed)
    for place in draw.sample(range(8 * len(data)), min(FLIPS, 8 * len(data))):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        yield "flip", bytes(flipped)
    for length in draw.sample(range(len(data)), min(CUTS, len(data))):
        yield "cut", data[:length]


def silent(path, notices):
    """Damage ``path`` in every way; return how many ways there were and how many ``notices()`` missed."""
    whole, counts, missed = path.read_bytes(), {"flip": 0, "cut": 0}, 0
    for kind, damaged in damages(whole):
        path.write_bytes(damaged)
        counts[kind] += 1
        missed += not notices()
        path.write_bytes(whole)
    return counts, missed


def stored(folder):
    store, made = Store(folder), record()
    store.put(made, HOW)
    path = store.path(made.run_id)

    def notices():
        seen = store.get(made.run_id) is None and not path.exists()
        return seen and (folder / "quarantine" / path.name).exists()

    return path, notices


def noted(folder):
    store, made = Store(folder), record()
    store.put(made, HOW)
    path = store.path(made.run_id).with_suffix(".circumstances.json")
    return path, lambda: store.circumstances(made.run_id) is None


def exported(folder):
    """A target's outputs, as the pipeline remembers them."""
    made = Exporter(folder / "generated", notebook="00_tiny", preset="smoke", records=[record()])
    made.table("tab-tiny", "a table")
    made.numbers({"tiny/loss": "2.5"})
    made.claims([{"id": "X1", "verdict": "not tested"}])
    made.finish()
    write_atomically(folder / "notebook.ipynb", b'{"cells": []}' * 20)
    write_atomically(folder / "report.pdf", bytes(range(256)))
    outputs = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    freshness = Freshness(folder / "state", folder)
    freshness.remember("tiny", "inputs", outputs)
    assert freshness.why_stale("tiny", "inputs") is None
    return lambda: freshness.why_stale("tiny", "inputs") is not None


OUTPUTS = {
    "table": "generated/tables/tab-tiny.tex",
    "numbers": "generated/numbers/00_tiny.tex",
    "verdicts of a notebook": "generated/claims/00_tiny.json",
    "manifest": "generated/manifest/00_tiny.json",
    "executed notebook": "notebook.ipynb",
    "report": "report.pdf",
    "state file": "state/tiny.json",
}


def cached(name):
    """A file of the data cache: a damaged one is put aside and built again."""

    def made(folder):
        built = []
        build = lambda: (built.append(1), {"a": np.arange(40.0)})[1]  # noqa: E731
        derived(folder, {"what": "tiny"}, build)
        path = next((folder / "derived").rglob(name))
        whole = path.read_bytes()

        def notices():
            before, harmless = len(built), path.read_bytes() == whole.removesuffix(b"\n")  # the same text
            arrays = derived(folder, {"what": "tiny"}, build)
            return len(built) == before + (not harmless) and bool((arrays["a"] == np.arange(40.0)).all())

        return path, notices

    return made


def output(name):
    return lambda folder: (lambda notices: (folder / OUTPUTS[name], notices))(exported(folder))


KINDS = {
    "record": stored,
    "circumstances": noted,
    **{name: output(name) for name in OUTPUTS},
    "cached array": cached("a.npy"),
    "cache manifest": cached("manifest.json"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_is_silent(tmp_path, kind, figure, caplog):
    caplog.set_level(logging.ERROR, logger="regrad")  # each damage is said once: thousands here
    path, notices = KINDS[kind](tmp_path)
    counts, missed = silent(path, notices)
    assert missed == 0
    small = 8 * path.stat().st_size < 200
    assert small or (counts["flip"] >= 200 and counts["cut"] >= min(50, path.stat().st_size))
    figure(f"damage: {kind}", ">= 200 flips + 50 cuts (or every one there is), 0 silent",
           f"{counts['flip']} flips + {counts['cut']} cuts, 0 silent")  # fmt: skip
