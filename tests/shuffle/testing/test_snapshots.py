"""The text form of a layout, whole."""

from pathlib import Path

import pytest

from shuffle.testing import layout_text, write_spill

ROW = {"n": 1, "s": "a"}

TEXTS = {
    "some partitions are empty": (
        {0: [ROW, ROW], 3: [ROW], 4: [ROW]},
        {"partition_count": 12},
        """\
partitions 12, rows 4, batches 3, alignment 64
columns n: int64, s: string
partition  rows  batches
        0     2        1
      1–2     0        0
        3     1        1
        4     1        1
     5–11     0        0
""",
    ),
    "a single empty partition": (
        {0: [ROW], 2: [ROW] * 1000},
        {"alignment": 4096},
        """\
partitions 3, rows 1001, batches 2, alignment 4096
columns n: int64, s: string
partition  rows  batches
        0     1        1
        1     0        0
        2  1000        1
""",
    ),
    "nothing": (
        {0: {"n": []}},
        {"partition_count": 20_000},
        """\
partitions 20000, rows 0, batches 0, alignment 64
columns n: null
partition  rows  batches
  0–19999     0        0
""",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_a_layout(spill_dir: Path, name: str) -> None:
    partitions, options, text = TEXTS[name]
    path = write_spill(partitions, spill_dir / "x.arrow", **options)  # type: ignore[arg-type]

    assert layout_text(path) == text


def test_with_bytes_it_tells_where_ranges_start_and_how_long_they_are(spill_dir: Path) -> None:
    path = write_spill({0: [ROW], 3: [ROW]}, spill_dir / "x.arrow", alignment=4096)

    lines = layout_text(path, byte_counts=True).splitlines()

    assert [line.split() for line in lines[2:]] == [
        ["partition", "rows", "batches", "start", "bytes"],
        ["0", "1", "1", "4096", "4096"],
        ["1–2", "0", "0", "8192", "0"],
        ["3", "1", "1", "8192", "4096"],
    ]
