"""Errors of what `shuffle partition` reads and how: which input, which option, and what would do instead."""

from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from tests.errors.rows import Command, Provoked, Table, Unseen, each_row
from tests.errors.test_command_errors import PARTITION, ROWS, examples, refused


def more_examples(directory: Path) -> None:
    """What the other tables have, and directories named by keys, empty inputs and an input named as a spill."""
    examples(directory)
    for name in ("by-key/day=1", "by-key/hour=1", "none", "retyped"):
        (directory / name).mkdir(parents=True)
    for name in ("by-key/day=1/a.parquet", "by-key/hour=1/b.parquet"):
        pa.parquet.write_table(ROWS, directory / name)
    pa.parquet.write_table(ROWS, directory / "retyped" / "a.parquet")
    pa.parquet.write_table(ROWS.set_column(0, "key", ROWS["key"].cast(pa.int32())), directory / "retyped" / "b.parquet")
    (directory / "empty.jsonl").touch()
    (directory / "linked.parquet").symlink_to("rows.parquet")
    pa.feather.write_feather(ROWS, directory / "new-00000.spill.arrow", compression="uncompressed")


def of_more(text: str, command: str) -> Command:
    return Command(2, text, command, more_examples)


TABLE: Table = {
    "shuffle/rows/input_files.py": [
        refused(
            "inputs of one format are needed: mixed/rows.csv is csv, mixed/rows.parquet is parquet",
            PARTITION.replace("rows.parquet", "mixed"),
        ),
        refused("no input: looked for … in the directory empty", PARTITION.replace("rows.parquet", "empty")),
        refused("no input: nothing matches *.orc", PARTITION.replace("rows.parquet", "*.orc")),
        refused(
            "rows.txt: what format is it? The names of inputs end with one of …",
            PARTITION.replace("rows.parquet", "rows.txt"),
        ),
        refused(
            "rows.parquet: is given more than once; its rows would be, too",
            PARTITION.replace("rows.parquet", "rows.parquet rows.parquet"),
        ),
        of_more(
            "linked.parquet: is given more than once, also as rows.parquet; its rows would be, too",
            PARTITION.replace("rows.parquet", "rows.parquet linked.parquet"),
        ),
        of_more(
            "by-key/hour=1/b.parquet: other directories key=value than of by-key/day=1/a.parquet; "
            "only one of them has day, hour",
            PARTITION.replace("rows.parquet", "by-key"),
        ),
        of_more(
            "by-key/day=1/../hour=1/b.parquet: '..' behind a directory key=value; give the path without it",
            PARTITION.replace("rows.parquet", "by-key/day=1/../hour=1"),
        ),
    ],
    "shuffle/rows/inputs.py": [
        refused(
            "unlike/b.parquet: other columns than in unlike/a.parquet; only one of them has text, word",
            PARTITION.replace("rows.parquet", "unlike"),
        ),
        of_more(
            "retyped/b.parquet: column key is int32, but int64 in retyped/a.parquet",
            PARTITION.replace("rows.parquet", "retyped"),
        ),
        refused("--where: …", f"{PARTITION} --where key="),
    ],
    "shuffle/rows/json_lines.py": [
        of_more(
            "empty.jsonl: empty, as all inputs are, so that nothing says what columns there are",
            PARTITION.replace("rows.parquet", "empty.jsonl"),
        ),
    ],
    "shuffle/cli/keys.py": [
        refused(
            "Invalid value for '--by': 'key,,text' has an empty name in it (see `shuffle partition --help`)",
            PARTITION.replace("by key", "by key,,text"),
        ),
        refused(
            "Invalid value for '--by': '\"key\"x' has something besides a name in quotes in it "
            "(see `shuffle partition --help`)",
            PARTITION.replace("by key", "by '\"key\"x'"),
        ),
        refused(
            "Invalid value for '--range': 'key:asc:desc' has more than one order: at most asc or desc, "
            "and where nulls go (see `shuffle partition --help`)",
            PARTITION.replace("by key", "range key:asc:desc"),
        ),
    ],
    "shuffle/cli/partition.py": [
        refused(
            "one of --by, --range, --round-robin is needed (see `shuffle partition --help`)",
            PARTITION.replace("--by key", ""),
        ),
        refused(
            "one of --by, --range, --round-robin is needed, not --by and --round-robin "
            "(see `shuffle partition --help`)",
            f"{PARTITION} --round-robin",
        ),
        refused(
            "--method is for merging, and --spills-only merges nothing (see `shuffle partition --help`)",
            f"{PARTITION} --spills-only --method gather",
        ),
        refused(
            "--verify reads OUT again, and --spills-only makes none (see `shuffle partition --help`)",
            f"{PARTITION} --spills-only --verify",
        ),
    ],
    "shuffle/mapping/partition_files.py": [
        refused("--columns: no column 'x' to write; the columns are: key, text", f"{PARTITION} --columns x"),
        Unseen(
            "--columns: no column … to write; … columns have this name",
            "Arrow reads no inputs in which two columns have a name",
        ),
        refused("--columns: 'key' is given more than once", f"{PARTITION} --columns key,key"),
        of_more(
            "new-00000.spill.arrow: an input, which would be replaced as a spill of new.arrow",
            f"{PARTITION.replace('rows.parquet', 'new-00000.spill.arrow')} --spills-only --overwrite",
        ),
    ],
}


@each_row(TABLE)
def test_what_an_error_says(row: Provoked, tmp_path: Path) -> None:
    row.check(tmp_path)
