"""``shuffle partition``: every row in its partition, whatever the input."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from shuffle import HashPartitioner
from spill_format import SpillFile
from tests.shuffle.cli.commands import json_of, run, succeeded

ROWS = pa.table({"key": pa.array(range(5000), pa.int64()), "text": [f"row {n}" for n in range(5000)]})


def assert_partitioned(path: Path, partition_count: int, rows: pa.Table, by: list[str]) -> None:
    """Every row is in the file once, in its partition, in the order of the input."""
    batch = rows.combine_chunks().to_batches()[0]
    numbers = HashPartitioner(by, partition_count).partition_numbers(batch)
    with SpillFile(path) as spill:
        spill.verify()
        assert spill.partition_count == partition_count
        for partition in range(partition_count):
            assert spill.read(partition) == rows.filter(pa.array(numbers == partition))


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "rows.feather", "rows.csv", "ROWS.PARQUET", "parts"])
def test_every_format_is_read(tmp_path: Path, name: str) -> None:
    if name == "parts":
        (tmp_path / "parts" / "below").mkdir(parents=True)
        pa.parquet.write_table(ROWS[:2000], tmp_path / "parts" / "below" / "rows-2.parquet")
        pa.parquet.write_table(ROWS[2000:], tmp_path / "parts" / "below" / "rows-10.parquet")
        (tmp_path / "parts" / "_SUCCESS").touch()
        (tmp_path / "parts" / "notes.txt").touch()
    elif name.endswith(".csv"):
        pa.csv.write_csv(ROWS, tmp_path / name)
    elif name.lower().endswith(".parquet"):
        pa.parquet.write_table(ROWS, tmp_path / name)
    else:
        pa.feather.write_feather(ROWS, tmp_path / name)
    succeeded(f"shuffle partition {name} --by key --partitions 7 -o out.arrow", tmp_path)
    assert_partitioned(tmp_path / "out.arrow", 7, ROWS, ["key"])


@pytest.mark.parametrize("by", ["--by key,text", "--by key --by text", "--by=key, --by=text"])
def test_columns_are_given_with_commas_or_one_by_one(tmp_path: Path, by: str) -> None:
    pa.parquet.write_table(ROWS, tmp_path / "rows.parquet")
    completed = run(f"shuffle partition rows.parquet {by} --partitions 5 -o out.arrow", tmp_path)
    if by.endswith("=text"):
        assert "empty name" in completed.stderr
        return
    assert_partitioned(tmp_path / "out.arrow", 5, ROWS, ["key", "text"])


def test_string_views_are_read_as_strings(tmp_path: Path) -> None:
    views = ROWS.set_column(1, "text", ROWS["text"].cast(pa.string_view()))
    pa.parquet.write_table(views, tmp_path / "rows.parquet")
    succeeded("shuffle partition rows.parquet --by text --partitions 5 -o out.arrow", tmp_path)
    assert_partitioned(tmp_path / "out.arrow", 5, ROWS, ["text"])


def test_spills_are_kept_on_request_and_merge_into_the_same_file(tmp_path: Path) -> None:
    many = pa.concat_tables([ROWS] * 60)
    pa.parquet.write_table(many, tmp_path / "rows.parquet")
    (tmp_path / "spills").mkdir()
    report = json_of(
        "shuffle partition rows.parquet --by key --partitions 5 -o out.arrow --memory 1MiB --json "
        "--spill-dir spills --keep-spills",
        tmp_path,
    )
    assert report["spill_count"] == len(report["spills"]) == len(list((tmp_path / "spills").iterdir())) > 1
    succeeded("shuffle-merge spills -o merged.arrow", tmp_path)
    assert (tmp_path / "merged.arrow").read_bytes() == (tmp_path / "out.arrow").read_bytes()
    assert_partitioned(tmp_path / "out.arrow", 5, many, ["key"])


def test_compression_and_alignment_are_those_asked_for(tmp_path: Path) -> None:
    pa.parquet.write_table(ROWS, tmp_path / "rows.parquet")
    flags = "--compression zstd --alignment 4KiB"
    succeeded(f"shuffle partition rows.parquet --by key --partitions 5 -o out.arrow {flags}", tmp_path)
    (file,) = json_of("shuffle inspect out.arrow --json", tmp_path)["files"]
    assert (file["codecs"], file["alignment"]) == (["zstd"], 4096)
