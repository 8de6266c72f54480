"""Files that are damaged, or changed by somebody else, and what then acts on them."""

import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from spill_format import (
    SpillFile,
)
from spill_format.footer import IndexPlace, encode_place
from spill_format.stream import decode_stream, ranges_within
from tests.helpers.anatomy import Anatomy
from tests.helpers.forgeries import (
    Damage,
)
from tests.helpers.spills import write_sample

NOTE = encode_place(1, 0, IndexPlace(1000, 2000, 7))
COMPRESSED_WITH_9 = struct.pack(
    # A Message, its header a RecordBatch, its compression a BodyCompression of codec 9; vtables before tables.
    "<I 5H2x iI 6H iI 3H2x iB3x",
    16, 10, 8, 0, 0, 4, 12, 16, 12, 8, 0, 0, 0, 4, 12, 12, 6, 8, 4, 8, 9,
)  # fmt: skip

Act = Callable[[Path], object]


def damaged(damage: Damage, act: Act = SpillFile) -> Callable[[Path], object]:
    """What acts on a sample of four partitions after this happened to it."""

    def provoke(directory: Path) -> object:
        path = write_sample(directory / "a.arrow")
        path.write_bytes(damage(Anatomy.of(path)))
        return act(path)

    return provoke


def without_blocks(template: bytes) -> bytes:
    """A footer whose root table has no list of record batches."""
    (root,) = struct.unpack_from("<I", template)
    (distance,) = struct.unpack_from("<i", template, root)
    slot = root - distance + 4 + 2 * 3
    return template[:slot] + bytes(2) + template[slot + 2 :]


def cut_while_opened(directory: Path) -> None:
    """Open a file that is cut after its structure was read, before it is mapped."""
    path = write_sample(directory / "a.arrow")
    armed = True

    def cut(event: str, _arguments: object) -> None:
        nonlocal armed
        if armed and event == "mmap.__new__":
            armed = False
            os.truncate(path, 1000)

    sys.addaudithook(cut)  # for good: it does nothing the second time
    try:
        SpillFile(path)
    finally:
        armed = False


def decode(path: Path) -> object:
    return decode_stream(path.read_bytes(), "http://host/a.arrow")


def stream(content: bytes) -> Callable[[Path], object]:
    return lambda _: ranges_within(content, "http://host/a.arrow/partitions/3")
