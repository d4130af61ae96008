"""Readers of CIFAR-10 and CIFAR-100 in the binary version, which holds no pickles."""

from pathlib import Path

import numpy as np

from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.errors import DataError
from regrad.problems.data.fetching import read_package

PIXELS = 3 * 32 * 32


def parse_records(content: bytes, label_bytes: int, classes: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 3, 32, 32] and labels [N] of a CIFAR binary file, uint8.

    Args:
        content: Records of label bytes and then 3,072 pixel bytes: red, green, blue, row by row.
        label_bytes: 1 for CIFAR-10, 2 for CIFAR-100 (coarse, fine); the last is the label.
        classes: Number of classes.
        name: For the error message.

    Raises:
        DataError: Not a whole number of records, or a label out of range.
    """
    size = label_bytes + PIXELS
    if not content or len(content) % size:
        raise DataError(f"{name}: {len(content)} bytes are not a whole number of {size}-byte records")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, size)
    labels = records[:, label_bytes - 1].copy()
    if labels.max() >= classes:
        raise DataError(f"{name}: label {labels.max()} is not one of {classes} classes")
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), labels


def cifar10(cache: Path) -> Arrays:
    """CIFAR-10: "images" [50000, 3, 32, 32], "labels", and the same with prefix "test_", uint8."""
    return _read("cifar10", cache, label_bytes=1, classes=10)


def cifar100(cache: Path) -> Arrays:
    """CIFAR-100 with its fine labels; the same arrays as `cifar10`."""
    return _read("cifar100", cache, label_bytes=2, classes=100)


def _read(name: str, cache: Path, *, label_bytes: int, classes: int) -> Arrays:
    parts: dict[str, list[np.ndarray]] = {"images": [], "labels": [], "test_images": [], "test_labels": []}
    for path, content in sorted(read_package(name, cache).items()):
        prefix = "test_" if "test" in path.rpartition("/")[2] else ""
        images, labels = parse_records(content, label_bytes, classes, path)
        parts[f"{prefix}images"].append(images)
        parts[f"{prefix}labels"].append(labels)
    return {key: np.concatenate(arrays) for key, arrays in parts.items()}
