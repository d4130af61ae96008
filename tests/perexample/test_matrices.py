"""The exponential of a skew-Hermitian matrix goes back as torch's does, also where eigenvalues coincide."""

import pytest
import torch
from perexample_agreement import check_against_the_loop
from perexample_models import square_losses
from torch import nn
from torch.nn.utils import parametrizations

from regrad.perexample.rules.matrices import OF_WEIGHTS, exponential

pytestmark = pytest.mark.usefixtures("float64")


def skew(kind):
    a = torch.randn(5, 5, dtype=torch.complex128 if kind == "complex" else torch.float64)
    if kind == "twice":  # each eigenvalue two times
        a = torch.block_diag(a[:2, :2], a[:2, :2])
    return (a - a.mH) * {"zero": 0.0, "small": 1e-9, "large": 100.0}.get(kind, 1.0)


@pytest.mark.parametrize("kind", ["plain", "complex", "twice", "zero", "small", "large"])
def test_the_exponential_and_its_way_back_are_torch_s(kind):
    A = skew(kind).requires_grad_()
    G = torch.randn_like(A)
    ours = exponential(A)
    assert "_Exponential" in ours.grad_fn.name()
    torch.testing.assert_close(ours, torch.matrix_exp(A))
    expected = torch.autograd.grad(torch.matrix_exp(A), A, G)[0]
    for _ in range(2):  # the second time by what the first has found
        (found,) = torch.autograd.grad(ours, A, G, retain_graph=True)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11 * float(expected.abs().max()))


@pytest.mark.parametrize("A", [torch.eye(3), torch.randn(3, 3), torch.zeros(2, 3, 3)])
def test_any_other_matrix_is_left_to_torch(A):
    assert "_Exponential" not in exponential(A.double().requires_grad_()).grad_fn.name()


@pytest.mark.parametrize("name", ["matrix_exp", "cayley"])
@pytest.mark.parametrize("sizes", [(4, 4), (5, 3), (3, 5)])
def test_orthogonal_weights_agree_with_the_loop(sizes, name):
    model = parametrizations.orthogonal(nn.Linear(*sizes), orthogonal_map=name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    check_against_the_loop(model, square_losses, torch.randn(5, 3, sizes[0]))


def test_the_parametrization_of_a_square_weight_takes_this_way(monkeypatch):
    called = []
    monkeypatch.setitem(OF_WEIGHTS, torch.matrix_exp, lambda A: called.append(1) or exponential(A))
    check_against_the_loop(parametrizations.orthogonal(nn.Linear(4, 4)), square_losses, torch.randn(5, 4))
    assert called
