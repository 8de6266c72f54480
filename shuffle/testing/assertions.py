"""Assertions about partitioned files; each fails with a message that shows the first partition and row at fault.

Functions that raise say ``__tracebackhide__``, so that pytest shows the line of the test and not one of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from os import PathLike, fspath
from typing import Any

import numpy as np
import pyarrow as pa

from shuffle.partitioners import Partitioner, RoundRobinPartitioner
from shuffle.testing.contents import Comparable, Contents, Key, Place, contents_of, is_plain, row_keys
from shuffle.testing.rows import describe_row
from spill_format import SpillFile
from spill_format.schemas import describe_difference

_OTHERS_SHOWN = 5


def assert_layout(
    path: str | PathLike[str], row_counts: Mapping[int, int] | Sequence[int], *, partition_count: int | None = None
) -> None:
    """Assert how many rows each partition of a file has.

    Args:
        path: the file.
        row_counts: the rows of each partition that has some, all others being empty; or a sequence of all P.
        partition_count: P, if it is to be asserted beside a mapping.

    Raises:
        AssertionError: partition count or rows differ, or a partition named does not exist. It shows the first surplus
            row of the first partition at fault, or its last one where rows are missing.
        TypeError: a partition or a count is no integer.
        SpillError, OSError: the file cannot be read.
    """
    __tracebackhide__ = True
    with SpillFile(path) as spill:
        if not isinstance(row_counts, Mapping):
            partition_count = len(row_counts)
            row_counts = dict(enumerate(row_counts))
        numbers: Iterator[Any] = chain.from_iterable(row_counts.items())
        for number in numbers:
            if not isinstance(number, int | np.integer) or isinstance(number, bool):
                raise TypeError(f"rows are counted as {{partition: rows}}, in integers, not {number!r}")
        if partition_count is not None and spill.partition_count != partition_count:
            raise AssertionError(f"{fspath(path)} has {_partitions(spill.partition_count)}, not {partition_count}")
        assert spill.layout.rows is not None  # an index always has them
        actual = dict(enumerate(spill.layout.rows.tolist()))
        wrong = [p for p in sorted(actual.keys() | row_counts) if actual.get(p) != row_counts.get(p, 0)]
        if wrong:
            raise AssertionError(_layout_message(spill, wrong, row_counts))


def _layout_message(spill: SpillFile, wrong: Sequence[int], row_counts: Mapping[int, int]) -> str:
    assert spill.layout.rows is not None
    actual = spill.layout.rows.tolist()

    def counts(partition: int) -> str:
        expected = row_counts.get(partition, 0)
        if not 0 <= partition < len(actual):
            return f"does not exist, of {len(actual)}: {_rows(expected)} expected"
        return f"has {_rows(actual[partition])}, not {expected}"

    first = wrong[0]
    lines = [f"{fspath(spill.path)}: partition {first} {counts(first)}"]
    if 0 <= first < len(actual) and actual[first]:
        number = min(row_counts.get(first, 0), actual[first] - 1)
        what = "first row too many" if actual[first] > row_counts.get(first, 0) else "last row"
        lines.append(f"  its {what}, row {number}: {describe_row(spill.read(first), number)}")
    lines += [f"  partition {partition} {counts(partition)}" for partition in wrong[1 : _OTHERS_SHOWN + 1]]
    if len(wrong) > _OTHERS_SHOWN + 1:
        lines.append(f"  and {len(wrong) - _OTHERS_SHOWN - 1} more partitions")
    return "\n".join(lines)


def assert_partitioned_by(path: str | PathLike[str], partitioner: Partitioner) -> None:
    """Assert that each row of a file lies in the partition where a partitioner places it.

    Raises:
        AssertionError: partition counts differ, or a row lies elsewhere; it shows the first such row.
        TypeError: the partitioner places rows by their turn, which no file records.
        ValueError: the partitioner cannot place rows of this schema.
        SpillError, OSError: the file cannot be read.
    """
    __tracebackhide__ = True
    if isinstance(partitioner, RoundRobinPartitioner):
        raise TypeError(f"{partitioner!r} places rows by their turn, which a file does not record")
    with SpillFile(path) as spill:
        if spill.partition_count != partitioner.partition_count:
            raise AssertionError(
                f"{fspath(path)} has {_partitions(spill.partition_count)}, "
                f"{partitioner!r} has {partitioner.partition_count}"
            )
        partitioner.check_schema(spill.schema)
        for partition in range(spill.partition_count):
            _assert_partition_by(spill, partition, partitioner)


def _assert_partition_by(spill: SpillFile, partition: int, partitioner: Partitioner) -> None:
    __tracebackhide__ = True
    table = spill.read(partition)
    if table.num_rows == 0:
        return
    numbers = np.concatenate([partitioner.partition_numbers(batch) for batch in table.to_batches()])
    (misplaced,) = np.nonzero(numbers != partition)
    if len(misplaced):
        row = int(misplaced[0])
        raise AssertionError(
            f"{fspath(spill.path)}: row {row} of partition {partition} belongs to partition {int(numbers[row])} "
            f"by {partitioner!r}\n"
            f"  {describe_row(table, row)}\n"
            f"  misplaced in this partition: {len(misplaced)} of {_rows(table.num_rows)}"
        )


def assert_same_rows(first: Comparable, second: Comparable, *, any_order: bool = False) -> None:
    """Assert that the partitions of two files hold the same rows.

    Args:
        first, second: each a partitioned file by its path, a table or record batch (one partition), or
            ``{partition: rows}`` as for ``write_spill``, in the other's schema. Beside a file, partitions that
            ``{partition: rows}`` does not name are empty.
        any_order: rows may come in any order within their partition, each as often as in the other.

    Values are equal where Arrow says so, and NaN equals NaN. Batches, metadata and dictionaries' order do not count.

    Raises:
        AssertionError: partition counts, schemas or rows differ; it shows the first row that does.
        SpillError, OSError: a file cannot be read.
    """
    __tracebackhide__ = True
    one, other = _contents_of_both(first, second)
    _assert_same_schema([one, other])
    if len(one.tables) != len(other.tables):
        raise AssertionError(
            f"{one.name} has {_partitions(len(one.tables))}, {other.name} has {_partitions(len(other.tables))}"
        )
    for partition, (table, other_table) in enumerate(zip(one.tables, other.tables, strict=True)):
        if table.equals(other_table):
            continue
        if any_order:
            _assert_same_multiset(one, other, partition)
        else:
            _assert_same_sequence(one, other, partition)


def _contents_of_both(first: Comparable, second: Comparable) -> tuple[Contents, Contents]:
    if is_plain(first) and not is_plain(second):
        other, one = _contents_of_both(second, first)
        return one, other
    one = contents_of(first, "the first")
    other = contents_of(second, "the second", one.schema)
    if is_plain(second) and len(other.tables) < len(one.tables):
        empty = other.schema.empty_table()
        tables = other.tables + (empty,) * (len(one.tables) - len(other.tables))
        other = Contents(other.name, other.schema, tables)
    return one, other


def _assert_same_sequence(one: Contents, other: Contents, partition: int) -> None:
    __tracebackhide__ = True
    table, other_table = one.tables[partition], other.tables[partition]
    keys, other_keys = list(row_keys(table)), list(row_keys(other_table))
    if keys == other_keys:
        return
    common = min(len(keys), len(other_keys))
    row = next((row for row in range(common) if keys[row] != other_keys[row]), common)
    lines = [f"{one.name} and {other.name} differ first in {_place(one, other, partition)}row {row}"]
    for contents, rows in ((one, table), (other, other_table)):
        shown = describe_row(rows, row) if row < rows.num_rows else f"no such row: there are {rows.num_rows}"
        lines.append(f"  {contents.name}: {shown}")
    raise AssertionError("\n".join(lines))


def _assert_same_multiset(one: Contents, other: Contents, partition: int) -> None:
    __tracebackhide__ = True
    counts = Counter(row_keys(one.tables[partition]))
    other_counts = Counter(row_keys(other.tables[partition]))
    if counts == other_counts:
        return
    # The row is shown where it is there too often.
    for having, lacking, more, fewer in ((one, other, counts, other_counts), (other, one, other_counts, counts)):
        table = having.tables[partition]
        for row, key in enumerate(row_keys(table)):
            if more[key] > fewer[key]:
                raise AssertionError(
                    f"{one.name} and {other.name} differ first in {_place(one, other, partition)}"
                    f"row {row} of {having.name}\n"
                    f"  {describe_row(table, row)}\n"
                    f"  {_times(more[key])} in {having.name}, {_times(fewer[key])} in {lacking.name}"
                )


def _place(one: Contents, other: Contents, partition: int) -> str:
    return f"partition {partition}, " if one.is_partitioned or other.is_partitioned else ""


def assert_rows_conserved(
    inputs: Comparable | Iterable[Comparable], outputs: Comparable | Iterable[Comparable]
) -> None:
    """Assert that the outputs together hold the rows of the inputs, each as often, in any partition and order.

    Args:
        inputs, outputs: one or several of what ``assert_same_rows`` compares.

    Raises:
        AssertionError: schemas differ, or rows were lost or added; it shows the first such row and where it is.
        ValueError: there are no inputs or no outputs: a generator was exhausted, or a pattern matched nothing.
        SpillError, OSError: a file cannot be read.
    """
    __tracebackhide__ = True
    before, after = _contents_of_all(inputs, outputs)
    _assert_same_schema(before + after)
    counts, counts_after = _count_rows(before), _count_rows(after)
    if dict.__eq__(counts, counts_after):  # a Counter's own is a loop in Python, over millions of rows
        return
    lost, added = (counts - counts_after).total(), (counts_after - counts).total()
    happened = " and ".join(f"{_rows(count)} {what}" for count, what in ((lost, "lost"), (added, "added")) if count)
    if lost:
        place, key = _first_surplus(before, counts - counts_after)
    else:
        place, key = _first_surplus(after, counts_after - counts)
    raise AssertionError(
        f"{happened}; the first {'lost' if lost else 'added'} is in {place}\n"
        f"  {describe_row(place.contents.tables[place.partition], place.row)}\n"
        f"  {_times(counts[key])} in the inputs, {_times(counts_after[key])} in the outputs"
    )


def _contents_of_all(
    inputs: Comparable | Iterable[Comparable], outputs: Comparable | Iterable[Comparable]
) -> tuple[list[Contents], list[Contents]]:
    """Plain values take the schema of what has one."""
    sides = [("input", _several(inputs)), ("output", _several(outputs))]
    found = {
        (side, number): contents_of(what, f"{side} {number}")
        for side, several in sides
        for number, what in enumerate(several)
        if not is_plain(what)
    }
    for side, several in sides:
        if not several:
            raise ValueError(f"there are no {side}s to compare: a generator is exhausted, or a pattern matched nothing")
    schema = next((contents.schema for contents in found.values()), None)
    before, after = (
        [
            found.get((side, number)) or contents_of(what, f"{side} {number}", schema)
            for number, what in enumerate(several)
        ]
        for side, several in sides
    )
    return before, after


def _several(what: Any) -> list[Comparable]:
    if isinstance(what, (str, PathLike, pa.Table, pa.RecordBatch, Mapping)):
        return [what]
    return list(what)


def _count_rows(all_contents: Iterable[Contents]) -> Counter[Key]:
    return Counter(chain.from_iterable(row_keys(table) for contents in all_contents for table in contents.tables))


def _first_surplus(all_contents: Iterable[Contents], surplus: Counter[Key]) -> tuple[Place, Key]:
    return next((place, key) for contents in all_contents for place, key in contents.keyed_rows() if key in surplus)


def _assert_same_schema(all_contents: Sequence[Contents]) -> None:
    __tracebackhide__ = True
    for contents in all_contents[1:]:
        if (difference := describe_difference(all_contents[0].schema, contents.schema)) is not None:
            raise AssertionError(f"{contents.name} has another schema than {all_contents[0].name}: {difference}")


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _partitions(count: int) -> str:
    return f"{count} partition" if count == 1 else f"{count} partitions"


def _times(count: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(count, f"{count} times")
