"""The states of a disk after a power cut during a command, and what must hold in each of them.

Run as a module: ``python -m tests.helpers.power_states KIND NAME`` tries all states of a scenario, and writes what did
not hold, one JSON list a line, and a summary.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from shuffle import verify
from shuffle.testing.file_systems import MINIMUM_SIZE_MIB, loop_mounted, tmpfs_mounted
from tests.helpers.commands import command_line
from tests.helpers.fault_scenarios import MERGE, PARTITION, Place, place_of
from tests.helpers.logged_disk import Log, Write, logged, read_log

SCENARIOS = {
    "durable merge": f"{MERGE} --durable",
    "merge that deletes": f"{MERGE} --delete-sources",
    "durable merge that replaces": f"{MERGE} --durable --overwrite",
    "merge that replaces and deletes": f"{MERGE} --overwrite --delete-sources",
    "durable partition": f"{PARTITION} --durable",
    "merge": MERGE,
}
TARGET = "out/merged.arrow"
DRAWS = 5
_SMALLEST_MIB = 32


class Recording(NamedTuple):
    """A command's run on a disk, and what it found and left there."""

    image: Path
    log: Log
    sources: dict[str, bytes]
    before: dict[str, bytes]
    expected: dict[str, bytes]


class State(NamedTuple):
    """A disk after a power cut: all that was written before the last flush, and some of what was written since."""

    settled: int
    """So many requests, the last of them a flush."""
    survivors: list[Write]
    """Those since that reached the disk all the same."""
    cut: int
    """So many requests had been made."""


def record(kind: str, command: str, directory: Path) -> Recording:
    """Run a command in a new file system, on a disk that logs."""
    image, log = directory / "image", directory / "log"
    with loop_mounted(kind, max(MINIMUM_SIZE_MIB[kind], _SMALLEST_MIB)) as mount_point:
        place = place_of(command, mount_point)
        place.prepare()
        sources, before = place.sources, place.outputs
        subprocess.run(["mount", "-o", "remount,ro", mount_point], check=True)  # writes back everything
        _copy(mount_point.with_name("image"), image)
    with logged(image, log) as disk:
        with _mounted(disk, directory / "mount") as mount_point:
            begun = log.stat().st_size
            place = Place(mount_point / "place", command)
            subprocess.run(command_line(command), cwd=place.directory, check=True)
            ended = log.stat().st_size
            with (mount_point / "bystander").open("wb") as file:  # commits the journal, not the data of other files
                os.fsync(file.fileno())
            expected = place.outputs
            assert verify(place.directory / TARGET).is_sound
        requests = read_log(log, begun, ended)
    return Recording(image, requests, sources, before, expected)


def states_of(log: Log, seed: str, *, draws: int = 1) -> list[State]:
    """The disk at each flush since the command began, and at each write some in which writes since the flush are lost.

    Args:
        log: of the command's run.
        seed: decides which writes are lost.
        draws: so many states at each write.
    """
    chance = random.Random(seed)
    settled, pending, states = 0, list[Write](), list[State]()
    for cut, request in enumerate(log.requests, 1):
        if request is None:
            settled, pending = cut, []
        else:
            pending.append(request)
        if cut == log.ended:
            states.append(State(settled, [], cut))
        if cut >= log.begun and (request or log.requests[cut - 2]):
            for _ in range(draws if pending else 1):
                states.append(State(settled, [write for write in pending if chance.random() < 0.5], cut))
    return states


def try_states(recording: Recording, command: str, states: Iterable[State]) -> Iterator[tuple[State, str]]:
    """Mount the disk in each state, and tell what does not hold there. The states go forward in time."""
    settled, disk = recording.image.with_name("settled"), recording.image.with_name("state")
    _copy(recording.image, settled)
    done = 0
    for state in states:
        _write(settled, recording.log.requests[done : state.settled])
        done = state.settled
        _copy(settled, disk)
        _write(disk, state.survivors)
        try:
            with _mounted(disk, disk.with_name("mount")) as mount_point:
                place = Place(mount_point / "place", command)
                found = list(_violations(place, recording, answered=state.cut >= recording.log.ended))
        except (OSError, subprocess.CalledProcessError) as error:
            found = [f"the file system is damaged: {error}"]
        yield from ((state, what) for what in found)


def _violations(place: Place, recording: Recording, *, answered: bool) -> Iterator[str]:
    """What does not hold after a power cut, before or after the command had answered that it was done."""
    command, sources = place.command, place.sources
    target, whole = place.outputs.get(TARGET), recording.expected[TARGET]
    if not sources.items() <= recording.sources.items():
        yield "a source has changed"
    if sources.keys() != recording.sources.keys() and not ("--delete-sources" in command and target == whole):
        yield "sources are gone"
    if "--durable" not in command and "--delete-sources" not in command:
        return
    if target not in (whole, recording.before.get(TARGET)):
        yield "a half target"
    if answered and target != whole:
        yield "the command had answered, and its target is gone"
    if place.outputs.keys() - {TARGET} and "--overwrite" not in command:
        yield f"debris {sorted(place.outputs)}"


@contextmanager
def _mounted(disk: Path, mount_point: Path) -> Iterator[Path]:
    mount_point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop,noatime", disk, mount_point], check=True, stderr=subprocess.DEVNULL)
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", mount_point], check=True)


def _copy(disk: Path, to: Path) -> None:
    subprocess.run(["cp", "--sparse=always", disk, to], check=True)


def _write(disk: Path, requests: Iterable[Write | None]) -> None:
    with disk.open("r+b") as file:
        for write in filter(None, requests):
            os.pwrite(file.fileno(), write.content, write.offset)


def campaign(kind: str, name: str) -> None:
    """Try all states of a scenario, with several draws of what is lost."""
    command = SCENARIOS[name]
    with tmpfs_mounted(1024) as directory:
        recording = record(kind, command, directory)
        states = states_of(recording.log, name, draws=DRAWS)
        for state, what in try_states(recording, command, states):
            sys.stdout.write(json.dumps([kind, state.cut, recording.log.ended, what]) + "\n")
    sys.stdout.write(json.dumps({"requests": len(recording.log.requests), "states": len(states)}) + "\n")


if __name__ == "__main__":
    campaign(*sys.argv[1:])
