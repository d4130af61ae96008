"""The fused kernel against the plain path, in Triton's interpreter, and compiled ahead of time: no GPU is needed."""

import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from regrad.perexample import kernel_misses
from regrad.perexample.contributions import Factors, Rows
from regrad.perexample.folding import Folder
from regrad.perexample.requests import banded_sign, parse_statistics
from regrad.perexample.sums import Sums

HERE = Path(__file__).parent
PINNED = re.search(r"^TRITON=triton==(\S+)", (HERE.parents[1] / "reproduce.sh").read_text(), re.M)[1]
with_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed beside this torch"
)


def environment(**more):
    path = os.pathsep.join([str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TRITON_DEFAULT_FP_FUSION": "1", **more}


def beside(device, examples, **more):
    command = [sys.executable, str(HERE / "triton_beside.py"), device, str(examples)]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, timeout=600, check=False)


@with_triton
@pytest.mark.slow
def test_the_kernel_agrees_with_the_plain_path_and_the_engine_with_the_loop_in_the_interpreter():
    done = beside("cpu", 40, TRITON_INTERPRET="1")
    assert done.stdout.strip() == "agreed", done.stderr[-3000:]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_kernel_agrees_with_the_plain_path_and_the_engine_with_the_loop():
    done = beside("cuda", 8)  # each is compiled
    assert done.stdout.strip() == "agreed", done.stderr[-3000:]


def line_of(capability, case):
    """A case's line in the table of docs/gpu.md."""
    dtype = {"bf16": "bfloat16", "fp32": "float32"}[case["dtype"]]
    rows, columns = case["tile"]
    about = f"| sm_{capability} | {dtype} | {case['kinds']} and norms | {rows} × {columns} |"
    words = f"{case['products']} {'wgmma' if capability == 90 else 'mma.sync'}" if case["products"] else "none"
    return f"{about} {case['registers']} | {case['stack']} | {case['shared'] >> 10} KiB | {words}"


@with_triton
@pytest.mark.slow
@pytest.mark.parametrize(("capability", "shared_memory"), [(90, 227 << 10), (80, 163 << 10)])
def test_compiled_for_a_gpu_the_kernel_spills_nothing_and_two_of_it_share_a_multiprocessor_s_memory(
    capability, shared_memory
):
    command = [sys.executable, str(HERE / "triton_ahead.py"), str(capability)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (HERE.parents[1] / "docs" / "gpu.md").read_text()
    for case in json.loads(done.stdout):
        assert case["stack"] == 0, case
        assert case["registers"] <= 255, case
        assert 2 * case["shared"] <= shared_memory, case
        assert (case["products"] > 0) == (case["dtype"] == "bf16"), case
        if version("triton") == PINNED:
            assert line_of(capability, case) in page, case


class OnGpu(torch.Tensor):
    """A tensor that says so of itself."""

    is_cuda = property(lambda _: True)


def sums_of(wanted, dtype=torch.float32, *, wide=False):
    return Sums(parse_statistics(wanted), {"w": torch.zeros(5, 2, dtype=dtype)}, 3, 3, wide=wide)


@pytest.mark.parametrize(("of", "view", "rows", "why"), [
    ({"dtype": torch.float64}, None, None, "float64"),
    ({"wide": True}, None, None, "float64"),
    ({}, lambda w: w, None, "a weight that another module shows a part of"),
    ({"wanted": ["mean_square", banded_sign(0.1)]}, None, None, "a function of the caller's"),
    ({}, None, Rows(torch.zeros(3, 4, 2), torch.zeros(3, 4, dtype=torch.long), 5), "a table that is the head too"),
    ({}, None, None, "triton is not installed"),
])  # fmt: skip
def test_every_time_the_kernel_is_not_used_is_counted_and_the_first_is_said(caplog, monkeypatch, of, view, rows, why):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    kernel_misses.misses.clear()
    dtype = of.get("dtype", torch.float32)
    G, A = torch.randn(3, 4, 5, dtype=dtype), torch.randn(3, 4, 2, dtype=dtype)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            sums = sums_of(**{"wanted": ["mean", "mean_square"]} | of)
            Folder(sums, "w", 0, view=view).fold_factors(Factors(G.as_subclass(OnGpu), A), rows)
    assert kernel_misses.misses == {why: 3}
    assert [record.getMessage() for record in caplog.records] == [
        f"per-example statistics on a GPU take the slower path: {why}"
    ]
    each, found = torch.einsum("nto,nti->noi", G, A), sums.average("square", "w").as_subclass(torch.Tensor)
    torch.testing.assert_close(found, each.square().mean(0).to(found.dtype), rtol=1e-5, atol=1e-5)
