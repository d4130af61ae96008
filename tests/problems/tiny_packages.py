"""Small packages in the true formats, good and hostile, for the tests of data."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

from regrad.problems.data.sources import Member, Source


def member(path: str, content: bytes) -> Member:
    return Member(path, len(content), hashlib.sha256(content).hexdigest())


def source(kind: str, package: bytes, members: tuple[Member, ...], address: str = "tiny") -> Source:
    filename = {"pip": "tiny-1.0-py3-none-any.whl", "apt": "tiny.deb", "https": "tiny.tar.gz"}[kind]
    digest = f"sha256:{hashlib.sha256(package).hexdigest()}"
    return Source("tiny", "a test", kind, address, "1.0", digest, len(package), "MIT", filename, members)


def wheel(files: dict[str, bytes]) -> bytes:
    """A wheel that pip accepts, with these files in it."""
    metadata = b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    extra = {"tiny-1.0.dist-info/METADATA": metadata, "tiny-1.0.dist-info/WHEEL": tags}
    extra["tiny-1.0.dist-info/RECORD"] = b""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (files | extra).items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content)
    return stream.getvalue()


def tar(entries: list[tuple[tarfile.TarInfo, bytes]], compression: str = "xz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:
        for entry, content in entries:
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def tar_file(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    return entry, content


def tar_link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


def debian(data: bytes, name: str = "data.tar.xz") -> bytes:
    """A Debian package around the tar file `data`."""
    package = b"!<arch>\n"
    for part, content in (("debian-binary", b"2.0\n"), ("control.tar.xz", tar([])), (name, data)):
        package += f"{part:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        package += content + b"\n" * (len(content) % 2)
    return package


def put(cache: Path, row: Source, package: bytes) -> Path:
    """Place a package in the cache by hand."""
    path = cache / "packages" / row.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(package)
    return path
