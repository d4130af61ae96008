"""What needs no run: the audit of the printed program, and the theorems' curves. Torch is imported by who calls.

A notebook reads what was published instead where it can, and starts without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Batches = list[tuple[torch.Tensor, torch.Tensor]]

MAGNITUDES = [10.0 ** (k / 4) for k in range(-12, 9)]
COUNTS = [10**k for k in range(2, 7)]
# Step lengths: name in the curves, reading, γ.
STEP_LENGTHS: dict[str, tuple[str, Any]] = {
    "E1": ("equation", 1.0),
    "E1 1/n": ("equation", "1/n"),
    "S1": ("steps", "1/n"),
}


def failures() -> list[dict[str, str]]:
    from regrad.transforms.printed_dgs import printed_failures

    return [
        {"expression": f.expression, "error": f.error, "message": f.message, "reason": f.reason}
        for f in printed_failures()
    ]


def repaired(steps: int = 50, seed: int = 0) -> list[dict[str, Any]]:
    """Train the least repair of the program three ways, and say how far its parameters are from plain SGD's.

    The images are random: what is compared is arithmetic, and no accuracy.
    """
    import torch

    from regrad.transforms.printed_dgs import SCALING_LINES, repaired_parameters

    batches = random_batches(steps, seed)
    sgd = sgd_parameters(batches, torch.Generator().manual_seed(seed + 1))
    rows = []
    for lines in SCALING_LINES:
        parameters = repaired_parameters(batches, torch.Generator().manual_seed(seed + 1), scaling=lines)
        difference = float((parameters - sgd).abs().max())
        about = {"scaling lines": lines, "steps": steps, "largest difference to SGD": difference}
        rows.append(about | {"bit-identical": torch.equal(parameters, sgd)})
    return rows


def random_batches(steps: int, seed: int) -> "Batches":
    import torch

    from regrad.transforms.printed_dgs import BATCH_SIZE, CLASSES

    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(BATCH_SIZE, 3, 32, 32, generator=generator),
            torch.randint(CLASSES, (BATCH_SIZE,), generator=generator),
        )
        for _ in range(steps)
    ]


def sgd_parameters(batches: "Batches", generator: "torch.Generator") -> "torch.Tensor":
    """Train the same linear layer with ``torch.optim.SGD`` and nothing else; return its weights."""
    import torch

    from regrad.transforms.printed_dgs import CLASSES

    features = batches[0][0].flatten(1).shape[1]
    weight = torch.nn.Parameter(torch.nn.init.xavier_normal_(torch.empty(features, CLASSES), generator=generator))
    optimizer = torch.optim.SGD([weight], lr=1e-3)
    for images, labels in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(images.flatten(1) @ weight, labels).backward()
        optimizer.step()
    return weight.detach()


def theorem_curves() -> dict[str, Any]:
    """Return what two panels of the theorems' figure draw: update against gradient, step against size."""
    import torch

    from regrad.transforms.dgs import READINGS
    from regrad.transforms.dgs_geometry import inverse_update_sizes, step_norms, update_sizes

    sizes: dict[str, list[float]] = {reading: update_sizes(MAGNITUDES, reading) for reading in READINGS}
    sizes["inverse"] = inverse_update_sizes(MAGNITUDES, lr=1e-3)
    norms = {
        name: step_norms(COUNTS, reading, torch.Generator().manual_seed(0), gamma=gamma, lr=1e-3)
        for name, (reading, gamma) in STEP_LENGTHS.items()
    }
    return {"magnitudes": MAGNITUDES, "sizes": sizes, "counts": COUNTS, "norms": norms}
