"""``shuffle partition``: every row in its partition, whatever the input."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from shuffle import HashPartitioner
from spill_format import SpillFile, SpillWriter
from tests.helpers.commands import json_of, run, succeeded

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


NAMES = ["rows.parquet", "rows.arrow", "rows.feather", "rows.csv", "rows.jsonl", "ROWS.PARQUET", "parts"]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_read(tmp_path: Path, name: str) -> None:
    if name == "parts":
        (tmp_path / "parts" / "below").mkdir(parents=True)
        pa.parquet.write_table(ROWS[:2000], tmp_path / "parts" / "below" / "rows-2.parquet")
        pa.parquet.write_table(ROWS[2000:], tmp_path / "parts" / "below" / "rows-10.parquet")
        (tmp_path / "parts" / "_SUCCESS").touch()
        (tmp_path / "parts" / "notes.txt").touch()
    elif name.endswith(".jsonl"):
        (tmp_path / name).write_text("".join(f"{json.dumps(row)}\n" for row in ROWS.to_pylist()))
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


@pytest.mark.parametrize(
    ("directory", "option", "names"), [(".", "--columns key", ["key"]), ("year=2024", "", ["key", "text", "year"])]
)
def test_a_partitioned_file_is_read_back_with_other_columns(
    tmp_path: Path, directory: str, option: str, names: list[str]
) -> None:
    rows = ROWS.set_column(1, "text", ROWS["text"].dictionary_encode())
    (tmp_path / directory).mkdir(exist_ok=True)
    with SpillWriter(tmp_path / directory / "a.spill.arrow", rows.schema, partition_count=1) as writer:
        writer.write(0, rows)
    succeeded(f"shuffle partition {directory} {option} --by key --partitions 3 -o out.arrow", tmp_path)
    with SpillFile(tmp_path / "out.arrow") as spill:
        assert spill.schema.names == names
        assert sum(spill.read(partition).num_rows for partition in range(3)) == len(ROWS)
    assert "ok" in succeeded("shuffle verify out.arrow", tmp_path)


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


def test_patterns_in_quotes_are_expanded_unless_a_file_has_that_name(tmp_path: Path) -> None:
    pa.parquet.write_table(ROWS[:10], tmp_path / "[ab].parquet")
    pa.parquet.write_table(ROWS[10:30], tmp_path / "a.parquet")
    pa.parquet.write_table(ROWS[30:60], tmp_path / "b.parquet")
    flags = "--round-robin --partitions 1 --overwrite -o out.arrow"
    for pattern, rows in [("[ab].parquet", ROWS[:10]), ("[ab]*.parquet", ROWS[10:60]), ("**/?.parquet", ROWS[10:60])]:
        succeeded(f"shuffle partition '{pattern}' {flags}", tmp_path)
        with SpillFile(tmp_path / "out.arrow") as output:
            assert output.read(0) == rows


@pytest.mark.parametrize("condition", ["key < 0", "key = 4321", "text is null"])
@pytest.mark.parametrize("way", ["--by text", "--range text:desc", "--round-robin"])
def test_few_rows_or_none_are_partitioned_like_many(tmp_path: Path, way: str, condition: str) -> None:
    pa.parquet.write_table(ROWS, tmp_path / "rows.parquet")
    flags = f"{way} --partitions 3 --where '{condition}' --columns key -o out.arrow --json"
    report = json_of(f"shuffle partition rows.parquet {flags}", tmp_path)
    with SpillFile(tmp_path / "out.arrow") as output:
        output.verify()
        assert output.schema == pa.schema([("key", pa.int64())])
        expected = [4321] if "4321" in condition else []
        assert output.read(0, 3)["key"].to_pylist() == expected
    assert report["row_count"] == len(expected)


def test_names_need_quotes_only_where_they_are_unusual(tmp_path: Path) -> None:
    names = ["größe", "two words", "a.b", "a,b", 'say "so"']
    rows = pa.table({name: range(20) for name in names})
    pa.parquet.write_table(rows, tmp_path / "rows.parquet")
    where = 'größe > 3 and "two words" < 12 and "a.b" <> 5 and "a,b" <> 6 and "say ""so""" <> 7'
    columns = '"say ""so""", a.b ,two words,"a,b"'
    flags = f"--where '{where}' --columns '{columns}' --range größe:desc --partitions 2 -o out.arrow"
    succeeded(f"shuffle partition rows.parquet {flags}", tmp_path)
    with SpillFile(tmp_path / "out.arrow") as output:
        written = output.read(0, 2)
    assert written.column_names == ['say "so"', "a.b", "two words", "a,b"]
    assert sorted(written["a.b"].to_pylist()) == [4, 8, 9, 10, 11]


def test_spills_alone_replace_earlier_ones_on_request(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.concat_tables([ROWS] * 60), tmp_path / "many.parquet")
    pa.parquet.write_table(ROWS, tmp_path / "few.parquet")
    flags = "--by key --partitions 5 -o out.arrow --spills-only --memory 1MiB"
    succeeded(f"shuffle partition many.parquet {flags}", tmp_path)
    assert len(list(tmp_path.glob("out-*.spill.arrow"))) > 1
    completed = run(f"shuffle partition few.parquet {flags} --overwrite", tmp_path)
    assert completed.stderr.startswith(f"{tmp_path}/out-00000.spill.arrow: 5,000 rows in 5 partitions, ")
    assert list(tmp_path.glob("out*")) == [tmp_path / "out-00000.spill.arrow"]
    succeeded("shuffle-merge . -o out.arrow", tmp_path)
    assert_partitioned(tmp_path / "out.arrow", 5, ROWS, ["key"])


def test_the_help_shows_every_option_under_a_heading(tmp_path: Path) -> None:
    shown = succeeded("shuffle partition --help", tmp_path)
    headings = re.findall(r"^(\S.*):$", shown, re.MULTILINE)
    assert headings == [
        "Rows",
        "CSV inputs",
        "Partitions",
        "Output",
        "Cluster",
        "Memory, spills, threads",
        "Merge of the spills",
        "Reports",
        "Others",
    ]
    others = shown.partition("Others:")[2].partition("Examples:")[0]
    assert [line.split()[0] for line in others.splitlines() if line.strip()] == ["--debug", "-h,"]
