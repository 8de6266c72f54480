"""The commands on Spark's own files: merged, looked into, verified, read."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.commands import command_line, error_of, files_below, json_of, run, succeeded
from tests.helpers.spark_files import assert_spark_output, checksum_file, write_spark
from tests.helpers.spills import random_spill

MAPS = [[b"LZ4Block" + bytes(100), b"", b"\x28\xb5\x2f\xfd"], [b"", b"", b"\x28\xb5\x2f\xfd" + bytes(20)]]
MERGED = [b"".join(parts) for parts in zip(*MAPS, strict=True)]


@pytest.fixture
def maps(tmp_path: Path) -> list[Path]:
    """Two map outputs of shuffle 3 in ``blockmgr-7``."""
    (tmp_path / "blockmgr-7").mkdir()
    return [
        write_spark(tmp_path / "blockmgr-7" / f"shuffle_3_{number}_0.data", ranges)
        for number, ranges in enumerate(MAPS)
    ]


def damage(data: Path) -> None:
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)


@pytest.mark.parametrize(
    "arguments",
    [
        "blockmgr-7",
        "blockmgr-7 --kind spark",
        "--shuffle 3 --codec zstd .",
        "blockmgr-7/shuffle_3_0_0.data blockmgr-7/shuffle_3_1_0.data",
    ],
)
def test_merge_takes_what_is_plainly_sparks(tmp_path: Path, maps: list[Path], arguments: str) -> None:
    report = json_of(f"shuffle-merge {arguments} -o m.data --json --quiet", tmp_path)

    assert_spark_output(tmp_path / "m.data", MERGED)
    assert (report["row_count"], report["repeated"]) == (None, False)


def test_merging_again_says_that_it_was_done(tmp_path: Path, maps: list[Path]) -> None:
    succeeded("shuffle-merge blockmgr-7 -o m.data", tmp_path)
    completed = run("shuffle-merge blockmgr-7 -o m.data", tmp_path)

    assert completed.returncode == 0
    assert "merged already, nothing was done" in completed.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("blockmgr-7 -o m.data --shuffle 4", "no outputs of shuffle 4"),
        ("blockmgr-7 -o m.arrow", "ends with .data"),
        ("blockmgr-7 -o m.data --codec org.example.Deflate", "cannot be merged without decoding them"),
        ("blockmgr-7 -o m.data --codec encrypted", "initialization vector"),
        ("blockmgr-7 -o m.data --kind arrow", "no spills: looked for *.spill.arrow"),
        ("blockmgr-7 -o m.data --kind arrow --codec lz4", "are for Spark's files"),
        ("blockmgr-7 a.spill.arrow -o m.data", "Spark's files and Arrow files cannot be merged"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_the_reason(
    tmp_path: Path, maps: list[Path], arguments: str, problem: str
) -> None:
    random_spill(tmp_path / "a.spill.arrow", [1])
    before = files_below(tmp_path)
    completed = run(f"shuffle-merge {arguments}", tmp_path)

    assert completed.returncode == 2
    assert problem in completed.stderr
    assert files_below(tmp_path) == before


def test_a_dry_run_plans_and_writes_nothing(tmp_path: Path, maps: list[Path]) -> None:
    before = files_below(tmp_path)
    plan = json_of("shuffle-merge blockmgr-7 --dry-run --json", tmp_path)

    assert (plan["source_count"], plan["byte_count"], plan["row_count"]) == (2, sum(map(len, MERGED)), None)
    assert files_below(tmp_path) == before


@pytest.mark.usefixtures("maps")
class TestInspect:
    def test_sizes_skew_checksums_and_codecs_are_shown(self, tmp_path: Path, maps: list[Path]) -> None:
        found = json_of("shuffle inspect blockmgr-7 --json", tmp_path)

        assert [file["codecs"] for file in found["files"]] == [["lz4-block", "zstd"], ["zstd"]]
        assert [file["checksums"] for file in found["files"]] == ["ADLER32", "ADLER32"]
        assert [file["path"] for file in found["files"]] == [f"blockmgr-7/{path.name}" for path in maps]
        assert found["files"][0]["partitions"] == [
            {"partition": partition, "byte_count": len(content)} for partition, content in enumerate(MAPS[0])
        ]
        together = found["together"]
        assert (together["partition_count"], together["empty_partition_count"]) == (3, 1)
        assert together["largest_bytes"] == len(MERGED[0])
        assert together["skew"] == pytest.approx(len(MERGED[0]) / len(MERGED[2]))

    def test_people_get_tables(self, tmp_path: Path) -> None:
        text = succeeded("shuffle inspect blockmgr-7 --top 2", tmp_path)

        assert "shuffle_3_0_0.data" in text
        assert "lz4-block and zstd" in text
        assert "3, of which 1 empty" in text
        assert "1 further partition" in text

    def test_of_several_shuffles_each_is_summed_up(self, tmp_path: Path) -> None:
        write_spark(tmp_path / "blockmgr-7" / "shuffle_5_7_0.data", [b"other"])
        write_spark(tmp_path / "blockmgr-7" / "shuffle_6_8_0.data", [b"other", b"ones"])
        write_spark(tmp_path / "blockmgr-7" / "shuffle_6_9_0.data", [b"of another partition count"])
        found = json_of("shuffle inspect blockmgr-7 --json", tmp_path)
        lines = succeeded("shuffle inspect blockmgr-7", tmp_path).splitlines()

        assert found["together"] is None
        assert [(each["shuffle"], each["output_count"]) for each in found["shuffles"]] == [(3, 2), (5, 1), (6, 2)]
        assert found["shuffles"][0]["range_bytes"] == sum(map(len, MERGED))
        assert [line.split()[:5] for line in lines[-3:]] == [
            ["3", "2", "136", "bytes", "3"],
            ["5", "1", "5", "bytes", "1"],
            ["6", "2", "–", "–", "–"],
        ]

    def test_a_damaged_output_is_named_and_the_others_are_shown(self, tmp_path: Path, maps: list[Path]) -> None:
        maps[0].with_suffix(".index").unlink()
        completed = run("shuffle inspect blockmgr-7", tmp_path)

        assert completed.returncode == 1
        assert "damaged" in completed.stderr
        assert "shuffle_3_0_0.data: data without an index" in completed.stderr
        assert "shuffle_3_1_0.data" in completed.stdout

    def test_rows_are_not_known(self, tmp_path: Path) -> None:
        assert "opaque" in error_of(run("shuffle inspect blockmgr-7 --sort rows", tmp_path))


@pytest.mark.usefixtures("maps")
class TestVerify:
    def test_sound_outputs_are_ok(self, tmp_path: Path, maps: list[Path]) -> None:
        checksum_file(maps[1]).unlink()
        lines = succeeded("shuffle verify blockmgr-7", tmp_path).splitlines()

        assert lines == [
            "blockmgr-7/shuffle_3_0_0.data: ok (3 partitions, ADLER32 of each, 112 bytes)",
            "blockmgr-7/shuffle_3_1_0.data: ok (3 partitions, no checksums to compare, 24 bytes)",
        ]

    def test_damaged_ones_are_named_with_their_partitions(self, tmp_path: Path, maps: list[Path]) -> None:
        damage(maps[1])
        completed = run("shuffle verify blockmgr-7", tmp_path)

        assert completed.returncode == 1
        assert "shuffle_3_0_0.data: ok" in completed.stdout
        assert "shuffle_3_1_0.data: damaged: 1 of 3 partitions (2), sound: 0-1" in completed.stdout
        assert "ADLER32 of the range of 24 bytes" in completed.stdout
        assert "1 of 2 files damaged" in completed.stderr

    def test_json_says_the_same(self, tmp_path: Path, maps: list[Path]) -> None:
        damage(maps[0])
        completed = run("shuffle verify blockmgr-7 --json", tmp_path)

        assert completed.returncode == 1
        assert '"damaged_partitions": [\n        2\n      ]' in completed.stdout

    def test_what_was_merged_verifies(self, tmp_path: Path) -> None:
        succeeded("shuffle-merge blockmgr-7 -o m.data", tmp_path)

        assert "m.data: ok (3 partitions, ADLER32 of each" in succeeded("shuffle verify m.data", tmp_path)


@pytest.mark.usefixtures("maps")
class TestReadRaw:
    @pytest.mark.parametrize(
        ("partitions", "content"),
        [("-p 0", MAPS[0][0]), ("-p 1", b""), ("-p 1-2", MAPS[0][2]), ("", b"".join(MAPS[0]))],
    )
    def test_the_bytes_of_ranges_are_written_as_they_are(self, tmp_path: Path, partitions: str, content: bytes) -> None:
        arguments = f"shuffle read --raw {partitions} blockmgr-7/shuffle_3_0_0.data"
        succeeded(f"{arguments} -o out --quiet", tmp_path)
        piped = subprocess.run(command_line(arguments), cwd=tmp_path, capture_output=True, check=True)

        assert (tmp_path / "out").read_bytes() == content
        assert piped.stdout == content

    def test_ranges_of_arrow_files_are_arrow_messages(self, tmp_path: Path) -> None:
        spill = random_spill(tmp_path / "a.spill.arrow", [3, 4])
        succeeded("shuffle read --raw -p 1 a.spill.arrow -o out --quiet", tmp_path)

        content = (tmp_path / "out").read_bytes()
        assert content[:4] == b"\xff\xff\xff\xff"
        assert content in spill.read_bytes()

    def test_a_partition_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        completed = run("shuffle read --raw -p 3 blockmgr-7/shuffle_3_0_0.data -o out", tmp_path)

        assert "has no partition 3: its partitions are 0 to 2" in error_of(completed)
        assert not (tmp_path / "out").exists()

    def test_rows_of_opaque_bytes_cannot_be_had(self, tmp_path: Path) -> None:
        assert "--raw gives it as it is" in error_of(run("shuffle read blockmgr-7/shuffle_3_0_0.data", tmp_path))
