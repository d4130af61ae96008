"""A published set outlives an edit of the code exactly if its runs, repeated, are the same to the bit."""

import json
import re
from importlib import import_module

import pytest

from regrad import blessing
from regrad.blessing import BlessingError, Chain, Extension, Link
from regrad.pipeline import bless as command
from regrad.pipeline.bless import Blessing, published_runs, sample, sentence, standing_of
from regrad.pipeline.folders import Folders
from regrad.report.stamps import stamp_text
from regrad.results import Circumstances, Curve, Part
from regrad.runner.ensure import Bench, missing, published
from regrad.runner.repeat import Repeat, first_difference, repeat
from regrad.store import Store
from regrad.studies.study import Study
from tiny_runs import record, spec

TINY = Study(name="tiny", title="Tiny", notebook="01_tiny")
ENSURE = import_module("regrad.runner.ensure")
HOW = Circumstances(seconds=60.0, peak_bytes=1, threads=1, commit="c", machine="m")


def specs():
    """Two arms of SGD and one of Adam, two seeds each: two codes, three places."""
    arms = {"slow": Part(name="sgd", options={"lr": 0.1}), "fast": Part(name="sgd", options={"lr": 0.2})}
    arms["adam"] = Part(name="adam", options={"lr": 0.01})
    return [
        spec(optimizer=part, seed=seed, steps=4, evaluations=2, tags={"study": "tiny", "arm": arm, "phase": "fresh"})
        for arm, part in arms.items()
        for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Records of the six runs, made by the code as it is."""
    folder = tmp_path_factory.mktemp("trained")
    ENSURE.ensure(specs(), Bench(folder / "runs", folder / "cache", "cpu", 1))
    return folder


@pytest.fixture
def published_set(trained, tmp_path, monkeypatch):
    """A checkout with a published set of these runs, whose code is said to be another one of today's."""
    monkeypatch.setattr(TINY.__class__, "plan", property(lambda study: lambda preset, records: specs()))
    monkeypatch.setattr(command, "STUDIES", (TINY,))
    monkeypatch.setattr(published_runs, "__defaults__", ((TINY,),))
    published.cache_clear()
    folders = Folders(tmp_path, trained / "cache")
    target = Store(folders.root / "results" / "reference" / "smoke-cpu" / "runs")
    for each in Store(trained / "runs"):
        target.put(aged(each), HOW)
    return folders


def aged(each, **changes):
    """A record as earlier code would have made it."""
    old = each.fingerprint.model_copy(update={"code": f"old-{each.spec.optimizer.name}"})
    return each.model_copy(update={"fingerprint": old, "run_id": ENSURE.run_id(each.spec, old)} | changes)


def folder_of(folders):
    return folders.root / "results" / "reference" / "smoke-cpu"


def state_of(folders):
    published.cache_clear()
    return sentence(published_runs(folders, "smoke-cpu"), blessing.read(folder_of(folders)))


def bless(folders, minutes=0.0):
    published.cache_clear()
    return Blessing(folders, "smoke-cpu", jobs=1, minutes=minutes).run()


def test_equal_bits_extend_the_set_and_everything_says_so(published_set):
    assert state_of(published_set) == "6 runs: 6 made by other code and not repeated under today's"
    assert bless(published_set) == command.DONE
    assert re.fullmatch(
        r"6 runs: 6 made by earlier code, of which under today's 1 were repeated whole and [23] for some steps, "
        r"equal to the bit \(\d{4}-\d\d-\d\d\)",
        state_of(published_set),
    )
    (link,) = blessing.read(folder_of(published_set)).links
    assert {(e.old, e.runs) for e in link.extensions} == {("old-sgd", 4), ("old-adam", 2)}
    assert bless(published_set) == command.DONE, "nothing is left to bless"
    assert len(blessing.read(folder_of(published_set)).links) == 1


def test_a_blessed_record_is_found_by_todays_fingerprint_also_in_ones_own_store(published_set):
    own = Bench(published_set.root / "results" / "runs", published_set.cache, "cpu", 1)
    store = Store(own.store)
    for each in Store(folder_of(published_set) / "runs"):
        store.put(each)
    assert len(missing(specs(), own)) == 6
    bless(published_set)
    assert missing(specs(), own) == []
    assert len(ENSURE.collect(specs(), own)) == 6


def test_one_differing_bit_refuses_its_code_and_no_other_and_names_the_curve_and_step(published_set, capsys):
    store = Store(folder_of(published_set) / "runs")
    for each in list(store):
        if each.spec.optimizer.name == "adam":
            curve = each.curves["validation_loss"]
            y = [curve.y[0], curve.y[1] * (1 + 2**-52), *curve.y[2:]]
            store.put(each.model_copy(update={"curves": each.curves | {"validation_loss": Curve(x=curve.x, y=y)}}))
    assert bless(published_set, minutes=1.0) == command.FAILED
    said = capsys.readouterr().err
    where = r"refused: code old-adam: tiny adam seed \d: validation_loss at step 2 is \d\.\d+, published \d\.\d+"
    assert re.search(where, said)
    assert "old-sgd" not in said
    assert state_of(published_set).startswith("6 runs: 4 made by earlier code")
    assert "2 made by other code and not repeated under today's" in state_of(published_set)


def test_a_run_that_fails_today_is_refused_in_one_line(published_set, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such kernel\nand more")

    monkeypatch.setattr("regrad.runner.build.build_problem", fail)
    each = next(iter(Store(folder_of(published_set) / "runs")))
    outcome = repeat(Repeat(each, published_set.cache, whole=False))
    assert outcome.difference == "it fails: RuntimeError: no such kernel"


@pytest.mark.parametrize("whole", [False, True], ids=["begun", "whole"])
def test_a_repeated_run_agrees_with_its_record(published_set, whole):
    for each in Store(folder_of(published_set) / "runs"):
        assert repeat(Repeat(each, published_set.cache, whole)).difference == ""


def test_a_beginning_ends_at_the_second_evaluation_and_sees_nothing_beyond(published_set):
    each = next(iter(Store(folder_of(published_set) / "runs")))
    curve = each.curves["validation_loss"]
    other_end = Curve(x=curve.x, y=[*curve.y[:-1], 0.0])
    late = each.model_copy(update={"curves": each.curves | {"validation_loss": other_end}})
    assert repeat(Repeat(late, published_set.cache, whole=False)).difference == ""
    assert repeat(Repeat(late, published_set.cache, whole=True)).difference.startswith("validation_loss at step 4 is ")


def test_the_first_difference_is_the_earliest_of_all_curves():
    curves = {"a": Curve(x=[0, 4], y=[1, 2]), "b": Curve(x=[0, 2], y=[3, 4])}
    made = record(curves=curves)
    assert first_difference(made, {"a": {0: 1, 4: 2}, "b": {0: 3, 2: 4}}, 4) == ""
    assert first_difference(made, {"a": {0: 1, 4: 9}, "b": {0: 3, 2: 9}}, 4) == "b at step 2 is 9, published 4.0"
    assert first_difference(made, {"a": {0: 1, 4: 2}, "b": {0: 3}}, 4) == "b at step 2 is not there, published 4.0"
    assert first_difference(made, {"a": {0: 1}, "b": {0: 3, 2: 4}}, 2) == ""


def test_the_sample_has_the_cheapest_run_of_every_place_and_code(published_set):
    runs = published_runs(published_set, "smoke-cpu")
    seconds = {run.record.run_id: 1.0 + run.record.spec.seed for run in runs}
    assert {(run.place, run.record.spec.seed) for run in sample(runs, seconds)} == {
        (("tiny", "", arm), 0) for arm in ("slow", "fast", "adam")
    }


def test_other_data_or_torch_is_not_for_blessing(published_set):
    run = published_runs(published_set, "smoke-cpu")[0]
    elsewhere = run._replace(now=run.now.model_copy(update={"torch": "9.9"}))
    assert standing_of(elsewhere, Chain()) == "other surroundings"


def damaged(path):
    path.write_bytes(path.read_bytes().replace(b"old-sgd", b"old-sgx", 1))


def rewritten(path, change):
    """The chain with another content and a right checksum: a forger has the program too."""
    links = blessing.unseal(path.read_bytes())
    change(links)
    path.write_bytes(blessing.seal(links))


def name_a_run_of_other_code(links):
    adam, sgd = links[0]["extensions"]
    sgd["whole"], adam["whole"] = [], []
    sgd["begun"], adam["begun"] = adam["begun"], sgd["begun"]


FORGERIES = {
    "a changed byte": (damaged, "checksum mismatch"),
    "no run repeated": (
        lambda path: rewritten(path, lambda links: links[0]["extensions"][0].update(begun=[], whole=[])),
        "repeated none of its runs",
    ),
    "runs of other code": (lambda path: rewritten(path, name_a_run_of_other_code), "is no run of code"),
    "an unknown run": (
        lambda path: rewritten(path, lambda links: links[0]["extensions"][0].update(whole=["f" * 64])),
        "run ffffffffffff is no run of code",
    ),
    "another set's chain": (
        lambda path: rewritten(path, lambda links: links[0].update(previous="0" * 64)),
        "link 1 does not follow from set",
    ),
    "a link taken out": (lambda path: rewritten(path, lambda links: links.pop(0)), "link 1 does not follow from set"),
    "no list of links": (lambda path: path.write_bytes(blessing.seal({"links": 1})), "holds no links"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_or_damaged_chain_is_refused_in_one_line(published_set, forgery):
    forge, message = FORGERIES[forgery]
    bless(published_set)
    path = folder_of(published_set) / blessing.FILE
    second = Link(
        previous=blessing.read(path.parent).links[-1].digest(),
        date="2026-01-01",
        commit="c",
        torch="t",
        machine="m",
        extensions=(Extension(old="old-sgd", new="newer", runs=4, begun=names_of(published_set, "sgd")),),
    )
    blessing.append(path.parent, second)
    forge(path)
    blessing._read.cache_clear()
    with pytest.raises(BlessingError, match=message) as caught:
        blessing.read(path.parent)
    assert "\n" not in str(caught.value)


def names_of(folders, optimizer):
    return tuple(r.run_id for r in Store(folder_of(folders) / "runs") if r.spec.optimizer.name == optimizer)


def test_a_link_that_does_not_fit_is_not_written(published_set):
    folder = folder_of(published_set)
    stray = Extension(old="old-sgd", new="newer", runs=4, begun=names_of(published_set, "adam"))
    link = Link(
        previous=blessing.anchor(Store(folder / "runs").names()),
        date="2026-01-01",
        commit="c",
        torch="t",
        machine="m",
        extensions=(stray,),
    )
    with pytest.raises(BlessingError, match="is no run of code old-sgd"):
        blessing.append(folder, link)
    assert not (folder / blessing.FILE).exists()


def test_codes_follow_each_other_along_the_chain():
    def link(old, new):
        extension = Extension(old=old, new=new, runs=1, whole=("r",))
        return Link(previous="", date="2026-01-02", commit="", torch="", machine="", extensions=(extension,))

    chain = Chain([link("a", "b"), link("b", "c"), link("x", "c")])
    assert chain.reaches("a", "c")
    assert chain.reaches("c", "c")
    assert not chain.reaches("c", "a")
    assert chain.predecessors("c") == ["a", "b", "x"]
    assert chain.repeated() == {"r": "whole 2026-01-02"}


def test_how_a_run_was_repeated_is_said_and_not_stored(published_set):
    bless(published_set)
    published.cache_clear()
    records = published(folder_of(published_set) / "runs").values()
    assert {r.repeated.split(" ")[0] for r in records} == {"", "whole", "begun"}
    stamp = stamp_text("smoke", list(records))
    assert re.search(r" · 1 repeated, [23] begun \d{4}-\d\d-\d\d · commit ", stamp)
    assert "repeated" not in stamp_text("smoke", [r for r in records if not r.repeated])
    assert all("repeated" not in json.loads(r.model_dump_json()) for r in records)
