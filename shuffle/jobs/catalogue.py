"""Which files hold the rows of which map tasks: outputs, merges that joined some of them, and servers that have them.

Pure. What is kept grows with maps + hosts × partitions.
"""

# PURE

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np

from shuffle.jobs.descriptor import Output, Server, Sizes, Source
from shuffle.jobs.events import Rules

_SMALL_RANGE_BYTES = 16 << 10
"""Of a range, below which merging decodes and joins record batches: opening and decoding many small ones took a
reducer four times as long (200 maps × 1,000 partitions)."""
_LARGE_RANGE_BYTES = 1 << 20
"""Of a range, from which no merge pays: with ranges of 2 MiB it took 8 % more processor time, and writes all rows a
second time."""


@dataclass(slots=True)
class _Merge:
    host: str
    maps: tuple[int, ...]
    output: Output | None = None


class Catalogue:
    """The files of a job.

    Args:
        sides: how many map tasks each side has. Files of different sides are never merged.
        partition_count: P.
        rules: say what is merged.

    Attributes:
        outputs: of each map task; None where it is missing.
        missing: how many are.
        servers: of each host.
    """

    def __init__(self, sides: Sequence[int], partition_count: int, rules: Rules) -> None:
        self._rules = rules
        self._partition_count = partition_count
        self._bounds = [0, *accumulate(sides)]
        self.outputs: list[Output | None] = [None] * self._bounds[-1]
        self.missing: int = self._bounds[-1]
        self.servers: dict[str, Server] = {}
        self._sizes: dict[str, Sizes] = {}
        self._merged_by = np.full(self._bounds[-1], -1, np.int32)
        self._merges: dict[int, _Merge] = {}
        self._unmerged: dict[tuple[int, str], set[int]] = {}  # of each side and host, what a merge may join
        self._unmergeable: set[int] = set()
        self._full_hosts: set[str] = set()
        self._planned_merges: list[tuple[str, list[int]]] = []
        self._has_news = False  # since merges were planned
        self._sources: dict[bool, tuple[tuple[Source, ...], ...]] = {}

    @property
    def partition_bytes(self) -> Sizes:
        """Bytes of each partition in all outputs."""
        return sum(self._sizes.values(), np.zeros(self._partition_count, np.int64))

    @property
    def has_rows(self) -> bool:
        """Whether any output has."""
        return any(output is not None and output.path is not None for output in self.outputs)

    @property
    def merge_count(self) -> int:
        """Merges that were begun and not given up."""
        return len(self._merges)

    @property
    def unsealed_count(self) -> int:
        """Merges of which no descriptor arrived yet."""
        return sum(merge.output is None for merge in self._merges.values())

    def hosts(self) -> list[str]:
        """Hosts on which outputs lie."""
        return sorted(self._sizes)

    def accept(self, output: Output, *, counts_bytes: bool) -> None:
        """The output of a map task is there; its bytes are counted if they will be asked for."""
        (number,) = output.maps
        if output.path is not None:
            held = self._sizes.setdefault(output.host, np.zeros(self._partition_count, np.int64))
            if output.sizes is not None and counts_bytes:
                held += output.sizes
            if self._merged_by[number] < 0 and number not in self._unmergeable:
                self._unmerged.setdefault((self._side_of(number), output.host), set()).add(number)
                self._has_news = True
        self.outputs[number] = replace(output, sizes=None)
        self.missing -= 1
        self._sources.clear()

    def lose(self, number: int) -> None:
        """The output of a map task is gone."""
        if (output := self.outputs[number]) is not None:
            self._plan_merges_anew()
            self._unmerged.get((self._side_of(number), output.host), set()).discard(number)
        self.outputs[number] = None
        self.missing += 1
        self._sources.clear()

    def lose_host(self, host: str) -> list[int]:
        """Nothing lies on a host any more; which map tasks had output there. They are still to be lost."""
        self.servers.pop(host, None)
        self._sizes.pop(host, None)
        for number in [number for number, merge in self._merges.items() if merge.host == host]:
            self.drop_merge(number)
        lost = [number for number in range(len(self.outputs)) if self._lies_on(number, host)]
        self._unmergeable.difference_update(lost)
        return lost

    def move(self, host: str, server: Server) -> None:
        """A host's files are at another server, or at the same one after all."""
        self.servers[host] = server
        self._sources.clear()

    # Merges.

    def next_merge(self) -> tuple[str, list[int]] | None:
        """Map tasks whose outputs are worth a merge, and their host; None if there are none."""
        if not self._planned_merges and self._has_news:
            self._has_news = False
            self._planned_merges = [] if self._rules.merges == "never" else list(self._plan_merges())
        return self._planned_merges.pop() if self._planned_merges else None

    def begin_merge(self, merge: int, host: str, maps: Sequence[int]) -> tuple[tuple[Source, ...], bool]:
        """A merge begins; its sources, and whether their ranges are so small that record batches are joined."""
        self._merges[merge] = _Merge(host, tuple(maps))
        self._merged_by[list(maps)] = merge
        return tuple(self._map_source(each) for each in maps), self._range_bytes(maps) < _SMALL_RANGE_BYTES

    def seal_merge(self, merge: int, output: Output) -> bool:
        """A merge is whole and read from now on; False if it was given up."""
        if merge not in self._merges:
            return False
        self._merges[merge].output = output
        self._sources.clear()
        return True

    def drop_merge_of(self, number: int) -> None:
        """Give up the merge that has the rows of a map task, if there is one."""
        self.drop_merge(int(self._merged_by[number]))

    def drop_merge(self, number: int) -> None:
        """Give a merge up: the originals are read instead, and not merged again."""
        merge = self._merges.pop(number, None)
        if merge is not None:
            self._merged_by[list(merge.maps)] = -1
            self._unmergeable.update(merge.maps)
            self._sources.clear()

    def stop_merging(self, host: str) -> None:
        """A host has no room for merges."""
        self._full_hosts.add(host)
        self._plan_merges_anew()

    def _plan_merges(self) -> Iterator[tuple[str, list[int]]]:
        """Outputs of one side that may become one file: an even share of a host's for each of its workers."""
        rules = self._rules
        workers = max(1, rules.slots // max(1, len(self._sizes)))
        for (_, host), unmerged in self._unmerged.items():
            for run in [] if host in self._full_hosts else self._runs(sorted(unmerged)):
                count = max(min(len(run) // rules.merge_from, workers), -(-len(run) // rules.merge_most))
                for cut, end in pairwise(len(run) * number // count for number in range(count + 1)):
                    chunk = run[cut:end]
                    if len(run) >= rules.merge_from and self._range_bytes(chunk) < _LARGE_RANGE_BYTES:
                        unmerged.difference_update(chunk)
                        yield host, chunk

    def _plan_merges_anew(self) -> None:
        for host, maps in self._planned_merges:
            self._unmerged[self._side_of(maps[0]), host].update(maps)
        self._planned_merges = []
        self._has_news = True

    def _runs(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        """Outputs that one file may hold. On a shared file system neighbours only, so that order is kept."""
        run: list[int] = []
        for number in numbers:
            if self._rules.merges == "shared" and run and not all(map(self._is_empty, range(run[-1] + 1, number))):
                yield run
                run = []
            run.append(number)
        if run:
            yield run

    def _is_empty(self, number: int) -> bool:
        output = self.outputs[number]
        return output is not None and output.path is None

    def _range_bytes(self, maps: Sequence[int]) -> float:
        """Mean size of a partition's range in the outputs of some maps."""
        byte_count = sum(output.byte_count for each in maps if (output := self.outputs[each]) is not None)
        return byte_count / (len(maps) * self._partition_count)

    def _side_of(self, number: int) -> int:
        return bisect_right(self._bounds, number)

    def _sides(self) -> Iterator[tuple[int, int]]:
        return pairwise(self._bounds)

    def _lies_on(self, number: int, host: str) -> bool:
        output = self.outputs[number]
        return output is not None and output.path is not None and output.host == host

    def _has_file(self, number: int) -> bool:
        output = self.outputs[number]
        return output is not None and output.path is not None

    # Sources.

    def sources(self, *, originals: bool = False) -> tuple[tuple[Source, ...], ...]:
        """For each side what is read, in the order of the rows: merges where there are, or only original outputs."""
        if originals not in self._sources:
            self._sources[originals] = tuple(self._sources_of(start, stop, originals) for start, stop in self._sides())
        return self._sources[originals]

    def _sources_of(self, start: int, stop: int, originals: bool) -> tuple[Source, ...]:
        sources: list[Source] = []
        given: set[int] = set()
        for number in range(start, stop):
            merge = int(self._merged_by[number])
            if merge >= 0 and not originals:
                output = self._merges[merge].output
                if merge not in given and output is not None:
                    given.add(merge)
                    sources.append(self._source(output, merge))
            elif self._has_file(number):
                sources.append(self._map_source(number))
        return tuple(sources)

    def _map_source(self, number: int) -> Source:
        output = self.outputs[number]
        assert output is not None  # asked for done maps only
        return self._source(output, None)

    def _source(self, output: Output, merge: int | None) -> Source:
        assert output.path is not None  # who has no rows is no source
        server = self.servers.get(output.host)
        url = None if server is None else _url(server, output.path)
        incarnation = None if server is None else server.incarnation
        return Source(output.host, output.path, url, merge, output.maps[0], incarnation)


def _url(server: Server, path: str) -> str | None:
    for directory, url in server.urls.items():
        if path.startswith(directory + "/"):
            return url.rstrip("/") + path[len(directory) :]
    return None
