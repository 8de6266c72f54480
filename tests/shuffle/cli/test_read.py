"""``shuffle read``: partitions in every format, whole or not at all."""

import io
import json
import math
import subprocess
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
import pytest

from spill_format import SpillFile, SpillWriter
from tests.helpers.commands import command_line, error_of, files_below, run, succeeded

ROWS = pa.table({"key": pa.array(range(5000), pa.int64()), "text": [f"row {n}" for n in range(5000)]})


@pytest.mark.parametrize(
    ("flags", "first", "last"), [("-p 0", 0, 1), ("-p 1", 1, 2), ("-p 1-2", 1, 3), ("-p 0-2", 0, 3), ("", 0, 3)]
)
@pytest.mark.parametrize("format_name", ["arrow", "arrows", "parquet", "csv", "jsonl"])
def test_partitions_are_read_in_every_format(
    tmp_path: Path, spills: list[Path], flags: str, first: int, last: int, format_name: str
) -> None:
    with SpillFile(spills[0]) as spill:
        expected = spill.read(first, last)
    command = f"shuffle read spills/spill-0.spill.arrow {flags}"
    succeeded(f"{command} --format {format_name} -o rows.out", tmp_path)
    content = (tmp_path / "rows.out").read_bytes()
    readers = {
        "arrow": lambda source: pa.ipc.open_file(source).read_all(),
        "arrows": lambda source: pa.ipc.open_stream(source).read_all(),
        "parquet": pa.parquet.read_table,
        "csv": pa.csv.read_csv,
        "jsonl": pa.json.read_json,
    }
    if content or expected.num_rows:  # JSON lines of no rows are an empty file
        assert readers[format_name](pa.BufferReader(content)).cast(expected.schema) == expected


def test_stdout_and_a_file_get_the_same_bytes(tmp_path: Path, spills: list[Path]) -> None:
    text = succeeded("shuffle read spills/spill-0.spill.arrow -p 0 --format csv", tmp_path)
    succeeded("shuffle read spills/spill-0.spill.arrow -p 0 -o rows.csv", tmp_path)
    assert (tmp_path / "rows.csv").read_text() == text
    assert pa.csv.read_csv(io.BytesIO(text.encode())).num_rows == 30


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.csv", b'"key'),
        ("a.PARQUET", b"PAR1"),
        ("a.arrows", b"\xff" * 4),
        ("a.arrow", b"ARROW1"),
        ("a.feather", b"ARROW1"),
        ("a.jsonl", b'{"key"'),
        ("a.ndjson", b'{"key"'),
    ],
)
def test_the_format_follows_from_the_name(tmp_path: Path, spills: list[Path], name: str, start: bytes) -> None:
    succeeded(f"shuffle read spills/spill-0.spill.arrow -o {name}", tmp_path)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_name_that_tells_no_format_is_refused(tmp_path: Path, spills: list[Path]) -> None:
    for name in ("rows.out", "rows", "rows.xlsx"):
        refused = run(f"shuffle read {spills[0]} -o {name}", tmp_path)
        assert f"{name}: which format is it? Names of outputs end with one of .arrow" in error_of(refused)
        assert "say it with --format" in refused.stderr


def test_json_lines_have_every_value(tmp_path: Path) -> None:
    moment = datetime(2024, 1, 31, 12, 30, 0, 5, tzinfo=UTC)
    columns = {
        "text": ["ä\n", None],
        "number": [2**63 - 1, None],
        "ratio": [math.nan, -math.inf],
        "price": [Decimal("12345678901234567890.12"), None],
        "moment": [moment, None],
        "raw": [b"\x00", b""],
        "inner": [{"days": [date(2024, 1, 31)], "ratio": math.inf}, None],
    }
    rows = pa.table(columns)
    with SpillWriter(tmp_path / "a.arrow", rows.schema, partition_count=1) as writer:
        writer.write(0, rows)
    first, second = map(json.loads, succeeded("shuffle read a.arrow --format jsonl", tmp_path).splitlines())
    assert first == {
        "text": "ä\n",
        "number": 2**63 - 1,
        "ratio": "NaN",
        "price": "12345678901234567890.12",
        "moment": "2024-01-31 12:30:00.000005Z",
        "raw": "AA==",
        "inner": {"days": ["2024-01-31"], "ratio": "Infinity"},
    }
    assert [*second.values()] == [None, None, "-Infinity", None, None, "", None]


def test_dictionary_columns_come_back_in_every_format(tmp_path: Path) -> None:
    encoded = ROWS.set_column(1, "text", ROWS["text"].dictionary_encode())
    pa.parquet.write_table(encoded, tmp_path / "rows.parquet")
    succeeded("shuffle partition rows.parquet --by key --partitions 3 -o out.arrow", tmp_path)
    for name in ("rows.csv", "rows2.parquet", "rows.arrows"):
        succeeded(f"shuffle read out.arrow -p 1 -o {name}", tmp_path)
    stream = pa.ipc.open_stream((tmp_path / "rows.arrows").read_bytes()).read_all()
    assert stream.schema == encoded.schema
    assert pa.parquet.read_table(tmp_path / "rows2.parquet") == stream.unify_dictionaries()


def damage_partition_2(path: Path) -> None:
    with SpillFile(path) as spill:
        offset = int(spill.layout.offsets[2])
    content = bytearray(path.read_bytes())
    content[offset + 20] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("format_name", ["arrow", "parquet", "csv"])
def test_damage_met_in_the_middle_leaves_no_file(tmp_path: Path, spills: list[Path], format_name: str) -> None:
    damage_partition_2(spills[0])
    before = files_below(tmp_path)
    completed = run(f"shuffle read spills/{spills[0].name} --format {format_name} -o rows.out", tmp_path)
    assert completed.returncode == 2
    assert "partition 2" in completed.stderr
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("format_name", ["arrows", "parquet"])
def test_what_is_printed_before_damage_has_no_end(tmp_path: Path, spills: list[Path], format_name: str) -> None:
    command = command_line(f"shuffle read spills/{spills[0].name} --format {format_name}")
    end = {"arrows": b"\xff\xff\xff\xff\0\0\0\0", "parquet": b"PAR1"}[format_name]
    sound = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert sound.stdout.endswith(end)
    damage_partition_2(spills[0])
    damaged = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert damaged.returncode == 2
    assert not damaged.stdout[4:].endswith(end)


def test_several_partitions_are_put_together(tmp_path: Path, spills: list[Path]) -> None:
    def rows(numbers: str) -> list[str]:
        return succeeded(f"shuffle read {spills[0]} -p {numbers} --format csv", tmp_path).splitlines()[1:]

    assert rows("2-,0") == rows("0") + rows("2")
