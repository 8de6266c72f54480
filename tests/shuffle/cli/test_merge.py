"""``shuffle merge`` and ``shuffle-merge``: one file, as the library makes it."""

import json
from pathlib import Path

import pytest

from shuffle.testing import assert_same_rows
from shuffle.wording import sized
from tests.helpers.commands import files_below, json_of, run, succeeded
from tests.helpers.spark_files import write_spark
from tests.helpers.spills import assert_merge_of


@pytest.mark.parametrize("command", ["shuffle-merge", "shuffle merge"])
@pytest.mark.parametrize(
    "flags",
    ["", "--transfer-to off", "--transfer-to on --method sendfile", "--threads 2 --durable --quiet", "--verify"],
)
def test_a_directory_is_merged(tmp_path: Path, spills: list[Path], command: str, flags: str) -> None:
    assert succeeded(f"{command} spills -o merged.arrow {flags}", tmp_path) == ""
    assert_merge_of(spills, tmp_path / "merged.arrow")


def test_files_are_merged_in_the_order_given(tmp_path: Path, spills: list[Path]) -> None:
    names = " ".join(str(path) for path in reversed(spills))
    succeeded(f"shuffle-merge {names} -o merged.arrow", tmp_path)
    assert_merge_of(spills[::-1], tmp_path / "merged.arrow")


def test_success_is_one_line_on_stderr_unless_quiet(tmp_path: Path, spills: list[Path]) -> None:
    completed = run("shuffle-merge spills -o merged.arrow", tmp_path)
    (line,) = completed.stderr.splitlines()
    assert line.startswith("merged.arrow: 3 sources, 3 partitions, 567 rows, ")
    assert run("shuffle-merge spills -o merged.arrow --overwrite --quiet", tmp_path).stderr == ""


def test_json_is_the_report(tmp_path: Path, spills: list[Path]) -> None:
    report = json_of("shuffle-merge spills -o merged.arrow --json", tmp_path)
    assert (report["source_count"], report["partition_count"], report["row_count"]) == (3, 3, 567)
    assert report["target_bytes"] == (tmp_path / "merged.arrow").stat().st_size
    assert sum(use["byte_count"] for use in report["methods"].values()) == report["byte_count"]


def test_the_environment_switches_kernel_copying_off_and_a_flag_on_again(tmp_path: Path, spills: list[Path]) -> None:
    def methods(flags: str) -> set[str]:
        completed = run(
            f"shuffle-merge spills -o merged.arrow --overwrite --json {flags}", tmp_path, SHUFFLE_TRANSFER_TO="off"
        )
        return set(json.loads(completed.stdout)["methods"])

    assert methods("") <= {"buffered", "gather"}
    assert methods("--transfer-to on --method copy_file_range") == {"copy_file_range"}


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, spills: list[Path]) -> None:
    before = files_below(tmp_path)
    assert "3 sources × 3 partitions: 5 ranges" in succeeded("shuffle-merge spills --dry-run", tmp_path)
    plan = json_of("shuffle-merge spills -o merged.arrow --dry-run --json --delete-sources", tmp_path)
    assert (plan["range_count"], plan["row_count"], plan["target"]) == (5, 567, "merged.arrow")
    assert [source["row_count"] for source in plan["sources"]] == [530, 30, 7]
    assert files_below(tmp_path) == before


def test_sources_are_deleted_when_asked(tmp_path: Path, spills: list[Path]) -> None:
    succeeded("shuffle-merge spills -o merged.arrow --delete-sources", tmp_path)
    assert list(files_below(tmp_path)) == ["merged.arrow"]


def test_a_merge_compacts_when_asked_to(tmp_path: Path, spills: list[Path]) -> None:
    plain = json_of("shuffle-merge spills -o plain.arrow --json", tmp_path)
    completed = run("shuffle-merge spills -o merged.arrow --compact --memory 2MiB --threads 2 --json", tmp_path)
    gain = json.loads(completed.stdout)["compaction"]
    assert plain["compaction"] is None
    assert gain["bytes_before"] == plain["byte_count"]
    assert completed.stderr.endswith(
        f"{gain['batches_before']} record batches of {sized(gain['bytes_before'])} became "
        f"{gain['batches_after']} record batches of {sized(gain['bytes_after'])}\n"
    )
    assert_same_rows(tmp_path / "merged.arrow", tmp_path / "plain.arrow")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--memory 2MiB", "--memory is for --compact"),
        ("--compact --memory 2KiB", "'2KiB' is too small: the least is 1.0 MiB"),
        ("--compact --method gather", "a compacting merge decodes, so that nothing is copied with method gather"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, spills: list[Path], flags: str, words: str
) -> None:
    completed = run(f"shuffle-merge spills -o merged.arrow {flags}", tmp_path)
    assert completed.returncode == 2
    assert words in completed.stderr
    assert not (tmp_path / "merged.arrow").exists()


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ("-o merged.data", "Spark's bytes are never decoded here, so they cannot be compacted"),
        ("-o merged --kind spark-push", "a push-based merge does not know compact"),
    ],
)
def test_sparks_files_are_not_compacted(tmp_path: Path, flags: str, problem: str) -> None:
    write_spark(tmp_path / "shuffle_0_0_0.data", [b"opaque"])
    completed = run(f"shuffle-merge shuffle_0_0_0.data --compact {flags}", tmp_path)
    assert completed.returncode == 2
    assert problem in completed.stderr
    assert list((tmp_path / "merged").glob("*")) == list(tmp_path.glob("merged.*")) == []
