"""A writer in any order of calls: what is published is what was written, and nothing else is ever seen."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shuffle import CallablePartitioner, MapOptions, MapWriter
from shuffle.partitioners.protocol import PartitionNumbers
from spill_format import TargetExistsError
from spill_format.storage.publication import PendingFile, open_pending
from tests.helpers.map_outputs import MIB, SCHEMA, assert_partitioned, rows_of
from tests.helpers.spills import open_files_in

PARTITION_COUNT = 5


def by_key(batch: pa.RecordBatch) -> PartitionNumbers:
    if batch.schema.names != SCHEMA.names or pa.compute.any(pa.compute.equal(batch["key"], -1)).as_py():
        raise LookupError("a row that cannot be placed")
    numbers: PartitionNumbers = (batch["key"].to_numpy() % PARTITION_COUNT).astype("uint16")
    return numbers


class InADirectory(RuleBasedStateMachine):
    """What both machines have: a directory of their own, and a target in it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.target = self.directory / "target.arrow"

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @property
    def names(self) -> set[str]:
        return set(os.listdir(self.directory))


class MapWriterMachine(InADirectory):
    """A map task that writes, fails, is closed and discarded in any order."""

    @initialize(memory_mib=st.integers(1, 4), keep_spills=st.booleans())
    def begin(self, memory_mib: int, keep_spills: bool) -> None:
        self.partitioner = CallablePartitioner(by_key, PARTITION_COUNT)
        options = MapOptions(memory_bytes=memory_mib * MIB, keep_spills=keep_spills)
        self.writer = MapWriter(self.target, SCHEMA, self.partitioner, options)
        self.batches: list[pa.RecordBatch] = []
        self.state = "open"

    @rule(count=st.sampled_from([0, 1, 300, 9000]), text_length=st.sampled_from([0, 40, 200]))
    def write(self, count: int, text_length: int) -> None:
        rows = rows_of(count, first=sum(batch.num_rows for batch in self.batches), text_length=text_length)
        if self.state in ("open", "failed"):  # a failed one takes rows, and refuses to publish what lacks others
            self.writer.write(rows)
            self.batches.append(rows)
        else:
            with pytest.raises(ValueError, match="the writer is closed"):
                self.writer.write(rows)

    @precondition(lambda self: self.state == "open")
    @rule()
    def write_what_cannot_be_placed(self) -> None:
        with pytest.raises(LookupError):
            self.writer.write(pa.record_batch([[-1], [0], ["x"]], schema=SCHEMA))
        self.state = "failed"

    @rule()
    def close(self) -> None:
        if self.state == "failed":
            with pytest.raises(ValueError, match="an earlier write failed"):
                self.writer.close()
            self.state = "discarded"
        else:
            self.writer.close()
            self.state = "closed" if self.state == "open" else self.state

    @rule()
    def discard(self) -> None:
        self.writer.discard()
        self.state = self.state if self.state == "closed" else "discarded"

    @invariant()
    def the_target_is_there_when_all_is_written(self) -> None:
        assert self.target.exists() == (getattr(self, "state", "") == "closed")

    @invariant()
    def nothing_is_left_of_what_was_given_up(self) -> None:
        if getattr(self, "state", "") == "discarded":
            assert self.names == set()
            assert open_files_in(self.directory) == []

    def teardown(self) -> None:
        if getattr(self, "state", "") == "closed":
            assert_partitioned(self.target, self.batches or [rows_of(0)], self.partitioner)
        elif hasattr(self, "writer"):
            self.writer.discard()
        super().teardown()


class PendingFileMachine(InADirectory):
    """A file that is written, published, discarded, and raced for its name."""

    @initialize(overwrite=st.booleans(), durable=st.booleans(), before=st.none() | st.just(b"before"))
    def begin(self, overwrite: bool, durable: bool, before: bytes | None) -> None:
        self.overwrite = overwrite
        self.visible = before
        self.pending: PendingFile | None = None
        self.written = b""
        if before is not None:
            self.target.write_bytes(before)
        with suppress(TargetExistsError):
            self.pending = open_pending(self.target, overwrite=overwrite, durable=durable)
        assert (self.pending is None) == (before is not None and not overwrite)

    @precondition(lambda self: self.pending is not None)
    @rule(content=st.binary(min_size=1, max_size=9))
    def write(self, content: bytes) -> None:
        assert self.pending is not None
        os.pwrite(self.pending.descriptor, content, len(self.written))
        self.written += content

    @rule(content=st.just(b"another's"))
    def another_publishes(self, content: bytes) -> None:
        self.target.write_bytes(content)
        self.visible = content

    @rule()
    def another_removes(self) -> None:
        self.target.unlink(missing_ok=True)
        self.visible = None

    @precondition(lambda self: self.pending is not None)
    @rule()
    def publish(self) -> None:
        assert self.pending is not None
        if self.visible is not None and not self.overwrite:
            with pytest.raises(TargetExistsError):
                self.pending.publish()
            return
        self.pending.publish()
        self.visible, gone = self.written, self.pending
        self.pending = None
        with pytest.raises(ValueError, match="already published or discarded"):
            gone.publish()

    @precondition(lambda self: self.pending is not None)
    @rule()
    def discard(self) -> None:
        assert self.pending is not None
        self.pending.discard()
        self.pending.discard()
        self.pending = None

    @invariant()
    def the_name_is_whole_or_not_there(self) -> None:
        if hasattr(self, "visible"):
            assert self.names == ({self.target.name} if self.visible is not None else set())
            assert self.visible is None or self.target.read_bytes() == self.visible

    def teardown(self) -> None:
        if getattr(self, "pending", None) is not None:
            assert self.pending is not None
            self.pending.discard()
        assert open_files_in(self.directory) == []
        super().teardown()


TestMapWriter = MapWriterMachine.TestCase
TestMapWriter.settings = settings(max_examples=40, stateful_step_count=12)
TestPendingFile = PendingFileMachine.TestCase
TestPendingFile.settings = settings(max_examples=60, stateful_step_count=15)
