"""Readers of grey images: Fashion-MNIST (IDX), MNIST-5k (csv) and scikit-learn's digits."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.errors import DataError
from regrad.problems.data.fetching import read_package
from regrad.problems.data.sources import find

IDX_UINT8 = 8
TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000
MNIST_5K_BYTES = 9_139_322
PIXELS = 28 * 28


def parse_idx(content: bytes, name: str) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, uint8, with the dimensions of its header.

    Raises:
        DataError: Another type, or another size than the header says.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != IDX_UINT8:
        raise DataError(f"{name}: not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{name}: the IDX header is cut short")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) - start != np.prod(shape, dtype=object):
        raise DataError(f"{name}: has {len(content) - start} bytes of data, its header says {shape}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def parse_labelled_rows(content: bytes, name: str) -> Arrays:
    """Images and labels of a csv file with 784 pixels and then the label in each row, all 0 … 255."""
    if not content.strip():
        raise DataError(f"{name}: the csv is empty")
    try:
        rows = np.loadtxt(content.decode("ascii").splitlines(), delimiter=",", dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise DataError(f"{name}: the csv cannot be read ({error})") from error
    if rows.shape[1] != PIXELS + 1 or rows.min() < 0 or rows.max() > 255 or rows[:, -1].max() > 9:
        raise DataError(f"{name}: rows must hold {PIXELS} pixels 0 … 255 and a label 0 … 9")
    rows = rows.astype(np.uint8)
    return {"images": rows[:, :-1].reshape(-1, 1, 28, 28), "labels": rows[:, -1]}


def fashion_mnist(cache: Path) -> Arrays:
    """Fashion-MNIST: "images" [60000, 1, 28, 28], "labels", and the same with prefix "test_", uint8."""
    files = read_package("fashion-mnist", cache)
    source = find("fashion-mnist")
    arrays = {}
    for prefix, stem, count in (("", "train", TRAIN_IMAGES), ("test_", "t10k", TEST_IMAGES)):
        for kind, ending, size in (("images", "images-idx3", PIXELS), ("labels", "labels-idx1", 1)):
            name = f"{stem}-{ending}-ubyte.gz"
            header = 16 if kind == "images" else 8
            content = gunzip(files[source.member(name).path], count * size + header, name)
            arrays[prefix + kind] = parse_idx(content, name)
        arrays[f"{prefix}images"] = arrays[f"{prefix}images"][:, None]
    return arrays


def mnist_5k(cache: Path) -> Arrays:
    """MNIST-5k: "images" [5000, 1, 28, 28] and "labels", uint8."""
    (content,) = read_package("mnist-5k", cache).values()
    return parse_labelled_rows(gunzip(content, MNIST_5K_BYTES, "mnist_5k.csv.gz"), "mnist_5k.csv")


def digits(cache: Path | None = None) -> Arrays:
    """scikit-learn's digits: "images" [1797, 1, 8, 8] with values 0 … 16, and "labels", uint8; nothing is fetched."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return {"images": bunch.images[:, None].astype(np.uint8), "labels": bunch.target.astype(np.uint8)}


def gunzip(content: bytes, size: int, name: str) -> bytes:
    """The decompressed bytes of a gzip file, exactly `size` of them, or `DataError`."""
    stream = zlib.decompressobj(wbits=31)
    try:
        unpacked = stream.decompress(content, size + 1)
    except zlib.error as error:
        raise DataError(f"{name}: the gzip data are damaged ({error})") from error
    # The end mark is reached only when the trailing checksum was read and agreed.
    if len(unpacked) != size or not (stream.eof or _ends(stream)):
        raise DataError(f"{name}: unpacks to another size than {size} bytes")
    return unpacked


def _ends(stream: Any) -> bool:
    try:
        return stream.decompress(stream.unconsumed_tail, 1) == b"" and stream.eof
    except zlib.error:
        return False
