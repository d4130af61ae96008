"""The fused kernel beside the plain path, and the engine with it beside the loop; prints what agreed.

``cpu`` runs the kernel in Triton's interpreter, for which TRITON_INTERPRET=1 must be set; ``cuda`` on the GPU.
"""

import sys
from functools import partial

import torch
import triton.language as tl
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from perexample_models import Decoder, next_token_losses
from torch import nn
from triton.runtime import interpreter

from regrad.perexample import triton_linear
from regrad.perexample.contributions import Factors
from regrad.perexample.engine import gradient_statistics
from regrad.perexample.folding import Folder
from regrad.perexample.kernel_misses import misses
from regrad.perexample.requests import clipped_mean, parse_statistics
from regrad.perexample.sums import Sums

DEVICE, EXAMPLES = sys.argv[1], int(sys.argv[2])
WANTED = ["mean", "mean_square", "mean_abs", "mean_sign", "norm"]
# Sizes within a tile, and those at the edges of one.
POSITIONS = st.integers(1, 20) | st.sampled_from([32, 33, 64, 65, 130])
WIDTHS = st.integers(1, 40) | st.sampled_from([64, 65, 127, 128, 129])
LAYOUTS = st.sampled_from(["straight", "transposed", "every second"])
DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])


def multiply_bfloat16() -> None:
    """Widen bfloat16 first: the interpreter would multiply its bits as whole numbers, as its documentation admits."""
    plain = interpreter.InterpreterBuilder.create_dot

    def dot(self, a, b, *rest):
        wide = [self.cast_impl(x, tl.float32) if x.dtype.scalar == tl.bfloat16 else x for x in (a, b)]
        return plain(self, *wide, *rest)

    interpreter.InterpreterBuilder.create_dot = dot


def take_the_kernel() -> None:
    """Let layers on the CPU go where those of a GPU do."""
    plain = Folder._fold_products

    def fold(self, factors, rows):
        return self._fold_on_device(factors) if rows is None else plain(self, factors, rows)

    Folder._fold_products = fold


def folded(G, A, wanted, fold):
    sums = Sums(parse_statistics(wanted), {"w": torch.zeros(G.shape[2], A.shape[2], device=DEVICE)}, len(G), len(G))
    fold(Folder(sums, "w", 0), Factors(G, A))
    return sums


def strided(n, T, width, dtype, how):
    if how == "transposed":
        return torch.randn(n, width, T, device=DEVICE).to(dtype).transpose(1, 2)
    if how == "every second":
        return torch.randn(2 * n, T, width, device=DEVICE).to(dtype)[::2]
    return torch.randn(n, T, width, device=DEVICE).to(dtype)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, phases=[Phase.generate])  # shrinking takes minutes
@given(
    st.tuples(st.integers(1, 4), POSITIONS, WIDTHS, WIDTHS),
    DTYPES,
    LAYOUTS,
    st.sets(st.sampled_from(WANTED), min_size=1),
    st.sampled_from([1, 6, 264]),
)
def agree(sizes, dtype, layout, wanted, programs):
    n, T, out, width = sizes
    G, A = strided(n, T, out, dtype, layout), strided(n, T, width, dtype, layout)
    triton_linear.fold_on_device = partial(FOLD_ON_DEVICE, programs=programs)
    plain = folded(G.float(), A.float(), sorted(wanted), lambda f, x: PLAIN(f, x, None))
    fused = folded(G, A, sorted(wanted), lambda f, x: f._fold_on_device(x))
    for kind in plain.request.kinds:
        # Signs of entries within rounding of zero are anybody's; each is 1/n of its average.
        if kind == "sign" and dtype != torch.float32:
            continue
        close(fused.average(kind, "w"), plain.average(kind, "w"))
    if plain.request.needs_norms:
        close(fused.squared_norms, plain.squared_norms)


def close(found, expected) -> None:
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-5 * float(expected.abs().max()) + 1e-5)


def whole_models() -> None:
    """A decoder; and a layer of which each example has nearly the same gradient, whose variance is lost in float32."""
    wanted = [*WANTED, "variance", clipped_mean(0.5)]
    decoder = Decoder(tied=False).to(DEVICE)
    compare(decoder, next_token_losses, torch.randint(0, 11, (3, 8), device=DEVICE), wanted)
    assert not misses, misses
    layer = nn.Linear(5, 4).to(DEVICE)
    x = torch.randn(1, 6, 5, device=DEVICE) + 1e-4 * torch.randn(9, 6, 5, device=DEVICE)
    compare(layer, lambda model, x: model(x).flatten(1).sum(1), x, ["mean", "variance"])
    assert misses == {"float64": 1}, misses


def compare(model, losses, batch, wanted) -> None:
    asked = [statistic for statistic in wanted if statistic != "mean_sign"]
    found, expected = (gradient_statistics(model, losses, batch, asked, method=m) for m in ("graph", "loop"))
    for key, value in expected.items():
        for name in value if isinstance(value, dict) else ():
            close(found[key][name], value[name])
    if "norm" in expected:
        close(found["norm"], expected["norm"])


PLAIN, FOLD_ON_DEVICE = Folder._fold_products, triton_linear.fold_on_device
torch.manual_seed(0)
if DEVICE == "cpu":
    multiply_bfloat16()
agree()
triton_linear.fold_on_device = FOLD_ON_DEVICE
if DEVICE == "cpu":
    take_the_kernel()
whole_models()
sys.stdout.write("agreed\n")
