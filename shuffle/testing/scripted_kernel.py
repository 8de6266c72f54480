"""A kernel that misbehaves on schedule: short copies, errors, counts and positions that lie, data that is lost.

It makes the real system calls, but for what its script says otherwise; nothing here knows how copying reacts.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shuffle.machine.kernel import Buffer, Kernel, Runs, SystemKernel


@dataclass(frozen=True, slots=True)
class Real:
    """The call does what the real kernel does.

    Attributes:
        calls: for so many calls.
        byte_count: instead, until the calls have moved so many bytes together; the last of them is cut short there.
    """

    calls: int = 1
    byte_count: int | None = None


@dataclass(frozen=True, slots=True)
class Short:
    """The call moves at most ``byte_count`` bytes, and says so."""

    byte_count: int


@dataclass(frozen=True, slots=True)
class Zero:
    """The call moves nothing and returns 0."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The call moves nothing and raises ``OSError`` with an errno."""

    errno: int


@dataclass(frozen=True, slots=True)
class Lie:
    """The call does what it should, and answers ``by`` more than is true: of bytes, of a position, of a size."""

    by: int


@dataclass(frozen=True, slots=True)
class Zeroes:
    """The call answers as it should, but what it moved are zeroes, as ZFS did in openzfs #15526."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Something else happens first, such as another process truncating a file; the call is real."""

    action: Callable[[], object]


Misbehaviour = Real | Short | Zero | Fail | Lie | Zeroes | Meanwhile


@dataclass(frozen=True, slots=True)
class Always:
    """Every call from here on; the last step of a script."""

    step: Misbehaviour


Step = Misbehaviour | Always

_TRANSFERS = frozenset({"copy_file_range", "sendfile", "pread", "pwrite"})
_QUESTIONS = frozenset({"seek", "position", "size", "clone_range"})  # answered whole or not at all


class _Call(NamedTuple):
    """A system call to be made: really, for fewer bytes, or not at all."""

    byte_count: int
    make: Callable[[int], int]
    erase: Callable[[int], None]


class ScriptedKernel:
    """The kernel of this machine, but for what a script says.

    Args:
        script: for each system call (a method of ``Kernel``), what its uses do one after another.
            Beyond the last step, and in calls without a script, the kernel is real::

                ScriptedKernel({"copy_file_range": [Real(calls=2), Short(10), Fail(errno.EXDEV)]})
                ScriptedKernel({"sendfile": [Real(byte_count=4096), Always(Fail(errno.EINVAL))]})
                ScriptedKernel({"position": [Lie(-1)]})

        kernel: the one to wrap.

    Raises:
        ValueError: there is no such call, a step makes no sense for it, or ``Always`` is not the last.

    Pass it as ``merge(…, kernel=…)``. Thread-safe: the uses of a call are counted across threads.
    """

    def __init__(self, script: Mapping[str, Sequence[Step]], kernel: Kernel | None = None) -> None:
        for method, steps in script.items():
            _check(method, steps)
        self.call_counts: Counter[str] = Counter()
        """How often each call was used."""
        self._kernel = kernel or SystemKernel()
        self._script = {method: deque(steps) for method, steps in script.items()}
        self._progress: Counter[str] = Counter()  # calls or bytes of the Real step that is under way
        self._lock = threading.Lock()

    @property
    def unplayed(self) -> dict[str, list[Step]]:
        """The steps that were not reached, by call; a test that expects a fault asserts that this is empty."""
        with self._lock:
            return {
                method: list(steps)
                for method, steps in self._script.items()
                if steps and not (isinstance(steps[0], Always) and self._progress[method])
            }

    @property
    def release(self) -> str:
        """See ``Kernel``."""
        return self._kernel.release

    def copy_file_range(self, source: int, target: int, byte_count: int, source_offset: int, target_offset: int) -> int:
        """See ``Kernel``."""

        def make(count: int) -> int:
            return self._kernel.copy_file_range(source, target, count, source_offset, target_offset)

        return self._play(
            "copy_file_range", _Call(byte_count, make, lambda count: _erase(target, target_offset, count))
        )

    def sendfile(self, target: int, source: int, source_offset: int, byte_count: int) -> int:
        """See ``Kernel``."""

        def make(count: int) -> int:
            return self._kernel.sendfile(target, source, source_offset, count)

        def erase(count: int) -> None:
            _erase(target, os.lseek(target, 0, os.SEEK_CUR) - count, count)

        return self._play("sendfile", _Call(byte_count, make, erase))

    def clone_range(self, source: int, target: int, byte_count: int, source_offset: int, target_offset: int) -> None:
        """See ``Kernel``."""

        def make() -> int:
            self._kernel.clone_range(source, target, byte_count, source_offset, target_offset)
            return 0

        self._ask("clone_range", make)

    def pread(self, descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        """See ``Kernel``."""
        byte_count = sum(map(len, buffers))

        def make(count: int) -> int:
            return self._kernel.pread(descriptor, _first_bytes(buffers, count), offset)

        def erase(count: int) -> None:
            for buffer in _first_bytes(buffers, count):
                buffer[:] = bytes(len(buffer))

        return self._play("pread", _Call(byte_count, make, erase))

    def pread_runs(self, _runs: Runs, _buffer: memoryview) -> tuple[int, int]:
        """Does nothing: each run is a call of ``pread`` to be scripted."""
        return 0, 0

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        """See ``Kernel``."""
        byte_count = sum(memoryview(buffer).nbytes for buffer in buffers)

        def make(count: int) -> int:
            whole = buffers if count == byte_count else _first_bytes(buffers, count)
            return self._kernel.pwrite(descriptor, whole, offset)

        return self._play("pwrite", _Call(byte_count, make, lambda count: _erase(descriptor, offset, count)))

    def seek(self, descriptor: int, offset: int) -> int:
        """See ``Kernel``."""
        return self._ask("seek", lambda: self._kernel.seek(descriptor, offset))

    def position(self, descriptor: int) -> int:
        """See ``Kernel``."""
        return self._ask("position", lambda: self._kernel.position(descriptor))

    def size(self, descriptor: int) -> int:
        """See ``Kernel``."""
        return self._ask("size", lambda: self._kernel.size(descriptor))

    def _ask(self, method: str, ask: Callable[[], int]) -> int:
        return self._play(method, _Call(1, lambda _count: ask(), lambda _count: None))

    def _play(self, method: str, call: _Call) -> int:
        step = self._next_step(method, call.byte_count)
        match step:
            case Short(byte_count):
                return call.make(min(byte_count, call.byte_count))
            case Zero():
                return 0
            case Fail(errno):
                raise OSError(errno, os.strerror(errno))
            case Meanwhile(action):
                action()
        moved = call.make(call.byte_count)
        match step:
            case Zeroes():
                call.erase(moved)
            case Lie(by):
                moved += by
        return moved

    def _next_step(self, method: str, byte_count: int) -> Misbehaviour:
        """What this use of a call does; a call that is cut short by ``Real`` is answered as a ``Short`` one."""
        with self._lock:
            self.call_counts[method] += 1
            steps = self._script.get(method)
            if not steps:
                return Real()
            match steps[0]:
                case Always(step):
                    self._progress[method] = 1  # it was reached
                    return step
                case Real(calls, limit):
                    self._progress[method] += 1 if limit is None else byte_count
                    beyond = self._progress[method] - (calls if limit is None else limit)
                    if beyond >= 0:
                        steps.popleft()
                        self._progress[method] = 0
                    return Short(byte_count - beyond) if limit is not None and beyond > 0 else Real()
                case step:
                    steps.popleft()
                    return step


def _check(method: str, steps: Sequence[Step]) -> None:
    if method not in _TRANSFERS | _QUESTIONS:
        raise ValueError(f"no system call {method!r}: there are {', '.join(sorted(_TRANSFERS | _QUESTIONS))}")
    for number, scheduled in enumerate(steps):
        step = scheduled.step if isinstance(scheduled, Always) else scheduled
        if step is not scheduled and number != len(steps) - 1:
            raise ValueError(f"{method}: steps behind {scheduled} would never be reached")
        if isinstance(step, Real) and (step.calls if step.byte_count is None else step.byte_count) < 1:
            raise ValueError(f"{method}: {step} is no call at all")
        moves_only = isinstance(step, (Short, Zero, Zeroes)) or (isinstance(step, Real) and step.byte_count is not None)
        if moves_only and method in _QUESTIONS:
            raise ValueError(f"{method} moves no bytes: {step} means nothing there")


def _erase(descriptor: int, offset: int, byte_count: int) -> None:
    os.pwrite(descriptor, bytes(byte_count), offset)


def _first_bytes(buffers: Sequence[Buffer], byte_count: int) -> list[memoryview]:
    first: list[memoryview] = []
    for buffer in buffers:
        if byte_count <= 0:
            break
        view = memoryview(buffer).cast("B")
        first.append(view[:byte_count])
        byte_count -= len(view)
    return first
