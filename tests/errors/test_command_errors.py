"""Errors of commands: what their last line says, and how they exit."""

import os
import pty
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tests.errors.rows import Command, Row, each_row
from tests.helpers.commands import command_line, error_of, run_process
from tests.helpers.servers import running
from tests.helpers.spark_files import write_pushed, write_spark
from tests.helpers.spills import random_spill

ROWS = pa.table({"key": [1, 2, 3], "text": ["a", "b", "c"]})
PARTITION = "shuffle partition rows.parquet --by key --partitions 4 -o new.arrow"


def examples(directory: Path) -> None:
    """One file or directory for each way to be wrong."""
    for name in ("empty", "blockmgr-7", "blockmgr-8", "blockmgr-9"):
        (directory / name).mkdir()
    whole = random_spill(directory / "whole.arrow", [3, 4]).read_bytes()
    (directory / "cut.arrow").write_bytes(whole[:-100])
    pa.parquet.write_table(ROWS, directory / "rows.parquet")
    write_spark(directory / "blockmgr-7" / "shuffle_3_0_0.data", [b"abc", b"", b"d"])
    write_spark(directory / "blockmgr-8" / "shuffle_3_0_0.data", [b"abc", b"", b"d"]).write_bytes(b"abcde")
    write_pushed(directory / "empty.data", [])


def refused(text: str, command: str) -> Command:
    """A command that is wrong, or meets what it cannot work with."""
    return Command(2, text, command, examples)


TABLE: list[Row] = [
    refused("no Arrow files: looked for *.arrow in the directory empty", "shuffle verify empty"),
    refused("spark-push has no --dry-run", "shuffle-merge blockmgr-7 --kind spark-push --dry-run -o empty"),
    refused("sizes.png: nothing to draw: there is no sound file", "shuffle inspect --plot sizes.png cut.arrow"),
    refused("empty.data has no chunk 0: it has none", "shuffle read empty.data --raw --chunk 0"),
    refused("Invalid value for '-p' / '--partition': '3--' is neither a", "shuffle read whole.arrow -p 3--"),
    refused("--raw or --format, not both", "shuffle read whole.arrow --raw --format csv"),
    refused(
        "Spark's map outputs cannot be repaired, since their bytes are opaque",
        "shuffle repair blockmgr-7/shuffle_3_0_0.data -o new.data",
    ),
    refused("no shuffle files: looked for shuffle_*_*_*.index below blockmgr-9", "shuffle verify blockmgr-9"),
    refused(
        "partitions of opaque bytes cannot be sorted by rows: sort them by partition or size",
        "shuffle inspect blockmgr-7 --sort rows",
    ),
    refused("--method is for merging, and --spills-only merges", f"{PARTITION} --spills-only --method gather"),
    Command(1, "1 of 1 file damaged", "shuffle verify blockmgr-8", examples),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)


def test_an_extra_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    absent = "raise ModuleNotFoundError('as if it were not installed', name='aiohttp')\n"
    (tmp_path / "absent" / "aiohttp.py").write_text(absent)

    completed = run_process("shuffle serve .", tmp_path, PYTHONPATH=str(tmp_path / "absent"))

    assert error_of(completed) == "serving needs aiohttp: pip install 'shuffle-merge[serve]'"


def test_a_terminal_gets_no_arrow(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.arrow", [1, 2])
    reader, terminal = pty.openpty()
    with running(tmp_path) as server:
        completed = subprocess.run(
            command_line(f"shuffle fetch {server.url}/a.arrow -p 1"),
            stdout=terminal,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    os.close(terminal)
    os.close(reader)

    assert completed.returncode == 2
    assert completed.stderr == "shuffle: error: an Arrow stream is not for terminals: give -o OUT, or pipe it\n"
