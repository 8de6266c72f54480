"""Errors of commands, run for real: their one line to the letter, and how they exit."""

import os
import pty
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from spill_format import SpillWriter
from tests.errors.rows import Command, Elsewhere, Provoked, Table, each_row
from tests.helpers.commands import command_line, error_of, run
from tests.helpers.servers import running
from tests.helpers.spark_files import write_pushed, write_spark
from tests.helpers.spills import SCHEMA, random_spill, random_spills

ROWS = pa.table({"key": [1, 2, 3], "text": ["a", "b", "c"]})
PARTITION = "shuffle partition rows.parquet --by key --partitions 4 -o new.arrow"


def examples(directory: Path) -> None:
    """One file or directory for each way to be wrong."""
    for name in ("spills", "empty", "mixed", "unlike", "blockmgr-7", "blockmgr-8", "blockmgr-9"):
        (directory / name).mkdir()
    random_spills(directory / "spills", [3, 0, 5], [1, 2, 0])
    whole = random_spill(directory / "whole.arrow", [3, 4]).read_bytes()
    (directory / "cut.arrow").write_bytes(whole[:-100])
    with SpillWriter(directory / "of three.arrow", SCHEMA, 3):
        pass
    pa.parquet.write_table(ROWS, directory / "rows.parquet")
    pa.parquet.write_table(ROWS, directory / "mixed" / "rows.parquet")
    pa.csv.write_csv(ROWS, directory / "mixed" / "rows.csv")
    pa.parquet.write_table(ROWS, directory / "unlike" / "a.parquet")
    pa.parquet.write_table(ROWS.rename_columns(["key", "word"]), directory / "unlike" / "b.parquet")
    (directory / "rows.txt").write_text("1 2 3\n")
    write_spark(directory / "blockmgr-7" / "shuffle_3_0_0.data", [b"abc", b"", b"d"])
    (directory / "merge_manager").mkdir()
    (directory / "merge_manager-2").mkdir()
    (directory / "merge_manager-3").mkdir()
    for data in ("merge_manager/shuffleMerged_app_3_0_0", "merge_manager/shuffleMerged_app_3_0_4", "merge_manager-2/a"):
        write_pushed(directory / f"{data}.data", [([0], b"abc"), ([2], b"de")])
    for shuffle in (3, 5):
        write_pushed(directory / "merge_manager-3" / f"shuffleMerged_app_{shuffle}_0_0.data", [([0], b"abc")])
    write_pushed(directory / "empty.data", [])
    write_pushed(directory / "merge_manager-2" / "cut.data", [([0], b"abc"), ([2], b"de")]).write_bytes(b"abcd")
    damaged = write_spark(directory / "blockmgr-8" / "shuffle_3_0_0.data", [b"abc", b"", b"d"])
    damaged.write_bytes(b"abcde")


def refused(text: str, command: str) -> Command:
    """A command that is wrong, or meets what it cannot work with."""
    return Command(2, text, command, examples)


TABLE: Table = {
    "shuffle/cli/fetch.py": [
        refused(
            "name partitions either in the URL or with -p (see `shuffle fetch --help`)",
            "shuffle fetch http://127.0.0.1:9/a.arrow",
        ),
        Elsewhere(
            "an Arrow stream is not for terminals: give -o OUT, or pipe it",
            "tests/errors/test_command_errors.py::test_a_terminal_gets_no_arrow",
        ),
    ],
    "shuffle/cli/files.py": [
        refused("no Arrow files: looked for *.arrow in the directory empty", "shuffle verify empty"),
    ],
    "shuffle/cli/inspect.py": [
        refused(
            "--csv and --plot are for Arrow files: of Spark's there are --json and tables",
            "shuffle inspect blockmgr-7 --csv",
        ),
        refused("--json or --csv, not both (see `shuffle inspect --help`)", "shuffle inspect whole.arrow --json --csv"),
        Command(
            1,
            "damaged: cut.arrow, offset …: the file is cut off or was never finished: its end: expected b'ARROW1', "
            "found …; `shuffle repair FILE -o OUT` recovers what is whole",
            "shuffle inspect cut.arrow",
            examples,
        ),
    ],
    "shuffle/cli/merge.py": [
        refused(
            "--memory is for --compact (see `shuffle-merge --help`)", "shuffle-merge spills -o new.arrow --memory 1GiB"
        ),
        refused(
            "where shall the merged file go? Give its name with -o, as in: shuffle-merge spills/ -o merged.arrow "
            "(see `shuffle-merge --help`)",
            "shuffle-merge spills",
        ),
        refused(
            "spark-push has no --dry-run (see `shuffle-merge --help`)",
            "shuffle-merge blockmgr-7 --format spark-push --dry-run -o empty",
        ),
        refused(
            "--shuffle and --codec are for Spark's files (see `shuffle-merge --help`)",
            "shuffle-merge spills --format arrow --shuffle 3 -o new.arrow",
        ),
    ],
    "shuffle/cli/options.py": [
        refused(
            "Invalid value for '--memory': '10KiB' is too small: the least is 1048576 bytes (see `shuffle "
            "partition --help`)",
            f"{PARTITION} --memory 10KiB",
        ),
    ],
    "shuffle/cli/pictures.py": [
        refused("sizes.png: nothing to draw: there is no sound file", "shuffle inspect --plot sizes.png cut.arrow"),
        refused(
            "sizes.gif: what kind of picture is it? Its name must end with .png, .svg, .html",
            "shuffle inspect whole.arrow --plot sizes.gif",
        ),
        refused(
            "sizes.png: nothing to draw: the files have different numbers of partitions",
            "shuffle inspect --plot sizes.png whole.arrow spills",
        ),
        Elsewhere(
            "pictures need matplotlib: pip install 'shuffle-merge[plot]'",
            "tests/shuffle/cli/test_pictures.py::test_without_matplotlib_the_extra_is_named",
        ),
    ],
    "shuffle/cli/raw.py": [
        refused(
            "whole.arrow: only merged partitions of a push-based shuffle have chunks",
            "shuffle read whole.arrow --raw --chunk 0",
        ),
        refused(
            "merge_manager-2/a.data has one partition alone, whose parts are chunks: --chunk N",
            "shuffle read merge_manager-2/a.data --raw -p 0",
        ),
        refused(
            "merge_manager/shuffleMerged_app_3_0_4.data has partition 4 alone, whose parts are chunks: --chunk N",
            "shuffle read merge_manager/shuffleMerged_app_3_0_4.data --raw -p 0",
        ),
        refused(
            "merge_manager has no such merged partition, unless it is empty; there are 0, 4",
            "shuffle read merge_manager --raw -p 2",
        ),
        refused(
            "--chunk of which of 2 merged partitions? Give one with -p", "shuffle read merge_manager --raw --chunk 0"
        ),
        refused("empty.data has no chunk 0: it has none", "shuffle read empty.data --raw --chunk 0"),
        refused(
            "merge_manager-3 has shuffleMerged_app_3_0, shuffleMerged_app_5_0: give the file of one",
            "shuffle read merge_manager-3 --raw",
        ),
        refused(
            "blockmgr-7/shuffle_3_0_0.data has no partition 3: its partitions are 0 to 2",
            "shuffle read blockmgr-7/shuffle_3_0_0.data --raw -p 3",
        ),
    ],
    "shuffle/cli/read.py": [
        refused("--chunk goes with --raw (see `shuffle read --help`)", "shuffle read merge_manager --chunk 0"),
        refused(
            "Invalid value for '-p' / '--partition': '3-' is neither a partition, as 3, nor several, as 3-6 "
            "(see `shuffle read --help`)",
            "shuffle read whole.arrow -p 3-",
        ),
        refused(
            "Invalid value for '-p' / '--partition': '2-1' ends before it starts (see `shuffle read --help`)",
            "shuffle read whole.arrow -p 2-1",
        ),
        refused(
            "--raw or --format, not both (see `shuffle read --help`)", "shuffle read whole.arrow --raw --format csv"
        ),
        refused(
            "blockmgr-7/shuffle_3_0_0.data: what Spark's ranges hold is opaque: --raw gives it as it is",
            "shuffle read blockmgr-7/shuffle_3_0_0.data --format csv",
        ),
        refused("whole.arrow has no partition 2: its partitions are 0 to 1", "shuffle read whole.arrow -p 2"),
        Elsewhere(
            "… is not for terminals: give -o OUT, pipe it, or say --format csv",
            "tests/shuffle/cli/test_terminal.py::test_bytes_are_not_written_to_a_terminal",
        ),
    ],
    "shuffle/cli/serve.py": [
        Elsewhere(
            "serving needs …: pip install 'shuffle-merge[serve]'",
            "tests/errors/test_command_errors.py::test_an_extra_that_is_not_there_is_named",
        ),
    ],
    "shuffle/cli/spark_push.py": [
        Command(
            1,
            "damaged: …",
            "shuffle inspect merge_manager-2/cut.data",
            examples,
        ),
    ],
    "shuffle/cli/spark.py": [
        refused(
            "Spark's files and others are looked at separately: blockmgr-7 and whole.arrow",
            "shuffle verify blockmgr-7 whole.arrow",
        ),
        refused(
            "no shuffle files: looked for shuffle_*_*_*.index below blockmgr-9",
            "shuffle verify blockmgr-9",
        ),
        refused(
            "what Spark's ranges hold is opaque: sort by partition or size", "shuffle inspect blockmgr-7 --sort rows"
        ),
        Command(
            1,
            "damaged: blockmgr-8/shuffle_3_0_0.data: size of the data file, which is the last offset of its index: "
            "expected 4, found 5",
            "shuffle inspect blockmgr-8",
            examples,
        ),
        Command(1, "1 of 1 output damaged", "shuffle verify blockmgr-8", examples),
    ],
    "shuffle/cli/verify.py": [
        Command(1, "1 of 2 files damaged", "shuffle verify whole.arrow cut.arrow", examples),
    ],
}


@each_row(TABLE)
def test_what_an_error_says(row: Provoked, tmp_path: Path) -> None:
    row.check(tmp_path)


def test_an_extra_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    absent = "raise ModuleNotFoundError('as if it were not installed', name='aiohttp')\n"
    (tmp_path / "absent" / "aiohttp.py").write_text(absent)

    completed = run("shuffle serve .", tmp_path, PYTHONPATH=str(tmp_path / "absent"))

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
