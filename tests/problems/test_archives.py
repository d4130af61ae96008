"""Archives are read into memory, member by allow-listed member, and hostile ones are refused in one line."""

import gzip
import io
import lzma
import shutil
import subprocess
import tarfile
import warnings
import zipfile
import zlib

import pytest
from tiny_packages import debian, member, put, source, tar, tar_file, tar_link, wheel

from regrad.problems.data import archives
from regrad.problems.data.archives import only_member, read_members
from regrad.problems.data.errors import DataError
from regrad.problems.data.grey_images import gunzip
from regrad.problems.data.sources import Member

GOOD = b"the good bytes"
WANTED = member("data/good.txt", GOOD)


@pytest.mark.parametrize("kind", ["pip", "apt", "https"])
def test_only_allow_listed_members_are_read(kind, tmp_path):
    files = {"data/good.txt": GOOD, "data/other.txt": b"never read"}
    package = {
        "pip": lambda: wheel(files),
        "apt": lambda: debian(tar([tar_file(f"./{name}", content) for name, content in files.items()])),
        "https": lambda: tar([tar_file(name, content) for name, content in files.items()], "gz"),
    }[kind]()
    row = source(kind, package, (WANTED,))
    assert read_members(row, put(tmp_path, row, package)) == {"data/good.txt": GOOD}


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
@pytest.mark.parametrize("compression", ["xz", "gzip", "zstd", "none"])
def test_a_package_made_by_debians_own_tool_is_read_in_every_compression(compression, tmp_path):
    folder = tmp_path / "tree"
    (folder / "DEBIAN").mkdir(parents=True)
    control = "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: tiny\n"
    (folder / "DEBIAN" / "control").write_text(control)
    (folder / "data").mkdir()
    (folder / "data" / "good.txt").write_bytes(GOOD)
    path = tmp_path / "tiny.deb"
    command = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", str(folder), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "unknown compression" in done.stderr:
        pytest.skip(f"this dpkg-deb cannot write {compression}")
    assert done.returncode == 0, done.stderr
    row = source("apt", path.read_bytes(), (WANTED,))
    assert read_members(row, path) == {"data/good.txt": GOOD}


def zip_of(*entries: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for entry, content in entries:
            archive.writestr(entry, content)
    return stream.getvalue()


def zip_link() -> bytes:
    entry = zipfile.ZipInfo("data/good.txt")
    entry.external_attr = 0o120777 << 16
    return zip_of((entry, GOOD))


def zip_that_lies_about_its_size() -> bytes:
    """Its headers say 14 bytes; its compressed stream holds a megabyte."""
    content = bytearray(zip_of((zipfile.ZipInfo("data/good.txt"), b"x" * 2**20)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.find(signature) + offset
        content[at : at + 4] = len(GOOD).to_bytes(4, "little")
    return bytes(content)


def tar_that_claims_a_terabyte() -> bytes:
    entry = tarfile.TarInfo("huge")
    entry.size = 2**40
    return lzma.compress(entry.tobuf(tarfile.GNU_FORMAT))


GOOD_ENTRY = (zipfile.ZipInfo("data/good.txt"), GOOD)
HOSTILE_ZIPS = {
    "climbs": zip_of(GOOD_ENTRY, (zipfile.ZipInfo("data/../../../evil"), b"x")),
    "absolute": zip_of(GOOD_ENTRY, (zipfile.ZipInfo("/tmp/evil"), b"x")),
    "backslashes": zip_of(GOOD_ENTRY, (zipfile.ZipInfo("..\\..\\evil"), b"x")),
    "link": zip_link(),
    "repeated": zip_of(GOOD_ENTRY, GOOD_ENTRY),
    "bomb": zip_of((zipfile.ZipInfo("data/good.txt"), bytes(50 * 2**20))),
    "lies about its size": zip_that_lies_about_its_size(),
    "member missing": zip_of((zipfile.ZipInfo("data/bad.txt"), GOOD)),
    "member changed": zip_of((zipfile.ZipInfo("data/good.txt"), b"the evil bytes")),
    "too many members": zip_of(GOOD_ENTRY, *((zipfile.ZipInfo(f"{i}"), b"") for i in range(20_000))),
    "not a zip": b"PK\x03\x04 and then nothing",
    "empty": b"",
}
HOSTILE_TARS = {
    "climbs": tar([tar_file("data/good.txt", GOOD), tar_file("../../evil", b"x")]),
    "absolute": tar([tar_file("data/good.txt", GOOD), tar_file("/tmp/evil", b"x")]),
    "symbolic link": tar([tar_link("data/good.txt", "/etc/passwd")]),
    "hard link": tar([tar_file("x", GOOD), tar_link("data/good.txt", "x", tarfile.LNKTYPE)]),
    "device": tar([tar_link("data/good.txt", "", tarfile.CHRTYPE)]),
    "fifo": tar([tar_link("data/good.txt", "", tarfile.FIFOTYPE)]),
    "repeated": tar([tar_file("data/good.txt", GOOD), tar_file("./data/good.txt", GOOD)]),
    "bomb": tar([tar_file("data/good.txt", bytes(50 * 2**20))]),
    "claims a terabyte": tar_that_claims_a_terabyte(),
    "member missing": tar([tar_file("data/bad.txt", GOOD)]),
    "member changed": tar([tar_file("data/good.txt", b"the evil bytes")]),
    "cut short": tar([tar_file("data/good.txt", GOOD)])[:80],
}
HOSTILE_PACKAGES = {
    "not ar": b"?" * 200,
    "cut short": debian(tar([tar_file("data/good.txt", GOOD)]))[:-50],
    "negative size": b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"-99".ljust(10) + b"`\n" + b"x" * 99,
    "no data": b"!<arch>\n",
    "unknown compression": debian(b"?" * 100, "data.tar.zst"),
    "empty": b"",
}


def hostile_cases():
    for reason, content in HOSTILE_ZIPS.items():
        yield pytest.param("pip", content, id=f"zip: {reason}")
    for reason, content in HOSTILE_TARS.items():
        yield pytest.param("apt", debian(content), id=f"deb: {reason}")
        yield pytest.param("https", content, id=f"tar: {reason}")
    for reason, content in HOSTILE_PACKAGES.items():
        yield pytest.param("apt", content, id=f"package: {reason}")


@pytest.mark.parametrize(("kind", "content"), list(hostile_cases()))
def test_a_hostile_or_damaged_archive_is_refused_in_one_line_and_writes_nothing(kind, content, tmp_path):
    row = source(kind, content, (WANTED,))
    path = put(tmp_path, row, content)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as refusal:
        read_members(row, path)
    assert "\n" not in str(refusal.value)
    assert "tiny" in str(refusal.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_tar_bomb_beside_the_wanted_member_is_refused(tmp_path, monkeypatch):
    package = tar([tar_file("bomb", bytes(2**21)), tar_file("data/good.txt", GOOD)])
    row = source("https", package, (WANTED,))
    path = put(tmp_path, row, package)
    assert read_members(row, path) == {"data/good.txt": GOOD}
    monkeypatch.setattr(archives, "MAX_UNPACKED", 2**20)
    with pytest.raises(DataError, match="bytes unpacked"):
        read_members(row, path)


def test_an_inner_zip_is_bounded_too():
    inner = zip_of((zipfile.ZipInfo("table.csv"), GOOD))
    assert only_member(inner, "table.csv", len(GOOD)) == GOOD
    for content, size in ((inner, 3), (inner[:-30], len(GOOD)), (b"", 1), (zip_of(), len(GOOD))):
        with pytest.raises(DataError, match=r"table\.csv"):
            only_member(content, "table.csv", size)


def test_gunzip_wants_exactly_the_expected_bytes_and_a_whole_stream():
    packed = gzip.compress(GOOD * 1000)
    assert gunzip(packed, 14_000, "x") == GOOD * 1000
    assert gunzip(gzip.compress(b""), 0, "x") == b""
    damaged = packed[:30] + bytes([packed[30] ^ 1]) + packed[31:]
    wrong_sum = packed[:-8] + bytes(4) + packed[-4:]
    for content, size in (
        (packed, 13_999),
        (packed, 14_001),
        (packed[:-9], 14_000),
        (packed[:-4], 14_000),
        (damaged, 14_000),
        (wrong_sum, 14_000),
        (b"", 0),
        (zlib.compress(GOOD), len(GOOD)),
    ):
        with pytest.raises(DataError, match="x: "):
            gunzip(content, size, "x")


def test_a_member_without_a_recorded_checksum_still_needs_its_size(tmp_path):
    package = wheel({"data/good.txt": GOOD})
    row = source("pip", package, (Member("data/good.txt", len(GOOD) - 1),))
    with pytest.raises(DataError, match="unpacks to 14 bytes instead of 13"):
        read_members(row, put(tmp_path, row, package))
