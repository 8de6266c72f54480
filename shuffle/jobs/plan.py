"""The plan of a job, a state machine: events go in, actions come out. Pure: it knows no clock, no file and no engine.

What it keeps grows with maps + partitions + hosts × partitions, never with maps × partitions. ``str(plan)`` shows where
the job stands. Which file holds what is the catalogue's business.
"""

# PURE

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

import numpy as np

from shuffle.jobs.catalogue import Catalogue
from shuffle.jobs.descriptor import LossKind, Output, Server, Source
from shuffle.jobs.events import (
    Accept,
    Action,
    Cancel,
    ChangedRowsError,
    DiskFullError,
    Event,
    Failed,
    FetchFailed,
    Finish,
    Forget,
    Full,
    HostDrained,
    HostEvent,
    HostLost,
    HostRevived,
    HostSilent,
    LostError,
    MapDone,
    MergeDone,
    ReduceDone,
    Revive,
    Rules,
    Stalled,
    Start,
    StartMap,
    StartMerge,
    StartReduce,
    TaskEvent,
)
from shuffle.jobs.reduce_units import DONE, RUNNING, WAITING, Unit, Units, counted, plan_units


class Plan:
    """Where a job stands, and what is to be done next.

    Args:
        sides: how many map tasks each side has; one side unless inputs are joined. Maps are numbered through.
        partition_count: P.
        rules: see ``Rules``.
        reduces: whether partitions are reduced once maps are done.
    """

    def __init__(self, sides: Sequence[int], partition_count: int, rules: Rules, *, reduces: bool = True) -> None:
        self.rules = rules
        self.partition_count = partition_count
        self._reduces = reduces
        self.files: Catalogue = Catalogue(sides, partition_count, rules)
        self._tries = np.zeros(self.files.missing, np.uint8)
        self._waiting = list(range(self.files.missing))  # a heap: lost maps run before later ones
        self._digests: dict[int, str] = {}
        self._silent: set[str] = set()
        self._revivals: dict[str, int] = {}
        self._drained: set[str] = set()
        self.units: list[Unit] | None = None
        self._reduced = Units([])
        self._reduced_before: Collection[Unit] = ()
        self._running: dict[int, Start] = {}
        self._stale: set[int] = set()
        self._errors: dict[tuple[type[Start], int], BaseException] = {}
        self._next_task = 0
        self.maps_lost: int = 0
        self.finished: Finish | None = None

    # What a caller may ask.

    def __str__(self) -> str:
        maps = np.array([DONE if output is not None else WAITING for output in self.files.outputs], np.uint8)
        running = [action for action in self._running.values() if isinstance(action, StartMap)]
        maps[[action.map for action in running if self.files.outputs[action.map] is None]] = RUNNING
        parts = [f"maps {counted(maps)}"]
        if count := self.files.merge_count:
            parts.append(f"merges {count - self.files.unsealed_count} sealed of {count}")
        if self.units is not None:
            parts.append(f"reduces {self._reduced}")
        if self._silent:
            parts.append(f"silent hosts {', '.join(sorted(self._silent))}")
        return "; ".join(parts)

    # Events in, actions out.

    def start(self, taken_over: Sequence[Output] = (), reduced: Collection[Unit] = ()) -> list[Action]:
        """Begin; with outputs that an earlier driver of this job was told of, and with what it has reduced."""
        self._reduced_before = reduced
        for output in taken_over:
            if len(output.maps) == 1 and self.files.outputs[output.maps[0]] is None:
                self._accept(output)
        return self._starts()

    def handle(self, event: Event) -> list[Action]:
        """What follows from an event."""
        if self.finished is not None:
            return []
        if isinstance(event, Stalled):
            actions = self._stalled(event.task)
        elif isinstance(event, HostSilent | HostRevived | HostLost | HostDrained):
            actions = self._host_event(event)
        else:
            actions = self._task_event(event, self._running.pop(event.task, None))
        self.finished = next((action for action in actions if isinstance(action, Finish)), None)
        if self.finished is not None:
            return actions
        return actions + self._starts()

    def _task_event(self, event: TaskEvent, started: Start | None) -> list[Action]:
        """What follows from the answer of a task; it was started, or is not waited for any more."""
        match event:
            case MapDone(_, output):
                return self._map_done(started, output)
            case MergeDone(_, output):
                return self._merge_done(started, output)
            case ReduceDone(task):
                return self._reduce_done(started, task)
            case Failed(_, error):
                return self._failed(started, error)
            case Full(_, full):
                if isinstance(started, StartMerge):
                    self.files.stop_merging(full.host)  # maps take less room
                else:
                    self._drained.add(full.host)
                return self._failed(
                    started, DiskFullError(f"no disk has room for what a task publishes: {full.reason}")
                )
            case FetchFailed(_, source, kind, reason):
                return self._fetch_failed(started, source, kind, reason)

    def _host_event(self, event: HostEvent) -> list[Action]:
        match event:
            case HostSilent(host, _):
                return self._silent_host(host)
            case HostRevived(host, server):
                return self._revived(host, server)
            case HostLost(host, reason):
                return self._lose_host(host, reason)
            case HostDrained(host):
                self._drained.add(host)
                return []

    def _revived(self, host: str, server: Server) -> list[Action]:
        self._revivals[host] = self._revivals.get(host, 0) + 1
        if self._revivals[host] > self.rules.attempts:
            return self._lose_host(host, "its server fell silent again and again")
        self._silent.discard(host)
        self.files.move(host, server)
        return []

    # Maps.

    def _map_done(self, started: Start | None, output: Output) -> list[Action]:
        (number,) = output.maps
        if self.files.outputs[number] is not None or started is None:
            # Another attempt was faster; or this one's host is lost, or its answer comes late. One wins, never both.
            return [Forget(output)]
        before = self._digests.get(number)
        actions: list[Action] = [Accept(started.task), *self._accept(output)]
        if before is None or output.digest is None or before == output.digest:
            return actions
        self.files.drop_merge_of(number)  # it has the rows of before
        if self._reduced.have_begun:
            if self.rules.changed_rows == "raise":
                text = f"map task {number} gave other rows when it ran again: its input or its function is not stable"
                return [Finish(ChangedRowsError(text))]
            actions += self._reduce_all_again()
        return actions

    def _accept(self, output: Output) -> list[Action]:
        (number,) = output.maps
        self.files.accept(output, counts_bytes=self.units is None)  # sizes are for the planning of units
        if output.digest is not None:
            self._digests[number] = output.digest
        if output.server is not None and output.host not in self._silent:
            self.files.move(output.host, output.server)
        if self._tries[number] < 2:
            return []
        # Other attempts of this map are of no use now.
        twins = [task for task, other in self._running.items() if isinstance(other, StartMap) and other.map == number]
        for task in twins:
            del self._running[task]
        return [Cancel(task) for task in twins]

    def _lose_maps(self, numbers: Sequence[int], reason: str) -> list[Action]:
        """Outputs are gone: their maps run again."""
        for number in numbers:
            if self.files.outputs[number] is None:
                continue
            self.files.lose(number)
            self.maps_lost += 1
            if self._tries[number] >= self.rules.attempts:
                text = f"the output of map task {number} was lost in each of {self.rules.attempts} attempts: {reason}"
                return [Finish(LostError(text))]
            heapq.heappush(self._waiting, number)
        return []

    # Merges.

    def _merge_done(self, started: Start | None, output: Output) -> list[Action]:
        if not isinstance(started, StartMerge) or not self.files.seal_merge(started.merge, output):
            return [Forget(output)]
        return [Accept(started.task)]

    # Reduces.

    def _reduce_done(self, started: Start | None, task: int) -> list[Action]:
        if not isinstance(started, StartReduce):
            return []
        stale = task in self._stale
        self._stale.discard(task)
        if self._reduced.is_done(started.number):
            return []
        if stale:
            self._wait_again(started.number)
            return []
        self._reduced.finish(started.number)
        self._revivals.clear()  # servers that were started again are of use
        if self._reduced.tries[started.number] < 2:
            return [Accept(task)]
        twins = [
            other
            for other, action in self._running.items()
            if isinstance(action, StartReduce) and action.number == started.number
        ]
        for other in twins:
            del self._running[other]
        return [Accept(task), *(Cancel(other) for other in twins)]

    def _excuse(self, started: StartReduce) -> None:
        """A reduce task is not at fault, and may run as often as before."""
        self._stale.discard(started.task)
        self._reduced.tries[started.number] -= 1
        self._wait_again(started.number)

    def _wait_again(self, number: int) -> None:
        if not self._reduced.is_done(number) and not any(
            isinstance(action, StartReduce) and action.number == number for action in self._running.values()
        ):
            self._reduced.wait_again(number)

    def _reduce_all_again(self) -> list[Action]:
        self._stale.update(task for task, action in self._running.items() if isinstance(action, StartReduce))
        self._reduced.redo()
        return []

    # What goes wrong.

    def _failed(self, started: Start | None, error: BaseException) -> list[Action]:
        match started:
            case StartMap(_, number, _) if self.files.outputs[number] is None:
                first = self._first_error(StartMap, number, error)
                if self._tries[number] >= self.rules.attempts:
                    return [Finish(first)]
                if not self._runs_map(number):
                    heapq.heappush(self._waiting, number)
            case StartMerge(_, merge, _, _, _):
                self.files.drop_merge(merge)
            case StartReduce(task, number, _, _) if not self._reduced.is_done(number):
                self._stale.discard(task)
                first = self._first_error(StartReduce, number, error)
                if self._reduced.tries[number] >= self.rules.attempts:
                    return [Finish(first)]
                self._wait_again(number)
        return []

    def _first_error(self, kind: type[Start], number: int, error: BaseException) -> BaseException:
        """The error of the first attempt, which the others often only follow from."""
        first = self._errors.setdefault((kind, number), error)
        if first is not error:
            first.add_note(f"another attempt: {type(error).__name__}: {error}")
        return first

    def _runs_map(self, number: int) -> bool:
        return any(isinstance(other, StartMap) and other.map == number for other in self._running.values())

    def _fetch_failed(self, started: Start | None, source: Source, kind: LossKind, reason: str) -> list[Action]:
        if isinstance(started, StartReduce):
            self._excuse(started)
        if kind == "unreachable":
            server = self.files.servers.get(source.host)
            if server is not None and server.incarnation != source.incarnation:
                return []  # of a server that was replaced meanwhile
            return self._silent_host(source.host)
        if source.merge is not None:
            self.files.drop_merge(source.merge)
            return []
        output = self.files.outputs[source.map]
        if output is None or output.path != source.path:
            return []  # known already
        return [*self._lose_maps([source.map], reason), Forget(output)]

    def _stalled(self, task: int) -> list[Action]:
        match self._running.get(task):
            case StartMap(_, number, _) if self._tries[number] < self.rules.attempts:
                heapq.heappush(self._waiting, number)
            case StartMerge(_, merge, _, _, _):
                del self._running[task]
                self.files.drop_merge(merge)
                return [Cancel(task)]
            case StartReduce(_, number, _, _) if self._reduced.tries[number] < self.rules.attempts:
                self._reduced.queue(number)
        return []

    def _silent_host(self, host: str) -> list[Action]:
        if host in self._silent or host not in self.files.servers:
            return []
        self._silent.add(host)
        return [Revive(host)]

    def _lose_host(self, host: str, reason: str) -> list[Action]:
        """All outputs of a host are written off at once."""
        self._silent.discard(host)
        lost = self.files.lose_host(host)
        # They would wait for the host, one after the other.
        doomed = {task: start for task, start in self._running.items() if _needs(start, host)}
        for task, start in doomed.items():
            del self._running[task]
            if isinstance(start, StartReduce):
                self._excuse(start)
        return [*self._lose_maps(lost, f"host {host}: {reason}"), *map(Cancel, doomed)]

    # What can be started.

    def _starts(self) -> list[Action]:
        actions: list[Action] = []
        while len(self._running) < self.rules.running and (action := self._next_start()) is not None:
            self._running[action.task] = action
            actions.append(action)
        if not self._running and not self._silent and self._is_complete():
            self.finished = Finish()
            actions.append(self.finished)
        return actions

    def _is_complete(self) -> bool:
        reduced = self.units is not None and self._reduced.are_done
        return self.files.missing == 0 and (reduced or not self._reduces)

    def _next_start(self) -> Start | None:
        while self._waiting:
            number = heapq.heappop(self._waiting)
            if self.files.outputs[number] is None:
                self._tries[number] += 1
                return StartMap(self._task(), number, frozenset(self._drained))
        if not self._reduces or self._silent:
            return None
        # While maps go on, a merge is given a slot that no map wants. Simulated with 3 to 100 hosts and merge_from=4:
        # reducing begins up to 9 % earlier than with all merges after the last map, and no map waits. Merges before
        # waiting maps gained up to 4 % on 3 hosts and nothing on 10 and 100, and held maps back.
        has_slot = not self.files.missing or len(self._running) < self.rules.slots
        if has_slot and (merge := self.files.next_merge()) is not None:
            host, maps = merge
            task = self._task()
            return StartMerge(task, task, host, *self.files.begin_merge(task, host, maps))
        if self.files.missing or self.files.unsealed_count:
            return None
        if self.units is None:
            self._plan_units()
        if (place := self._reduced.start_next()) is None:
            return None
        unit = self._reduced[place]
        # Slices are cut between outputs: the more there are, the evener.
        return StartReduce(self._task(), place, unit, self.files.sources(originals=unit.parts > 1))

    def _task(self) -> int:
        self._next_task += 1
        return self._next_task

    def _plan_units(self) -> None:
        rules, sizes = self.rules, self.files.partition_bytes
        self.units = plan_units(sizes, rules.slots, rules.unit_bytes, rules.slice_bytes) if self.files.has_rows else []
        self._reduced = Units(self.units)
        for place, unit in enumerate(self.units):
            if unit in self._reduced_before:  # units are others if the engine has other slots
                self._reduced.finish(place)


def _needs(start: Start, host: str) -> bool:
    """Whether a task runs on a host, or reads from it, as far as is known."""
    match start:
        case StartMerge(_, _, where, _, _):
            return where == host
        case StartReduce(_, _, _, sides):
            return any(source.host == host for sources in sides for source in sources)
    return False
