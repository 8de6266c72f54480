"""How a reduce task gets its rows: from files that are near, mapped, and from servers, fetched.

Each server is asked by one thread for all partitions of the task, one after the other, within a limit of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pyarrow as pa

from shuffle.client import FetchError, PartitionClient, Place, ServerError
from shuffle.http_options import FetchOptions
from shuffle.jobs.descriptor import LossKind, Source, SourceLost
from shuffle.jobs.exchanges.protocol import JobFiles
from shuffle.jobs.reduce_units import Unit
from spill_format.errors import MismatchError, SpillError
from spill_format.reader import SpillFile
from spill_format.schemas import describe_difference

_PATIENCE = FetchOptions(attempts=3, connect_seconds=2, timeout_seconds=5, backoff_seconds=0.1)
"""Of fetches. What is given up here is not lost: the driver looks at the server, and starts the task again."""


class SourceLostError(Exception):
    """A source could not be read."""

    def __init__(self, source: Source, kind: LossKind, error: Exception) -> None:
        self.lost: SourceLost = SourceLost(source, kind, str(error))
        super().__init__(self.lost.reason)


@dataclass(slots=True)
class Traffic:
    """Bytes of ranges that were mapped, and that were fetched."""

    bytes_local: int = 0
    bytes_fetched: int = 0


def read_unit(
    unit: Unit, sources: Sequence[Source], files: JobFiles, traffic: Traffic, stack: ExitStack
) -> Iterator[pa.Table]:
    """The rows of each partition of a unit: those of all sources, in their order.

    Args:
        unit: which partitions, or which slice of one.
        sources: where rows are; a table without columns is the answer where there are none.
        files: tells what is near, and what servers want to be shown.
        traffic: is added to.
        stack: closes what is open.

    Raises:
        SourceLostError: while reading.
    """
    if unit.parts > 1 and len(sources) >= unit.parts:
        # Whole outputs; their order among the slices is that of the rows.
        sources = sources[len(sources) * unit.part // unit.parts : len(sources) * (unit.part + 1) // unit.parts]
        unit = Unit(unit.start, unit.stop)
    readers = _readers(unit, sources, files, traffic, stack)
    for _ in range(unit.start, unit.stop):
        tables = [next(readers[number]) for number in range(len(sources))]
        rows = _joined(tables, sources)
        if unit.parts > 1:
            start = rows.num_rows * unit.part // unit.parts
            rows = rows.slice(start, rows.num_rows * (unit.part + 1) // unit.parts - start)
        yield rows


def _joined(tables: Sequence[pa.Table], sources: Sequence[Source]) -> pa.Table:
    """The rows of all tables; nothing is copied.

    Raises:
        MismatchError: they have different columns.
    """
    for table, source in zip(tables, sources, strict=True):
        if (difference := describe_difference(tables[0].schema, table.schema)) is not None:
            raise MismatchError(
                f"another schema than the output of map {sources[0].map}: {difference}", path=source.path
            )
    return pa.concat_tables(tables) if tables else pa.table({})


def _readers(
    unit: Unit, sources: Sequence[Source], files: JobFiles, traffic: Traffic, stack: ExitStack
) -> list[Iterator[pa.Table]]:
    """For each source, what gives its rows of the next partition."""
    far: dict[str, list[int]] = {}
    readers: dict[int, Iterator[pa.Table]] = {}
    for number, source in enumerate(sources):
        if files.is_near(source.host):
            readers[number] = _mapped(unit, source, traffic, stack)
        else:
            far.setdefault(source.host, []).append(number)
    if far:
        memory_bytes = max(int(_PATIENCE.memory_bytes) // len(far), 1)
        options = replace(_PATIENCE, token=files.token(), connections=1, memory_bytes=memory_bytes)
        client = stack.enter_context(PartitionClient(options))
        for numbers in far.values():
            tables = _fetched(unit, [sources[number] for number in numbers], client, traffic)
            for number in numbers:
                readers[number] = tables  # taken from in the order in which they are asked for
    return [readers[number] for number in range(len(sources))]


def _mapped(unit: Unit, source: Source, traffic: Traffic, stack: ExitStack) -> Iterator[pa.Table]:
    try:
        opened = stack.enter_context(SpillFile(source.path))
    except FileNotFoundError as error:
        raise SourceLostError(source, "gone", error) from error
    except SpillError as error:
        raise SourceLostError(source, "damaged", error) from error
    for partition in range(unit.start, unit.stop):
        try:
            opened.verify_partition(partition)
            table = opened.read(partition)
        except SpillError as error:
            raise SourceLostError(source, "damaged", error) from error
        start, stop = opened.range_of(partition)
        traffic.bytes_local += stop - start
        yield table


def _fetched(unit: Unit, sources: Sequence[Source], client: PartitionClient, traffic: Traffic) -> Iterator[pa.Table]:
    """The rows of one server's sources: for each partition those of each source."""
    places = []
    for partition in range(unit.start, unit.stop):
        for source in sources:
            if source.url is None:
                raise SourceLostError(source, "unreachable", ConnectionError(f"host {source.host} has no server"))
            places.append(Place.of(source.url, partition))
    for number, fetched in enumerate(client.read_many(places)):
        source = sources[number % len(sources)]
        try:
            table = fetched.table
        except ServerError as error:
            kind: LossKind = "gone" if error.status in {404, 410} else "unreachable"
            raise SourceLostError(source, kind, error) from error
        except FetchError as error:
            raise SourceLostError(source, "unreachable", error) from error
        except SpillError as error:
            raise SourceLostError(source, "damaged", error) from error
        traffic.bytes_fetched += table.nbytes
        yield table
