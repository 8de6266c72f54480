"""The loop of a job: carries out what the plan wants, and tells it what came of it.

All decisions are the plan's. Here are the clock, the futures, and the order of cleaning up.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from shuffle.jobs import events
from shuffle.jobs.catalogue import Catalogue
from shuffle.jobs.descriptor import DiskFull, Output, Reduced, SourceLost, TaskError, reason_of
from shuffle.jobs.engines import Engine
from shuffle.jobs.events import Start, StartMap, StartMerge, StartReduce
from shuffle.jobs.exchanges import Exchange, Keeper, Place
from shuffle.jobs.manifest import Manifest
from shuffle.jobs.options import JobOptions
from shuffle.jobs.plan import Plan
from shuffle.jobs.progress import Progress
from shuffle.jobs.reduce_units import skewed
from shuffle.jobs.report import JobReport, Retry, Span, StageName
from shuffle.jobs.tasks import Rows, guarded, map_task, merge_task, reduce_task
from shuffle.partitioners import Partitioner
from shuffle.warning import warn

_LOGGER = logging.getLogger("shuffle.jobs")
_TICK_SECONDS = 0.25
_STALL_FACTOR = 3
_GRACE_SECONDS = 5
"""For tasks that nobody waits for any more to notice it, before their directory is removed for good."""

_Input = TypeVar("_Input")


@dataclass(frozen=True, slots=True)
class JoinSide(Generic[_Input]):
    """One of the inputs of a job: what ``run`` calls ``inputs``, ``read`` and ``partitioner``."""

    inputs: Sequence[_Input]
    read: Callable[[_Input], Rows]
    partitioner: Partitioner


@dataclass(slots=True)
class _Running:
    """A task that an engine was given."""

    start: Start
    future: Future[Any]
    since: float
    stalled_since: float
    is_wanted: bool = True


class Loop:
    """One run of a job.

    Args:
        plan: decides.
        engine: runs tasks.
        sides: what map tasks do.
        reduce: what reduce tasks do.
        options: of the job.
        report: is filled in.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        sides: Sequence[JoinSide[Any]],
        reduce: Callable[..., Any],
        options: JobOptions,
        report: JobReport,
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._maps = [(side, item) for side in sides for item in side.inputs]
        self._reduce = reduce
        self._options = options
        self.report = report
        self._values: dict[int, list[Any]] = {}
        self._tasks: dict[int, _Running] = {}
        self._revivals: dict[str, tuple[Future[Any], float]] = {}
        self._answers: queue.SimpleQueue[int | str] = queue.SimpleQueue()
        self._slowest: dict[StageName, float] = {}
        self._stage_began: dict[StageName, float] = {}
        self._began = time.monotonic()
        self._next_look = self._began
        self._lost_at = self._began
        self._manifest: Manifest | None = None
        self._keeper: Keeper
        self._progress: Progress

    def run(
        self,
        exchange: Exchange,
        name: str,
        secret: str,
        manifest: Manifest | None,
        progress: Progress,
        *,
        conclude: Callable[[Catalogue], None] | None = None,
    ) -> dict[int, list[Any]]:
        """Run the job; the values of each reduce task. ``conclude`` sees the files before they are removed.

        Raises:
            Exception: the error of the task that failed too often, and what the plan raises.
        """
        lease_seconds = self._options.lease_seconds if manifest is None else self._options.resume_seconds
        self._manifest, self._progress = manifest, progress
        self._keeper = exchange.keep(name, secret, self._engine.where, lease_seconds)
        is_resumable = manifest is not None
        try:
            self._take_over([] if manifest is None else manifest.taken_over)
            while self._plan.finished is None:
                self._step()
            if self._plan.finished.error is not None:
                raise self._plan.finished.error
            if conclude is not None:
                conclude(self._plan.files)
            self._take_results()
            is_resumable = False
        finally:
            self._end(keep=is_resumable)
        return self._values

    def _take_over(self, outputs: Sequence[Output]) -> None:
        if outputs:
            _LOGGER.info("%s: taking over %d outputs of map tasks", self.report.job, len(outputs))
        for output in outputs:
            if output.server is not None:
                self._keeper.watch(output.host, output.server)
        self._do(self._plan.start(outputs, () if self._manifest is None else self._manifest.reduced))

    def _take_results(self) -> None:
        """Values of reduce tasks that an earlier driver was told of."""
        kept = {} if self._manifest is None else self._manifest.reduced
        for number, unit in enumerate(self._plan.units or ()):
            if unit in kept:
                self._values.setdefault(number, kept[unit])

    def _step(self) -> None:
        """Wait for an answer, or for the time to look around."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _TICK_SECONDS
            self._look_around()
        try:
            answered = self._answers.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            return
        if isinstance(answered, str):
            self._revived(answered)
        else:
            self._answered(answered)

    # What the plan wants.

    def _do(self, actions: Sequence[events.Action]) -> None:
        for action in actions:
            match action:
                case StartMap() | StartMerge() | StartReduce():
                    self._start(action)
                case events.Cancel(task):
                    self._tasks[task].is_wanted = False
                    self._tasks[task].future.cancel()
                case events.Forget(output):
                    self._keeper.forget(output)
                case events.Revive(host):
                    self._revive(host)

    def _start(self, start: Start) -> None:
        stage = _stage(start)
        self.report.stages[stage].attempts += 1
        if isinstance(start, StartReduce) and not self.report.stages["reduce"].tasks:
            self._reduce_begins()
        now = time.monotonic()
        self._stage_began.setdefault(stage, now)
        try:
            future = self._submit(start)
        except Exception as error:  # noqa: BLE001 (an engine that takes no tasks is a failure of this one)
            future = Future()
            future.set_exception(error)
        self._tasks[start.task] = _Running(start, future, now, now)
        future.add_done_callback(lambda _: self._answers.put(start.task))

    def _submit(self, start: Start) -> Future[Any]:
        files = self._keeper.files
        match start:
            case StartMap(_, number, avoid):
                side, item = self._maps[number]
                arguments = (number, item, side.read, side.partitioner, files, self._options.map)
                return self._engine.submit(partial(guarded, map_task, *arguments), avoid=avoid)
            case StartMerge(_, _, host, sources, compact):
                call = partial(guarded, merge_task, sources, files, compact=compact, options=self._options.map.merge)
                return self._engine.submit(call, host=host)
            case StartReduce(_, _, unit, sides):
                return self._engine.submit(partial(guarded, reduce_task, unit, sides, self._reduce, files))

    def _reduce_begins(self) -> None:
        sizes = self._plan.files.partition_bytes
        self.report.skewed = skewed(sizes)
        self.report.stages["reduce"].tasks = len(self._plan.units or ())
        self._take_results()
        if self.report.skewed:
            largest = self.report.skewed[0]
            warn(
                f"partition {largest} has {int(sizes[largest])} bytes, where the mean partition has "
                f"{int(sizes.mean())}; {len(self.report.skewed)} partitions are skewed"
            )

    def _revive(self, host: str) -> None:
        stage: StageName = "map" if self._plan.units is None else "reduce"
        self._log_retry(stage, 0, f"host {host} is silent")
        future = self._keeper.revive(self._engine, host)
        self._revivals[host] = (future, time.monotonic() + 2 * self._options.silent_seconds)
        future.add_done_callback(lambda _: self._answers.put(host))

    # What came of it.

    def _answered(self, task: int) -> None:
        running = self._tasks.pop(task)
        stage, number = _stage(running.start), _number(running.start)
        answer: Any
        try:
            answer = running.future.result()
        except BaseException as error:  # noqa: BLE001 (also CancelledError: whatever the engine says)
            answer = TaskError(error, "")
        now = time.monotonic()
        event: events.TaskEvent
        match answer:
            case Output() if isinstance(running.start, StartMap):
                event = events.MapDone(task, answer)
            case Output():
                event = events.MergeDone(task, answer)
            case Reduced():
                event = events.ReduceDone(task)
            case SourceLost(source, kind, reason):
                event = events.FetchFailed(task, source, kind, reason)
            case DiskFull():
                event = events.Full(task, answer)
            case TaskError(problem, where):
                if where:
                    problem.add_note(f"{stage} task {number}:\n{where}")
                event = events.Failed(task, problem)
            case _:
                event = events.Failed(task, TypeError(f"the engine answered {answer!r:.200}"))
        actions = self._handle(event)
        counts = any(isinstance(action, events.Accept) for action in actions)
        if counts:
            self._count(stage, running, answer, now)
        elif running.is_wanted and not isinstance(answer, (Output, Reduced)):
            self._log_retry(stage, number, reason_of(answer))
        outcome = "done" if counts else "late" if isinstance(answer, (Output, Reduced)) else "failed"
        host = getattr(answer, "host", "")
        self.report.spans.append(
            Span(stage, number, host, running.since - self._began, now - self._began, outcome)  # type: ignore[arg-type]
        )
        self._do(actions)

    def _handle(self, event: events.Event) -> list[events.Action]:
        lost = self._plan.maps_lost
        actions = self._plan.handle(event)
        if self._plan.maps_lost > lost:
            _LOGGER.warning("%d outputs of map tasks are lost, and computed again", self._plan.maps_lost - lost)
        return actions

    def _count(self, stage_name: StageName, running: _Running, answer: Output | Reduced, now: float) -> None:
        """An answer counts: into the report, the manifest and the values."""
        stage = self.report.stages[stage_name]
        stage.rows += answer.rows
        stage.task_seconds += answer.seconds
        stage.seconds = now - self._stage_began[stage_name]
        self._slowest[stage_name] = max(self._slowest.get(stage_name, 0.0), now - running.since)
        if isinstance(answer, Reduced):
            assert isinstance(running.start, StartReduce)  # nothing else is answered so
            stage.bytes_local += answer.bytes_local
            stage.bytes_fetched += answer.bytes_fetched
            self._values[running.start.number] = answer.values
            if self._manifest is not None:
                self._manifest.append_results(running.start.unit, answer.values)
            self._progress("reduce", len(self._values), stage.tasks)
            return
        stage.bytes_local += answer.byte_count
        stage.tasks += 1
        if answer.server is not None:
            self._keeper.watch(answer.host, answer.server)
        if stage_name == "map":
            if self._manifest is not None:
                self._manifest.append(answer)
            self._progress("map", len(self._maps) - self._plan.files.missing, len(self._maps))
        else:
            self._progress("merge", stage.tasks, self._plan.files.merge_count)

    def _revived(self, host: str) -> None:
        if host not in self._revivals:
            return  # too late: it was given up
        future, _ = self._revivals.pop(host)
        try:
            place = future.result()
        except BaseException as error:  # noqa: BLE001 (as for tasks)
            place = TaskError(error, "")
        if isinstance(place, Place) and place.host == host and place.server is not None:
            self._keeper.watch(host, place.server)
            self._do(self._handle(events.HostRevived(host, place.server)))
        else:
            self._lose(host, reason_of(place))

    def _lose(self, host: str, reason: str) -> None:
        _LOGGER.warning("host %s is lost: %s", host, reason)
        self._lost_at = time.monotonic()
        self._engine.lose(host)
        self._keeper.unwatch(host)
        self._do(self._handle(events.HostLost(host, reason)))

    def _look_around(self) -> None:
        """See what has become silent, and what takes too long."""
        now = time.monotonic()
        for host, reason in self._keeper.silent():
            self._do(self._handle(events.HostSilent(host, reason)))
        hosts = self._engine.hosts() if self._revivals else None
        for host, (future, deadline) in list(self._revivals.items()):
            has_workers = hosts is None or host in hosts
            if now > deadline or not has_workers:
                del self._revivals[host]
                future.cancel()
                silent = f"it did not answer for {2 * self._options.silent_seconds:g} s"
                self._lose(host, silent if has_workers else "its server is silent, and no worker is left there")
        if sum(running.is_wanted for running in self._tasks.values()) >= self._plan.rules.running:
            return  # there is other work
        for task, running in list(self._tasks.items()):
            stage = _stage(running.start)
            # A task that began before a host was lost may be on it, or may wait for its answer.
            may_be_lost = running.since < self._lost_at
            least = self._options.silent_seconds if may_be_lost else self._options.stall_seconds
            patience = max(least, _STALL_FACTOR * self._slowest.get(stage, 0.0))
            if running.is_wanted and now - running.stalled_since > patience:
                running.stalled_since = now
                self._log_retry(stage, _number(running.start), f"no answer for {now - running.since:.1f} s")
                self._do(self._handle(events.Stalled(task)))

    def _log_retry(self, stage: StageName, number: int, reason: str) -> None:
        _LOGGER.warning("%s task %d: %s", stage, number, reason)
        self.report.retries.append(Retry(stage, number, time.monotonic() - self._began, reason))

    def _end(self, *, keep: bool) -> None:
        """Let nothing run on and, unless another driver is to take over, leave nothing."""
        for running in self._tasks.values():
            running.future.cancel()
        self.report.maps_lost = self._plan.maps_lost
        self.report.seconds = time.monotonic() - self._began
        try:
            self._keeper.close(self._engine, keep=keep)  # tasks that run see that their directory is gone
            deadline = time.monotonic() + _GRACE_SECONDS
            waited_for = [running.future for running in self._tasks.values() if running.since == running.stalled_since]
            while any(not future.done() for future in waited_for) and time.monotonic() < deadline:
                time.sleep(0.01)
            if not keep:
                self._keeper.close(self._engine, keep=False)  # what they published since
        finally:
            if self._manifest is not None:
                self._manifest.close(keep=keep)
            self._engine.close()


def _stage(start: Start) -> StageName:
    match start:
        case StartMap():
            return "map"
        case StartMerge():
            return "merge"
        case StartReduce():
            return "reduce"


def _number(start: Start) -> int:
    match start:
        case StartMap(_, number, _):
            return number
        case StartMerge(_, merge, _, _, _):
            return merge
        case StartReduce(_, number, _, _):
            return number
