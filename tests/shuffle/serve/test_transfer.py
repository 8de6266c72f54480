"""Sending never keeps the event loop to itself, whatever an answer is made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shuffle.serve.catalog import Catalog, ServedFile
from shuffle.serve.representation import FileSpan, Segment
from shuffle.serve.transfer import Sender
from tests.helpers.spills import random_spill
from tests.helpers.stretches import Others


class Void:
    """Takes everything at once."""

    def __init__(self, seconds_a_write: float = 0) -> None:
        self.byte_count = 0
        self.sent = 0
        self._seconds = seconds_a_write

    async def write(self, data: bytes) -> None:
        self.byte_count += len(data)
        if self._seconds:
            time.sleep(self._seconds)  # noqa: ASYNC251 (it is busy, not waiting)

    def abort(self) -> None:
        raise AssertionError


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ServedFile]:
    random_spill(tmp_path / "a.arrow", [100_000])
    with Catalog(tmp_path, 1).open("a.arrow") as opened:
        yield opened


@pytest.mark.parametrize("span_count", [1, 40, 4000])
def test_others_get_their_turn_by_bytes(file: ServedFile, span_count: int) -> None:
    span_bytes = 1_600_000 // span_count
    spans = [FileSpan(file, number * span_bytes, (number + 1) * span_bytes) for number in range(span_count)]
    void = Void()

    async def send() -> int:
        async with Others() as others:
            await Sender("off", 64 << 10).send([span for _ in range(20) for span in spans], void)
        return others.turn_count

    turn_count = asyncio.run(send())
    assert void.byte_count == 32_000_000
    assert turn_count >= 32_000_000 // (4 << 20)


def test_others_get_their_turn_by_time(file: ServedFile) -> None:
    segments: list[Segment] = [b"head", FileSpan(file, 8, 8)] * 50  # bytes are few, and steps are many

    async def send() -> int:
        async with Others() as others:
            await Sender("off", 64 << 10).send(segments, Void(seconds_a_write=0.002))
        return others.turn_count

    assert asyncio.run(send()) >= 50 * 0.002 / 0.02
