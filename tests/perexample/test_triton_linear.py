"""The fused kernel against the plain path, in Triton's interpreter, and compiled ahead of time: no GPU is needed."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from regrad.perexample import kernel_misses
from regrad.perexample.contributions import Factors
from regrad.perexample.folding import Folder
from regrad.perexample.requests import parse_statistics
from regrad.perexample.sums import Sums

HERE = Path(__file__).parent
with_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed beside this torch"
)

SCRIPT = """
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from regrad.perexample.contributions import Factors
from regrad.perexample.folding import Folder
from regrad.perexample.requests import parse_statistics
from regrad.perexample.sums import Sums

torch.manual_seed(0)
WANTED = ["mean", "mean_square", "mean_abs", "mean_sign", "norm"]

def statistics_of(G, A, wanted, fold):
    sums = Sums(parse_statistics(wanted), {"w": torch.zeros(G.shape[2], A.shape[2])}, len(G), len(G))
    fold(Folder(sums, "w", 0), Factors(G, A))
    return sums

def strided(n, T, width, dtype, how):
    if how == "transposed":
        return torch.randn(n, width, T).to(dtype).transpose(1, 2)
    if how == "every second":
        return torch.randn(2 * n, T, width).to(dtype)[::2]
    return torch.randn(n, T, width).to(dtype)

sizes = st.integers(1, 20)
layouts = st.sampled_from(["straight", "transposed", "every second"])
dtypes = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])

@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(st.integers(1, 4), sizes, st.integers(1, 40), st.integers(1, 40), dtypes, layouts,
       st.sets(st.sampled_from(WANTED), min_size=1))
def check(n, T, out, width, dtype, layout, wanted):
    G, A = strided(n, T, out, dtype, layout), strided(n, T, width, dtype, layout)
    plain = statistics_of(G.float(), A.float(), sorted(wanted), lambda f, x: f._fold_products(x, None))
    fused = statistics_of(G, A, sorted(wanted), lambda f, x: f._fold_on_device(x))
    for kind in plain.request.kinds:
        # Signs of entries within rounding of zero are anybody's; each is 1/n of its average.
        if kind == "sign" and dtype != torch.float32:
            continue
        torch.testing.assert_close(fused.average(kind, "w"), plain.average(kind, "w"), rtol=2e-5, atol=2e-5)
    if plain.request.needs_norms:
        torch.testing.assert_close(fused.squared_norms, plain.squared_norms, rtol=2e-5, atol=2e-5)

check()
print("agreed")
"""


def environment(**more):
    path = os.pathsep.join([str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TRITON_DEFAULT_FP_FUSION": "1", **more}


@with_triton
def test_the_kernel_agrees_with_the_plain_path_in_the_interpreter():
    script = SCRIPT.replace("EXAMPLES", "40")
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(TRITON_INTERPRET="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.stdout.strip() == "agreed", run.stderr[-3000:]


@with_triton
@pytest.mark.slow
@pytest.mark.parametrize(("capability", "shared_memory"), [(90, 227 << 10), (80, 163 << 10)])
def test_compiled_for_a_gpu_the_kernel_spills_nothing_and_two_of_it_share_a_multiprocessor_s_memory(
    capability, shared_memory
):
    command = [sys.executable, str(HERE / "triton_ahead.py"), str(capability)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for case in json.loads(done.stdout):
        assert case["stack"] == 0, case
        assert case["registers"] <= 255, case
        assert 2 * case["shared"] <= shared_memory, case
        assert (case["products"] > 0) == (case["dtype"] == "bf16"), case


@pytest.mark.parametrize(("dtype", "view", "why"), [
    (torch.float64, None, "float64"),
    (torch.float32, lambda w: w, "a weight that another module shows a part of"),
    (torch.float32, None, "triton is not installed"),
])  # fmt: skip
def test_every_time_the_kernel_is_not_used_is_counted_and_the_first_is_said(caplog, monkeypatch, dtype, view, why):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    kernel_misses.misses.clear()
    G, A = torch.randn(3, 4, 5, dtype=dtype), torch.randn(3, 4, 2, dtype=dtype)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            sums = Sums(parse_statistics(["mean", "mean_square"]), {"w": torch.zeros(5, 2, dtype=dtype)}, 3, 3)
            Folder(sums, "w", 0, view=view)._fold_on_device(Factors(G, A))
    assert kernel_misses.misses == {why: 3}
    assert [record.getMessage() for record in caplog.records] == [
        f"per-example statistics on a GPU take the slower path: {why}"
    ]
    each = torch.einsum("nto,nti->noi", G, A)
    torch.testing.assert_close(sums.average("square", "w"), each.square().mean(0).to(dtype))
