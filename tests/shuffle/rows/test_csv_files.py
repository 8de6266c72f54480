"""CSV: nothing is guessed in silence, nothing changes on the way, and null is not the empty text."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pytest

from shuffle import CsvOptions, ShuffleWarning, partition_files
from shuffle.rows.errors import InputError
from spill_format import SpillFile
from tests.helpers.commands import error_of, run, succeeded


def rows_of(file: Path, **options: Any) -> pa.Table:
    target = file.with_name("out.arrow")
    partition_files(file, target, 1, round_robin=True, csv=CsvOptions(**options), overwrite=True)
    with SpillFile(target) as spill:
        return spill.read(0)


def written(directory: Path, text: str, encoding: str = "utf-8") -> Path:
    (directory / "rows.csv").write_text(text, encoding)
    return directory / "rows.csv"


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("7\n-3\n\n", pa.int64(), [7, -3, None]),
        ("1.5\n2e-3\n1e20\nNaN", pa.float64(), None),
        ("true\nfalse", pa.bool_(), [True, False]),
        ("2024-01-31", pa.date32(), None),
        ('a\n\n""', pa.string(), ["a", None, ""]),
        ("1\nNA", pa.string(), ["1", "NA"]),
        ('"a\nb"\nc', pa.string(), ["a\nb", "c"]),
        (" 7\n8 ", pa.int64(), [7, 8]),
        ("\n\n", pa.string(), [None, None]),
    ],
    ids=repr,
)
def test_types_are_guessed_where_nothing_is_lost(
    tmp_path: Path, text: str, kind: pa.DataType, values: list[Any] | None
) -> None:
    rows = rows_of(written(tmp_path, f"v\n{text}"))

    assert rows.schema == pa.schema([("v", kind)])
    assert values is None or rows["v"].to_pylist() == values


@pytest.mark.parametrize(
    "text", ["007", "-0", "100000000000000000000", "1e20", "3e5", "1.5\n007.5", "0.5\n12345678901234567"]
)
def test_what_a_number_would_change_is_text_and_told(tmp_path: Path, text: str) -> None:
    with pytest.warns(ShuffleWarning, match=r"rows\.csv: read as text, which numbers would change: v \("):
        rows = rows_of(written(tmp_path, "v,w\n" + "".join(f"{value},x\n" for value in text.split("\n"))))
    assert rows["v"].to_pylist() == text.split("\n")


@pytest.mark.parametrize("late", ["007", "x", "100000000000000000000"])
def test_a_value_behind_the_first_mib_changes_nothing_either(tmp_path: Path, late: str) -> None:
    with pytest.raises(InputError, match=rf"rows\.csv: .*{late}.*types are those of the first MiB"):
        rows_of(written(tmp_path, "v\n" + "1\n" * 1_000_000 + late))
    assert rows_of(tmp_path / "rows.csv", types={"v": "string"})["v"][-1].as_py() == late


def test_nulls_are_those_of_duckdb(tmp_path: Path) -> None:
    file = written(tmp_path, "key,text\n1,a\n2,\n,b\n4,c\n")
    theirs = duckdb.read_csv(str(file)).fetchall()

    assert (
        [tuple(row.values()) for row in rows_of(file).to_pylist()]
        == theirs
        == [(1, "a"), (2, None), (None, "b"), (4, "c")]
    )


@pytest.mark.parametrize(
    ("text", "options", "rows"),
    [
        ("a;b\n1;x", {"delimiter": ";"}, [{"a": 1, "b": "x"}]),
        ("1,x\n", {"header": False}, [{"f0": 1, "f1": "x"}]),
        ('a,b\nNA,-\n3,"-"', {"nulls": ["NA", "-"]}, [{"a": None, "b": None}, {"a": 3, "b": "-"}]),
        ("a,b\n007,1.50", {"types": {"a": "int64", "b": "decimal(5,2)"}}, None),
    ],
    ids=str,
)
def test_options_say_how_a_file_is_written(
    tmp_path: Path, text: str, options: dict[str, Any], rows: list[dict[str, Any]] | None
) -> None:
    read = rows_of(written(tmp_path, text), **options)

    assert read.to_pylist() == rows or (rows is None and read.schema.types == [pa.int64(), pa.decimal128(5, 2)])


def test_an_encoding_is_told_not_guessed(tmp_path: Path) -> None:
    file = written(tmp_path, "name\nMüller\n", "latin-1")

    with pytest.raises(InputError, match=r"csv encoding: .*rows\.csv: column name is not utf-8; say its encoding"):
        rows_of(file)
    assert rows_of(file, encoding="latin-1").to_pylist() == [{"name": "Müller"}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": ";;"}, "delimiter must be one ASCII character, not ';;'"),
        ({"encoding": "utf-9"}, "encoding must be one that Python knows, not 'utf-9'"),
        ({"nulls": "NA"}, "nulls takes several, in a list: not 'NA'"),
        ({"types": {"v": "in64"}}, "csv types: no type 'in64' for column v; types are called string"),
        ({"types": {"w": "int64"}}, "csv types: .*: no column 'w'; the columns are: v"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        rows_of(written(tmp_path, "v\n1"), **options)


def test_the_command_has_the_same_options(tmp_path: Path) -> None:
    written(tmp_path, 'zip\tname,x\n007\tM\xfcller\nNA\t""\n', "latin-1")
    flags = r"""--csv-delimiter \\t --csv-null NA --csv-types 'zip:string,"name,x":string' --csv-encoding latin-1"""
    succeeded(f"shuffle partition rows.csv {flags} --round-robin --partitions 1 -o out.arrow", tmp_path)
    with SpillFile(tmp_path / "out.arrow") as spill:
        assert spill.read(0).to_pylist() == [{"zip": "007", "name,x": "Müller"}, {"zip": None, "name,x": ""}]
    pa.parquet.write_table(pa.table({"a": [1]}), tmp_path / "rows.parquet")
    command = "shuffle partition {} --round-robin --partitions 1 -o new.arrow"
    refused = run(command.format("rows.parquet --csv-header"), tmp_path)
    assert "rows.parquet: not CSV, which these options are for" in error_of(refused)
    refused = run(command.format("rows.csv --csv-types zip"), tmp_path)
    assert "'zip' is not COL:TYPE, as in zip:string" in error_of(refused)
    refused = run(command.format("rows.csv --csv-types zip:string,zip:int64"), tmp_path)
    assert "'zip' is given more than once" in error_of(refused)
    refused = run(command.format("rows.csv --csv-encoding utf-9"), tmp_path)
    assert "--csv-encoding must be one that Python knows, not 'utf-9'" in error_of(refused)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,a\n1,2\n", r"rows\.csv: 2 columns are called 'a'"),
        ("", r"rows\.csv: Empty CSV file"),
        ("a,b\n1\n", r"rows\.csv: CSV parse error: Expected 2 columns, got 1"),
    ],
)
def test_what_is_no_table_is_refused_by_its_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rows_of(written(tmp_path, text))


def test_nulls_survive_a_round_trip(tmp_path: Path) -> None:
    rows = pa.table({"text": ["a", "", None, 'b"c', "d\ne"], "n": [1, None, 3, 4, 5]})
    for columns in (["text", "n"], ["text"]):
        pa.parquet.write_table(rows.select(columns), tmp_path / "rows.parquet")
        flags = "--round-robin --partitions 1 --overwrite"
        succeeded(f"shuffle partition rows.parquet {flags} -o out.arrow", tmp_path)
        succeeded("shuffle read out.arrow --overwrite -o back.csv", tmp_path)
        assert rows_of(tmp_path / "back.csv") == rows.select(columns)
