"""The committed records of benchmarks are those that were measured, to the bit, or they are not read."""

from pathlib import Path

import pytest

from regrad.report.benchmarks import SUMS, complaint, read, sums, write

COMMITTED = Path(__file__).parents[2] / "results" / "reference" / "benchmarks"


def test_what_is_written_is_read_and_sha256sum_would_agree(tmp_path):
    write(tmp_path / "b.json", '{"a": 1}\n')
    write(tmp_path / "a.json", "{}\n")
    write(tmp_path / "b.json", '{"a": 2}\n')
    assert (read(tmp_path / "a.json"), read(tmp_path / "b.json")) == ({}, {"a": 2})
    # printf '{}\n' | sha256sum
    first = "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356  a.json"
    assert (tmp_path / SUMS).read_text().splitlines()[0] == first
    assert len((tmp_path / SUMS).read_text().splitlines()) == 2


def test_every_flipped_bit_and_every_truncation_is_named(tmp_path):
    path = tmp_path / "step-cpu.json"
    write(path, '{"seconds": [1.5, 2.5]}\n')
    whole = path.read_bytes()
    flips = [whole[:k] + bytes([whole[k] ^ 1 << bit]) + whole[k + 1 :] for k in range(len(whole)) for bit in range(8)]
    for damaged in [*flips, *(whole[:k] for k in range(len(whole)))]:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^step-cpu\.json: checksum mismatch; take it from git again"):
            read(path)


def test_a_record_that_no_script_wrote_is_not_read(tmp_path):
    write(tmp_path / "a.json", "{}\n")
    (tmp_path / "b.json").write_text("{}\n")
    with pytest.raises(ValueError, match=r"^b\.json: has no line in SHA256SUMS; allowed: records that a script"):
        read(tmp_path / "b.json")
    (tmp_path / SUMS).unlink()
    with pytest.raises(ValueError, match=r"^a\.json: has no line"):
        read(tmp_path / "a.json")


def test_the_committed_records_are_whole_and_no_line_is_left_over():
    records = sorted(COMMITTED.glob("*.json"))
    assert [complaint(path) for path in records] == [None] * len(records)
    assert sorted(sums(COMMITTED)) == [path.name for path in records]
