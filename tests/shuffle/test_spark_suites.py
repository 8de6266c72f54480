"""The cases of Spark's own suites that mean something here, ported to our interface, each named after what it protects.

What has a test already is not said again. Writers: no rows, clean-up after errors, rows beyond the budget and closed
writers are in ``test_map_writer.py``, failed writes in ``test_writer.py``. Resolver: committing twice, missing files
and other partition counts are in ``test_publication.py``. Object writer: cutting off behind the last commit is in
``test_spark_push.py``. Push resolver: duplicates and empty partitions are in ``test_push_merge.py`` and, beside Spark's
own, in ``tests/interop/test_spark_push.py``.
"""

import errno
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest

from shuffle import HashPartitioner, MapOptions, MapWriter, MergeOptions, merge
from shuffle.merging.push_merge import merge_pushed
from shuffle.options import TransferTo
from shuffle.testing import write_output
from spill_format import CorruptError, SpillFile, SpillWriter
from spill_format.spark.outputs import paths_beside, read_output
from spill_format.spark.pushed import read_pushed
from tests.helpers.families import FAMILIES, Family
from tests.helpers.spark_files import assert_spark_output, write_spark
from tests.helpers.spills import SCHEMA, batch_of

each_transfer_to = pytest.mark.parametrize("transfer_to", ["on", "off"])


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Family:
    return Family(request.param, tmp_path)


class TestUnsafeShuffleWriterSuite:
    @each_transfer_to
    @pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
    @pytest.mark.parametrize("spills", [False, True], ids=["without spilling", "enough to spill"])
    def test_lengths_add_up_to_the_file_and_every_row_is_there_once(
        self, tmp_path: Path, transfer_to: TransferTo, compression: Literal["lz4", "zstd"] | None, spills: bool
    ) -> None:
        keys = np.random.default_rng(7).integers(0, 1 << 40, 120_000 if spills else 2_000)
        options = MapOptions(memory_bytes=1 << 20, compression=compression, transfer_to=transfer_to)
        target = tmp_path / "map.arrow"
        with MapWriter(target, SCHEMA, HashPartitioner(["key"], 7), options) as mapper:
            for part in np.array_split(keys, 40):
                mapper.write(batch_of(part))

        assert mapper.report is not None
        assert (mapper.report.spill_count > 1) is spills
        with SpillFile(target) as output:
            output.verify()
            lengths, table = output.layout.lengths, output.read(0, 7)
            assert lengths.sum() == output.layout.offsets[-1] - output.layout.offsets[0]
        assert Counter(table["key"].to_pylist()) == Counter(keys.tolist())
        assert os.listdir(tmp_path) == ["map.arrow"]

    @pytest.mark.parametrize("source_count", [1, 5], ids=["without spills", "of five uneven spills"])
    def test_checksums_are_those_of_the_merged_ranges(self, family: Family, source_count: int) -> None:
        uneven = [[number * 300, 7, 0, 1 << number] for number in range(source_count)]
        sources = family.write(*uneven)
        merge(sources, family.target, MergeOptions(verify=True))

        family.assert_merged(sources)

    @each_transfer_to
    def test_small_and_large_ranges_are_merged_alike(self, family: Family, transfer_to: TransferTo) -> None:
        sources = family.write([1, 200_000, 3], [0, 0, 100_000], [50_000, 1, 0])
        merge(sources, family.target, MergeOptions(transfer_to=transfer_to))

        family.assert_merged(sources)

    def test_rows_larger_than_any_buffer_are_merged(self, tmp_path: Path) -> None:
        large = pa.record_batch([pa.array([1]), pa.array(["x" * (5 << 20)])], schema=SCHEMA)
        for number in range(2):
            with SpillWriter(tmp_path / f"{number}.spill.arrow", SCHEMA, 2) as writer:
                writer.write(number, large)
        merge([tmp_path], tmp_path / "merged.arrow")

        with SpillFile(tmp_path / "merged.arrow") as merged:
            assert [merged.read(partition)["text"][0].as_py() for partition in range(2)] == ["x" * (5 << 20)] * 2

    @pytest.mark.parametrize(
        "sizes",
        [[3000], [1] * 3000, [0, 1, 0, 2999], list(range(77))],
        ids=["at once", "one by one", "some of none", "ever more"],
    )
    def test_however_rows_come_the_buffer_grows_to_the_same(self, tmp_path: Path, sizes: list[int]) -> None:
        keys = np.random.default_rng(7).integers(0, 1 << 40, sum(sizes))
        ends = np.cumsum([0, *sizes])
        for name, parts in {"whole": [keys], "parts": [keys[start:end] for start, end in pairwise(ends)]}.items():
            with MapWriter(tmp_path / name, SCHEMA, HashPartitioner(["key"], 7)) as mapper:
                for part in parts:
                    mapper.write(batch_of(part))

        with SpillFile(tmp_path / "whole") as whole, SpillFile(tmp_path / "parts") as parts_joined:
            for partition in range(7):
                assert parts_joined.read(partition).equals(whole.read(partition))

    @pytest.mark.parametrize("keep_spills", [False, True])
    def test_a_failed_write_of_a_spill_propagates_and_leaves_nothing(
        self, tmp_path: Path, small_ext4_dir: Path, keep_spills: bool
    ) -> None:
        options = MapOptions(memory_bytes=4 << 20, spill_directories=[small_ext4_dir], keep_spills=keep_spills)

        def fill() -> None:
            with MapWriter(tmp_path / "map.arrow", SCHEMA, HashPartitioner(["key"], 7), options) as mapper:
                while True:
                    mapper.write(batch_of(np.arange(20_000)))

        before = sorted(os.listdir(small_ext4_dir))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            fill()
        assert sorted(os.listdir(small_ext4_dir)) == before
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("memory_bytes", [1 << 20, 4 << 20, 64 << 20])
    def test_the_peak_of_memory_is_reported(self, tmp_path: Path, memory_bytes: int) -> None:
        batches = [batch_of(np.arange(first, first + 2_500)) for first in range(0, 300_000, 2_500)]
        held, peaks = 0, []
        for count in (0, 1, 120):
            target = tmp_path / f"{count}.arrow"
            mapper = MapWriter(target, SCHEMA, HashPartitioner(["key"], 7), MapOptions(memory_bytes=memory_bytes))
            with mapper:
                for batch in batches[:count]:
                    mapper.write(batch)
            assert mapper.report is not None
            peaks.append(mapper.report.peak_memory_bytes)
            held = mapper.report.row_bytes

        assert peaks[0] == 0
        # A block's rows are there as they came, with a number of two bytes for each, until they are encoded.
        assert batches[0].nbytes <= peaks[1] <= 2.5 * batches[0].nbytes
        if memory_bytes > 3 * held:  # all rows were held at once
            assert held < peaks[2] < 2.5 * held
        else:
            assert memory_bytes / 2 < peaks[2] <= memory_bytes * 31 / 32

    def test_stopping_before_writing_leaves_nothing(self, tmp_path: Path) -> None:
        def stop() -> None:
            with MapWriter(tmp_path / "map.arrow", SCHEMA, HashPartitioner(["key"], 3)):
                raise InterruptedError("the task was stopped")

        with pytest.raises(InterruptedError):
            stop()
        assert os.listdir(tmp_path) == []


class TestIndexShuffleBlockResolverSuite:
    def test_lengths_of_10_0_20_are_offsets_of_0_10_10_30(self, tmp_path: Path) -> None:
        data = tmp_path / "shuffle_1_2_0.data"
        layout = write_output(data, [bytes(10), b"", bytes(20)])

        assert layout.offsets.tolist() == [0, 10, 10, 30]
        assert read_output(paths_beside(data)).layout.lengths.tolist() == [10, 0, 20]
        assert_spark_output(data, [bytes(10), b"", bytes(20)])


class TestBypassMergeSortShuffleWriterSuite:
    @each_transfer_to
    @pytest.mark.parametrize(
        "sizes", [[[0, 0, 0]], [[0, 0], [0, 0]], [[4, 0, 0, 9, 0], [0, 0, 0, 2, 0]]], ids=["one", "empty", "some empty"]
    )
    def test_empty_partitions_take_no_bytes(
        self, family: Family, sizes: list[list[int]], transfer_to: TransferTo
    ) -> None:
        sources = family.write(*sizes)
        report = merge(sources, family.target, MergeOptions(transfer_to=transfer_to))

        family.assert_merged(sources)
        assert report.range_count == sum(size > 0 for counts in sizes for size in counts)


class TestRemoteBlockPushResolverSuite:
    def test_tries_of_merging_a_shuffle_do_not_collide(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        stale = write_spark(tmp_path / "shuffle_0_1_0.data", [b"stale"])
        merge_pushed([stale], tmp_path / "out", application="app", merge_id=0)
        late = write_spark(tmp_path / "shuffle_0_2_0.data", [b"later"])
        merge_pushed([late], tmp_path / "out", application="app", merge_id=1)

        for merge_id, content in enumerate([b"stale", b"later"]):
            assert read_pushed(tmp_path / "out" / f"shuffleMerged_app_0_{merge_id}_0.data").read(0) == content

    def test_after_a_failure_behind_the_data_there_is_no_chunk_to_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        source = write_spark(tmp_path / "shuffle_0_1_0.data", [b"block"])
        merge_pushed([source], tmp_path / "out", application="app")
        data = tmp_path / "out" / "shuffleMerged_app_0_0_0.data"
        data.with_suffix(".index").unlink()  # what comes last had not come
        with pytest.raises(CorruptError, match="there is no index"):
            read_pushed(data)

        assert merge_pushed([source], tmp_path / "out", application="app").repeated_count == 1
        assert read_pushed(data).read(0) == b"block"
