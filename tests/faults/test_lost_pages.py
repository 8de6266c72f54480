"""Pages that are not there when they are touched: the kernel kills who reads them through a memory map.

A file that is cut under the map stands for a sector that cannot be read: the signal is the same one, SIGBUS.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle.testing import write_spill
from spill_format import SpillFile, TruncatedError

ROWS = pa.record_batch({"n": range(100_000)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_spill({0: [ROWS.slice(0, 10)], 1: [ROWS]}, tmp_path / "x.arrow", schema=ROWS.schema, partition_count=2)


def test_a_lost_page_under_a_map_kills(path: Path) -> None:
    """What the other tests are about; should the kernel ever answer otherwise, they have no meaning."""
    program = f"""
import os
from spill_format import SpillFile
spill = SpillFile({str(path)!r})
spill.slices(1, 1)
os.truncate({str(path)!r}, 8192)
spill.read(1)
"""
    completed = subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2])
    assert completed.returncode == -signal.SIGBUS


@pytest.mark.parametrize(
    ("mapped", "act"),
    [
        (True, lambda spill: spill.verify()),
        (True, lambda spill: spill.verify_partition(1)),
        (False, lambda spill: spill.read(1)),
        (False, lambda spill: spill.read(1, columns=["n"])),
        (False, lambda spill: spill.batches(0, 2).read_all()),
        (False, lambda spill: spill.read_slice(spill.slices(1, 1)[0])),
    ],
)
def test_what_is_read_and_not_mapped_is_an_error(path: Path, mapped: bool, act: Callable[[SpillFile], object]) -> None:
    with SpillFile(path, mapped=mapped) as spill:
        spill.slices(1, 1)  # so that the index is known
        os.truncate(path, 8192)
        with pytest.raises(TruncatedError, match="the file ends too early"):
            act(spill)
