"""A published set: compact, whole or refused; it need not be complete, grows by stretches, and keeps its blessings."""

import json
import lzma
import random

import pytest

from regrad import blessing, cli
from regrad.archive import Archive, ArchiveError, opened, pack, unpack, write
from regrad.blessing import Extension, Link
from regrad.exits import ENVIRONMENT
from regrad.pipeline import bless, partial, reference, verdicts
from regrad.pipeline.folders import Folders
from regrad.pipeline.reference import publish
from regrad.published import standing_in
from regrad.results import Circumstances, run_id
from regrad.runner.dependencies import fingerprint
from regrad.runner.ensure import Bench, complete
from regrad.store import Store
from regrad.studies.study import Study
from tiny_runs import record, spec

HOW = Circumstances(seconds=60.0, peak_bytes=1, threads=1, commit="c", machine="m")
A, B = (Study(name=name, title=name, notebook=f"0_{name}") for name in "ab")
SPECS = {"a": [spec(seed=s) for s in range(3)], "b": [spec(seed=s) for s in range(2, 6)]}  # they share seed 2


def made(seed, device="cpu"):
    """A record as today's code makes it, without the run."""
    now, of = fingerprint(spec(seed=seed), device), spec(seed=seed)
    return record(of, fingerprint=now, run_id=run_id(of, now))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for module in (reference, partial, bless):
        monkeypatch.setattr(module, "STUDIES", (A, B))
        monkeypatch.setattr(module, "plan_of", lambda study: lambda preset, records: SPECS[study.name])
    return Folders(tmp_path, tmp_path / "cache")


def runs(folders, *seeds, device="cpu"):
    for seed in seeds:
        Store(folders.runs).put(made(seed, device), HOW)


def set_of(folders):
    return folders.root / "results" / "reference" / "smoke-cpu"


def bytes_of(folders):
    return {path.name: path.read_bytes() for path in (set_of(folders) / "runs").iterdir()}


def test_a_set_grows_by_stretches_and_only_files_with_new_runs_change(folders):
    assert publish(folders, "smoke-cpu") == ""
    runs(folders, 0, 1, 3)
    said = publish(folders, "smoke-cpu")
    assert "3 runs" in said
    assert "2 files changed; 3 named so far are open" in said
    first = bytes_of(folders)
    assert "0 files changed" in publish(folders, "smoke-cpu")
    assert bytes_of(folders) == first
    runs(folders, 4)
    assert "1 files changed" in publish(folders, "smoke-cpu")
    assert bytes_of(folders)["a.jsonl.xz"] == first["a.jsonl.xz"]
    table = json.loads((set_of(folders) / "cost.json").read_text())["table"]
    assert [row["runs"] for row in table] == ["2", "2", "4"]


def test_a_part_of_preset_full_from_a_gpu_is_published_beside_the_processors_and_the_report_says_what_it_took(
    folders, monkeypatch
):
    monkeypatch.setattr(verdicts, "PUBLISHED", "smoke-cpu")
    runs(folders, 0, 1)
    runs(folders, 1, 4, device="cuda")
    publish(folders, "smoke-cpu")
    alone, before = verdicts.published_cost(folders), bytes_of(folders)
    said = publish(folders, "full-cuda")
    assert "full-cuda: 2 runs" in said
    assert said.endswith("; 4 named so far are open")
    assert bytes_of(folders) == before
    with standing_in("full-cuda"):
        missing = {"a": "2 of 3 runs are missing", "b": "3 of 4 runs are missing"}
        assert partial.unpublished(folders, "full", "cuda") == missing
    beside = verdicts.published_cost(folders)
    assert beside["table"][: len(alone["table"])] == alone["table"]
    assert beside["numbers"] == alone["numbers"]
    added = [(line["study"], line["runs"]) for line in beside["table"][len(alone["table"]) :]]
    assert added == [("full-cuda: a", "1"), ("full-cuda: b", "1"), ("full-cuda: All, each run once", "2")]


def test_a_run_that_two_studies_share_lies_in_one_file_and_a_clone_publishes_what_it_did_not_run(folders):
    runs(folders, 0, 1, 2, 3)
    publish(folders, "smoke-cpu")
    before = bytes_of(folders)
    assert [len(unpack(data)) for _, data in sorted(before.items())] == [3, 1]
    for path in folders.runs.rglob("*.json"):
        path.unlink()
    runs(folders, 4)
    publish(folders, "smoke-cpu")
    assert len(list(Archive(set_of(folders) / "runs"))) == 5
    assert bytes_of(folders)["a.jsonl.xz"] == before["a.jsonl.xz"]


def test_a_set_reads_as_the_store_that_it_was_made_from(tmp_path):
    store = Store(tmp_path / "store")
    for seed in range(4):
        store.put(record(spec(seed=seed)), HOW if seed else None)
    write(tmp_path / "set", {"a": [(r, store.circumstances(r.run_id)) for r in store]})
    archive = opened(tmp_path / "set")
    assert isinstance(archive, Archive)
    assert archive.names() == store.names()
    assert list(archive) == list(store)
    for name in store.names():
        assert archive.circumstances(name) == store.circumstances(name)
        assert archive.holds(name)
        assert archive.state(name) == "there"
    assert archive.get("0" * 64) is None
    assert archive.circumstances("0" * 64) is None
    assert archive.state("0" * 64) == "missing"


def test_the_bytes_do_not_depend_on_the_order_of_runs():
    made = [(record(spec(seed=seed)), HOW) for seed in range(5)]
    assert pack(made) == pack(reversed(made))


def test_no_damage_is_silent():
    whole = pack([(record(spec(seed=seed)), HOW) for seed in range(3)])
    draw = random.Random(0)
    damaged = [whole[:length] for length in draw.sample(range(len(whole)), 60)]
    damaged += [whole + b"x", whole + whole, b""]
    for place in draw.sample(range(8 * len(whole)), 400):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        damaged.append(bytes(flipped))
    for data in damaged:
        with pytest.raises(ValueError, match=r"xz file|checksum"):
            unpack(data)


def repacked(data, change):
    return lzma.compress(change(lzma.decompress(data)))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b'"seconds":60.0', b'"seconds":61.0', 1),
        lambda text: text.split(b"\n", 1)[1],
        lambda text: text.split(b"\n", 1)[0] + b"\n" + text,
        lambda text: text.rstrip(b"\n"),
        lambda text: b"",
    ],
    ids=["a digit", "a run less", "a run twice", "the last byte", "everything"],
)
def test_a_file_that_was_opened_changed_and_closed_again_is_refused(change):
    with pytest.raises(ValueError, match="checksum"):
        unpack(repacked(pack([(record(spec(seed=seed)), HOW) for seed in range(3)]), change))


def test_a_damaged_set_is_one_line(tmp_path, monkeypatch, capsys):
    for part in ("notebooks", "paper"):
        (tmp_path / part).mkdir()
    folder = tmp_path / "results" / "reference" / "smoke-cpu" / "runs"
    (path,) = write(folder, {"a": [(record(), HOW)]})
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.chdir(tmp_path)
    assert cli.main(["runs", "--preset", "smoke", "--offline", "--device", "cpu"]) == ENVIRONMENT
    said = capsys.readouterr().err
    assert said == f"regrad: {path}: not a whole xz file; restore it from git, or publish the set anew\n"


def test_a_record_under_another_s_name_is_refused(tmp_path):
    write(tmp_path, {"a": [(record(run_id="0" * 64), HOW)]})
    with pytest.raises(ArchiveError, match="belongs to another run"):
        Archive(tmp_path).get("0" * 64)


def blessed(folders):
    name = made(0).run_id
    extension = Extension(old=made(0).fingerprint.code, new="n" * 16, runs=2, begun=(name,))
    about = {"date": "2026-11-28", "commit": "c", "torch": "t", "machine": "m"}
    names = opened(set_of(folders) / "runs").names()
    blessing.append(set_of(folders), Link(previous=blessing.anchor(names), extensions=(extension,), **about))


def test_blessings_go_with_a_set_that_grows_and_are_dropped_with_the_runs_that_they_name(folders, monkeypatch):
    runs(folders, 0, 1)
    publish(folders, "smoke-cpu")
    blessed(folders)
    runs(folders, 3)
    assert "bless" not in publish(folders, "smoke-cpu")
    (link,) = blessing.read(set_of(folders)).links
    assert link.extensions[0].begun == (made(0).run_id,)
    monkeypatch.setattr(reference, "plan_of", lambda study: lambda preset, records: SPECS["b"])
    assert publish(folders, "smoke-cpu").endswith("bless it anew")
    assert blessing.read(set_of(folders)).links == ()


def test_a_run_that_was_made_again_with_the_same_numbers_keeps_the_record_that_blessings_may_name():
    old = record(spec(seed=0), run_id="a" * 64)
    new = old.model_copy(update={"run_id": "b" * 64, "fingerprint": old.fingerprint.model_copy(update={"code": "c"})})
    assert reference.kept(new, old) is old
    assert reference.kept(None, old) is old
    assert reference.kept(new, None) is new
    other = new.model_copy(update={"metrics": {name: value + 1e-12 for name, value in old.metrics.items()}})
    assert reference.kept(other, old) is other


def test_what_a_set_lacks_is_counted_and_waited_for_by_the_claims_that_read_it(folders, monkeypatch):
    runs(folders, 0, 1, 2)
    publish(folders, "smoke-cpu")
    with standing_in("smoke-cpu"):
        assert partial.unpublished(folders, "smoke", "cpu") == {"b": "3 of 4 runs are missing"}
        names = ["whole", "decided", "gate", "absent", "ladder"]
        claims = [type("Claim", (), {"id": name}) for name in names]
        plain = {"preset": "smoke", "study": "b", "why": "decided", "test": {}, "arms": [], "absent": False}
        rows = {name: {"id": name} | plain for name in names}
        rows["whole"]["study"] = "a"
        rows["absent"]["absent"] = True
        rows["ladder"] |= {"test": {"ladder": ["x", "y", "z"]}, "arms": ["x", "z"]}
        monkeypatch.setattr(verdicts, "load", lambda path: claims)
        monkeypatch.setattr(verdicts, "exported", lambda folder: rows)
        untested = [row | {"why": "no rows", "absent": True} for row in rows.values()]
        monkeypatch.setattr(verdicts, "as_rows", lambda found: untested)
        monkeypatch.setattr(verdicts, "evaluate_all", lambda *_, **__: [])
        found = verdicts.gather(folders, preset="smoke", device="cpu")
        late = "3 of 4 runs are missing"
        assert [row["why"] for row in found] == ["decided", "decided", "decided", late, late]
        assert [row.get("waits", "") for row in found] == ["", "", "", late, late]
    assert partial.unpublished(folders, "smoke", "cpu") == {}, "one's own runs are simply made"


def test_of_a_published_set_whole_parts_are_returned_and_nothing_runs(folders):
    runs(folders, 0, 1, 2)
    publish(folders, "smoke-cpu")
    named = (("x", 0), ("x", 1), ("y", 2), ("y", 9))
    specs = [record(spec(seed=seed, tags={"part": part})).spec for part, seed in named]
    with standing_in("smoke-cpu"):
        bench = Bench(set_of(folders) / "runs", folders.cache, "cpu")
        found = complete(lambda preset, records: specs, "smoke", bench)
    assert [(r.spec.tags["part"], r.spec.seed) for r in found] == [("x", 0), ("x", 1)]
