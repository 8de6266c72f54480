"""Whether a column holds the values that it was given: Arrow cuts 1.9 to 1, and a moment to its day, in silence."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_NUMBERS = (int, float, decimal.Decimal)


def first_changed(values: Sequence[Any], array: pa.Array) -> int | None:
    """The row of the first value that ``array`` does not hold as it was given; None where it holds all."""
    try:
        held = array.to_pylist()
    except ValueError:  # nanoseconds, which Python's values cannot have either
        return None
    return next((row for row, pair in enumerate(zip(values, held, strict=True)) if not _is_held(*pair)), None)


def first_null(array: pa.Array, field: pa.Field) -> int | None:
    """The row of the first null in a field, or in a field of its type, that takes none; None where there is none."""
    if not field.nullable and array.null_count:
        return int(array.is_null().index(True).as_py())
    if not pa.types.is_struct(field.type):
        return None
    below = (first_null(array.field(number), child) for number, child in enumerate(field.type))
    present = [row for row in below if row is not None and array[row].is_valid]
    return min(present, default=None)


def survives(array: pa.Array, cast: pa.Array) -> bool:
    """Whether an array of another type holds the same values; rounding to fewer binary digits is no change."""
    if pa.types.is_floating(array.type) and pa.types.is_floating(cast.type):
        return True
    try:
        return bool(cast.cast(array.type).equals(array))
    except pa.ArrowException:  # there is no way back to compare
        return not pa.types.is_timestamp(array.type) and not pa.types.is_boolean(cast.type)


def _is_held(given: Any, held: Any) -> bool:
    if isinstance(given, pa.Scalar | np.generic):
        given = given.as_py() if isinstance(given, pa.Scalar) else given.item()
    if isinstance(held, list):
        return _are_held(given, held)
    if isinstance(held, dict):
        return _fields_are_held(given, held)
    if isinstance(given, _NUMBERS) and isinstance(held, _NUMBERS):
        if isinstance(given, float) and isinstance(held, float):
            return given != given or abs(held) != float("inf") or given == held  # noqa: PLR0124 -- what NaN is
        return given == held
    if isinstance(held, dt.date) and isinstance(given, dt.date):
        return _is_same_moment(given, held)
    is_time = isinstance(given, dt.time | dt.timedelta) and type(held) is type(given)
    return given == held if is_time else True  # Arrow refuses other types, or takes numbers as units


def _is_same_moment(given: dt.date, held: dt.date) -> bool:
    if not isinstance(given, dt.datetime) or not isinstance(held, dt.datetime):
        return type(given) is type(held) and given == held
    if given.tzinfo is None and held.tzinfo is not None:
        held = held.astimezone(dt.UTC).replace(tzinfo=None)
    return given == held


def _are_held(given: Any, held: list[Any]) -> bool:
    items = list(given.items() if isinstance(given, Mapping) else given)
    return len(items) == len(held) and all(
        all(map(_is_held, one, other)) if isinstance(other, tuple) else _is_held(one, other)
        for one, other in zip(items, held, strict=True)
    )


def _fields_are_held(given: Any, held: dict[str, Any]) -> bool:
    if not isinstance(given, Mapping):
        return all(map(_is_held, given, held.values()))
    return not given.keys() - held.keys() and all(
        _is_held(given[name], value) for name, value in held.items() if name in given
    )
