"""Each assertion: what it accepts, and the whole message with which it fails."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given

from shuffle import CallablePartitioner, HashPartitioner, MapWriter, RangePartitioner, RoundRobinPartitioner, merge
from shuffle.testing import assert_layout, assert_partitioned_by, assert_rows_conserved, assert_same_rows, write_spill
from shuffle.testing.strategies import tables


def numbered(*numbers: int) -> list[dict[str, int]]:
    return [{"n": number} for number in numbers]


@pytest.fixture
def a(spill_dir: Path) -> Path:
    return write_spill({0: numbered(1, 2), 2: numbered(3, 4, 4)}, spill_dir / "a.arrow", partition_count=4)


def failure(assertion: Callable[..., None], *arguments: Any, **options: Any) -> str:
    """The message of an assertion that fails, its directory left out."""
    with pytest.raises(AssertionError) as raised:
        assertion(*arguments, **options)
    directories = {path.parent for path in arguments if isinstance(path, Path)}
    directories |= {
        path.parent for paths in arguments if isinstance(paths, list) for path in paths if isinstance(path, Path)
    }
    message = str(raised.value)
    for directory in directories:
        message = message.replace(f"{directory}/", "")
    return message


class TestLayout:
    @pytest.mark.parametrize("row_counts", [{0: 2, 2: 3}, {0: 2, 1: 0, 2: 3, 3: 0}, [2, 0, 3, 0], (2, 0, 3, 0)])
    def test_partitions_that_are_not_named_are_empty(self, a: Path, row_counts: Any) -> None:
        assert_layout(a, row_counts)
        assert_layout(str(a), row_counts, partition_count=4)

    @pytest.mark.parametrize(
        ("row_counts", "message"),
        [
            ({0: 2, 2: 1}, "a.arrow: partition 2 has 3 rows, not 1\n  its first row too many, row 1: {'n': 4}"),
            ({0: 4, 2: 3}, "a.arrow: partition 0 has 2 rows, not 4\n  its last row, row 1: {'n': 2}"),
            ({0: 2, 1: 1, 2: 3}, "a.arrow: partition 1 has 0 rows, not 1"),
            ({0: 2}, "a.arrow: partition 2 has 3 rows, not 0\n  its first row too many, row 0: {'n': 3}"),
            (
                {0: 1, 1: 1, 7: 1},
                (
                    "a.arrow: partition 0 has 2 rows, not 1\n  its first row too many, row 1: {'n': 2}\n"
                    "  partition 1 has 0 rows, not 1\n  partition 2 has 3 rows, not 0\n"
                    "  partition 7 does not exist, of 4: 1 row expected"
                ),
            ),
            ([2, 0, 3], "a.arrow has 4 partitions, not 3"),
        ],
    )
    def test_the_first_partition_at_fault_is_shown(self, a: Path, row_counts: Any, message: str) -> None:
        assert failure(assert_layout, a, row_counts) == message

    def test_of_many_partitions_at_fault_five_more_are_shown(self, spill_dir: Path) -> None:
        path = write_spill({p: numbered(p) for p in range(20)}, spill_dir / "many.arrow")

        lines = failure(assert_layout, path, {}).splitlines()

        assert lines[0] == "many.arrow: partition 0 has 1 row, not 0"
        assert lines[2:] == [*(f"  partition {p} has 1 row, not 0" for p in range(1, 6)), "  and 14 more partitions"]

    def test_a_long_row_is_cut(self, spill_dir: Path) -> None:
        path = write_spill({0: [{"s": "x" * 1000}]}, spill_dir / "long.arrow")

        assert failure(assert_layout, path, {}).endswith(f"row 0: {{'s': '{'x' * 293}…")

    def test_the_count_of_partitions_can_be_asserted(self, a: Path) -> None:
        assert failure(assert_layout, a, {0: 2, 2: 3}, partition_count=5) == "a.arrow has 4 partitions, not 5"


class TestPartitionedBy:
    @pytest.mark.parametrize(
        "partitioner",
        [
            HashPartitioner("n", 7),
            RangePartitioner("n", [10, 50]),
            CallablePartitioner(lambda batch: [number % 3 for number in batch["n"].to_pylist()], 3),
        ],
    )
    def test_what_was_written_with_a_partitioner_is_partitioned_by_it(self, spill_dir: Path, partitioner: Any) -> None:
        table = pa.table({"n": range(100)})
        with MapWriter(spill_dir / "x.arrow", table.schema, partitioner) as mapper:
            mapper.write(table)

        assert_partitioned_by(spill_dir / "x.arrow", partitioner)

    def test_the_first_misplaced_row_is_shown(self, spill_dir: Path) -> None:
        batches = pa.table({"n": [1, 2, 5, 30, 3]}).to_batches(max_chunksize=2)
        path = write_spill({0: numbered(1), 1: batches}, spill_dir / "x.arrow", partition_count=3)

        assert failure(assert_partitioned_by, path, RangePartitioner("n", [2, 20])) == (
            "x.arrow: row 0 of partition 1 belongs to partition 0 by RangePartitioner(['n'], 2 bounds, 3 partitions)\n"
            "  {'n': 1}\n"
            "  misplaced in this partition: 3 of 5 rows"
        )

    def test_a_row_of_a_later_batch_has_its_number_in_the_partition(self, spill_dir: Path) -> None:
        batches = pa.table({"n": [7, 7, 7, 30]}).to_batches(max_chunksize=2)
        path = write_spill({1: batches}, spill_dir / "x.arrow", partition_count=3)

        message = failure(assert_partitioned_by, path, RangePartitioner("n", [2, 20]))

        assert message.startswith("x.arrow: row 3 of partition 1 belongs to partition 2 by ")

    def test_the_count_of_partitions_is_the_partitioners(self, a: Path) -> None:
        assert failure(assert_partitioned_by, a, HashPartitioner("n", 5)) == (
            "a.arrow has 4 partitions, HashPartitioner(['n'], 5) has 5"
        )

    def test_a_column_that_is_not_there_is_no_failed_assertion(self, a: Path) -> None:
        with pytest.raises(ValueError, match="no column 'x' to partition by"):
            assert_partitioned_by(a, HashPartitioner("x", 4))

    def test_turns_leave_no_trace(self, a: Path) -> None:
        with pytest.raises(TypeError, match="places rows by their turn, which a file does not record"):
            assert_partitioned_by(a, RoundRobinPartitioner(4))


class TestSameRows:
    def test_files_tables_and_plain_values_are_compared(self, a: Path, spill_dir: Path) -> None:
        plain = {0: numbered(1, 2), 2: numbered(3, 4, 4)}
        again = write_spill(plain, spill_dir / "b.arrow", partition_count=4, compression="lz4")
        assert_same_rows(a, again)
        assert_same_rows(a, plain)
        assert_same_rows(plain, a)
        assert_same_rows(plain, plain)
        assert_same_rows(pa.table({"n": [1]}), pa.record_batch({"n": [1]}))

    def test_any_order_is_within_a_partition(self, a: Path) -> None:
        assert_same_rows(a, {0: numbered(2, 1), 2: numbered(4, 3, 4)}, any_order=True)
        assert "partition 0" in failure(assert_same_rows, a, {0: numbered(1, 3), 2: numbered(2, 4, 4)}, any_order=True)

    @pytest.mark.parametrize(
        ("other", "options", "message"),
        [
            (
                {0: numbered(1, 2), 2: numbered(3, 5, 4)},
                {},
                (
                    "a.arrow and the second differ first in partition 2, row 1\n"
                    "  a.arrow: {'n': 4}\n  the second: {'n': 5}"
                ),
            ),
            (
                {0: numbered(1, 2), 2: numbered(3, 4)},
                {},
                (
                    "a.arrow and the second differ first in partition 2, row 2\n"
                    "  a.arrow: {'n': 4}\n  the second: no such row: there are 2"
                ),
            ),
            (
                {0: numbered(1, 2), 1: numbered(9), 2: numbered(3, 4, 4)},
                {},
                (
                    "a.arrow and the second differ first in partition 1, row 0\n"
                    "  a.arrow: no such row: there are 0\n  the second: {'n': 9}"
                ),
            ),
            (
                {0: numbered(2, 1), 2: numbered(4, 3, 3)},
                {"any_order": True},
                (
                    "a.arrow and the second differ first in partition 2, row 1 of a.arrow\n  {'n': 4}\n"
                    "  twice in a.arrow, once in the second"
                ),
            ),
            (
                {0: numbered(2, 1), 2: numbered(4, 3, 4, 6)},
                {"any_order": True},
                (
                    "a.arrow and the second differ first in partition 2, row 3 of the second\n  {'n': 6}\n"
                    "  once in the second, not at all in a.arrow"
                ),
            ),
            ({5: numbered(1)}, {}, "a.arrow has 4 partitions, the second has 6 partitions"),
            (pa.table({"n": [1]}), {}, "a.arrow has 4 partitions, the second has 1 partition"),
            (
                pa.table({"m": [1]}),
                {},
                "the second has another schema than a.arrow: no column n and a further column m",
            ),
            (pa.table({"n": [1.0]}), {}, "the second has another schema than a.arrow: column n is double, not int64"),
        ],
    )
    def test_the_first_difference_is_shown(self, a: Path, other: Any, options: dict[str, Any], message: str) -> None:
        assert failure(assert_same_rows, a, other, **options) == message

    def test_of_tables_no_partition_is_named(self) -> None:
        assert failure(assert_same_rows, pa.table({"n": [1, 2]}), pa.table({"n": [1, 3]})) == (
            "the first and the second differ first in row 1\n  the first: {'n': 2}\n  the second: {'n': 3}"
        )

    def test_batches_metadata_and_the_order_of_dictionaries_do_not_count(self) -> None:
        words = pa.array(["a", "b", "a"]).dictionary_encode()
        others = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1], pa.int32()), pa.array(["b", "a"]))
        chunks = pa.Table.from_batches(pa.table({"w": words}).to_batches(max_chunksize=1))

        assert_same_rows(chunks, pa.table({"w": others}).replace_schema_metadata({"k": "v"}))

    @pytest.mark.parametrize(
        ("values", "data_type"),
        [
            ([float("nan"), 0.5], pa.float64()),
            ([[float("nan")], None, []], pa.list_(pa.float64())),
            ([{"x": [1, None]}, None], pa.struct([("x", pa.list_(pa.int8()))])),
            ([[(1, "a")], []], pa.map_(pa.int8(), pa.string())),
            ([1, 1_000_000_001], pa.timestamp("ns")),
            ([[1, 1_000_000_001]], pa.list_(pa.duration("ns"))),
            ([dt.date(2024, 5, 6)], pa.date64()),
            (["word"], pa.string_view()),
        ],
    )
    @pytest.mark.parametrize("any_order", [False, True])
    def test_values_of_every_kind_are_equal_to_themselves_alone(
        self, values: list[Any], data_type: pa.DataType, any_order: bool
    ) -> None:
        table, again = (pa.table({"x": pa.array(values, data_type)}) for _ in range(2))
        assert_same_rows(table, again, any_order=any_order)
        other = pa.table({"x": pa.array([*values[:-1], None], data_type)})
        if values[-1] is not None:
            assert "differ first in row" in failure(assert_same_rows, table, other, any_order=any_order)

    def test_a_nanosecond_can_be_told(self) -> None:
        one, other = (pa.table({"t": pa.array([number], pa.timestamp("ns"))}) for number in (1, 2))

        assert "000000002" in failure(assert_same_rows, one, other)

    @given(table=tables())
    def test_every_table_has_the_rows_of_its_own_reverse_in_any_order(self, table: pa.Table) -> None:
        rows = [table.slice(row, 1) for row in reversed(range(table.num_rows))]
        backwards = pa.concat_tables([table.slice(0, 0), *rows])

        assert_same_rows(table, backwards, any_order=True)
        assert_rows_conserved(table, rows or [backwards])

    def test_what_is_neither_file_nor_rows_is_refused(self) -> None:
        with pytest.raises(
            TypeError, match=r"the first is neither a path nor a table nor \{partition: rows\}, but int"
        ):
            assert_same_rows(5, pa.table({"n": [1]}))


class TestRowsConserved:
    def test_a_merge_conserves_rows(self, spill_dir: Path, a: Path) -> None:
        merge([a, a], spill_dir / "merged.arrow")

        assert_rows_conserved([a, a], spill_dir / "merged.arrow")

    def test_rows_may_change_their_partition_and_order(self, a: Path) -> None:
        assert_rows_conserved({0: numbered(4, 3, 2, 1, 4)}, a)
        assert_rows_conserved([pa.table({"n": [4, 3]}), {0: numbered(1)}], [{0: numbered(3, 4)}, {5: numbered(1)}])

    @pytest.mark.parametrize(
        ("outputs", "message"),
        [
            (
                {0: numbered(1, 2, 3, 4)},
                (
                    "1 row lost; the first lost is in a.arrow, partition 2, row 1\n  {'n': 4}\n"
                    "  twice in the inputs, once in the outputs"
                ),
            ),
            (
                {0: numbered(1, 2), 2: numbered(3, 4, 4, 9)},
                (
                    "1 row added; the first added is in output 0, partition 2, row 3\n  {'n': 9}\n"
                    "  not at all in the inputs, once in the outputs"
                ),
            ),
            (
                {0: numbered(1, 1, 1)},
                (
                    "4 rows lost and 2 rows added; the first lost is in a.arrow, partition 0, row 1\n  {'n': 2}\n"
                    "  once in the inputs, not at all in the outputs"
                ),
            ),
            (
                [pa.table({"n": [1, 2, 3, 4]}), pa.table({"n": [4, 1, 1]})],
                (
                    "2 rows added; the first added is in output 0, row 0\n  {'n': 1}\n"
                    "  once in the inputs, 3 times in the outputs"
                ),
            ),
            ([pa.table({"m": [1]})], "output 0 has another schema than a.arrow: no column n and a further column m"),
        ],
    )
    def test_the_first_row_lost_or_added_is_shown(self, a: Path, outputs: Any, message: str) -> None:
        assert failure(assert_rows_conserved, a, outputs) == message

    @pytest.mark.parametrize("nothing", [[], iter([]), set()], ids=["list", "iterator", "set"])
    def test_nothing_to_compare_is_refused(self, spill_dir: Path, nothing: Any) -> None:
        path = write_spill({0: [{"n": 1}]}, spill_dir / "a.arrow")
        for inputs, outputs, side in (([], nothing, "in"), ([path], nothing, "out")):
            with pytest.raises(ValueError, match=f"there are no {side}puts to compare"):
                assert_rows_conserved(inputs, outputs)


@pytest.mark.parametrize("counts", [{0: 1, 7: 0}, {0: 1, -1: 0}, [1, 0]])
def test_a_layout_with_partitions_that_do_not_exist_is_refused(spill_dir: Path, counts: Any) -> None:
    path = write_spill({0: [{"n": 1}]}, spill_dir / "a.arrow")
    with pytest.raises(AssertionError, match=r"does not exist, of 1|has 1 partition, not 2"):
        assert_layout(path, counts)


@pytest.mark.parametrize("counts", [{0: 1.0}, {"0": 1}, {0: True}])
def test_a_layout_is_counted_in_integers(spill_dir: Path, counts: Any) -> None:
    path = write_spill({0: [{"n": 1}]}, spill_dir / "a.arrow")
    with pytest.raises(TypeError, match=r"rows are counted as \{partition: rows\}, in integers"):
        assert_layout(path, counts)
