"""Acts on: per-example gradients. Functions of weights alone whose way back, taken once an example, has a cheaper form.

The exponential of a skew-Hermitian matrix is what `parametrizations.orthogonal` makes a square weight of. torch goes
back by an exponential of twice the size for each gradient; with A = U diag(iλ) Uᴴ, found once, it is four products:
U (conj(Φ) ∘ (Uᴴ G U)) Uᴴ, where Φ_jk = (e^{iλ_j} − e^{iλ_k}) / (iλ_j − iλ_k) are divided differences.

Source: Higham, "Functions of Matrices" (SIAM 2008), theorem 3.9 (Daleckii and Krein).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Exponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx, A):
        ctx.save_for_backward(A)
        ctx.found = None
        return torch.matrix_exp(A)

    @staticmethod
    @once_differentiable
    def backward(ctx, G):
        (A,) = ctx.saved_tensors
        with torch._C.DisableTorchFunction():
            if ctx.found is None:
                ctx.found = _eigenvectors_and_differences(A)
            U, differences = ctx.found
            if A.is_complex():
                return U @ (differences * (U.mH @ G @ U)) @ U.mH
            # Of real and imaginary parts side by side the outer products are real ones.
            pairs = torch.view_as_real(U).flatten(1)
            right = torch.view_as_complex((G @ pairs).unflatten(1, (-1, 2)))
            left = U @ (differences * (U.mH @ right))
            return torch.view_as_real(left).flatten(1) @ pairs.t()


def _eigenvectors_and_differences(A: Tensor) -> tuple[Tensor, Tensor]:
    values, U = torch.linalg.eigh(A * -1j)
    U = U.contiguous()
    # (e^{ia} − e^{ib}) / (ia − ib) = e^{i(a + b)/2} sinc((a − b)/2), which close eigenvalues do not cancel.
    half = values / 2
    turned, apart = half.unsqueeze(-1) + half.unsqueeze(-2), half.unsqueeze(-1) - half.unsqueeze(-2)
    return U, torch.polar(torch.sinc(apart / torch.pi), -turned)


def exponential(A: Tensor) -> Tensor:
    """torch.matrix_exp of a matrix [n, n]."""
    wide = A.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)
    with torch.no_grad():
        skew = wide and A.ndim == 2 and torch.equal(A, -A.mH)
    return _Exponential.apply(A) if skew else torch.matrix_exp(A)


# What carries out a function of weights alone in place of itself.
OF_WEIGHTS: dict[Any, Callable[..., Tensor]] = dict.fromkeys(
    (torch.matrix_exp, torch.linalg.matrix_exp, Tensor.matrix_exp), exponential
)
