"""JSON lines: what is missing is null, and what cannot be kept is an error, never left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shuffle import partition_files
from shuffle.rows.errors import InputError
from shuffle.rows.inputs import Inputs


def write(path: Path, *rows: dict[str, Any], text: str = "") -> str:
    with pa.output_stream(path) as stream:
        stream.write((text + "".join(json.dumps(row) + "\n" for row in rows)).encode())
    return str(path)


def rows_of(*paths: str) -> list[dict[str, Any]]:
    inputs = Inputs(paths)
    batches = inputs.batches(inputs.parts, None, lambda _count: None, 1 << 30)
    return [row for batch in batches for row in batch.to_pylist()]


def test_what_a_row_or_a_file_lacks_is_null(tmp_path: Path) -> None:
    first = write(tmp_path / "1.jsonl", {"key": 1}, {"key": 2, "text": "two", "inner": {"a": [1]}}, {})
    second = write(tmp_path / "2.ndjson.gz", {"key": 3, "ratio": 0.5})
    assert rows_of(first, second) == [
        {"key": 1, "text": None, "inner": None, "ratio": None},
        {"key": 2, "text": "two", "inner": {"a": [1]}, "ratio": None},
        {"key": None, "text": None, "inner": None, "ratio": None},
        {"key": 3, "text": None, "inner": None, "ratio": 0.5},
    ]


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [(1, 1.5, pa.float64()), (None, "x", pa.string()), (None, None, pa.null()), (True, False, pa.bool_())],
)
def test_files_agree_on_a_type_that_takes_the_values_of_all(tmp_path: Path, one: Any, other: Any, kind: Any) -> None:
    paths = [write(tmp_path / "1.jsonl", {"key": one}), write(tmp_path / "2.jsonl", {"key": other})]
    assert Inputs(paths).schema == Inputs(paths[::-1]).schema == pa.schema([("key", kind)])
    assert rows_of(*paths) == [{"key": one}, {"key": other}]
    assert rows_of(*paths[::-1]) == [{"key": other}, {"key": one}]


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.jsonl.gz"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    empty = write(tmp_path / name)
    full = write(tmp_path / "full.jsonl", {"key": 1})
    for order in ([empty, full], [full, empty]):
        assert rows_of(*order) == [{"key": 1}]
    with pytest.raises(InputError, match=f"{name}: empty, as all inputs are"):
        Inputs([empty])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"key": 1, "late": 2}, "unexpected field"),
        ({"key": "one"}, "changed from number to string"),
        ({"key": 1.5}, "1.5"),
    ],
)
def test_a_late_surprise_is_an_error(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    line = f'{{"key": 1{" " * 1000}}}\n'
    path = write(tmp_path / "late.jsonl", row, text=line * 5000)
    with pytest.raises(InputError, match=rf"late.jsonl: .*{problem}.*the first 4 MiB"):
        rows_of(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1, 2]\n", "JSON"),
        ('{"key": 1\n', "JSON"),
        ("words\n", "JSON"),
        ('{"key": 1}\n{"key": "x"}\n', "number to string"),
    ],
)
def test_no_json_lines_are_an_error_that_names_the_file(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=f"bad.jsonl: .*{problem}"):
        rows_of(write(tmp_path / "bad.jsonl", text=text))


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / "1.jsonl", {"key": 1}), write(tmp_path / "2.jsonl", {"key": "x"})]
    with pytest.raises(InputError, match=r"2\.jsonl: .*key"):
        Inputs(paths)


@pytest.mark.parametrize("wrap", [lambda n: n, lambda n: [n], lambda n: {"a": [n]}], ids=["plain", "list", "struct"])
def test_integers_that_floats_of_another_file_would_round_are_refused(tmp_path: Path, wrap: Any) -> None:
    ratios = write(tmp_path / "1.jsonl", {"key": wrap(1.5)})
    kept = write(tmp_path / "2.jsonl", {"key": wrap(2**53 - 1)}, {"key": None})
    lost = write(tmp_path / "3.jsonl", {"key": wrap(2**53 + 1)})
    assert rows_of(kept, ratios) == [{"key": wrap(2.0**53 - 1)}, {"key": None}, {"key": wrap(1.5)}]
    assert rows_of(lost) == [{"key": wrap(2**53 + 1)}]
    with pytest.raises(InputError, match=r"3\.jsonl: key has integers too large"):
        rows_of(ratios, lost)


def nested(depth: int) -> str:
    return '{"a":' + "[" * depth + "1" + "]" * depth + "}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (nested(65), "column a is nested more than 64 levels deep"),
        (nested(5000), "a row is nested more than 1000 levels deep"),
        ('{"a":1}\n' * 100_000 + nested(200_000), "a row is nested more than 1000 levels deep"),
        ('{"b":"[[","a":\n' * 5000 + "1" + "}" * 5000, "a row is nested more than 1000"),
    ],
    ids=["65", "5000", "200,000 late", "over lines"],
)
def test_what_is_nested_too_deep_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path / "a.jsonl", text=text)
    with pytest.raises(ValueError, match=message):
        partition_files(file, tmp_path / "out.arrow", 1, round_robin=True)


def test_brackets_in_texts_are_no_levels(tmp_path: Path) -> None:
    rows = [{"text": "[{" * 3000 + '\\"[', "list": [{"a": number}]} for number in range(3)]
    file = write(tmp_path / "a.jsonl.gz", *rows)
    assert rows_of(file) == rows
