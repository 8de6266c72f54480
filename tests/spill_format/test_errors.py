"""Errors name what they know, and survive a process pool."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from spill_format import (
    ChecksumError,
    CorruptError,
    MismatchError,
    NotPartitionedError,
    PositionError,
    SpillError,
    TargetExistsError,
    TruncatedError,
    VersionError,
)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "magic"),
        ({"path": Path("a.arrow")}, "a.arrow: magic"),
        ({"path": "a.arrow", "partition": 0, "offset": 0}, "a.arrow, partition 0, offset 0: magic"),
        ({"expected": 0, "actual": 1}, "magic: expected 0, found 1"),
        ({"partition": 3, "advice": "look again"}, "partition 3: magic; look again"),
    ],
)
def test_the_message_names_all_that_is_known(fields: dict[str, object], sentence: str) -> None:
    assert str(SpillError("magic", **fields)) == sentence  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (CorruptError, SpillError),
        (TruncatedError, CorruptError),
        (ChecksumError, CorruptError),
        (VersionError, SpillError),
        (NotPartitionedError, SpillError),
        (MismatchError, SpillError),
        (PositionError, SpillError),
        (TargetExistsError, SpillError),
    ],
)
def test_kinds_and_their_pickling(kind: type[SpillError], parent: type[SpillError]) -> None:
    assert kind.__bases__ == (parent,)
    error = kind("magic", path="a.arrow", partition=1, offset=2, expected=3, actual=4, advice="look")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
