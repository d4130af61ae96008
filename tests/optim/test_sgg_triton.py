"""SGG's kernel against the plain path, in Triton's interpreter, and compiled ahead of time: no GPU is needed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sgg_cases import parameters
from torch.optim import AdamW

from regrad.optim import sgg_triton
from regrad.optim.sgg import SGG

HERE = Path(__file__).parent
with_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed beside this torch"
)


def script(name, argument, **more):
    path = os.pathsep.join([str(HERE.parents[1] / "src"), str(HERE), os.environ.get("PYTHONPATH", "")])
    variables = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}
    command = [sys.executable, str(HERE / name), argument]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@with_triton
@pytest.mark.slow
def test_the_kernel_is_the_step_of_the_plain_path_in_the_interpreter():
    assert script("sgg_triton_beside.py", "cpu", TRITON_INTERPRET="1") == "agreed\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_kernel_is_the_step_of_the_plain_path():
    assert script("sgg_triton_beside.py", "cuda") == "agreed\n"


@with_triton
@pytest.mark.slow
@pytest.mark.parametrize("capability", ["90", "80"])
def test_compiled_for_a_gpu_it_loads_16_bytes_at_once_and_leaves_registers_for_many_programs(capability):
    taken = json.loads(script("sgg_triton_ahead.py", capability))
    assert taken["stack"] == 0
    assert taken["registers"] <= 42  # 12 programs of 128 threads then share the 65,536 of a multiprocessor
    assert taken["wide"] == {"ld": 4, "st": 3}  # parameter, gradient and moments


def test_pieces_cover_every_entry_once():
    sizes = (1, sgg_triton.PIECE, sgg_triton.PIECE + 1, 3 * sgg_triton.PIECE)
    owner, start, ends = sgg_triton.pieces(sizes, torch.device("cpu"))
    assert owner.tolist() == [0, 1, 2, 2, 3, 3, 3]
    assert start.tolist() == [0, 0, 0, 512, 0, 512, 1024]
    assert ends.tolist() == list(sizes)


def test_constants_are_those_of_the_compiled_loop():
    params = parameters()
    groups = [{"params": params[:1], "lr": 0.02}, {"params": params[1:], "weight_decay": 0.0, "betas": (0.8, 0.99)}]
    base = AdamW(groups, lr=0.01, maximize=True)
    for p in params:
        p.grad = torch.ones_like(p)
    base.step()
    state = [base.state[p] for p in params]
    found = sgg_triton.constants(base, [own["step"] for own in state], torch.device("cpu"))
    assert [float(own["step"]) for own in state] == [2.0] * 4
    of_two = [-1.0, 0.1, 0.999, 0.001, (1 - 0.999**2) ** 0.5, 1e-8, 0.02 / (1 - 0.9**2)]
    assert found[0].tolist() == pytest.approx([1 - 0.02 * 0.01, 0.0, *of_two])
    assert found[1, [0, 3, 4, 8]].tolist() == pytest.approx([1.0, 0.2, 0.99, 0.01 / (1 - 0.8**2)])


def test_a_gpu_without_triton_is_refused_when_it_is_made(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    with pytest.raises(ValueError, match=r"compiled=True on a GPU needs triton, .*leave it False"):
        SGG(AdamW(parameters()), compiled=True)
