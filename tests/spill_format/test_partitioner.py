"""Descriptions of partitioners: stored, read and compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spill_format import CorruptError, PartitionerDescription, SpillFile, SpillWriter
from spill_format.partitioner import PartitionerColumn, describe_mixture, describe_separation
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import FLAT_SCHEMA, flat_batch

BY_N = PartitionerDescription("hash", (PartitionerColumn("n", "bigint"),), 4, {"seed": 42})


def write(path: Path, partitioner: PartitionerDescription | None) -> Path:
    with SpillWriter(path, FLAT_SCHEMA, 4, partitioner=partitioner) as writer:
        writer.write(1, flat_batch(3))
    return path


@pytest.mark.parametrize("partitioner", [BY_N, None, dataclasses.replace(BY_N, columns=(PartitionerColumn("ö", "x"),))])
def test_a_file_says_what_partitioned_it(tmp_path: Path, partitioner: PartitionerDescription | None) -> None:
    with SpillFile(write(tmp_path / "a.arrow", partitioner)) as spill:
        assert spill.partitioner == partitioner


def test_a_description_is_said_in_words() -> None:
    assert str(BY_N) == "hash(n bigint) into 4"


@pytest.mark.parametrize(
    ("partitioner", "error", "words"),
    [
        (dataclasses.replace(BY_N, partition_count=5), ValueError, "the partitioner has 5 partitions, the file 4"),
        ("hash", TypeError, "the partitioner must be a PartitionerDescription, not str"),
        (dataclasses.replace(BY_N, parameters={"x": "x" * (1 << 28)}), ValueError, "schema and partitioner take"),
    ],
)
def test_what_describes_another_file_is_refused(
    tmp_path: Path, partitioner: object, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        write(tmp_path / "a.arrow", partitioner)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("replacement", "words"),
    [
        (b"[", r"not a partitioner's description \(|Expecting|Extra"),
        (b"{ ", "not a partitioner's description as it is stored|Expecting|Extra"),
    ],
)
def test_a_garbled_description_is_damage(tmp_path: Path, replacement: bytes, words: str) -> None:
    sound = Anatomy.of(write(tmp_path / "a.arrow", BY_N))
    (tmp_path / "a.arrow").write_bytes(sound.patched_index(sound.raw.index(b'{"by_value"', sound.index), replacement))
    with pytest.raises(CorruptError, match=words):
        SpillFile(tmp_path / "a.arrow")


@pytest.mark.parametrize("stored", [b"{}", b"[]", b"null", b"[" * 100_000, BY_N.encode() + b" "])
def test_what_is_no_description_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a partitioner's description (\(\w+|as it is stored)"):
        PartitionerDescription.decode(stored)


@pytest.mark.parametrize(
    ("changes", "mixture", "separation"),
    [
        ({}, None, None),
        ({"columns": (PartitionerColumn("m", "bigint"),)}, "columns n and m", None),
        ({"columns": (PartitionerColumn("n", "int"),)}, "types of keys bigint and int", "types of keys bigint and int"),
        ({"kind": "range"}, "kinds hash and range", "kinds hash and range"),
        ({"partition_count": 5}, "numbers of partitions 4 and 5", "numbers of partitions 4 and 5"),
        ({"parameters": {"seed": 43}}, "seed 42 and 43", "seed 42 and 43"),
        ({"parameters": {}}, "seed 42 and None", "seed 42 and None"),
        ({"by_value": False}, None, "hash places rows by something else than their values"),
    ],
)
def test_descriptions_differ_in_words(changes: dict[str, object], mixture: str | None, separation: str | None) -> None:
    other = dataclasses.replace(BY_N, **changes)  # type: ignore[arg-type]
    assert describe_mixture(BY_N, other) == mixture
    assert describe_separation(BY_N, other) == separation


def test_what_is_unknown_is_not_known_to_agree() -> None:
    assert describe_separation(BY_N, None) == "a file does not say how it was partitioned"
