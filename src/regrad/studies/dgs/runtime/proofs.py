"""What needs no run: the proofs that the ledger names, the printed program's audit, and the theorems' curves."""

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch is imported by who calls: a notebook may read what was published instead
    import torch

MAGNITUDES = [10.0 ** (k / 4) for k in range(-12, 9)]
COUNTS = [10**k for k in range(2, 7)]


def proof_rows(proofs: Iterable[str], root: Path) -> list[dict[str, Any]]:
    """Run tests, named as ``tests/….py::test_…``, and return rows {proof, passed} for those that exist.

    Args:
        proofs: Tests without arguments.
        root: The checkout that they lie in.
    """
    found = []
    for proof in proofs:
        path, _, name = proof.partition("::")
        if (root / path).is_file():
            found.append({"proof": proof, "passed": passes(getattr(module(root / path), name, None))})
    return found


@cache
def module(path: Path) -> ModuleType:
    """Import a test file by its path."""
    spec = importlib.util.spec_from_file_location(f"proofs_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: not a Python file")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def passes(test: Any) -> bool:
    """Whether a test exists and raises nothing that it asserts, or that stops it."""
    if test is None:
        return False
    try:
        test()
    except (AssertionError, RuntimeError, ValueError, TypeError):
        return False
    return True


def failures() -> list[dict[str, str]]:
    """Return where the program as printed stops: the expression, torch's error, and why."""
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

    from regrad.transforms.printed_dgs import CLASSES, repaired_parameters

    generator = torch.Generator().manual_seed(seed)
    batches = [
        (torch.randn(32, 3, 32, 32, generator=generator), torch.randint(CLASSES, (32,), generator=generator))
        for _ in range(steps)
    ]
    found = {
        lines: repaired_parameters(batches, torch.Generator().manual_seed(seed + 1), scaling=lines)
        for lines in ("printed", "removed", "used")
    }
    sgd = plain_sgd(batches, torch.Generator().manual_seed(seed + 1))
    return [
        {"scaling lines": lines, "steps": steps, "largest difference to SGD": float((p - sgd).abs().max())}
        | {"bit-identical": torch.equal(p, sgd)}
        for lines, p in found.items()
    ]


def plain_sgd(batches: "list[tuple[torch.Tensor, torch.Tensor]]", generator: "torch.Generator") -> "torch.Tensor":
    """Train the same linear layer with ``torch.optim.SGD`` and nothing else."""
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
        for name, reading, gamma in (("E1", "equation", 1.0), ("E1 1/n", "equation", "1/n"), ("S1", "steps", "1/n"))
    }
    return {"magnitudes": MAGNITUDES, "sizes": sizes, "counts": COUNTS, "norms": norms}
