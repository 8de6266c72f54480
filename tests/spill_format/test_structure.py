"""What describes a file is read without pyarrow and without the ranges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import spill_format
from spill_format import TruncatedError
from spill_format.storage.local import read_exactly
from spill_format.structure import FileStructure, read_structure
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import write_sample


def structure_of(path: Path) -> FileStructure:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return read_structure(descriptor, path)
    finally:
        os.close(descriptor)


def test_the_structure_is_that_of_the_file(verified_dir: Path) -> None:
    path = write_sample(verified_dir / "x.spill.arrow")
    anatomy = Anatomy.of(path)
    structure = structure_of(path)
    assert structure.path == str(path)
    assert structure.byte_count == len(anatomy.raw)
    assert structure.schema_message == anatomy.raw[8 : anatomy.offsets[0]]
    assert structure.index.layout.offsets.tolist() == list(anatomy.offsets)


def test_the_file_position_is_neither_used_nor_moved(verified_dir: Path) -> None:
    path = write_sample(verified_dir / "x.arrow")
    with path.open("rb") as file:
        file.seek(3)
        read_structure(file.fileno(), path)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 3


def test_damage_to_ranges_is_not_looked_at(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "x.arrow")
    anatomy = Anatomy.of(path)
    ranges_length = anatomy.marker - anatomy.offsets[0]
    path.write_bytes(anatomy.patched(anatomy.offsets[0], bytes(ranges_length)))
    assert structure_of(path).index.layout.row_count == 8


def test_reading_behind_the_end_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"12345")
    with path.open("rb") as file:
        assert read_exactly(file.fileno(), 1, 4, "short") == b"2345"
        assert read_exactly(file.fileno(), 9, 0, "short") == b""
        with pytest.raises(TruncatedError, match="short, offset 2: the file ends too early: expected 4 bytes, found 3"):
            read_exactly(file.fileno(), 2, 4, "short")


def test_a_descriptor_that_cannot_be_read_names_the_file(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "x.arrow")
    descriptor = os.open(path, os.O_WRONLY)
    try:
        with pytest.raises(OSError, match=r"Bad file descriptor: .*x\.arrow"):
            read_structure(descriptor, path)
    finally:
        os.close(descriptor)


def test_pyarrow_is_not_imported(verified_dir: Path) -> None:
    path = write_sample(verified_dir / "x.arrow")
    program = f"""
import os, sys
from spill_format.structure import read_structure
structure = read_structure(os.open({str(path)!r}, os.O_RDONLY), "x")
print(structure.index.layout.row_count, "pyarrow" in sys.modules)
"""
    home = Path(spill_format.__file__).parents[1]
    command = [sys.executable, "-O", "-c", program]
    completed = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["8", "False"]
