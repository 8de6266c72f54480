"""Commands that meet every fault of every call, and what must hold afterwards.

Run as a module, since it forks: ``python -m tests.helpers.fault_scenarios NAME DIRECTORY [EACH]`` writes what did not
hold, one JSON list a line, and a summary.
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from shuffle import merge
from shuffle.cli import main, merge_main
from spill_format import CorruptError, MismatchError
from spill_format.spark.outputs import paths_beside, read_output
from spill_format.spark.pushed import read_pushed
from spill_format.spill_set import MEMBERSHIP_LENGTH
from tests.helpers.anatomy import Anatomy
from tests.helpers.fault_engine import Engine, Fault, Outcome, faults_of
from tests.helpers.spark_files import ranges_of_spark, write_spark
from tests.helpers.spills import random_spills

MERGE = "shuffle-merge maps -o out/merged.arrow --threads 1 --quiet"
PARTITION = (
    "shuffle partition rows.parquet --by key --partitions 5 --memory 1MiB --threads 1 --quiet -o out/merged.arrow"
)
SPARK = "shuffle-merge maps -o out/merged.data --threads 1 --quiet"
SCENARIOS = {
    "merge": MERGE,
    "merge by copy_file_range": f"{MERGE} --method copy_file_range",
    "merge by sendfile": f"{MERGE} --method sendfile",
    "merge through memory": f"{MERGE} --transfer-to off",
    "durable merge, read back": f"{MERGE} --durable --verify",
    "merge that deletes": f"{MERGE} --delete-sources",
    "merge that replaces": f"{MERGE} --overwrite",
    "compacting merge": f"{MERGE} --compact",
    "merge of Spark's files": SPARK,
    "durable merge of Spark's files": f"{SPARK} --durable",
    "merge of Spark's files that replaces": f"{SPARK} --overwrite",
    "durable merge of Spark's files that replaces": f"{SPARK} --overwrite --durable",
    "push-based merge": "shuffle-merge maps -o out --kind spark-push --app-id a --threads 1 --quiet",
    "partition": PARTITION,
    "partition into spills": f"{PARTITION} --spills-only",
}


CHANGING = frozenset(
    {"open", "openat", "write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile", "ioctl"}
    | {"ftruncate", "fallocate", "link", "linkat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "fsync"}
    | {"chmod", "fchmod", "mkdir"}
)
"""Calls on entering which a kill is tried: between two of these nothing changes."""
KILLED = frozenset(
    {"merge by copy_file_range", "durable merge, read back", "merge that deletes", "merge that replaces"}
    | {"compacting merge"}
)
"""Scenarios that are killed at every such call; of Spark's files all are."""


class Place(NamedTuple):
    """A scenario's directory: sources, which are made anew where a run changed them, and outputs."""

    directory: Path
    command: str

    def prepare(self) -> None:
        if self.sources != self.kept:
            for path in (*self.directory.glob("maps/*"), *self.directory.glob("*.parquet")):
                path.unlink()
            shutil.copytree(self.directory.with_name("kept"), self.directory, dirs_exist_ok=True)
        shutil.rmtree(self.directory / "out", ignore_errors=True)
        (self.directory / "out").mkdir()
        if "--overwrite" in self.command and self.is_spark:
            write_spark(self.directory / "out" / "merged.data", [b"what was there", b"before", b"of 3"], "CRC32")
        elif "--overwrite" in self.command:
            (self.directory / "out" / "merged.arrow").write_bytes(b"the target before")

    @property
    def sources(self) -> dict[str, bytes]:
        return contents(self.directory, "maps/*", "*.parquet")

    @property
    def kept(self) -> dict[str, bytes]:
        return contents(self.directory.with_name("kept"), "maps/*", "*.parquet")

    @property
    def outputs(self) -> dict[str, bytes]:
        return contents(self.directory, "out/*", "out/.*")

    @property
    def is_spark(self) -> bool:
        return self.command.startswith(SPARK) or "spark-push" in self.command

    def spark_output(self) -> object:
        """What a reader finds in Spark's files; None where there is nothing, or not yet an index."""
        out = self.directory / "out"
        try:
            if "spark-push" in self.command:
                pushed = read_pushed(out / "shuffleMerged_a_0_0_0.data")
                return [pushed.read(chunk) for chunk in range(pushed.chunk_count)], pushed.maps
            recorded = read_output(paths_beside(out / "merged.data")).checksums
        except FileNotFoundError:
            return None
        except CorruptError as error:
            if error.problem.startswith(("data without an index", "there is no index")):
                return None
            raise
        return ranges_of_spark(out / "merged.data"), recorded and (recorded.algorithm.name, recorded.values.tolist())

    def run(self) -> int:
        script, *arguments = shlex.split(self.command)
        return (merge_main if script == "shuffle-merge" else main)(arguments)


def contents(directory: Path, *patterns: str) -> dict[str, bytes]:
    found = sorted({path for pattern in patterns for path in directory.glob(pattern)})
    return {str(path.relative_to(directory)): of_no_set(path) for path in found}


def of_no_set(path: Path) -> bytes:
    """A file's bytes; of a spill without its membership, for the identity of a set is random."""
    raw = path.read_bytes()
    if "/out/" not in str(path) or not path.name.endswith(".spill.arrow"):
        return raw
    place = Anatomy.cut(raw).membership
    return raw[:place] + bytes(MEMBERSHIP_LENGTH) + raw[place + MEMBERSHIP_LENGTH :]


def is_refused_set(place: Place) -> bool:
    """Whether the outputs are some of a set of spills, which a merge refuses."""
    try:
        merge(sorted(place.directory.glob("out/*")), place.directory / "all.arrow")
    except MismatchError:
        return True
    return False


def place_of(command: str, directory: Path) -> Place:
    """Make the sources of a command, twice: its own, and those kept to be compared with them."""
    kept = directory / "kept"
    if command.startswith("shuffle partition"):
        kept.mkdir()
        keys = np.arange(60_000) * 7919 % 10_007
        pa.parquet.write_table(pa.table({"key": keys, "text": keys.astype(str)}), kept / "rows.parquet")
    elif command.startswith(SPARK) or "spark-push" in command:
        (kept / "maps").mkdir(parents=True)
        for number, ranges in enumerate([[b"first map, first partition", b""], [b"and second", b"second map"]]):
            write_spark(kept / "maps" / f"shuffle_0_{number}_0.data", ranges)
    else:
        (kept / "maps").mkdir(parents=True)
        random_spills(kept / "maps", [10, 0, 30], [0, 20, 10], [5, 5, 5])
    shutil.copytree(kept, directory / "place")
    return Place(directory / "place", command)


def violations(place: Place, before: dict[str, bytes], expected: dict[str, bytes], outcome: Outcome) -> Iterator[str]:
    """What does not hold after a fault."""
    fault, code, words = outcome.fault, outcome.exit_code, outcome.stderr.strip()
    assert fault is not None
    killed = fault.kind == "signal"
    allowed = {0, 2} | ({-signal.SIGKILL, 130, 143, -signal.SIGTERM} if killed else set())
    if code not in allowed or (fault.value == signal.SIGKILL and killed and code != -signal.SIGKILL):
        yield f"exit code {code}"
    outputs = place.outputs
    debris = outputs.keys() - expected.keys() - before.keys()
    if debris and not (fault.value == signal.SIGKILL and "out/merged.arrow" in before):
        yield f"debris {sorted(debris)}"
    if code == 0 and outputs != expected:
        yield "done, and the target is not what it should be"
    if code == 2 and outputs == expected != before and "published, but" not in words:
        yield "an error, though the target is published"
    is_between_names = code == -signal.SIGKILL and "--spills-only" in place.command
    if (
        code != 0
        and outputs not in (expected, before)
        and not debris
        and not (is_between_names and is_refused_set(place))
    ):
        yield "neither the outputs before nor those of success"
    deletes = "--delete-sources" in place.command
    if place.sources != place.kept and not (deletes and outputs == expected):
        yield "the sources changed"
    lines = words.splitlines()
    if code == 2 and (len(lines) != 1 or "error: " not in lines[-1]):
        yield "not one line of error"
    if "defect of shuffle" in words or "Traceback" in words:
        yield "a defect"
    if code == 2 and not any(
        name in words for name in ("maps", "out", "rows.parquet", "merged.arrow", str(place.directory))
    ):
        yield "the error names no file"
    if "hangs" in outcome.calls:
        yield "it hangs"


def second_run(place: Place, engine: Engine, before: dict[str, bytes], expected: dict[str, bytes]) -> Iterator[str]:
    """What does not hold after the same command again, where the first left everything as it was."""
    if place.outputs == before and place.sources == place.kept:
        again = engine.outcome(None)
        if again.exit_code != 0 or place.outputs != expected:
            yield f"the second run fails: {again.exit_code} {again.stderr.strip()}"


def kills_of_spark(place: Place, engine: Engine, kills: list[Fault], expected: dict[str, bytes]) -> Iterator[str]:
    """What does not hold after kills amid Spark's three files: there is the old output, the new one or none, and
    the same command again makes it whole."""
    place.prepare()
    old, states = place.spark_output(), []
    for kill in kills:
        place.prepare()
        if engine.outcome(kill).exit_code != -signal.SIGKILL:
            yield f"it survives a kill at call {kill.call}"
        states.append(place.spark_output())
        again = engine.outcome(None)
        if again.exit_code != 0 or place.outputs != expected:
            yield f"the second run fails after call {kill.call}: {again.exit_code} {again.stderr.strip()}"
        if place.sources != place.kept:
            yield "the sources changed"
    if any(state not in (None, old, place.spark_output()) for state in states) or states[0] != old:
        yield "a reader finds neither the old output nor the new one"
    assert None in states


def campaign(name: str, directory: Path, *, part: int = 1) -> None:
    """Try every fault, or each ``part``-th one."""
    place = place_of(SCENARIOS[name], directory)
    engine = Engine(place.run, place.directory)
    place.prepare()
    before = place.outputs
    with chdir(place.directory):  # what is imported here need not be imported in each process
        place.run()
    place.prepare()
    calm = engine.outcome(None)
    expected = place.outputs
    assert calm.exit_code == 0, calm
    every = list(faults_of(calm.calls))
    kills = [each for each in every if each[1:] == ("signal", signal.SIGKILL) and calm.calls[each.call] in CHANGING]
    kills = kills if place.is_spark or name in KILLED else []
    faults = kills if place.is_spark else [*kills, *(each for each in every[::part] if each not in kills)]
    for what in kills_of_spark(place, engine, kills, expected) if place.is_spark else ():
        sys.stdout.write(json.dumps(what) + "\n")
    for fault in faults if not place.is_spark else ():
        place.prepare()
        outcome = engine.outcome(fault)
        found = list(violations(place, before, expected, outcome)) or list(second_run(place, engine, before, expected))
        for what in found:
            sys.stdout.write(
                json.dumps([fault.call, calm.calls[fault.call], str(fault), what, outcome.stderr.strip()[-300:]]) + "\n"
            )
    sys.stdout.write(json.dumps({"calls": len(calm.calls), "faults": len(faults)}) + "\n")


if __name__ == "__main__":
    campaign(sys.argv[1], Path(sys.argv[2]), part=int(sys.argv[3]) if len(sys.argv) > 3 else 1)
