"""The program printed with DGS, audited: where it stops, its least repair, and what that repair computes.

Acts on: the update, in name only: the adaptive learning rates are computed and never read.

The document prints a training loop for CIFAR-10. :func:`printed_failures` runs the three expressions on
which it stops, in the order in which it would reach them. :func:`repaired_parameters` is our own program with
its structure and the least repair, parameters of shape [features, classes]. That is multinomial logistic
regression; the text speaks of a convolutional network, and prints none. Nor does it print any ResNet, LARS,
Adam, reset or spike count, nor an evaluation on held-out images.

Not held against the author, since scanning may have caused them: "Dataloader", "Ir=" for "lr=", a curly
quote. Defined and never called: its ``update_parameters`` (it returns a *new* Parameter, which the optimizer,
holding the old one, would not step) and its ``backward_pass`` (it reads a global).

Source: the program in section "Implementation and Code" of Logan Mann (IJRASET 2024).
Departures: batches come as an argument, and the initial values from a generator.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import regrad.transforms.checks as checks
from regrad.transforms.dgs import adaptive_learning_rates, importance_scores, scaling_factors, update

IMAGES, FEATURES, CLASSES = 50_000, 3 * 32 * 32, 10  # CIFAR-10's training images
BATCH_SIZE, EPOCHS = 32, 10  # as printed
SCALING_LINES = ("printed", "removed", "used")


@dataclass(frozen=True)
class Failure:
    """One place where the printed program stops: the expression, torch's error, and the reason in words."""

    expression: str
    error: str
    message: str
    reason: str


def printed_failures() -> list[Failure]:
    """Run the printed expressions that fail, each with the one before it repaired, and say how they fail."""
    images, labels = torch.zeros(BATCH_SIZE, FEATURES), torch.zeros(BATCH_SIZE, dtype=torch.long)
    cases: list[tuple[str, Callable[[], object], str]] = [
        (
            "nn.init.xavier_normal_(torch.empty(10, requires_grad=True))",
            lambda: nn.init.xavier_normal_(torch.empty(10, requires_grad=True)),
            "Xavier initialisation needs a fan-in and a fan-out; ten numbers in a row have neither",
        ),
        (
            "torch.matmul(batch, parameters), parameters of shape [10]",
            lambda: torch.matmul(images, torch.zeros(10)),
            "an image has 3072 features, the parameters are 10 numbers",
        ),
        (
            "cross_entropy(predictions, batch_labels), parameters of shape [3072]",
            lambda: cross_entropy(torch.matmul(images, torch.zeros(FEATURES)), labels),
            "one number per image is no score for each of ten classes",
        ),
    ]
    return [_failure(expression, run, reason) for expression, run, reason in cases]


def _failure(expression: str, run: Callable[[], object], reason: str) -> Failure:
    try:
        run()
    except (ValueError, RuntimeError) as error:
        return Failure(expression, type(error).__name__, " ".join(str(error).split()), reason)
    raise AssertionError(f"{expression} ran, which the audit says it does not")


def repaired_parameters(
    batches: Iterable[tuple[Tensor, Tensor]],
    generator: torch.Generator,
    *,
    scaling: str = "printed",
    lr: float = 1e-3,
    eps: float = 1e-8,
) -> Tensor:
    """Train the repaired program on the batches and return its parameters [features, classes].

    Args:
        batches: (images [B, ...], labels [B]); the loss is the mean over B.
        generator: Of the initial values.
        scaling: The lines that make importance scores, scaling factors and learning rates are there and not
            read ("printed"), left out ("removed": plain SGD), or do make the step ("used": the four steps).
        lr: The base learning rate, as printed.
        eps: As printed.
    """
    checks.one_of("scaling", scaling, SCALING_LINES)
    batches = list(batches)
    features = batches[0][0].flatten(1).shape[1]
    parameters = nn.Parameter(nn.init.xavier_normal_(torch.empty(features, CLASSES), generator=generator))
    optimizer = torch.optim.SGD([parameters], lr=lr)
    for images, labels in batches:
        loss = cross_entropy(images.flatten(1) @ parameters, labels)
        optimizer.zero_grad()
        (gradients,) = torch.autograd.grad(loss, [parameters])
        parameters.grad = gradients
        if scaling != "removed":
            rates = adaptive_learning_rates(lr, scaling_factors(importance_scores(gradients), eps))
        if scaling == "used":
            parameters.data = update(parameters.detach(), gradients, rates)
        else:
            optimizer.step()
    return parameters.detach()


def iterations(epochs: int = EPOCHS, *, images: int = IMAGES, batch_size: int = BATCH_SIZE) -> int:
    """Return how many steps the printed loop takes: 15 630 as printed."""
    return epochs * -(-images // batch_size)
