"""A merge from end to end, on real files: what it promises of the target, the sources and the directory."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle import MergeOptions, ShuffleWarning, merge
from shuffle.merging.copy.ladder import METHODS
from shuffle.options import MethodName
from shuffle.testing import Fail, Meanwhile, ScriptedKernel
from spill_format import MismatchError, SpillError, SpillFile, TargetExistsError
from tests.helpers.spills import SCHEMA, assert_merge_of, merged_ranges, random_spill, random_spills, ranges_of

each_method = pytest.mark.parametrize("method", METHODS)


class TestNumbersOfSources:
    def test_no_sources_are_a_mistake(self, target: Path) -> None:
        with pytest.raises(ValueError, match="there is nothing to merge: no sources"):
            merge([], target)
        assert not target.exists()

    @each_method
    @pytest.mark.parametrize("rows", [[5, 0, 7], [0, 0, 0], [0, 9, 0], [1]])
    def test_a_merge_of_one_source_is_a_copy(
        self, tmp_path: Path, target: Path, method: MethodName, rows: list[int]
    ) -> None:
        spills = random_spills(tmp_path, rows)
        report = merge(spills, target, MergeOptions(method=method))
        assert target.read_bytes() == spills[0].read_bytes()
        assert report.segment_count == (1 if any(rows) else 0)
        assert_merge_of(spills, target)

    @each_method
    @pytest.mark.parametrize(
        "rows",
        [
            [[5, 0, 7], [1, 2, 3]],
            [[0, 0, 0], [1, 2, 3]],
            [[1, 2, 3], [0, 0, 0]],
            [[0, 0, 0], [0, 0, 0]],
            [[5, 0, 0], [0, 0, 5]],
            [[5], [5]],
            [[3, 1, 4], [1, 5, 9], [2, 6, 5]],
        ],
    )
    def test_a_merge_of_several(
        self, tmp_path: Path, target: Path, method: MethodName, rows: Sequence[list[int]]
    ) -> None:
        spills = random_spills(tmp_path, *rows)
        merge(spills, target, MergeOptions(method=method))
        assert_merge_of(spills, target)

    def test_a_source_may_be_merged_with_itself(self, tmp_path: Path, target: Path) -> None:
        spills = random_spills(tmp_path, [5, 6]) * 3
        merge(spills, target)
        assert_merge_of(spills, target)

    def test_partitions_without_number(self, tmp_path: Path, target: Path) -> None:
        rows = [0] * 100_000
        rows[5] = rows[99_999] = 3
        spills = random_spills(tmp_path, rows, rows)
        merge(spills, target)
        with SpillFile(target) as merged:
            assert merged.layout.row_count == 12
            assert merged.read(99_999).num_rows == 6
            merged.verify()

    @each_method
    @pytest.mark.parametrize("threads", [1, 4])
    def test_threads_never_change_a_byte(
        self, target: Path, method: MethodName, threads: int, large_spills: list[Path]
    ) -> None:
        told: list[tuple[int, int]] = []

        def progress(done: int, total: int) -> None:
            told.append((done, total))

        report = merge(large_spills, target, MergeOptions(method=method, threads=threads), progress=progress)
        assert ranges_of(target) == merged_ranges(large_spills)
        assert told == sorted(told)
        assert told[-1] == (report.byte_count, report.byte_count)
        assert report.byte_count == sum(use.byte_count for use in report.methods.values())

    @pytest.fixture(scope="class")
    @staticmethod
    def large_spills(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
        """More than 4 × 32 MiB, so that four threads have something to do; ranges from 0.5 to 40 MiB."""
        directory = tmp_path_factory.mktemp("large")
        schema = pa.schema([("key", pa.int64())])
        rows = [[5_000_000, 100_000, 3_000_000], [70_000, 4_000_000, 5_000_000]]
        return [
            random_spill(directory / f"{number}.spill.arrow", counts, schema=schema, batch_rows=1_000_000)
            for number, counts in enumerate(rows)
        ]


class TestAgreement:
    def test_sources_of_different_alignment_merge(self, tmp_path: Path, target: Path) -> None:
        spills = [
            random_spill(tmp_path / f"{alignment}.spill.arrow", [3, 4], alignment=alignment)
            for alignment in (4096, 8, 64, 65536)
        ]
        merge(spills, target)
        assert_merge_of(spills, target)
        with SpillFile(target) as merged:
            assert merged.alignment == 8

    def test_sources_whose_schemas_differ_in_metadata_alone_merge(self, tmp_path: Path, target: Path) -> None:
        noted = SCHEMA.with_metadata({"writer": "another"})
        spills = [
            random_spill(tmp_path / "1.spill.arrow", [3, 4]),
            random_spill(tmp_path / "2.spill.arrow", [3, 4], schema=noted),
        ]
        merge(spills, target)
        assert ranges_of(target) == merged_ranges(spills)
        with SpillFile(target) as merged:
            merged.verify()
            assert merged.schema.equals(SCHEMA, check_metadata=True)  # the first one's

    @pytest.mark.parametrize(
        ("rows", "schema", "message"),
        [
            ([3, 4, 5], SCHEMA, r"^{second}: another number of partitions than {first}: expected 2, found 3$"),
            ([3, 4], pa.schema([("key", pa.int64())]), r"^{second}: another schema than {first}: .*text"),
        ],
    )
    def test_sources_that_disagree_are_both_named_and_nothing_is_written(
        self, tmp_path: Path, target: Path, rows: list[int], schema: pa.Schema, message: str
    ) -> None:
        first = random_spill(tmp_path / "1.spill.arrow", [3, 4])
        second = random_spill(tmp_path / "2.spill.arrow", rows, schema=schema)
        with pytest.raises(MismatchError, match=message.format(first=first, second=second)):
            merge([first, first, second], target)
        assert not target.exists()

    def test_a_damaged_source_is_named_before_anything_is_written(self, tmp_path: Path, target: Path) -> None:
        sound, damaged = random_spills(tmp_path, [3, 4], [3, 4])
        os.truncate(damaged, damaged.stat().st_size - 1)
        with pytest.raises(SpillError, match=f"^{damaged}"):
            merge([sound, damaged], target)
        assert not target.exists()


class TestTarget:
    @pytest.fixture
    def spills(self, tmp_path: Path) -> list[Path]:
        return random_spills(tmp_path, [3, 4], [5, 6])

    def test_an_existing_target_is_kept(self, spills: list[Path], target: Path) -> None:
        target.write_bytes(b"precious")
        kernel = ScriptedKernel({})
        with pytest.raises(TargetExistsError, match=f"^{target}"):
            merge(spills, target, kernel=kernel)
        assert target.read_bytes() == b"precious"
        assert kernel.call_counts.total() == 0  # found out before anything was copied

    def test_a_target_that_appears_meanwhile_is_kept(self, spills: list[Path], target: Path) -> None:
        kernel = ScriptedKernel({"size": [Meanwhile(lambda: target.write_bytes(b"precious"))]})
        with pytest.raises(TargetExistsError, match=f"^{target}"):
            merge(spills, target, MergeOptions(delete_sources=True), kernel=kernel)
        assert kernel.unplayed == {}
        assert target.read_bytes() == b"precious"
        assert all(spill.exists() for spill in spills)

    @pytest.mark.parametrize("durable", [False, True])
    def test_overwriting_replaces_and_never_shows_a_half(self, spills: list[Path], target: Path, durable: bool) -> None:
        target.write_bytes(b"old")
        seen: list[bytes] = []
        kernel = ScriptedKernel({"size": [Meanwhile(lambda: seen.append(target.read_bytes()))]})
        merge(spills, target, MergeOptions(overwrite=True, durable=durable), kernel=kernel)
        assert seen == [b"old"]
        assert_merge_of(spills, target)

    def test_a_source_may_be_replaced_by_the_merge(self, tmp_path: Path, spills: list[Path]) -> None:
        copies = [tmp_path / f"copy-{number}" for number in range(2)]
        for spill, copy in zip(spills, copies, strict=True):
            copy.write_bytes(spill.read_bytes())
        merge(spills, spills[0], MergeOptions(overwrite=True))
        assert_merge_of(copies, spills[0])

    def test_a_missing_directory_is_named(self, spills: list[Path], target: Path) -> None:
        with pytest.raises(FileNotFoundError, match=f"{target.parent}/none"):
            merge(spills, target.parent / "none" / "merged.arrow")


class TestDeletingSources:
    @pytest.fixture
    def spills(self, tmp_path: Path) -> list[Path]:
        (tmp_path / "spills").mkdir()
        return random_spills(tmp_path / "spills", [3, 4], [5, 6])

    def test_sources_go_once_the_target_is_there(self, spills: list[Path], target: Path) -> None:
        expected = merged_ranges(spills)
        merge([spills[0].parent], target, MergeOptions(delete_sources=True))
        assert ranges_of(target) == expected
        assert not any(spill.exists() for spill in spills)

    def test_a_source_given_twice_goes_once(self, spills: list[Path], target: Path) -> None:
        merge([*spills, spills[0]], target, MergeOptions(delete_sources=True))
        assert not any(spill.exists() for spill in spills)

    def test_nothing_goes_after_an_error(self, spills: list[Path], target: Path) -> None:
        kernel = ScriptedKernel({"pwrite": [Fail(28)]})
        with pytest.raises(OSError, match="No space left"):
            merge(spills, target, MergeOptions(delete_sources=True, transfer_to="off"), kernel=kernel)
        assert all(spill.exists() for spill in spills)

    @pytest.mark.parametrize("through_link", [False, True])
    def test_the_target_is_not_deleted_as_a_source(
        self, tmp_path: Path, spills: list[Path], through_link: bool
    ) -> None:
        name = spills[1]
        if through_link:
            name = tmp_path / "link"
            name.symlink_to(spills[1])
        with pytest.raises(ValueError, match=f"{spills[1]} is the target and a source: it would be deleted"):
            merge(spills, name, MergeOptions(delete_sources=True, overwrite=True))
        assert all(spill.exists() for spill in spills)

    def test_one_that_cannot_be_deleted_is_a_warning(self, spills: list[Path], target: Path) -> None:
        kernel = ScriptedKernel({"size": [Meanwhile(spills[0].unlink)]})
        with pytest.warns(ShuffleWarning, match=f"{spills[0]} could not be deleted: No such file") as warned:
            merge(spills, target, MergeOptions(delete_sources=True), kernel=kernel)
        assert warned[0].filename == __file__
        assert not spills[1].exists()


MERGE_AS_NOBODY = """
import os, sys
from shuffle import merge
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for sources in sys.argv[2:]:
    try:
        merge([sources], sys.argv[1])
    except PermissionError as error:
        print(error.filename)
"""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that all may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        yield Path(directory)


@pytest.mark.root
def test_what_a_user_may_not_enter_is_named(open_directory: Path) -> None:
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    unreadable, readable = (random_spills(closed, [3, 4], [5, 6])[0], random_spills(open_directory, [3, 4])[0])
    cases = [
        (open_directory / "merged.arrow", closed, closed),
        (open_directory / "merged.arrow", unreadable, unreadable),
        (closed / "merged.arrow", readable, closed / "merged.arrow"),
    ]
    for target, sources, blamed in cases:
        completed = subprocess.run(
            [sys.executable, "-c", MERGE_AS_NOBODY, target, sources],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (completed.stdout, completed.stderr) == (f"{blamed}\n", "")
        assert not target.exists()
