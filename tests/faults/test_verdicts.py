"""What is a verdict and what is not: lack of memory says nothing about a file; what verifies never crashes a reader."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shuffle import HashPartitioner, MapWriter, partition_files, repair, verify
from shuffle.rows.errors import InputError
from shuffle.testing import write_spill
from spill_format import CorruptError, SpillWriter
from spill_format.checksum import crc32c
from spill_format.messages import metadata_length_of, seal_metadata
from tests.helpers.anatomy import Anatomy
from tests.helpers.commands import command_line, environment_with
from tests.helpers.forgeries import range_forged
from tests.helpers.input_files import INPUT_WRITERS


@pytest.mark.parametrize(
    "command",
    [
        "verify a.arrow --threads 1",
        "repair a.arrow -o new.arrow",
        "read a.arrow -o new.arrow",
        "diff a.arrow a.arrow --any-order",
        "partition a.arrow --by n --partitions 2 -o new.arrow",
        "merge a.arrow --compact -o new.arrow",
    ],
)
def test_lack_of_memory_is_no_verdict(tmp_path: Path, command: str) -> None:
    batch = pa.record_batch({"n": np.zeros(128 << 20, dtype=np.int64)})  # 1 GiB of few bytes
    write_spill({0: [batch]}, tmp_path / "a.arrow", schema=batch.schema, partition_count=1, compression="zstd")
    completed = subprocess.run(
        ["bash", "-c", f'ulimit -v 1100000; exec "$0" {command}', *command_line("shuffle")],
        cwd=tmp_path,
        env=environment_with(ARROW_DEFAULT_MEMORY_POOL="system"),  # others take much at once, and keep it
        capture_output=True,
        text=True,
        check=False,
    )

    assert (completed.returncode, completed.stdout) == (2, "")
    assert completed.stderr.startswith("shuffle: error: out of memory\n")
    assert not (tmp_path / "new.arrow").exists()


def body_changed(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Another body under a right seal."""

    def forge(message: bytes) -> bytes:
        length = metadata_length_of(message)
        body = change(message[length:])
        return seal_metadata(message[: length - 16], 0, crc32c(body), 0) + body

    return forge


TEXT = pa.record_batch({"text": pa.array(["first", "second", "third"])})
DICTIONARY = pa.record_batch({"text": pa.array(["first", "second", "third"]).dictionary_encode()})


@pytest.mark.parametrize("batch", [TEXT, DICTIONARY], ids=["text", "dictionary"])
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(struct.pack("<ii", 0, 5), struct.pack("<ii", 0, 1 << 30), 1),
        lambda body: body.replace(struct.pack("<ii", 5, 11), struct.pack("<ii", 12, 11), 1),
        lambda body: body.replace(b"second", b"\xff\xfecond", 1),
    ],
    ids=["an offset behind the values", "offsets that decrease", "text that is not UTF-8"],
)
def test_values_that_readers_would_follow_are_checked(
    tmp_path: Path, batch: pa.RecordBatch, change: Callable[[bytes], bytes]
) -> None:
    path = write_spill({0: [batch]}, tmp_path / "a.arrow", schema=batch.schema, partition_count=1)
    path.write_bytes(range_forged(Anatomy.of(path), 0, body_changed(change)))
    (verdict,) = verify(path).files

    assert verdict.state == "damaged"
    assert "cannot be decoded" in (verdict.problem or "")
    with pytest.raises(CorruptError, match="no record batch is whole"):
        repair(path, tmp_path / "new.arrow")


NO_TEXT = pa.array([b"a", b"\xff\xfe"]).view(pa.string())
NO_ROWS = pa.record_batch({"key": pa.array([1, 2]), "text": NO_TEXT})


def by_spill_writer(path: Path, *, validate: bool = True) -> None:
    with SpillWriter(path, NO_ROWS.schema, 2) as writer:
        writer.write(1, NO_ROWS, validate=validate)


def by_map_writer(path: Path, *, validate: bool = True) -> None:
    with MapWriter(path, NO_ROWS.schema, HashPartitioner("key", 2)) as writer:
        writer.write(pa.table(NO_ROWS), validate=validate)


@pytest.mark.parametrize("write", [by_spill_writer, by_map_writer])
def test_nobody_writes_what_verify_would_call_damaged(tmp_path: Path, write: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match=r"the rows are not valid: .*Invalid UTF8 sequence"):
        write(tmp_path / "a.arrow")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "a.arrow", validate=False)  # who says that they are answers for them
    assert verify(tmp_path / "a.arrow").state == "damaged"


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".jsonl"])
def test_inputs_whose_text_is_none_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    if suffix == ".csv":
        path.write_bytes(b'key,text\n1,a\n2,"\xff\xfe"\n')
    elif suffix == ".jsonl":
        path.write_bytes(b'{"key":1,"text":"a"}\n{"key":2,"text":"\xff\xfe"}\n')
    else:
        INPUT_WRITERS[suffix](pa.table(NO_ROWS), path)
    with pytest.raises(InputError, match=rf"rows{suffix}: .*(UTF8|utf-8)"):
        partition_files([path], tmp_path / "out.arrow", 2, by=["key"])
    assert list(tmp_path.iterdir()) == [path]
