"""The commands on merged partitions of Spark's push-based shuffle: looked into, verified, read, chunk by chunk."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import error_of, files_below, json_of, run, run_process, succeeded
from tests.helpers.spark_files import write_pushed, write_spark

CHUNKS = {
    0: [([0, 1], b"LZ4Block" + bytes(92)), ([2], b"LZ4Block" + bytes(12)), ([7, 3], b"LZ4Block" + bytes(22))],
    4: [([2], b"\x28\xb5\x2f\xfd" + bytes(6))],
}
CONTENTS = {partition: b"".join(content for _, content in chunks) for partition, chunks in CHUNKS.items()}
STEM = "merge_manager/{}/shuffleMerged_app-1_3_0_0"


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """Partitions 0 and 4 of shuffle 3, each file in another subdirectory of ``merge_manager``, as Spark has them."""
    for partition, chunks in CHUNKS.items():
        data = write_pushed(tmp_path / f"shuffleMerged_app-1_3_0_{partition}.data", chunks)
        for place, suffix in (("0a", ".data"), ("1b", ".index"), ("2c", ".meta")):
            (tmp_path / "merge_manager" / place).mkdir(parents=True, exist_ok=True)
            file = data.with_suffix(suffix)
            file.rename(tmp_path / "merge_manager" / place / file.name)
    return tmp_path / "merge_manager"


def cut_data(merged: Path) -> None:
    os.truncate(merged / "0a" / "shuffleMerged_app-1_3_0_0.data", 110)


def failed(command: str, directory: Path, code: int) -> Any:
    """What a command that must end with a code prints as JSON."""
    completed = run(command, directory)
    assert completed.returncode == code, completed.stderr
    return json.loads(completed.stdout)


@pytest.mark.usefixtures("merged")
class TestInspect:
    def test_chunks_and_their_maps_are_told(self, tmp_path: Path) -> None:
        found = json_of("shuffle inspect merge_manager --json", tmp_path)

        first, second = found["files"]
        assert (first["path"], first["format"], first["state"]) == (f"{STEM.format('0a')}.data", "spark-push", "ok")
        assert [first[key] for key in ("application", "shuffle", "merge", "partition")] == ["app-1", 3, 0, 0]
        assert first["chunks"] == [
            {"chunk": 0, "offset": 0, "byte_count": 100, "map_count": 2, "maps": [0, 1]},
            {"chunk": 1, "offset": 100, "byte_count": 20, "map_count": 1, "maps": [2]},
            {"chunk": 2, "offset": 120, "byte_count": 30, "map_count": 2, "maps": [3, 7]},
        ]
        assert [first["codecs"], second["codecs"]] == [["lz4-block"], ["zstd"]]
        assert (first["map_count"], second["map_count"], second["partition"]) == (5, 1, 4)

    def test_of_each_shuffle_sizes_and_skew_are_told(self, tmp_path: Path) -> None:
        write_pushed(tmp_path / "shuffleMerged_app-1_3_1_0.data", [([1], b"of another try")])
        first, second = json_of("shuffle inspect . --json", tmp_path)["shuffles"]

        assert (first["shuffle"], first["merge"], first["file_count"], first["chunk_count"]) == (3, 0, 2, 4)
        assert (first["range_bytes"], first["largest_bytes"]) == (160, 150)
        assert first["skew"] == pytest.approx(150 / 80)
        assert (first["map_count"], first["incomplete_count"]) == (5, 1)
        assert (second["merge"], second["file_count"], second["incomplete_count"]) == (1, 1, 0)

    def test_map_outputs_and_merged_partitions_are_shown_side_by_side(self, tmp_path: Path) -> None:
        write_spark(tmp_path / "shuffle_3_0_0.data", [b"x", b"yz"])
        found = json_of("shuffle inspect . --json", tmp_path)
        text = succeeded("shuffle inspect .", tmp_path)

        assert [file["format"] for file in found["files"]] == ["spark", "spark-push", "spark-push"]
        assert [each["format"] for each in found["shuffles"]] == ["spark", "spark-push"]
        assert found["together"]["range_bytes"] == 3
        assert text.index("shuffle_3_0_0.data") < text.index("shuffleMerged_app-1_3_0_0.data")

    def test_people_get_tables(self, tmp_path: Path) -> None:
        of_all = [line.split() for line in succeeded("shuffle inspect merge_manager", tmp_path).splitlines()]
        of_one = succeeded(f"shuffle inspect {STEM.format('0a')}.data --sort size --top 2", tmp_path).splitlines()

        assert of_all[1][1:] == ["150", "bytes", "3", "5", "lz4-block"]
        assert of_all[-1][:6] == ["3", "0", "app-1", "2", "160", "bytes"]
        assert of_all[-1][-4:] == ["4", "5", "1", "1.88"]
        assert [line.split() for line in of_one[-3:-1]] == [
            ["0", "0", "100", "bytes", "2", "0-1"],
            ["2", "120", "30", "bytes", "2", "3,", "7"],
        ]
        assert "1 further chunk" in of_one[-1]

    def test_damage_is_told_by_chunk_and_map_and_the_rest_is_shown(self, tmp_path: Path, merged: Path) -> None:
        cut_data(merged)
        found = failed("shuffle inspect merge_manager --json", tmp_path, 1)
        completed = run("shuffle inspect merge_manager", tmp_path)

        first, second = found["files"]
        assert (first["state"], first["damaged_chunks"], first["damaged_maps"]) == ("damaged", [1, 2], [2, 3, 7])
        assert [chunk["chunk"] for chunk in first["chunks"]] == [0]
        assert second["state"] == "ok"
        assert "damaged: 2 of 3 chunks (1-2) of 3 maps (2-3, 7)" in completed.stderr

    def test_csv_has_a_line_for_each_chunk(self, tmp_path: Path) -> None:
        lines = succeeded("shuffle inspect merge_manager --csv", tmp_path).splitlines()

        assert lines[0] == "path,chunk,offset,byte_count,map_count,maps"
        assert [line.split(",")[1:4] for line in lines[1:]] == [
            ["0", "0", "100"],
            ["1", "100", "20"],
            ["2", "120", "30"],
            ["0", "0", "10"],
        ]


@pytest.mark.usefixtures("merged")
class TestVerify:
    def test_sound_partitions_are_ok(self, tmp_path: Path) -> None:
        assert succeeded("shuffle verify merge_manager", tmp_path).splitlines() == [
            f"{STEM.format('0a')}.data: ok (3 chunks of 5 maps, no checksums to compare, 150 bytes)",
            "merge_manager/0a/shuffleMerged_app-1_3_0_4.data: ok (1 chunk of 1 map, no checksums to compare, 10 bytes)",
        ]

    @pytest.mark.parametrize(
        ("damage", "damaged_chunks", "problem"),
        [
            (cut_data, [1, 2], "size of the data"),
            (lambda home: (home / "1b/shuffleMerged_app-1_3_0_0.index").unlink(), [0, 1, 2], "there is no index"),
            (lambda home: (home / "2c/shuffleMerged_app-1_3_0_0.meta").unlink(), [0, 1, 2], "there is no file of bit"),
            (lambda home: (home / "0a/shuffleMerged_app-1_3_0_0.data").unlink(), [0, 1, 2], "has no data file"),
        ],
    )
    def test_damaged_chunks_are_named(
        self,
        tmp_path: Path,
        merged: Path,
        damage: Callable[[Path], object],
        damaged_chunks: list[int],
        problem: str,
    ) -> None:
        damage(merged)
        first, second = failed("shuffle verify merge_manager --json", tmp_path, 1)["files"]

        assert (first["state"], first["damaged_chunks"]) == ("damaged", damaged_chunks)
        assert problem in first["problem"]
        assert second["state"] == "ok"
        assert "1 of 2 files damaged" in run("shuffle verify merge_manager", tmp_path).stderr

    def test_what_cannot_be_read_is_not_called_damaged(self, tmp_path: Path, merged: Path) -> None:
        (merged / "1b" / "shuffleMerged_app-1_3_0_0.index").chmod(0)
        completed = run_process("shuffle verify merge_manager", tmp_path, obey_permissions=True)

        assert completed.returncode == 2
        assert "Permission denied" in completed.stderr
        assert "damaged" not in completed.stderr


@pytest.mark.usefixtures("merged")
class TestReadRaw:
    @pytest.mark.parametrize(
        ("arguments", "content"),
        [
            ("merge_manager -p 0", CONTENTS[0]),
            ("merge_manager -p 0-4", CONTENTS[0] + CONTENTS[4]),
            ("merge_manager", CONTENTS[0] + CONTENTS[4]),
            ("merge_manager -p 0 --chunk 1-2", CONTENTS[0][100:]),
            (f"{STEM.format('0a')}.data", CONTENTS[0]),
            (f"{STEM.format('0a')}.data -p 0 --chunk 1", CONTENTS[0][100:120]),
        ],
    )
    def test_chunks_are_written_as_they_are(self, tmp_path: Path, arguments: str, content: bytes) -> None:
        succeeded(f"shuffle read --raw {arguments} -o out --quiet", tmp_path)

        assert (tmp_path / "out").read_bytes() == content

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ("--raw merge_manager -p 3", "no such pushed partition, unless it is empty; there are 0, 4"),
            ("--raw merge_manager --chunk 0", "of which of 2 pushed partitions"),
            ("--raw merge_manager -p 4 --chunk 1", "has no chunk 1: its chunks are 0 to 0"),
            (f"--raw {STEM.format('0a')}.data -p 4", "has partition 0 alone, whose parts are chunks: ask for these"),
            (f"{STEM.format('0a')}.data --chunk 0", "--chunk goes with --raw"),
            ("--raw a.data --chunk 0", "only pushed partitions have them"),
            ("--raw . -p 0", "has shuffleMerged_app-1_3_0, shuffleMerged_app-2_3_0: give the file of one"),
        ],
    )
    def test_what_is_not_there_or_not_clear_is_refused(self, tmp_path: Path, arguments: str, problem: str) -> None:
        write_spark(tmp_path / "a.data", [b"x"])
        write_pushed(tmp_path / "shuffleMerged_app-2_3_0_0.data", [([1], b"of another application")])
        completed = run(f"shuffle read {arguments} -o out", tmp_path)

        assert problem in error_of(completed)
        assert not (tmp_path / "out").exists()

    def test_a_damaged_partition_is_not_read(self, tmp_path: Path, merged: Path) -> None:
        cut_data(merged)

        assert "size of the data" in error_of(run("shuffle read --raw merge_manager -p 0 -o out", tmp_path))


@pytest.mark.usefixtures("merged")
class TestRepair:
    def test_a_directory_is_repaired_into_another(self, tmp_path: Path, merged: Path) -> None:
        cut_data(merged)
        before = files_below(merged)
        completed = run("shuffle repair merge_manager -o repaired", tmp_path)

        assert completed.returncode == 1
        assert "lost 2 chunks (1-2) of 3 maps (2-3, 7)" in completed.stderr
        assert "repaired: recovered 2 files, 1 with losses" in completed.stderr
        assert files_below(merged) == before
        assert len(succeeded("shuffle verify repaired", tmp_path).splitlines()) == 2
        succeeded("shuffle read --raw repaired -o out --quiet", tmp_path)
        assert (tmp_path / "out").read_bytes() == CONTENTS[0][:100] + CONTENTS[4]

    def test_a_file_is_repaired_into_another(self, tmp_path: Path, merged: Path) -> None:
        cut_data(merged)
        found = failed(f"shuffle repair {STEM.format('0a')}.data -o new.data --json", tmp_path, 1)

        assert (found["target"], found["files"][0]["lost_chunks"]) == ("new.data", [1, 2])
        assert json_of("shuffle inspect new.data --json", tmp_path)["files"][0]["chunk_count"] == 1

    def test_what_is_sound_is_copied_whole(self, tmp_path: Path) -> None:
        found = json_of("shuffle repair merge_manager -o repaired --json --quiet", tmp_path)

        assert [each["is_complete"] for each in found["files"]] == [True, True]

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ("merge_manager -o merge_manager/0a --overwrite", "never repaired in place"),
            (f"{STEM.format('0a')}.data -o new", "ends with .data"),
            (f"{STEM.format('0a')}.data -o {STEM.format('0a')}.data --overwrite", "never repaired in place"),
        ],
    )
    def test_what_would_write_over_its_input_is_refused(
        self, tmp_path: Path, merged: Path, arguments: str, problem: str
    ) -> None:
        before = files_below(merged)

        assert problem in error_of(run(f"shuffle repair {arguments}", tmp_path))
        assert files_below(merged) == before


@pytest.mark.usefixtures("merged")
@pytest.mark.parametrize("command", ["read --raw merge_manager", "verify merge_manager", "repair merge_manager -o out"])
def test_without_pyroaring_it_is_said_what_to_install(tmp_path: Path, command: str) -> None:
    absent = "raise ModuleNotFoundError('as if it were not installed', name='pyroaring')\n"
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "pyroaring.py").write_text(absent)
    completed = run_process(f"shuffle {command}", tmp_path, PYTHONPATH=str(tmp_path / "absent"))

    assert completed.returncode == 2
    assert "pip install 'shuffle-merge[spark]'" in completed.stderr
    assert "defect of shuffle" not in completed.stderr
