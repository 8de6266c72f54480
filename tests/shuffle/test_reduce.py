"""The same partition of several files, in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle.reduce import read_partition
from spill_format import CorruptError, MismatchError, SpillFile
from spill_format.remote import RemoteSpillFile
from tests.helpers.http_files import http_files
from tests.helpers.spills import random_spill, random_spills


@pytest.fixture
def outputs(verified_dir: Path) -> list[Path]:
    return random_spills(verified_dir, [30, 0, 50], [10, 20, 0], [0, 0, 7], [3, 3, 3])


def concatenated(paths: list[Path], first: int, last: int | None = None) -> pa.Table:
    tables = []
    for path in paths:
        with SpillFile(path) as spill:
            tables.append(spill.read(first, last))
    return pa.concat_tables(tables)


@pytest.mark.parametrize("prefetch_bytes", [1, 1000, 1 << 20])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("partitions", [(0,), (1,), (2,), (0, 3), (1, 1)])
def test_files_come_one_after_the_other(
    outputs: list[Path], partitions: tuple[int, ...], prefetch_bytes: int, threads: int
) -> None:
    reader = read_partition(outputs, *partitions, prefetch_bytes=prefetch_bytes, threads=threads)
    assert reader.read_all() == concatenated(outputs, *partitions)


def test_open_files_paths_and_remote_ones_mix(outputs: list[Path]) -> None:
    with http_files(outputs[0].parent) as server, SpillFile(outputs[0]) as local:
        remotes = [RemoteSpillFile(f"{server.url}/{path.name}") for path in outputs[1:3]]
        reader = read_partition([local, *remotes, str(outputs[3])], 0, 3, columns=["text"])
        assert reader.schema.names == ["text"]
        assert reader.read_all() == concatenated(outputs, 0, 3).select(["text"])


WRONG: dict[str, tuple[Callable[[list[Path]], object], type[Exception], str]] = {
    "no files": (lambda paths: read_partition(paths[:0], 0), ValueError, "no files"),
    "no bytes": (lambda paths: read_partition(paths, 0, prefetch_bytes=0), ValueError, "1 bytes or more"),
    "no partition": (lambda paths: read_partition(paths, 3), IndexError, "partition 3 does not exist"),
    "no column": (lambda paths: read_partition(paths, 0, columns=["z"]), ValueError, "no column is named 'z'"),
    "no such file": (lambda paths: read_partition([paths[0].with_name("nowhere")], 0), FileNotFoundError, "nowhere"),
}


@pytest.mark.parametrize(("act", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_read_is_refused_at_once(
    outputs: list[Path], act: Callable[[list[Path]], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        act(outputs)


def test_a_file_of_other_columns_is_named(outputs: list[Path], verified_dir: Path) -> None:
    other = random_spill(verified_dir / "other.arrow", [1, 1, 1], schema=pa.schema([("key", pa.int64())]))
    with pytest.raises(MismatchError, match=r"other\.arrow: other columns than .*spill-0.*: no column text"):
        read_partition([*outputs, other], 0).read_all()


def test_a_damaged_file_is_named(outputs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(outputs[1].read_bytes()[:-1])
    with pytest.raises(CorruptError, match="damaged"):
        read_partition([outputs[0], tmp_path / "damaged"], 0).read_all()
