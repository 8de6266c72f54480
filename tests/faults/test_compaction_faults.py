"""A compacting merge when sources are damaged or the machine fails: the error says where, and nothing is left."""

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from shuffle import MergeOptions, merge
from shuffle.testing import Always, Fail, ScriptedKernel, Step, Zeroes, write_spill
from spill_format import ChecksumError, CorruptError, SpillError, SpillFile, TruncatedError
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import flat_batch, random_spill, write_sample

COMPACT = MergeOptions(compact=True, threads=2)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    return tmp_path / "outputs"


def test_a_damaged_source_is_named_with_its_place(tmp_path: Path, outputs: Path) -> None:
    sound = Anatomy.of(write_sample(tmp_path / "sound.spill.arrow"))
    (tmp_path / "damaged.spill.arrow").write_bytes(sound.patched(sound.offsets[3] - 8, b"\xee"))
    words = f"damaged.spill.arrow, partition 2, offset {sound.offsets[2]}: CRC-32C of a record batch's body: expected "
    with pytest.raises(ChecksumError, match=words):
        merge([tmp_path / "sound.spill.arrow", tmp_path / "damaged.spill.arrow"], outputs / "merged.arrow", COMPACT)
    assert os.listdir(outputs) == []


@pytest.mark.parametrize("compression", [None, "lz4"])
@pytest.mark.parametrize("place", [0.001, 0.4, 0.99])
def test_damage_anywhere_in_a_large_partition_is_found(
    tmp_path: Path, outputs: Path, compression: str | None, place: float
) -> None:
    batches = [flat_batch(1000, 1000 * number) for number in range(200)]
    path = write_spill({1: batches}, tmp_path / "large.spill.arrow", partition_count=3, compression=compression)
    with SpillFile(path) as spill:
        start, end = spill.range_of(1)
    anatomy = Anatomy.of(path)
    position = start + int(place * (end - start))
    path.write_bytes(anatomy.patched(position, bytes([anatomy.raw[position] ^ 1])))
    with pytest.raises(
        ChecksumError, match=r"large.spill.arrow, partition 1, offset [0-9]+: CRC-32C of a record"
    ) as at:
        merge([path], outputs / "merged.arrow", MergeOptions(compact=True, memory_bytes=1 << 20))
    assert at.value.offset is not None
    assert start <= at.value.offset <= position
    assert os.listdir(outputs) == []


def test_a_source_that_is_cut_short_meanwhile_is_an_error(tmp_path: Path, outputs: Path) -> None:
    sources = [random_spill(tmp_path / f"{number}.spill.arrow", [100_000, 100_000]) for number in range(2)]
    changed = False

    def cut(_done: int, _total: int) -> None:
        nonlocal changed
        if not changed:
            changed = True
            os.truncate(sources[1], sources[1].stat().st_size // 2)

    with pytest.raises((TruncatedError, SpillError), match=r"1.spill.arrow"):
        merge(sources, outputs / "merged.arrow", COMPACT, progress=cut)
    assert os.listdir(outputs) == []


KERNELS: list[tuple[str, list[Step], type[Exception], str]] = [
    ("an error of reading", [Always(Fail(errno.EIO))], OSError, "Input/output error: reading at offset"),
    ("zeroes instead of what is there", [Always(Zeroes())], CorruptError, "no message starts with 00 00 00 00"),
]


@pytest.mark.parametrize(("steps", "kind", "words"), [case[1:] for case in KERNELS], ids=[case[0] for case in KERNELS])
def test_a_kernel_that_fails_or_lies_is_caught(
    tmp_path: Path, outputs: Path, steps: list[Step], kind: type[Exception], words: str
) -> None:
    source = random_spill(tmp_path / "a.spill.arrow", [10, 20])
    with pytest.raises(kind, match=words):
        merge([source], outputs / "merged.arrow", COMPACT, kernel=ScriptedKernel({"pread": steps}))
    assert os.listdir(outputs) == []


def test_too_little_room_is_told_before_anything_is_written(small_ext4_dir: Path, tmp_path: Path) -> None:
    source = random_spill(tmp_path / "a.spill.arrow", [200_000, 0, 300_000])
    before = sorted(os.listdir(small_ext4_dir))
    told: list[int] = []
    with pytest.raises(OSError, match=r"No space left on device: [0-9]+ bytes will be written, [0-9]+ are") as caught:
        merge([source], small_ext4_dir / "merged.arrow", COMPACT, progress=lambda done, _: told.append(done))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(small_ext4_dir / "merged.arrow"))
    assert told == []
    assert sorted(os.listdir(small_ext4_dir)) == before


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(small_ext4_dir: Path, tmp_path: Path) -> None:
    source = random_spill(tmp_path / "a.spill.arrow", [60_000, 0, 100_000])
    filler = small_ext4_dir / "filler"

    def fill(_done: int, _total: int) -> None:
        if not filler.exists():
            with filler.open("wb") as file, suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(1 << 16))

    with pytest.raises(OSError, match="No space left on device") as caught:
        merge([source], small_ext4_dir / "merged.arrow", COMPACT, progress=fill)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(small_ext4_dir / "merged.arrow"))
    assert sorted(os.listdir(small_ext4_dir)) == ["filler", "lost+found"]


FAILING_IN_THE_MIDDLE = """
import gc, sys
from shuffle import merge
from shuffle.merging.decoding import RangeDecoder

class StoppedError(Exception): pass

def stop(*_): raise StoppedError

RangeDecoder._portion = stop
for _ in range(20):
    try:
        merge([sys.argv[1]], sys.argv[1] + "/out.arrow", compact=True)
    except StoppedError as error:
        kept = error
    kept = None
    gc.collect()
"""


def test_what_an_error_keeps_of_compressed_sources_can_be_freed(tmp_path: Path) -> None:
    """Record batches are decoded into memory that lives as long as they do."""
    batch = flat_batch(20_000)
    for number in range(2):
        write_spill({0: [batch] * 3}, tmp_path / f"{number}.spill.arrow", partition_count=2, compression="zstd")
    completed = subprocess.run([sys.executable, "-c", FAILING_IN_THE_MIDDLE, tmp_path], check=False)
    assert completed.returncode == 0
