"""Values of Arrow inputs are validated before anything follows them: wrong offsets would kill the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest


@pytest.mark.parametrize(
    "wrong",
    [
        pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 10**8, 2], np.int32)), pa.py_buffer(b"ab")),
        pa.DictionaryArray.from_arrays(pa.array([0, 10**8], pa.int32()), pa.array(["a"]), safe=False),
    ],
    ids=["offsets", "dictionary indices"],
)
def test_wrong_offsets_in_an_arrow_file_are_an_error(tmp_path: Path, wrong: pa.Array) -> None:
    rows = pa.record_batch({"key": [1, 2], "wrong": wrong})
    with pa.ipc.new_file(str(tmp_path / "rows.arrow"), rows.schema) as writer:
        writer.write_batch(rows)

    program = "import shuffle; shuffle.partition_files(['rows.arrow'], 'new.arrow', by=['key'], partitions=2)"
    completed = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert completed.returncode == 1
    assert "InputError: rows.arrow: In column 1" in completed.stderr
