"""Sources: which files are meant, what they must agree on, and how few of them need be open."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle.merging.formats.arrow import ARROW, borrow_source
from shuffle.merging.sources import Source, SourceDescriptors, check_partition_counts, descriptor_limit, find_sources
from spill_format import MismatchError, NotPartitionedError, SpillError
from tests.helpers.spills import SCHEMA, random_spill, random_spills


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@contextmanager
def limited_descriptors(count: int) -> Iterator[None]:
    """Let the process open ``count`` more descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The limit is on numbers, and between those in use there may be gaps.
    free = [number for number in range(before[0]) if not os.path.lexists(f"/proc/self/fd/{number}")]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class TestFinding:
    @pytest.mark.parametrize(
        "names",
        [
            ["part-1", "part-2", "part-9", "part-10", "part-100"],
            ["a-2-b-9", "a-2-b-10", "a-10-b-1"],
            ["01", "1", "001x", "a"],
            ["1", "2-a", "a", "a-1"],
            ["spill", "spill0", "spill00", "spill1"],
            ["tâche-9", "tâche-10"],
        ],
    )
    def test_a_directory_is_its_spills_in_natural_order(self, tmp_path: Path, names: list[str]) -> None:
        for name in reversed(names):
            (tmp_path / f"{name}.spill.arrow").touch()
        assert find_sources([tmp_path]) == [str(tmp_path / f"{name}.spill.arrow") for name in names]

    def test_nothing_but_spills_is_meant(self, tmp_path: Path) -> None:
        for name in ["a.spill.arrow", "merged.arrow", "a.spill.arrow.tmp", "README", ".b.spill.arrow.0123.tmp"]:
            (tmp_path / name).touch()
        assert find_sources([tmp_path]) == [str(tmp_path / "a.spill.arrow")]

    def test_files_stay_in_the_order_given_whatever_their_names(self, tmp_path: Path) -> None:
        files = [str(tmp_path / name) for name in ["b.arrow", "a.bin", "b.arrow"]]
        assert find_sources(files) == files

    def test_files_and_directories_may_be_mixed(self, tmp_path: Path) -> None:
        for name in ["x/1.spill.arrow", "y/1.spill.arrow"]:
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).touch()
        paths = [tmp_path / "y", tmp_path / "single.arrow", tmp_path / "x"]
        expected = ["y/1.spill.arrow", "single.arrow", "x/1.spill.arrow"]
        assert find_sources(paths) == [str(tmp_path / name) for name in expected]

    def test_a_directory_without_spills_is_told_with_what_was_looked_for(self, tmp_path: Path) -> None:
        (tmp_path / "merged.arrow").touch()
        with pytest.raises(ValueError, match=rf"no spills: looked for \*\.spill\.arrow in the directory {tmp_path}"):
            find_sources([tmp_path])

    def test_a_file_besides_its_directory_is_a_mistake(self, tmp_path: Path) -> None:
        (tmp_path / "a.spill.arrow").touch()
        both = [tmp_path / "a.spill.arrow", tmp_path]
        for paths in (both, both[::-1], [tmp_path, tmp_path]):
            with pytest.raises(ValueError, match=f"{tmp_path} holds a file that is also given by its name"):
                find_sources(paths)

    @pytest.mark.parametrize("path", ["spills", b"spills", Path("spills")])
    def test_a_single_path_is_not_a_list_of_paths(self, path: str) -> None:
        with pytest.raises(TypeError, match=r"sources takes several, in a list: not .*spills"):
            find_sources(path)


class TestAgreement:
    def test_the_partition_counts_and_both_files_are_named(self, tmp_path: Path) -> None:
        first, second = (random_spill(tmp_path / "first", [1, 2]), random_spill(tmp_path / "second", [1, 2, 3]))
        with pytest.raises(MismatchError) as raised:
            check_partition_counts([ARROW.open_source(first), ARROW.open_source(first), ARROW.open_source(second)])
        assert str(raised.value) == f"{second}: another number of partitions than {first}: expected 2, found 3"

    @pytest.mark.parametrize(
        ("schema", "difference"),
        [
            (pa.schema([("key", pa.int64())]), "text"),
            (pa.schema([("key", pa.int64()), ("text", pa.string()), ("more", pa.int8())]), "more"),
            (pa.schema([("key", pa.int32()), ("text", pa.string())]), "key.*int(32|64).*int(32|64)"),
            (pa.schema([("text", pa.string()), ("key", pa.int64())]), "key|text"),
            (pa.schema([pa.field("key", pa.int64(), nullable=False), ("text", pa.string())]), "key.*null"),
            (pa.schema([("key", pa.int64()), ("text", pa.dictionary(pa.int32(), pa.string()))]), "text.*dictionary"),
        ],
    )
    def test_the_difference_of_schemas_and_both_files_are_named(
        self, tmp_path: Path, schema: pa.Schema, difference: str
    ) -> None:
        first, second = (random_spill(tmp_path / "first", [0]), random_spill(tmp_path / "second", [0], schema=schema))
        with pytest.raises(MismatchError, match=f"^{second}: another schema than {first}: .*({difference})"):
            ARROW.check_agreement([ARROW.open_source(first), ARROW.open_source(second)])

    def test_metadata_and_alignment_may_differ(self, tmp_path: Path) -> None:
        sources = [
            random_spill(tmp_path / "plain", [3]),
            random_spill(tmp_path / "noted", [3], schema=SCHEMA.with_metadata({"writer": "another"})),
            random_spill(tmp_path / "aligned", [3], alignment=4096),
        ]
        ARROW.check_agreement([ARROW.open_source(source) for source in sources])


class TestOpening:
    def test_a_source_is_closed_again(self, tmp_path: Path) -> None:
        spill = random_spill(tmp_path / "spill", [3])
        before = open_descriptors()
        ARROW.open_source(spill)
        (tmp_path / "other").write_bytes(b"no spill")
        with pytest.raises(SpillError, match=f"^{tmp_path}/other"):
            ARROW.open_source(tmp_path / "other")
        assert open_descriptors() == before

    def test_an_arrow_file_of_others_is_told_how_to_become_one(self, tmp_path: Path) -> None:
        with pa.ipc.new_file(tmp_path / "plain.arrow", SCHEMA) as writer:
            writer.write_table(SCHEMA.empty_table())
        with pytest.raises(NotPartitionedError, match=r"plain\.arrow.*`shuffle partition"):
            ARROW.open_source(tmp_path / "plain.arrow")


class TestDescriptors:
    @pytest.fixture
    def sources(self, tmp_path: Path) -> list[Source]:
        return [ARROW.open_source(path) for path in random_spills(tmp_path, *[[1]] * 5)]

    @pytest.mark.parametrize("limit", [0, 1, 2, 4, 5, 100])
    def test_no_more_are_open_than_the_limit(self, sources: list[Source], limit: int) -> None:
        before = open_descriptors()
        with SourceDescriptors(sources, limit) as descriptors:
            for number in [0, 1, 2, 3, 4, 0, 4, 2, 2, 0, 1]:
                descriptor = descriptors.descriptor(number)
                assert os.fstat(descriptor).st_ino == sources[number].identity[1]
                assert len(open_descriptors() - before) <= max(limit, 1)
        assert open_descriptors() == before

    def test_the_least_recently_used_goes_first(self, sources: list[Source]) -> None:
        with SourceDescriptors(sources, 3) as descriptors:
            first = {number: descriptors.descriptor(number) for number in (0, 1, 2)}
            assert descriptors.descriptor(0) == first[0]
            assert descriptors.descriptor(3) == first[1]  # whose number was just freed
            assert descriptors.descriptor(2) == first[2]

    def test_where_the_process_has_fewer_than_thought_they_are_recycled(self, sources: list[Source]) -> None:
        with SourceDescriptors(sources, 100) as descriptors, limited_descriptors(2):
            for number in [0, 1, 2, 3, 4, 0]:
                assert os.fstat(descriptors.descriptor(number)).st_ino == sources[number].identity[1]

    def test_where_not_even_one_can_be_open_the_error_names_the_file(self, sources: list[Source]) -> None:
        with (
            SourceDescriptors(sources, 100) as descriptors,
            limited_descriptors(0),
            pytest.raises(OSError, match=r"Too many open files.*spill-3\.spill\.arrow"),
        ):
            descriptors.descriptor(3)

    def test_a_borrowed_descriptor_stays_open(self, tmp_path: Path) -> None:
        descriptor = os.open(random_spill(tmp_path / "spill", [3]), os.O_RDONLY)
        (tmp_path / "spill").unlink()
        with SourceDescriptors([borrow_source(descriptor, "a spill without a name")], 1) as descriptors:
            assert descriptors.descriptor(0) == descriptor
            assert descriptors.path(0) == "a spill without a name"
        os.fstat(descriptor)
        os.close(descriptor)

    def test_a_source_that_was_replaced_or_grew_is_refused(self, tmp_path: Path) -> None:
        replaced, grown = random_spills(tmp_path, [1], [2])
        sources = [ARROW.open_source(replaced), ARROW.open_source(grown)]
        random_spill(tmp_path / "other", [1]).rename(replaced)
        with grown.open("ab") as file:
            file.write(b"more")
        before = open_descriptors()
        with SourceDescriptors(sources, 2) as descriptors:
            for number, path in enumerate([replaced, grown]):
                with pytest.raises(SpillError, match=f"^{path}: the source changed after its index was read"):
                    descriptors.descriptor(number)
        assert open_descriptors() == before

    def test_each_thread_gets_its_part_and_at_least_one(self) -> None:
        with limited_descriptors(100):
            assert descriptor_limit(1) > 2 * descriptor_limit(3) > 0
        with limited_descriptors(3):
            assert descriptor_limit(4) == 1
