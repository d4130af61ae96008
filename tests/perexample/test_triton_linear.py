"""The fused kernel against the plain path, in Triton's interpreter, which needs no GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

SCRIPT = """
import torch
from regrad.perexample.contributions import Factors
from regrad.perexample.folding import Folder
from regrad.perexample.requests import parse_statistics
from regrad.perexample.sums import Sums
from regrad.perexample.triton_linear import fold_on_device

torch.manual_seed(0)
wanted = ["mean", "mean_square", "mean_abs", "mean_sign", "norm"]
for n, T, out, width, statistics, dtype in (
    (3, 5, 7, 9, wanted, torch.float32), (4, 40, 150, 33, ["mean", "mean_square"], torch.float32),
    (5, 17, 64, 70, wanted[:2] + ["norm"], torch.float32), (2, 16, 20, 20, ["norm"], torch.float32),
    (3, 33, 24, 40, wanted[:3], torch.float16),
):
    G, A = torch.randn(n, T, out).to(dtype), torch.randn(n, T, width).to(dtype)
    sums = Sums(parse_statistics(statistics), {"w": torch.zeros(out, width)}, n, n)
    Folder(sums, "w", 0)._fold_products(Factors(G.float(), A.float()), None)
    ours = {kind: torch.zeros(out, width) for kind in sums.request.kinds}
    norms = torch.zeros(n) if sums.request.needs_norms else None
    fold_on_device(G, A, ours, norms=norms, weight=1 / n, programs=6)
    for kind, total in ours.items():
        torch.testing.assert_close(total, sums.average(kind, "w"), rtol=2e-5, atol=2e-5)
    if norms is not None:
        torch.testing.assert_close(norms, sums.squared_norms, rtol=2e-5, atol=2e-5)
print("agreed")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed beside this torch")
def test_the_kernel_agrees_with_the_plain_path_in_the_interpreter():
    path = os.pathsep.join([str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "agreed", run.stderr[-3000:]
