"""Publishing Spark's triple: the first writer wins, what is no output stops nobody, replacing leaves no stale part."""

import io
import os
import threading
from pathlib import Path

import pytest

from shuffle.testing import write_output
from spill_format import ChecksumError, CorruptError, TargetExistsError
from spill_format.spark.outputs import OutputPaths, index_path_of, paths_beside, read_output
from spill_format.storage.publication import PendingFile
from tests.helpers.spark_files import FUNCTIONS, assert_spark_output, checksum_file, write_spark

FIRST, SECOND = [b"first", b"", b"one"], [b"another", b"second one, longer"]


def test_committing_twice_keeps_the_first(tmp_path: Path) -> None:
    data = tmp_path / "shuffle_1_2_0.data"
    write_output(data, FIRST)
    with pytest.raises(TargetExistsError):
        write_output(data, SECOND)

    assert_spark_output(data, FIRST)


def test_after_its_data_were_deleted_an_output_of_another_partition_count_can_be_committed(tmp_path: Path) -> None:
    data = tmp_path / "shuffle_1_2_0.data"
    write_output(data, FIRST, algorithm="CRC32")
    data.unlink()
    write_output(data, SECOND)

    assert_spark_output(data, SECOND)


def test_an_output_without_data_of_empty_partitions_is_an_output(tmp_path: Path) -> None:
    data = write_spark(tmp_path / "a.data", [b"", b""], None)
    with pytest.raises(TargetExistsError):
        write_output(data, SECOND)

    assert read_output(paths_beside(data)).layout.byte_count == 0


def test_data_of_unknown_origin_are_not_replaced(tmp_path: Path) -> None:
    data = tmp_path / "a.data"
    data.write_bytes(b"precious")
    with pytest.raises(TargetExistsError):
        write_output(data, SECOND)

    assert data.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["a.data"]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(("before", "now"), [("ADLER32", "CRC32C"), ("CRC32", None), (None, "ADLER32")])
def test_replacing_leaves_nothing_of_the_old_output(
    tmp_path: Path, before: str | None, now: str | None, durable: bool
) -> None:
    data = tmp_path / "a.data"
    write_output(data, FIRST, algorithm=before)
    write_output(data, SECOND, algorithm=now, overwrite=True, durable=durable)

    assert_spark_output(data, SECOND, now)


def test_stray_checksums_are_replaced(tmp_path: Path) -> None:
    data = tmp_path / "a.data"
    checksum_file(data).write_bytes(b"stray")
    write_output(data, FIRST)

    assert_spark_output(data, FIRST)


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_writers_at_the_same_time_none_mixes_with_another(tmp_path: Path, overwrite: bool) -> None:
    data = tmp_path / "a.data"
    contents = [[bytes([65 + number]) * (number + 1) * 1000 for _ in range(number + 1)] for number in range(8)]
    published: list[int] = []
    barrier = threading.Barrier(len(contents))

    def write(number: int) -> None:
        barrier.wait()
        try:
            write_output(data, contents[number], overwrite=overwrite)
        except TargetExistsError:
            return
        published.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (winner,) = published if not overwrite else {len(read_output(paths_beside(data)).layout.lengths) - 1}
    assert_spark_output(data, contents[winner])


def test_a_reader_sees_the_old_output_or_the_new_one_while_it_is_replaced(tmp_path: Path) -> None:
    data = tmp_path / "a.data"
    # Of the same size, so that only looking twice tells a mixture.
    outputs = [[b"aaaa", b"bbbb"], [b"c", b"ddddddd"]]
    records = {tuple(map(len, ranges)): [FUNCTIONS["ADLER32"](each) for each in ranges] for ranges in outputs}
    write_output(data, outputs[0])
    done = threading.Event()

    def replace() -> None:
        while not done.is_set():
            for ranges in outputs:
                write_output(data, ranges, overwrite=True)

    writer = threading.Thread(target=replace)
    writer.start()
    seen = 0
    try:
        while seen < 5:
            try:
                output = read_output(OutputPaths(str(data), index_path_of(data), str(checksum_file(data))))
            except FileNotFoundError:
                continue
            except CorruptError as error:
                if error.problem.startswith("data without an index"):
                    continue
                raise
            assert output.checksums is not None
            assert output.checksums.values.tolist() == records[tuple(output.layout.lengths.tolist())]
            seen += 1
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize("suffix", [".index", ".checksum.ADLER32"])
def test_an_index_or_checksums_that_the_disk_does_not_keep_are_noticed(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = PendingFile.stream

    class Losing(io.BytesIO):
        def __init__(self, pending: PendingFile) -> None:
            super().__init__()
            self._pending = pending

        def close(self) -> None:
            with stream(self._pending) as file:
                file.write(bytes(len(self.getvalue())) if self._pending.path.name.endswith(suffix) else self.getvalue())
            super().close()

    monkeypatch.setattr(PendingFile, "stream", lambda pending: Losing(pending))  # noqa: PLW0108 -- a class is not bound
    with pytest.raises(ChecksumError, match="read back is not what was written"):
        write_output(tmp_path / "x.data", [b"a", b"b"])
    assert os.listdir(tmp_path) == []
