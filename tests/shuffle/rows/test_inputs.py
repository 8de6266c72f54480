"""Rows of files as one stream: columns, conditions, directories, and how far reading is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from shuffle.rows.errors import InputError
from shuffle.rows.inputs import Inputs
from tests.helpers.input_files import INPUT_WRITERS

COUNT = 90_000
ROWS = pa.table({"key": pa.array(range(COUNT), pa.int64()), "text": [f"row {n % 100}" for n in range(COUNT)]})


each_format = pytest.mark.parametrize("suffix", INPUT_WRITERS)


def read(inputs: Inputs, columns: list[str] | None = None, parts: list[object] | None = None) -> tuple[pa.Table, int]:
    """All rows, and how far progress was told to be."""
    progress: list[int] = []
    batches = list(inputs.batches(inputs.parts if parts is None else parts, columns, progress.append, 1 << 30))
    return pa.Table.from_batches(batches, batches[0].schema) if batches else pa.table({}), sum(progress)


@pytest.fixture(scope="module", params=INPUT_WRITERS)
def two_files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of two files that have the rows; tests only read."""
    directory = tmp_path_factory.mktemp("inputs")
    INPUT_WRITERS[request.param](ROWS[:70_000], directory / f"1{request.param}")
    INPUT_WRITERS[request.param](ROWS[70_000:], directory / f"2{request.param}")
    return directory


@pytest.mark.parametrize(
    ("columns", "condition", "numbers"),
    [
        (None, None, range(COUNT)),
        (["text", "key"], None, range(COUNT)),
        (["text"], "key >= 69999 and key < 70001", [69_999, 70_000]),
        (["key"], "text = 'row 7'", range(7, COUNT, 100)),
        (None, "key < 10 or text is null", range(10)),
        (None, "key < 0", []),
    ],
    ids=["all", "other order", "across files", "another column", "the first", "none"],
)
def test_rows_come_in_order_whatever_is_asked_for(
    two_files: Path, columns: list[str] | None, condition: str | None, numbers: Sequence[int]
) -> None:
    inputs = Inputs([str(two_files)], condition)
    rows, progress = read(inputs, columns)
    expected = ROWS.take(pa.array(numbers, pa.int64())).select(columns or ROWS.column_names)
    assert (rows == expected) if numbers else (rows.num_rows == 0)
    total = inputs.row_count(inputs.parts)
    assert total == (COUNT if inputs.files[0].endswith((".parquet", ".arrow")) else None)
    assert progress == COUNT


@each_format
def test_directories_add_columns(tmp_path: Path, suffix: str) -> None:
    names = [(year, day) for year in ("2023", "__HIVE_DEFAULT_PARTITION__") for day in ("2024-01-31", "2024-02-29")]
    for number, (year, day) in enumerate(names):
        directory = tmp_path / f"year={year}" / f"the%20day={day}"
        directory.mkdir(parents=True)
        INPUT_WRITERS[suffix](ROWS[number * 100 : number * 100 + 100], directory / f"rows{suffix}")
    inputs = Inputs([str(tmp_path)])
    assert inputs.schema == pa.schema([*ROWS.schema, ("year", pa.int32()), ("the day", pa.date32())])
    rows, _ = read(inputs)
    assert rows.schema == inputs.schema
    assert rows.select(["key", "text"]) == ROWS[:400]
    assert rows["year"].to_pylist() == [2023] * 200 + [None] * 200
    assert rows["the day"].to_pylist() == ([date(2024, 1, 31)] * 100 + [date(2024, 2, 29)] * 100) * 2

    chosen = Inputs([str(tmp_path)], "year is null and \"the day\" > '2024-02-01' and key < 310")
    assert read(chosen, ["year", "key"])[0].to_pylist() == [{"year": None, "key": key} for key in range(300, 310)]
    assert [Path(part.path).parent.name for part in chosen.parts] == ["the%20day=2024-02-29"]


def test_a_directory_named_as_an_input_adds_its_column_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "year=2024" / "month=01").mkdir(parents=True)
    pa.parquet.write_table(ROWS[:1], tmp_path / "year=2024" / "month=01" / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    for path in ["year=2024", "year=2024/*", "year=*/month=*/rows.parquet"]:
        assert read(Inputs([path]))[0].to_pylist() == [{"key": 0, "text": "row 0", "year": 2024, "month": 1}]
    monkeypatch.chdir(tmp_path / "year=2024")
    assert Inputs(["month=01"]).schema.names == ["key", "text", "month"]


def test_a_column_in_the_files_is_believed_before_their_directory(tmp_path: Path) -> None:
    for key in range(3):
        (tmp_path / f"key={key}").mkdir()
        pa.parquet.write_table(ROWS[10 * key : 10 * key + 10], tmp_path / f"key={key}" / "rows.parquet")
    inputs = Inputs([str(tmp_path)], "key >= 5")
    assert read(inputs)[0] == ROWS[5:30]


def test_files_that_their_directories_exclude_are_not_looked_into(tmp_path: Path) -> None:
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        pa.parquet.write_table(ROWS[:10], tmp_path / f"year={year}" / "rows.parquet")
    (tmp_path / "year=2024" / "rows.parquet").write_text("PAR1, but not really")
    assert read(Inputs([str(tmp_path)], "year < 2024"))[0].num_rows == 10
    with pytest.raises(pa.ArrowInvalid, match=r"year=2024/rows\.parquet.*Parquet magic bytes"):
        Inputs([str(tmp_path)], "year >= 2023")


@pytest.mark.parametrize(
    "condition", ["text = 'row 7'", "text in ('row 7')", "text like 'row 7'", "not text <> 'row 7'"]
)
@pytest.mark.parametrize("kind", [pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.large_string()], ids=str)
def test_texts_are_compared_however_they_are_stored(tmp_path: Path, kind: pa.DataType, condition: str) -> None:
    stored = ROWS.set_column(1, "text", ROWS["text"].cast(pa.string()).cast(kind))
    pa.parquet.write_table(stored, tmp_path / "stored.parquet", row_group_size=10_000)
    pa.parquet.write_table(ROWS, tmp_path / "plain.parquet", row_group_size=10_000)
    for names in (["stored", "plain"], ["plain", "stored"]):
        rows, _ = read(Inputs([str(tmp_path / f"{name}.parquet") for name in names], condition), ["key"])
        assert rows["key"].to_pylist() == [*range(7, COUNT, 100)] * 2


def test_row_groups_that_their_statistics_exclude_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    INPUT_WRITERS[".parquet"](ROWS, path)
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(1000) + content[1004:])  # in the first row group
    rows, progress = read(Inputs([str(path)], "key >= 10000 and text = 'row 0'"))
    assert rows["key"].to_pylist() == list(range(10_000, COUNT, 100))
    assert progress == COUNT
    with pytest.raises(InputError, match=r"rows\.parquet: "):
        read(Inputs([str(path)], "key >= 9999"))


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        ("x != 3", [3, 4]),
        ("3 <> x", [3, 4]),
        ("not x <= 3", [3, 4]),
        ("not (x > 3 or x < 3)", [0, 2]),
        ("x >= 3", [0, 2, 3, 4]),
        ("x not between 3 and 7", [4]),
        ("x not in (3, 8)", [3]),
        ("x in (3)", [0, 2]),
        ("x = x", [0, 2, 3, 4]),
        ("x <> y", [2, 3, 4]),
        ("x is not null", [0, 1, 2, 3, 4, 5]),
        ("not x = 3 or n = 1", [1, 3, 4]),
    ],
)
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.dictionary(pa.int32(), pa.float64())], ids=str)
def test_nan_is_compared_as_null_is_in_every_format(
    tmp_path: Path, kind: pa.DataType, condition: str, numbers: list[int]
) -> None:
    nan = float("nan")
    rows = pa.table({"n": range(6), "x": [3, nan, 3, 7, 8, nan], "y": pa.array([nan, 1, 1, 1, 1, 1])})
    x = rows["x"].dictionary_encode() if pa.types.is_dictionary(kind) else rows["x"].cast(kind)
    rows = rows.set_column(1, "x", x)
    pa.parquet.write_table(rows, tmp_path / "rows.parquet", row_group_size=3)
    pa.feather.write_feather(rows, tmp_path / "rows.arrow")
    for name in ("rows.parquet", "rows.arrow"):
        found, _ = read(Inputs([str(tmp_path / name)], condition), ["n"])
        assert found["n"].to_pylist() == numbers, name


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_files_of_other_columns_are_refused(tmp_path: Path, suffix: str) -> None:
    INPUT_WRITERS[suffix](ROWS[:10], tmp_path / f"1{suffix}")
    INPUT_WRITERS[suffix](ROWS[:10].rename_columns(["key", "word"]), tmp_path / f"2{suffix}")
    with pytest.raises(InputError, match=rf"2{suffix}: other columns than in .*1{suffix}; .* has text, word"):
        Inputs([str(tmp_path)])


TEXT = pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize(
    ("kind", "other", "values"),
    [
        (pa.int64(), pa.int32(), [1]),
        (pa.timestamp("ms"), pa.timestamp("us"), [1_500_001]),
        (pa.float32(), pa.float64(), [0.1]),
        (pa.list_(pa.int64()), pa.list_(pa.int32()), [[1]]),
        (pa.struct([("a", pa.int64())]), pa.struct([("b", pa.int64())]), [{}]),
        (pa.struct([("a", pa.float32())]), pa.struct([("a", pa.float64())]), [{"a": 0.1}]),
        (pa.struct([pa.field("a", pa.int64(), nullable=False)]), pa.struct([("a", pa.int64())]), [{"a": None}]),
        (pa.string(), pa.binary(), [b"a"]),
    ],
    ids=str,
)
def test_files_of_other_types_are_refused(
    tmp_path: Path, suffix: str, kind: pa.DataType, other: pa.DataType, values: list[object]
) -> None:
    INPUT_WRITERS[suffix](pa.table({"x": pa.array([], kind)}), tmp_path / f"1{suffix}")
    INPUT_WRITERS[suffix](pa.table({"x": pa.array(values, other)}), tmp_path / f"2{suffix}")
    with pytest.raises(InputError, match=rf"2{suffix}: column x is .*, but .* in .*1{suffix}"):
        Inputs([str(tmp_path)])


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize(
    "kinds",
    [
        *itertools.permutations([pa.string(), pa.large_string(), TEXT], 2),
        *itertools.permutations([pa.string(), pa.large_string(), pa.string_view()], 2),
    ],
)
def test_texts_are_read_together_however_they_are_stored(
    tmp_path: Path, suffix: str, kinds: tuple[pa.DataType, pa.DataType]
) -> None:
    for number, kind in enumerate(kinds):
        rows = pa.table({"x": pa.array([f"text {number}", None], pa.string()).cast(kind)})
        INPUT_WRITERS[suffix](rows, tmp_path / f"{number}{suffix}")
    assert read(Inputs([str(tmp_path)]))[0]["x"].to_pylist() == ["text 0", None, "text 1", None]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("first_is_nullable", [True, False])
def test_a_column_is_nullable_if_it_is_in_any_file(tmp_path: Path, suffix: str, *, first_is_nullable: bool) -> None:
    for number, nullable in enumerate([first_is_nullable, not first_is_nullable]):
        schema = pa.schema([pa.field("x", pa.int64(), nullable=nullable)])
        INPUT_WRITERS[suffix](pa.table({"x": [None if nullable else 1]}, schema=schema), tmp_path / f"{number}{suffix}")
    rows, _ = read(Inputs([str(tmp_path)]))
    assert rows.schema.field("x").nullable
    assert set(rows["x"].to_pylist()) == {None, 1}
    rows.validate(full=True)


def test_some_parts_are_row_groups_at_equal_distances(tmp_path: Path) -> None:
    for number in range(3):
        INPUT_WRITERS[".parquet"](ROWS[number * 30_000 : number * 30_000 + 30_000], tmp_path / f"{number}.parquet")
    inputs = Inputs([str(tmp_path)])

    def first_keys(most: int) -> list[int]:
        return [read(inputs, ["key"], [part])[0]["key"][0].as_py() for part in inputs.some_parts(most)]

    assert first_keys(100) == list(range(0, COUNT, 10_000))
    assert first_keys(9) == list(range(0, COUNT, 10_000))
    assert first_keys(3) == [10_000, 40_000, 70_000]
    assert first_keys(1) == [40_000]
    assert inputs.row_count(inputs.some_parts(3)) == 30_000
    few = Inputs([str(tmp_path)], "key between 35000 and 45000")
    assert few.row_count(few.some_parts(100)) == 20_000


@each_format
def test_some_parts_are_files_where_there_are_no_row_groups(tmp_path: Path, suffix: str) -> None:
    for number in range(10):
        INPUT_WRITERS[suffix](ROWS[number * 10 : number * 10 + 10], tmp_path / f"{number}{suffix}")
    inputs = Inputs([str(tmp_path)])
    rows, _ = read(inputs, ["key"], list(inputs.some_parts(2)))
    assert rows["key"].to_pylist() == [*range(20, 30), *range(70, 80)]


def test_wide_rows_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    width = 128 << 10
    rows = pa.table({"text": [f"{n:03}" * (width // 3) for n in range(400)]})
    pa.parquet.write_table(rows, tmp_path / "wide.parquet", use_dictionary=False)
    inputs = Inputs([str(tmp_path)])
    batches = list(inputs.batches(inputs.parts, None, lambda _: None, 32 << 20))
    assert pa.Table.from_batches(batches).equals(rows)
    assert max(batch.nbytes for batch in batches) < (2 << 20) + width


def test_strings_of_few_values_come_back_as_they_were_written(tmp_path: Path) -> None:
    count = 20_000
    few = [None if n % 7 == 0 else f"value {n % 5}" for n in range(count)]
    rows = pa.table(
        {
            "few": pa.array(few),
            "a.b": pa.array(few, pa.large_string()),
            "nulls": pa.array([None] * count, pa.string()),
            "binary": pa.array([b"x"] * count),
            "nested": pa.array([{"few": value} for value in few]),
            "list": pa.array([[value] for value in few]),
            "decimal": pa.array([Decimal(n % 3) for n in range(count)], pa.decimal128(30, 2)),
            "many": pa.array([f"{n:020}" for n in range(count)]),
        }
    )
    pa.parquet.write_table(rows, tmp_path / "1.parquet", row_group_size=6_000)
    # Of the next file, whose values are many, the first one's says nothing.
    others = rows.set_column(0, "few", pa.array([f"{n} {n:020}" for n in range(count)]))
    pa.parquet.write_table(others, tmp_path / "2.parquet", dictionary_pagesize_limit=1000)
    read_rows, _ = read(Inputs([str(tmp_path)]))
    assert read_rows.equals(pa.concat_tables([rows, others]))
    assert read_rows.schema.equals(rows.schema)


def test_a_parquet_file_without_row_groups_has_no_rows(tmp_path: Path) -> None:
    pa.parquet.ParquetWriter(tmp_path / "none.parquet", ROWS.schema).close()
    assert Inputs([str(tmp_path)]).schema.equals(ROWS.schema)
    assert read(Inputs([str(tmp_path)]))[0].num_rows == 0


@each_format
def test_columns_of_directories_alone_can_be_read(tmp_path: Path, suffix: str) -> None:
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        INPUT_WRITERS[suffix](ROWS[:10], tmp_path / f"year={year}" / f"rows{suffix}")
    assert read(Inputs([str(tmp_path)]), ["year"])[0].to_pylist() == [{"year": 2023}] * 10 + [{"year": 2024}] * 10
    assert read(Inputs([str(tmp_path)], "year > 2023"), ["year"])[0].to_pylist() == [{"year": 2024}] * 10


@pytest.mark.parametrize(("group_rows", "most"), [(20_000, 20_000), (200_000, 100_000)])
def test_batches_are_row_groups_or_equal_parts_of_them(tmp_path: Path, group_rows: int, most: int) -> None:
    count = 400_000
    rows = pa.table({"key": range(count), "text": [f"row {n % 1000}" for n in range(count)]})
    pa.parquet.write_table(rows, tmp_path / "rows.parquet", row_group_size=group_rows)
    inputs = Inputs([str(tmp_path)])
    batches = list(inputs.batches(inputs.parts, None, lambda _: None, 1 << 30))
    assert pa.Table.from_batches(batches).equals(rows)
    assert all(most - 1024 <= batch.num_rows <= most for batch in batches[1:])


@pytest.mark.slow
def test_rows_that_become_wide_make_batches_small_again(tmp_path: Path) -> None:
    width, count = 20_000, 30_000
    words = [f"{n:04}" * (width // 4) for n in range(40)]
    rows = pa.table({"text": [words[n % 40] if n >= 2000 else "" for n in range(count)]})
    pa.parquet.write_table(rows, tmp_path / "rows.parquet", row_group_size=3000)
    inputs = Inputs([str(tmp_path)])
    batches = list(inputs.batches(inputs.parts, None, lambda _: None, 32 << 20))
    assert pa.concat_tables([pa.table(batch) for batch in batches]).equals(rows)
    assert max(batch.nbytes for batch in batches) <= 2 << 20


@pytest.mark.parametrize(
    ("first", "second", "values", "words"),
    [
        ("1", "2", [1, 2], None),
        ("1.5", "2", [1.5, 2.0], None),
        ("1.5", "", [1.5, None], None),
        (
            "1",
            "1.5",
            None,
            "column x: Failed to parse string: '1.5' as .* int64; types are those of the first MiB of the first input",
        ),
        ("1.5", str(2**53 + 1), None, "column x: '9007199254740993' would change as double"),
        ("", "1", [None, "1"], None),
    ],
)
def test_values_of_csv_are_those_of_the_first_files_types_or_refused(
    tmp_path: Path, first: str, second: str, values: list[object] | None, words: str | None
) -> None:
    for name, value in (("1.csv", first), ("2.csv", second)):
        (tmp_path / name).write_text(f"x,n\n{value},0\n")
    inputs = Inputs([str(tmp_path)])
    if values is not None:
        assert read(inputs)[0]["x"].to_pylist() == values
        return
    with pytest.raises(InputError, match=rf"2\.csv: .*{words}"):
        read(inputs)


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (pa.struct([("a", pa.int64())]), pa.struct([pa.field("a", pa.int64(), nullable=False)])),
        (pa.struct([("a", pa.string())]), pa.struct([pa.field("a", pa.large_string(), metadata={"of": "a"})])),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_nested_fields_that_differ_harmlessly_are_read_together(
    tmp_path: Path, suffix: str, kind: pa.DataType, other: pa.DataType
) -> None:
    value = {"a": 1 if pa.types.is_integer(kind.field(0).type) else "one"}
    for name, each in (("1", kind), ("2", other)):
        INPUT_WRITERS[suffix](pa.table({"x": pa.array([value], each)}), tmp_path / f"{name}{suffix}")
    assert read(Inputs([str(tmp_path)]))[0]["x"].to_pylist() == [value, value]


def test_a_directory_that_is_no_number_makes_its_column_texts(tmp_path: Path) -> None:
    for day in ("1", "02", "x"):
        (tmp_path / f"day={day}").mkdir()
        pa.parquet.write_table(ROWS[:1], tmp_path / f"day={day}" / "rows.parquet")
    assert sorted(read(Inputs([str(tmp_path)]))[0]["day"].to_pylist()) == ["02", "1", "x"]
