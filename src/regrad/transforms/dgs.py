"""Dynamic Gradient Scaling: the document's four steps, and every reading of its equation, as formulas.

Acts on: the gradient, before the base step.

The document prints one equation, four numbered steps and a program. They are three different algorithms,
and each leaves something open, so :func:`dgs_updates` defines one update per *reading*. Written with
g = the gradient, i = an entry, G = a tensor of g, D = eps + the collective impact of
:mod:`regrad.transforms.dgs_impact`:

======================= ====== ============================ ==========================================
reading                 letter update Δ (θ <- θ - Δ)        where it comes from, what it is
======================= ====== ============================ ==========================================
equation                E1     lr β g_i / D                 the equation: L1-normalised SGD
equation_per_tensor     E1L    the same, D per tensor       "scope of k" is not stated
equation_tensor_norms   E1T    the same, k runs over        "parameter" read as a tensor
                               tensors, ‖G_k‖₂ for |g_k|
equation_as_rate        E3     a_i g_i, a_i = lr β / D      heading "Adaptive Learning Rate": equals E1
equation_magnitude_rate E4     a_i g_i, a_i = lr β |g_i|/D  the same heading, individual × collective
steps                   S1     lr g_i / (|g_i| + eps)       the four steps: signSGD smoothed at zero
steps_per_tensor        S1T    lr G / (‖G‖₂ + eps)          the steps, "parameter" read as a tensor
======================= ====== ============================ ==========================================

The printed program, as it runs, is plain SGD (:mod:`regrad.transforms.printed_dgs`). A reading with |g_i|
itself in the numerator (E2) is no descent direction: a test shows it, and it is not offered.

Source:
    Logan Mann, "A Fine-Grained Approach to Optimizing Large Language Models in Deep Learning" (IJRASET 2024).
Departures:
    The document gives values for lr (1e-3) and eps (1e-8) only; β, γ and their defaults here are ours.
"""

from collections.abc import Sequence
from typing import Final

from torch import Tensor

from regrad.transforms.dgs_impact import Gamma, collective_impacts, l2_norms

EQUATION_READINGS: Final = (
    "equation",
    "equation_per_tensor",
    "equation_tensor_norms",
    "equation_as_rate",
    "equation_magnitude_rate",
)
STEP_READINGS: Final = ("steps", "steps_per_tensor")
READINGS: Final = EQUATION_READINGS + STEP_READINGS


def importance_scores(gradients: Tensor) -> Tensor:
    """Step 1, I = |g| [*param]."""
    return gradients.abs()


def scaling_factors(scores: Tensor, eps: float = 1e-8) -> Tensor:
    """Step 2, S = 1 / (I + eps): "the reciprocal, with the addition of a small constant"."""
    return 1 / (scores + eps)


def adaptive_learning_rates(lr: float, factors: Tensor) -> Tensor:
    """Step 3, a = lr S: more important entries get the lower rate."""
    return lr * factors


def update(parameters: Tensor, gradients: Tensor, rates: Tensor) -> Tensor:
    """Step 4, θ - a g, as a new tensor [*param]."""
    return parameters - rates * gradients


def dgs_updates(
    gradients: Sequence[Tensor],
    reading: str = "equation",
    *,
    lr: float,
    beta: float = 1.0,
    eps: float = 1e-8,
    gamma: Gamma = "1/n",
) -> list[Tensor]:
    """Return Δ of a reading, one tensor [*param] per gradient, in the units of a parameter.

    This is the definition. :class:`regrad.optim.dgs.DGS` computes the same faster and is tested against it.

    Args:
        gradients: One tensor [*param] per parameter; together they are all n entries of the sums.
        reading: One of ``READINGS``.
        lr: α, the base learning rate.
        beta: β, "overall scaling impact"; the steps have none.
        eps: ε in the equation, σ in the prose.
        gamma: γ: a number, "1/n", or one number or tensor [*param] per gradient; the steps have none.
    """
    if reading in STEP_READINGS:
        per_tensor = reading == "steps_per_tensor"
        scores = l2_norms(gradients) if per_tensor else [importance_scores(g) for g in gradients]
        rates = [adaptive_learning_rates(lr, scaling_factors(score, eps)) for score in scores]
        return [rate * g for g, rate in zip(gradients, rates, strict=True)]
    impacts = collective_impacts(gradients, gamma, reading)
    impacts = impacts if reading == "equation_per_tensor" else impacts * len(gradients)
    rates = [lr * beta / (eps + impact) for impact in impacts]
    if reading == "equation_magnitude_rate":
        return [rate * g.abs() * g for g, rate in zip(gradients, rates, strict=True)]
    return [rate * g for g, rate in zip(gradients, rates, strict=True)]
