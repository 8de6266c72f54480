"""Descriptions of partitioners: what placed the rows of a file, so that files placed otherwise are not taken together.

Pure. FORMAT.md section 6.5 is the stored form. How a partitioner works, and what its parameters mean, is its own
business: here descriptions are stored and compared.
"""
# PURE

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import REPAIR_ADVICE, CorruptError, MismatchError


class PartitionerColumn(NamedTuple):
    """A column that rows are placed by: its name, and the type that its values count as."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class PartitionerDescription:
    """What placed the rows of a file.

    Attributes:
        kind: ``"hash"``, ``"range"``, ``"round_robin"``, or a name of the partitioner's own.
        columns: what rows are placed by, in order. Two types of one name place equal values alike.
        partition_count: P.
        parameters: whatever else decides where a row goes, as JSON.
        by_value: equal values of the columns always have the same partition.
    """

    kind: str
    columns: tuple[PartitionerColumn, ...]
    partition_count: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    by_value: bool = True

    def encode(self) -> bytes:
        """The description as it is stored: JSON in UTF-8, keys sorted, no spaces."""
        fields = {
            "kind": self.kind,
            "columns": [list(column) for column in self.columns],
            "partitions": self.partition_count,
            "parameters": dict(self.parameters),
            "by_value": self.by_value,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    @classmethod
    def decode(cls, stored: bytes) -> PartitionerDescription:
        """The description that ``encode`` made these bytes of.

        Raises:
            ValueError: the bytes are no description.
        """
        try:
            fields = json.loads(stored)
            description = cls(
                fields["kind"],
                tuple(PartitionerColumn(name, data_type) for name, data_type in fields["columns"]),
                fields["partitions"],
                fields["parameters"],
                fields["by_value"],
            )
            if description.encode() == stored:
                return description
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a partitioner's description ({type(error).__name__}: {error})") from error
        raise ValueError("not a partitioner's description as it is stored")

    def __str__(self) -> str:
        columns = ", ".join(f"{name} {data_type}" for name, data_type in self.columns)
        return f"{self.kind}({columns}) into {self.partition_count}"


def read_partitioner(stored: bytes, path: str) -> PartitionerDescription | None:
    """The description in a file, or None where there is none.

    Raises:
        CorruptError: the bytes are no description.
    """
    if not stored:
        return None
    try:
        return PartitionerDescription.decode(stored)
    except ValueError as error:
        raise CorruptError(f"index section: {error}", path=path, advice=REPAIR_ADVICE) from error


def check_description(description: object, partition_count: int) -> None:
    """TypeError unless a partitioner is described, or None; ValueError for another number of partitions."""
    if description is None:
        return
    if not isinstance(description, PartitionerDescription):
        raise TypeError(f"the partitioner must be a PartitionerDescription, not {type(description).__name__}")
    if description.partition_count != partition_count:
        raise ValueError(f"the partitioner has {description.partition_count} partitions, the file {partition_count}")


def describe_mixture(first: PartitionerDescription, second: PartitionerDescription) -> str | None:
    """Why rows that two partitioners placed must not lie in one file, in words; None where they may."""
    difference = _difference(first, second)
    if difference is None and (names := _names(first)) != _names(second):
        return f"columns {', '.join(names)} and {', '.join(_names(second))}"
    return difference


def describe_separation(first: PartitionerDescription | None, second: PartitionerDescription | None) -> str | None:
    """Why equal keys of two files need not have the same partition, in words; None where they do.

    The keys' columns may have other names in the second file.
    """
    if first is None or second is None:
        return "a file does not say how it was partitioned"
    for description in (first, second):
        if not description.by_value:
            return f"{description.kind} places rows by something else than their values"
    return _difference(first, second)


def check_partitioners(files: Iterable[tuple[str, bytes]]) -> None:
    """Check that the rows of all files were placed alike, as far as it is known.

    Args:
        files: the path and the stored description of each; empty where it is unknown.

    Raises:
        MismatchError: it names two files and their difference.
    """
    known = ((path, stored) for path, stored in files if stored)
    first_path, first = next(known, ("", b""))
    for path, stored in known:
        if stored == first:
            continue
        ours, theirs = read_partitioner(first, first_path), read_partitioner(stored, path)
        difference = describe_mixture(ours, theirs) if ours is not None and theirs is not None else None
        if difference is not None:
            raise MismatchError(
                f"another partitioner than {first_path}: {difference}",
                path=path,
                advice="mix_partitioners=True takes rows of different partitioners together",
            )


def _difference(first: PartitionerDescription, second: PartitionerDescription) -> str | None:
    """What, but for the names of columns, two partitioners differ in."""
    types = [", ".join(column.type for column in description.columns) for description in (first, second)]
    for noun, ours, theirs in (
        ("kinds", first.kind, second.kind),
        ("numbers of partitions", first.partition_count, second.partition_count),
        ("types of keys", *types),
    ):
        if ours != theirs:
            return f"{noun} {ours} and {theirs}"
    for name in sorted({*first.parameters, *second.parameters}):
        values = [description.parameters.get(name) for description in (first, second)]
        if values[0] != values[1]:
            return f"{name} {values[0]} and {values[1]}"
    return None


def _names(description: PartitionerDescription) -> list[str]:
    return [column.name for column in description.columns]
