"""Whatever is wrong: one line that says it, exit code 2, no traceback, nothing written."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from spill_format import SpillWriter
from tests.helpers.commands import error_of, files_below, run, run_process
from tests.helpers.spills import random_spill, random_spills

OTHER_SCHEMA = pa.schema([("key", pa.string()), ("text", pa.string())])
ROWS = pa.table({"key": [1, 2, 3], "text": ["a", "b", "c"]})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file or directory for each way to be wrong; tests only read."""
    directory = tmp_path_factory.mktemp("inputs")
    for name in ("spills", "counts", "schemas", "empty", "mixed", "unlike"):
        (directory / name).mkdir()
    random_spills(directory / "spills", [3, 0, 5], [1, 2, 0])
    random_spill(directory / "counts" / "a.spill.arrow", [1, 2])
    random_spill(directory / "counts" / "b.spill.arrow", [1, 2, 3])
    random_spill(directory / "schemas" / "a.spill.arrow", [1, 2])
    random_spill(directory / "schemas" / "b.spill.arrow", [1, 2], schema=OTHER_SCHEMA)
    whole = (directory / "spills" / "spill-0.spill.arrow").read_bytes()
    (directory / "cut.arrow").write_bytes(whole[:-100])
    (directory / "text.arrow").write_text("these are words, and no Arrow file\n")
    (directory / "nothing.arrow").touch()
    pa.feather.write_feather(ROWS, directory / "plain.arrow", compression="uncompressed")
    pa.parquet.write_table(ROWS, directory / "rows.parquet")
    for place in ("year=1", "hidden", "keys/year=1", "keys/month=1"):
        (directory / place).mkdir(parents=True)
    pa.parquet.write_table(ROWS, directory / "year=1" / "rows.parquet")
    pa.parquet.write_table(ROWS, directory / "keys" / "year=1" / "rows.parquet")
    pa.parquet.write_table(ROWS, directory / "keys" / "month=1" / "rows.parquet")
    (directory / "hidden" / ".rows.parquet").touch()
    (directory / "late.jsonl").write_text('{"key": 1, "text": "some words"}\n' * 200_000 + '{"kye": 1}\n')
    (directory / "empty.jsonl").touch()
    random_spill(directory / "used-00003.spill.arrow", [3])
    pa.parquet.write_table(ROWS, directory / "mixed" / "rows.parquet")
    pa.csv.write_csv(ROWS, directory / "mixed" / "rows.csv")
    pa.parquet.write_table(ROWS, directory / "unlike" / "a.parquet")
    pa.parquet.write_table(ROWS.rename_columns(["key", "word"]), directory / "unlike" / "b.parquet")
    (directory / "broken.parquet").write_text("PAR1, but not really")
    (directory / "late.csv").write_text("key\n" + "1\n" * 1_000_000 + "one\n")
    (directory / "rows.txt").write_text("1 2 3\n")
    (directory / "taken.arrow").write_text("precious")
    return directory


PARTITION = "shuffle partition rows.parquet --by key --partitions 4 -o new.arrow"
USED = "-o used.arrow --by key --partitions 4 --spills-only"

# Each: a command, and words that its one line must have.
CASES = {
    "merge of nothing": ("shuffle-merge -o new.arrow", ["Missing argument", "DIR|FILE"]),
    "merge without a target": ("shuffle-merge spills", ["-o", "shuffle-merge spills/ -o merged.arrow"]),
    "shuffle merge without a target": ("shuffle merge spills", ["-o"]),
    "merge of a directory without spills": ("shuffle-merge empty -o new.arrow", ["*.spill.arrow", "empty"]),
    "merge of a missing file": ("shuffle-merge gone.arrow -o new.arrow", ["gone.arrow: No such file or directory"]),
    "merge of no Arrow file": ("shuffle-merge text.arrow -o new.arrow", ["text.arrow", "not an Arrow IPC file"]),
    "merge of an empty file": ("shuffle-merge nothing.arrow -o new.arrow", ["nothing.arrow", "empty"]),
    "merge of a cut file": ("shuffle-merge spills cut.arrow -o new.arrow", ["cut.arrow", "cut off", "shuffle repair"]),
    "merge of a file without an index": (
        "shuffle-merge plain.arrow -o new.arrow",
        ["plain.arrow", "without a partition index", "shuffle partition FILE"],
    ),
    "merge of unlike partition counts": (
        "shuffle-merge counts -o new.arrow",
        ["counts/a.spill.arrow", "counts/b.spill.arrow", "expected 2, found 3"],
    ),
    "merge of unlike schemas": (
        "shuffle-merge schemas -o new.arrow",
        ["schemas/a.spill.arrow", "schemas/b.spill.arrow", "column key is string, not int64"],
    ),
    "merge over an existing file": ("shuffle-merge spills -o taken.arrow", ["taken.arrow", "already exists"]),
    "merge over a directory": ("shuffle-merge spills -o empty --overwrite", ["empty: Is a directory"]),
    "merge into a missing directory": ("shuffle-merge spills -o gone/new.arrow", ["gone", "No such file or directory"]),
    "merge over a source to be deleted": (
        "shuffle-merge spills -o spills/spill-0.spill.arrow --overwrite --delete-sources",
        ["spills/spill-0.spill.arrow", "would be deleted"],
    ),
    "merge with an unknown method": ("shuffle-merge spills -o new.arrow --method magic", ["--method", "sendfile"]),
    "merge with a contradiction": (
        "shuffle-merge spills -o new.arrow --transfer-to off --method sendfile",
        ["sendfile copies inside the kernel", "transfer_to is off"],
    ),
    "merge without threads": ("shuffle-merge spills -o new.arrow --threads 0", ["--threads"]),
    "unknown command": ("shuffle frobnicate", ["frobnicate", "shuffle --help"]),
    "unknown option": ("shuffle-merge spills -o new.arrow --fast", ["--fast", "shuffle-merge --help"]),
    "partition of nothing": ("shuffle partition --by key --partitions 4 -o new.arrow", ["Missing argument", "INPUT"]),
    "partition without a target": ("shuffle partition rows.parquet --by key --partitions 4", ["--output"]),
    "partition by a missing column": (
        PARTITION.replace("by key", "by kye"),
        ["no column 'kye'", "'key', 'text'"],
    ),
    "partition by an empty name": (
        PARTITION.replace("by key", "by key,,text"),
        ["--by", "has an empty name in it"],
    ),
    "no partitions": (PARTITION.replace("partitions 4", "partitions 0"), ["--partitions", "0 is not in the range"]),
    "negative partitions": (
        PARTITION.replace("partitions 4", "partitions -3"),
        ["--partitions", "-3 is not in the range"],
    ),
    "partitions in words": (PARTITION.replace("partitions 4", "partitions four"), ["--partitions", "four"]),
    "partition of a missing file": (PARTITION.replace("rows", "gone"), ["gone.parquet: No such file or directory"]),
    "partition of an unknown format": (PARTITION.replace("rows.parquet", "rows.txt"), ["rows.txt", ".parquet"]),
    "partition of two formats": (
        PARTITION.replace("rows.parquet", "mixed"),
        ["rows.csv", "rows.parquet", "one format"],
    ),
    "partition of an empty directory": (PARTITION.replace("rows.parquet", "empty"), ["empty", "*.parquet"]),
    "partition of unlike columns": (
        PARTITION.replace("rows.parquet", "unlike"),
        ["unlike/a.parquet", "unlike/b.parquet", "text, word"],
    ),
    "partition of a broken file": (PARTITION.replace("rows", "broken"), ["broken.parquet", "Parquet"]),
    "partition of values of another type": (
        PARTITION.replace("rows.parquet", "late.csv"),
        ["late.csv", "one", "int64"],
    ),
    "partition over an existing file": (PARTITION.replace("new", "taken"), ["taken.arrow", "already exists"]),
    "partition of a pattern without a match": (
        PARTITION.replace("rows.parquet", "'z*.parquet'"),
        ["no input: nothing matches z*.parquet"],
    ),
    "partition of a pattern that matches an empty directory": (
        PARTITION.replace("rows.parquet", "'hid*'"),
        ["looked for *.parquet", "*.jsonl", "in the directory hidden"],
    ),
    "partition of one file twice": (
        PARTITION.replace("rows.parquet", "year=1 'y*/*.parquet'"),
        ["year=1/rows.parquet", "more than once"],
    ),
    "partition of directories of unlike keys": (
        PARTITION.replace("rows.parquet", "keys"),
        ["keys/year=1/rows.parquet", "keys/month=1/rows.parquet", "month, year"],
    ),
    "partition of JSON lines with a late field": (
        PARTITION.replace("rows.parquet", "late.jsonl"),
        ["late.jsonl", "unexpected field", "the first 4 MiB"],
    ),
    "partition of JSON lines without a row": (
        PARTITION.replace("rows.parquet", "empty.jsonl"),
        ["empty.jsonl", "what columns there are"],
    ),
    "partition by nothing": (
        PARTITION.replace("--by key", ""),
        ["one of --by, --range, --round-robin is needed", "shuffle partition --help"],
    ),
    "partition by two things": (f"{PARTITION} --round-robin", ["is needed, not --by and --round-robin"]),
    "partition by ranges of a missing column": (
        PARTITION.replace("--by key", "--range kye:desc"),
        ["no column 'kye'", "'key', 'text'"],
    ),
    "partition by ranges in two orders": (
        PARTITION.replace("--by key", "--range key:asc:desc"),
        ["--range", "'key:asc:desc' has more than one order"],
    ),
    "partition by ranges over an existing file": (
        PARTITION.replace("--by key", "--range key").replace("new", "taken"),
        ["taken.arrow", "already exists"],
    ),
    "partition of missing columns": (f"{PARTITION} --columns text,kye", ["--columns", "'kye'", "key, text"]),
    "partition of a column twice": (f"{PARTITION} --columns text,text", ["--columns", "'text'", "more than once"]),
    "partition where no column is": (
        f'{PARTITION} --where "kye > 1"',
        ["--where: at character 1, [here]kye > 1: expected one of the columns key, text, found kye"],
    ),
    "partition where types differ": (
        f"{PARTITION} --where \"key = 'a'\"",
        ["--where: at character 7, key = [here]'a': expected a value of key, which is int64, found 'a'"],
    ),
    "partition where nothing is said": (f'{PARTITION} --where ""', ["--where: at character 1", "found the end"]),
    "partition without threads": (f"{PARTITION} --threads 0", ["--threads", "0 is not in the range"]),
    "spills alone beside earlier ones": (
        f"shuffle partition rows.parquet {USED}",
        ["used-00003.spill.arrow", "an earlier spill", "--overwrite"],
    ),
    "spills alone that replace their input": (
        f"shuffle partition used-00003.spill.arrow {USED} --overwrite",
        ["used-00003.spill.arrow: an input, which would be replaced as a spill of used.arrow"],
    ),
    "spills alone, verified": (
        f"{PARTITION} --spills-only --verify",
        ["--verify reads OUT again, and --spills-only makes"],
    ),
    "partition with a bad size": (f"{PARTITION} --memory 1GB", ["--memory", "1GB", "GiB"]),
    "partition with too little memory": (f"{PARTITION} --memory 10KiB", ["--memory", "the least is 1.0 MiB"]),
    "partition with a bad alignment": (f"{PARTITION} --alignment 100", ["alignment", "power of two", "100"]),
    "partition with a bad spill directory": (f"{PARTITION} --spill-dir gone --keep-spills", ["gone", "No such file"]),
    "inspect of a missing file": ("shuffle inspect gone.arrow", ["gone.arrow: No such file or directory"]),
    "inspect of no Arrow file": ("shuffle inspect text.arrow", ["text.arrow", "not an Arrow IPC file"]),
    "inspect of a file without an index": ("shuffle inspect plain.arrow", ["plain.arrow", "shuffle partition FILE"]),
    "inspect of an empty directory": ("shuffle inspect empty", ["empty", "*.arrow"]),
    "inspect of a device": ("shuffle inspect /dev/null", ["/dev/null", "device"]),
    "verify of nothing": ("shuffle verify", ["Missing argument"]),
    "verify of no Arrow file": ("shuffle verify text.arrow", ["text.arrow", "not an Arrow IPC file"]),
    "verify of a file without an index": ("shuffle verify plain.arrow", ["plain.arrow", "without a partition index"]),
    "read of a missing file": ("shuffle read gone.arrow", ["gone.arrow: No such file or directory"]),
    "read of a damaged file": ("shuffle read cut.arrow", ["cut.arrow", "cut off"]),
    "read of a partition that is not there": (
        "shuffle read spills/spill-0.spill.arrow -p 3",
        ["no partition 3", "0 to 2"],
    ),
    "read of partitions backwards": ("shuffle read spills/spill-0.spill.arrow -p 2-1", ["2-1", "before it starts"]),
    "read of half a range": ("shuffle read spills/spill-0.spill.arrow -p -2", ["-2"]),
    "read over an existing file": (
        "shuffle read spills/spill-0.spill.arrow -o taken.arrow",
        ["taken.arrow", "already exists"],
    ),
}


@pytest.mark.parametrize(("command", "words"), CASES.values(), ids=CASES.keys())
def test_an_error_is_one_line_and_nothing_is_written(inputs: Path, command: str, words: list[str]) -> None:
    before = files_below(inputs)
    message = error_of(run(command, inputs))
    assert [word for word in words if word not in message] == [], message
    assert files_below(inputs) == before


@pytest.mark.parametrize(
    "command",
    [
        "shuffle-merge closed -o new.arrow",
        "shuffle partition closed --by key --partitions 4 -o new.arrow",
        "shuffle inspect closed",
        "shuffle verify closed",
    ],
)
def test_a_directory_without_permission_is_named(tmp_path: Path, command: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert error_of(run_process(command, tmp_path, obey_permissions=True)) == "closed: Permission denied"
    assert list(tmp_path.iterdir()) == [closed]


def test_a_target_directory_without_permission_is_named(inputs: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    message = error_of(run_process(f"shuffle-merge spills -o {tmp_path}/new.arrow", inputs, obey_permissions=True))
    assert message == f"{tmp_path}: Permission denied"


def test_a_bad_environment_variable_is_named(inputs: Path) -> None:
    message = error_of(run("shuffle-merge spills -o new.arrow", inputs, SHUFFLE_TRANSFER_TO="maybe"))
    assert message == "the environment variable SHUFFLE_TRANSFER_TO must be one of auto, on, off, not 'maybe'"


def test_debug_adds_the_traceback(inputs: Path) -> None:
    completed = run("shuffle-merge gone.arrow -o new.arrow --debug", inputs)
    assert completed.returncode == 2
    first, *_, last = completed.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last == "shuffle-merge: error: gone.arrow: No such file or directory"


def test_a_name_cannot_command_the_terminal(tmp_path: Path) -> None:
    evil = SpillWriter(tmp_path / "new\n\x1b[31mline.spill.arrow", ROWS.schema, 2)
    evil.close()
    evil_path = tmp_path / "new\n\x1b[31mline.spill.arrow"
    evil_path.write_bytes(evil_path.read_bytes()[:-10])
    message = error_of(run("shuffle-merge . -o merged.arrow", tmp_path))
    assert "new \\x1b[31mline.spill.arrow" in message
