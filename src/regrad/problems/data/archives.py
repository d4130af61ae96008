"""Reading allow-listed members of wheels, Debian packages and tar files into memory.

Nothing is ever extracted: no path from an archive reaches the file system. An archive with an absolute or
climbing path, a link where a file is expected, a repeated name or a member of another size is refused whole.
"""

import hashlib
import io
import lzma
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from regrad.problems.data.errors import DataError
from regrad.problems.data.sources import Member, Source

MAX_MEMBERS = 20_000
MAX_UNPACKED = 2**31
LINK = 0o120000
BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError,
          tarfile.TarError, zipfile.BadZipFile)


def read_members(source: Source, path: Path) -> dict[str, bytes]:
    """The bytes of every allow-listed member of the package at `path`, verified.

    Returns:
        Member path as in the table -> its bytes, of the recorded size (and checksum, where one is recorded).

    Raises:
        DataError: The archive is damaged or hostile, or lacks a member.
    """
    wanted = {member.path: member for member in source.members}
    reader = _zip_members if path.suffix in (".whl", ".zip") else _tar_members
    try:
        found = reader(path, wanted)
    except BROKEN as error:
        raise DataError(f"{source.name}: {path} cannot be read ({error})") from error
    for member in source.members:
        _check(source, member, found.get(member.path))
    return found


def _check(source: Source, member: Member, content: bytes | None) -> None:
    if content is None:
        raise DataError(f"{source.name}: member {member.path} is missing")
    if len(content) != member.size:
        raise DataError(f"{source.name}: member {member.path} has {len(content)} bytes, not {member.size}")
    if member.sha256 and hashlib.sha256(content).hexdigest() != member.sha256:
        raise DataError(f"{source.name}: member {member.path} fails its sha256 check")


def only_member(content: bytes, name: str, size: int) -> bytes:
    """The member `name` of the zip file `content`, unpacked to exactly `size` bytes, or `DataError`."""
    try:
        found = _zip_members(io.BytesIO(content), {name: Member(name, size)})
    except BROKEN as error:
        raise DataError(f"{name}: the zip file around it cannot be read ({error})") from error
    if name not in found:
        raise DataError(f"{name}: missing in the zip file around it")
    return found[name]


def _refuse_name(name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"hostile path {name!r}")


def _bounded(stream: IO[bytes], name: str, declared: int, member: Member) -> bytes:
    """Read one member, believing neither its header nor its compressed stream."""
    content = stream.read(member.size + 1) if declared == member.size else b""
    if len(content) != member.size:
        raise ValueError(f"{name!r} unpacks to {max(declared, len(content))} bytes instead of {member.size}")
    return content


def _zip_members(path: Path | IO[bytes], wanted: dict[str, Member]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_MEMBERS:
            raise ValueError(f"{len(entries)} entries, more than {MAX_MEMBERS}")
        for entry in entries:
            _refuse_name(entry.filename)
            if entry.filename not in wanted:
                continue
            if entry.filename in found or (entry.external_attr >> 16) & 0o170000 == LINK:
                raise ValueError(f"{entry.filename!r} is a link or repeated")
            with archive.open(entry) as stream:
                member = wanted[entry.filename]
                found[entry.filename] = _bounded(stream, entry.filename, entry.file_size, member)
    return found


def _tar_members(path: Path, wanted: dict[str, Member]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    unpacked = 0
    with _tar_stream(path) as archive:
        for count, entry in enumerate(archive):
            name = entry.name.removeprefix("./")
            _refuse_name(name)
            unpacked += max(entry.size, 0)
            if count >= MAX_MEMBERS or unpacked > MAX_UNPACKED:
                raise ValueError(f"more than {MAX_MEMBERS} entries or {MAX_UNPACKED} bytes unpacked")
            if name not in wanted:
                continue
            stream = archive.extractfile(entry) if entry.isreg() else None
            if stream is None or name in found:
                raise ValueError(f"{name!r} is a link or repeated")
            found[name] = _bounded(stream, name, entry.size, wanted[name])
    return found


@contextmanager
def _tar_stream(path: Path) -> Iterator[tarfile.TarFile]:
    """The tar inside a Debian package, or the tar file itself, read forwards only."""
    if path.suffix != ".deb":
        with tarfile.open(path, "r|*") as archive:
            yield archive
        return
    name, content = _debian_data(path)
    if name.endswith((".xz", ".gz", ".tar")):
        with tarfile.open(fileobj=io.BytesIO(content), mode="r|*") as archive:
            yield archive
        return
    # Python 3.11 cannot read zstd, which Ubuntu's packages use; dpkg-deb can, to a pipe.
    if shutil.which("dpkg-deb") is None:
        raise ValueError(f"{name} needs the program dpkg-deb")
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(path)], stdout=subprocess.PIPE) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                yield archive
        finally:
            process.kill()


def _debian_data(path: Path) -> tuple[str, bytes]:
    """Name and bytes of `data.tar.*` in a Debian package, which is an `ar` archive with 60-byte headers."""
    content = path.read_bytes()
    if not content.startswith(b"!<arch>\n"):
        raise ValueError("not a Debian package")
    at = 8
    while at + 60 <= len(content):
        name, size = content[at : at + 16].decode("ascii").strip(" /"), int(content[at + 48 : at + 58])
        if size < 0 or at + 60 + size > len(content):
            raise ValueError("the Debian package is cut short")
        if name.startswith("data.tar"):
            return name, content[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise ValueError("the Debian package has no data.tar")
