"""Which files are meant, and which columns directories make."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from shuffle.rows.errors import InputError
from shuffle.rows.input_files import directory_columns, find_inputs, format_of

FILES = ["a.csv", "a2.csv", "a10.csv", "in/b.csv", "in/deep/c.CSV", "in/.hidden.csv", "in/_SUCCESS", "in/notes.txt",
         "in/_tmp/d.csv", "in/.git/e.csv", "[1].csv", "1.csv", "année=2024/f.csv", "nothing/.csv", "x=1/g.csv",
         "other/h.jsonl", "other/i.NDJSON.gz"]  # fmt: skip


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a10.csv", "a2.csv"], ["a10.csv", "a2.csv"]),
        (["in"], ["in/b.csv", "in/deep/c.CSV"]),
        (["a*.csv"], ["a2.csv", "a10.csv", "a.csv"]),
        (["a?.csv", "a.csv"], ["a2.csv", "a.csv"]),
        (["[1].csv"], ["[1].csv"]),
        (["[[]1].csv"], ["[1].csv"]),
        (["[1a].csv"], ["1.csv", "a.csv"]),
        (["*n"], ["in/b.csv", "in/deep/c.CSV"]),
        (["in/**/*.[cC]*"], ["in/_tmp/d.csv", "in/b.csv", "in/deep/c.CSV"]),
        (["in/d**"], ["in/deep/c.CSV"]),
        (["ann*"], ["année=2024/f.csv"]),
        (["x=1", "o*"], ["x=1/g.csv", "other/h.jsonl", "other/i.NDJSON.gz"]),
        (["gone.csv"], ["gone.csv"]),
    ],
    ids=str,
)
def test_files_directories_and_patterns_are_found_in_order(directory: Path, paths: list[str], found: list[str]) -> None:
    assert find_inputs(paths) == found


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["nothing"], r"no input: looked for \*\.parquet, .* in the directory nothing"),
        (["noth*"], r"no input: looked for \*\.parquet, .* in the directory nothing"),
        (["z*.csv"], r"no input: nothing matches z\*\.csv"),
        (["a.csv", "a.csv"], "a.csv: is given more than once"),
        (["a.csv", "./a.csv"], "./a.csv: is given more than once, also as a.csv"),
        (["in", "in/b.csv"], "in/b.csv: is given more than once"),
        (["in", "in/d*/*"], "in/deep/c.CSV: is given more than once"),
        (["a.csv", "link.csv"], "link.csv: is given more than once, also as a.csv"),
    ],
    ids=str,
)
def test_nothing_found_and_anything_found_twice_are_refused(directory: Path, paths: list[str], problem: str) -> None:
    (directory / "link.csv").symlink_to("a.csv")
    with pytest.raises(InputError, match=problem):
        find_inputs(paths)


@pytest.mark.parametrize(
    ("files", "format_name"),
    [
        (["a.parquet", "b.PQ"], "parquet"),
        (["a.arrow", "b.feather", "c.ipc"], "ipc"),
        (["a.csv", "b.csv.gz"], "csv"),
        (["a.jsonl", "b.ndjson", "c.jsonl.gz", "d.NDJSON.GZ"], "json"),
    ],
)
def test_names_tell_the_format(files: list[str], format_name: str) -> None:
    assert format_of(files) == format_name


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (["a.csv", "b.jsonl"], "inputs of one format are needed: a.csv is csv, b.jsonl is json"),
        (["a.csv", "b.json"], "b.json: what format is it?"),
        (["csv"], "csv: what format is it?"),
    ],
)
def test_names_that_tell_no_format_or_several_are_refused(files: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        format_of(files)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2024"], pa.int32()),
        (["01", "12", "-3"], pa.int32()),
        (["2147483647", "-2147483648"], pa.int32()),
        (["2147483648"], pa.int64()),
        (["-9223372036854775808"], pa.int64()),
        (["9223372036854775808"], pa.string()),
        (["9" * 100], pa.string()),
        (["2024-01-31", "1999-12-31"], pa.date32()),
        (["2024-01-31", "5"], pa.string()),
        (["1/key=one"], pa.int32()),
        (["2024-1-1"], pa.string()),
        (["1.5"], pa.string()),
        (["0x1f"], pa.string()),
        (["1", "one"], pa.string()),
        ([""], pa.string()),
        (["7", "__HIVE_DEFAULT_PARTITION__"], pa.int32()),
        (["__HIVE_DEFAULT_PARTITION__"], pa.string()),
    ],
)
def test_values_of_directories_have_the_narrowest_type_that_takes_all(values: list[str], kind: pa.DataType) -> None:
    assert directory_columns([f"in/key={value}/a.csv" for value in values]) == pa.schema([("key", kind)])


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("a.csv", []),
        ("a=1.csv", []),
        ("a=1/b=2/c.csv", ["a", "b"]),
        ("/top/a=1/between/b=x=y/c.csv", ["a", "b"]),
        ("=1/c.csv", []),
        ("a%20b=1/c.csv", ["a b"]),
    ],
)
def test_directories_of_a_key_and_a_value_make_columns(file: str, names: list[str]) -> None:
    assert directory_columns([file]).names == names


def test_a_way_back_out_of_a_key_is_refused() -> None:
    assert directory_columns(["../a/../key=1/a.csv"]).names == ["key"]
    with pytest.raises(InputError, match=r"key=1/\.\./key=2/a\.csv: '\.\.' behind a directory key=value"):
        directory_columns(["key=1/../key=2/a.csv"])


@pytest.mark.parametrize("other", ["b.csv", "z=1/b.csv", "y=1/z=1/b.csv"])
def test_other_keys_are_refused(other: str) -> None:
    with pytest.raises(InputError, match=f"{other}: other directories key=value than of y=1/a.csv"):
        directory_columns(["y=1/a.csv", other])
