"""Bad configuration: one line that names field, value and range, exit code 2, and nothing is trained."""

import contextlib
import io
import math
import shutil
import string
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance import TABLE
from regrad.cli import main
from regrad.pipeline.folders import Folders
from regrad.pipeline.reproduce import USAGE, Order, reproduce
from regrad.presets import PRESETS
from regrad.results import Spec, parse
from regrad.studies.catalogue import STUDIES
from test_cli import BAD
from tiny_runs import spec

pytestmark = pytest.mark.reliability
ROOT = Path(__file__).parents[2]
GOOD = spec().model_dump(mode="json")
NOT_COUNTS = (0, -1, True, 1.0, 1.5, "1", math.nan, math.inf, -math.inf, "two", "", None, [], {}, 1e300)
SPECS = [
    *((field, value) for field in ("steps", "batch_size", "evaluations") for value in NOT_COUNTS),
    *(("seed", value) for value in (False, *NOT_COUNTS[1:])),
    *(("precision", value) for value in ("fp8", "", None, 32, True, ["fp32"])),
    *(("problem", value) for value in (None, "language", {}, {"nmae": "language"}, {"name": 1})),
    *(("optimizer", value) for value in (None, "sgd", 0.1, {}, {"nmae": "sgd"})),
    *(("schedule", {key: value}) for key in ("warmup", "final") for value in (-0.1, 1.5, math.nan, math.inf, "x")),
    *(("schedule", value) for value in ({"shape": "linear"}, {"wramup": 0.1}, "cosine")),
    *(("measures", value) for value in ("test", None, [{"nmae": "test"}])),
    *((key, 1) for key in ("stpes", "batchsize", "lr", "Seed", "epochs")),
]
LETTERS = string.ascii_letters + string.digits + "_-. "
WORDS = st.text(max_size=12)


def calls(words):
    """Exit code and standard error of the command line, as a process would end."""
    heard = io.StringIO()
    with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code
    return code, heard.getvalue()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout, the current folder, on a machine without a GPU; the orders that reached the work."""
    for name in ("notebooks", "paper"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("generated", "*.pdf"))
    orders = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("regrad.pipeline.devices.gpu_is_there", lambda: False)
    monkeypatch.setattr("regrad.pipeline.reproduce.reproduce", lambda *order, **how: (orders.append(order), 0)[1])
    return orders


def refused(field, value):
    with pytest.raises(ValueError, match=r"^Spec: ") as caught:
        parse(Spec, GOOD | {field: value})
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"Spec: {field}")
    inner = value if not (isinstance(value, dict) and len(value) == 1) else next(iter(value.values()))
    assert repr(value) in message or repr(inner) in message or "field required" in message, message


def test_the_table_of_bad_configuration(checkout, figure):
    for words, said in BAD:
        code, heard = calls(words)
        assert (code, heard.count("\n")) == (USAGE, 1), words
        assert all(part in heard for part in said)
    for field, value in SPECS:
        refused(field, value)
    refusals = 0
    for entry in TABLE:
        if entry.name.startswith(("torch", "SGG")):
            continue  # a wrapper's hyperparameters here are those of torch's optimizers
        for name, value in entry.bad:
            weight = torch.nn.Parameter(torch.zeros(2))
            with pytest.raises((ValueError, TypeError)) as caught:
                entry.make([("w", weight)], **{"lr": 0.1, **entry.options, name: value})
            assert name in str(caught.value)
            assert len(str(caught.value).splitlines()) == 1
            refusals += 1
    assert checkout == []
    total = len(BAD) + len(SPECS) + refusals
    assert total >= 60
    figure("bad configuration: table", ">= 60, one line, exit 2, nothing trained",
           f"{total}: {len(BAD)} calls, {len(SPECS)} specs, {refusals} hyperparameters")  # fmt: skip


def positive(word):
    try:
        return int(word) >= 1
    except ValueError:
        return False


BAD_WORDS = st.one_of(
    st.tuples(st.just("--preset"), WORDS.filter(lambda w: w not in PRESETS)),
    st.tuples(st.just("--jobs"), WORDS.filter(lambda w: not positive(w))),
    st.tuples(st.just("--device"), WORDS.filter(lambda w: w not in ("auto", "cpu"))),
    st.tuples(st.just("--jobs"), st.integers(max_value=0).map(str)),
    st.tuples(st.just("--only"), WORDS.map(lambda w: "no-such-" + w)),
    st.tuples(WORDS.map(lambda w: "--no-such" + w)),
    st.tuples(st.just("--quick"), WORDS.filter(lambda w: not w.startswith("-"))),
)


def test_thousands_of_bad_calls_and_specs(checkout, figure):
    tried = {"calls": 0, "specs": 0}
    how = settings(max_examples=2700, deadline=None, database=None, derandomize=True,
                   suppress_health_check=list(HealthCheck))  # fmt: skip

    @how
    @given(bad=BAD_WORDS, first=st.sampled_from([(), ("--no-pdf",), ("--offline",), ("--fresh",)]))
    def call(bad, first):
        code, heard = calls([*first, *bad])
        assert code == USAGE, (bad, heard)
        assert heard.startswith("regrad: ")
        assert len(heard.splitlines()) == 1
        assert "Traceback" not in heard
        tried["calls"] += 1

    count = st.one_of(st.integers(max_value=0), st.floats(max_value=0.99), st.sampled_from([math.nan, math.inf, None]))
    key = st.text(LETTERS, min_size=1).filter(lambda k: k.isprintable() and k not in Spec.model_fields)
    fields = st.sampled_from(["steps", "batch_size", "evaluations"])

    @how
    @given(pair=st.one_of(
        st.tuples(fields, count), st.tuples(st.just("seed"), st.integers(max_value=-1)),
        st.tuples(st.just("precision"), WORDS.filter(lambda w: w not in ("fp32", "fp16", "bf16"))),
        st.tuples(st.just("schedule"), st.floats(min_value=1.001).map(lambda x: {"warmup": x})),
        st.tuples(key, st.integers()),
    ))  # fmt: skip
    def specify(pair):
        field, value = pair
        if field == "steps" and value == 0 and isinstance(value, float):
            value = 0
        refused(field, value)
        tried["specs"] += 1

    call()
    specify()
    assert checkout == []
    assert sum(tried.values()) >= 5000
    figure("bad configuration: hypothesis", ">= 5,000, one line, exit 2, nothing trained",
           f"{tried['calls']} calls + {tried['specs']} specs")  # fmt: skip


def test_a_bad_spec_in_a_study_is_exit_code_2_with_field_value_and_range(tmp_path, monkeypatch, capsys, figure):
    for name in ("notebooks", "paper"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("generated", "*.pdf"))
    monkeypatch.setattr("regrad.pipeline.reproduce.plan_of", lambda target: lambda preset, records: [spec(steps=0)])
    order = Order([STUDIES[1]], [], "smoke", "cpu", 1, offline=True)
    assert reproduce(Folders(tmp_path, tmp_path / "cache"), order) == USAGE
    assert capsys.readouterr().err == (
        "regrad: Spec: steps = 0: input should be greater than or equal to 1\n"
    )
    assert not (tmp_path / "results" / "runs").exists()
    figure("bad spec in a study", "exit 2, field, value, range", "exit 2, one line, nothing trained")
