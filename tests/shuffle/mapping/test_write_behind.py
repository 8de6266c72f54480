"""What is written behind the caller is all there, in order, or its error is heard of."""

import os
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from shuffle.mapping.write_behind import WriteBehind


def test_everything_is_written_in_order_once_the_context_ends(tmp_path: Path) -> None:
    pieces = [b"%07d\n" % number for number in range(50_000)]
    with (tmp_path / "file").open("wb") as file, WriteBehind(file) as behind:
        for start in range(0, len(pieces), 1000):
            behind.write([memoryview(piece) for piece in pieces[start : start + 1000]])
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)


def test_the_caller_goes_on_while_pieces_are_written() -> None:
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb") as reader, os.fdopen(writable, "wb") as pipe, WriteBehind(pipe) as behind:
        more_than_a_pipe_holds = bytes(1 << 20)
        behind.write([more_than_a_pipe_holds])  # would wait for ever, if it were not for the thread
        assert reader.read(len(more_than_a_pipe_holds)) == more_than_a_pipe_holds


def test_an_error_is_raised_by_a_call_that_follows() -> None:
    def write_on(full: BinaryIO) -> None:
        with WriteBehind(full) as behind:
            while True:
                behind.write([b"lost, or not even tried"])

    with Path("/dev/full").open("wb") as full, pytest.raises(OSError, match="No space left"):
        write_on(full)


def test_an_error_of_the_last_call_is_raised_by_the_end() -> None:
    with (
        Path("/dev/full").open("wb") as full,
        pytest.raises(OSError, match="No space left"),
        WriteBehind(full) as behind,
    ):
        behind.write([b"lost"])


def test_an_error_of_the_caller_is_the_one_heard_of_and_ends_the_thread() -> None:
    def fail_between(full: BinaryIO) -> None:
        with WriteBehind(full) as behind:
            behind.write([b"lost"])
            raise ZeroDivisionError

    with Path("/dev/full").open("wb") as full, pytest.raises(ZeroDivisionError):
        fail_between(full)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("shuffle-write")]
