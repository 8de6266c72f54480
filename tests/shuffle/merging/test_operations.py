"""What operators ask of a merge: all that is wrong at once, what would be done, and not too much of the disk."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from shuffle import MergeOptions, ShuffleWarning, merge
from shuffle.machine.io_priority import io_priority
from shuffle.machine.kernel import SystemKernel
from shuffle.machine.paced_kernel import PacedKernel
from shuffle.merging.metrics import metrics_text
from shuffle.merging.sources import BadSourcesError
from spill_format import CorruptError, MismatchError, SpillFile, TargetExistsError
from tests.helpers.commands import run
from tests.helpers.spark_files import write_spark
from tests.helpers.spills import merged_ranges, random_spill, random_spills, ranges_of, write_sample


@pytest.fixture
def spills(tmp_path: Path) -> list[Path]:
    (tmp_path / "spills").mkdir()
    return random_spills(tmp_path / "spills", [100, 50], [0, 30], [7, 7])


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "merged.arrow"


def damage(path: Path) -> None:
    """The footer is another one than the index describes."""
    content = bytearray(path.read_bytes())
    content[-30] ^= 0xFF
    path.write_bytes(content)


def test_all_bad_sources_are_told_at_once(spills: list[Path], target: Path, tmp_path: Path) -> None:
    damage(spills[0])
    damage(spills[2])
    with pytest.raises(BadSourcesError, match="3 sources cannot be merged") as caught:
        merge([*spills, tmp_path / "missing"], target)
    assert [type(problem) for problem in caught.value.problems] == [CorruptError, CorruptError, FileNotFoundError]
    completed = run("shuffle-merge spills missing -o merged.arrow --json", tmp_path)
    assert completed.returncode == 2
    assert [re.split(": |,", line)[2] for line in completed.stderr.splitlines()] == [
        "spills/spill-0.spill.arrow",
        "spills/spill-2.spill.arrow",
        "missing",
    ]
    assert [error["path"] for error in json.loads(completed.stdout)["errors"]] == [
        "spills/spill-0.spill.arrow",
        "spills/spill-2.spill.arrow",
        "missing",
    ]
    assert not target.exists()


def test_all_that_do_not_fit_the_first_are_told_at_once(spills: list[Path], target: Path, tmp_path: Path) -> None:
    others = [random_spill(tmp_path / f"{count}.arrow", [1] * count) for count in (3, 4)]
    with pytest.raises(BadSourcesError) as caught:
        merge([*spills, *others], target)
    assert [problem.path for problem in caught.value.problems if isinstance(problem, MismatchError)] == [
        str(other) for other in others
    ]
    with pytest.raises(BadSourcesError, match="another schema than"):
        merge(
            [write_sample(tmp_path / "x.arrow"), *(random_spill(tmp_path / f"{n}-y", [1] * 4) for n in (1, 2))], target
        )


def test_damaged_sources_are_left_out_when_asked(spills: list[Path], target: Path, tmp_path: Path) -> None:
    damage(spills[1])
    report = merge(spills, target, skip_damaged=True, delete_sources=True)
    assert [source.path for source in report.skipped] == [str(spills[1])]
    assert report.source_count == 2
    assert [spill.exists() for spill in spills] == [False, True, False]
    with pytest.raises(ValueError, match="nothing to merge: all of the 1 sources are damaged"):
        merge(spills[1:2], tmp_path / "none.arrow", skip_damaged=True)
    with pytest.raises(FileNotFoundError):
        merge([*spills[1:2], tmp_path / "missing"], tmp_path / "none.arrow", skip_damaged=True)


def test_the_command_leaves_out_damaged_sources_and_exits_with_1(spills: list[Path], tmp_path: Path) -> None:
    damage(spills[1])
    completed = run("shuffle-merge spills -o merged.arrow --skip-damaged --json", tmp_path)
    assert completed.returncode == 1
    assert "left out: spills/spill-1.spill.arrow" in completed.stderr
    assert [source["path"] for source in json.loads(completed.stdout)["skipped"]] == ["spills/spill-1.spill.arrow"]
    assert ranges_of(tmp_path / "merged.arrow") == merged_ranges([spills[0], spills[2]])


@pytest.mark.parametrize("through_link", [False, True])
def test_a_target_in_a_source_directory_is_not_merged_again(spills: list[Path], through_link: bool) -> None:
    directory = spills[0].parent
    if through_link:
        directory = directory.with_name("link")
        directory.symlink_to(spills[0].parent)
    merge([spills[0].parent], directory / "all.spill.arrow", overwrite=True)
    for _ in range(2):
        with pytest.warns(ShuffleWarning, match="lies in a source directory: it is replaced, and its rows are not"):
            merge([spills[0].parent], directory / "all.spill.arrow", overwrite=True)
        assert ranges_of(directory / "all.spill.arrow") == merged_ranges(spills)
    with pytest.raises(TargetExistsError):
        merge([spills[0].parent], directory / "all.spill.arrow")


def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(spills: list[Path], target: Path) -> None:
    before = {path: path.stat().st_ctime_ns for path in (target.parent, *spills)}
    planned = merge(spills, target, dry_run=True, transfer_to="off")
    assert {path: path.stat().st_ctime_ns for path in before} == before
    done = merge(spills, target, transfer_to="off")
    assert planned.dry_run
    assert (planned.target_bytes, planned.row_count) == (done.target_bytes, done.row_count)
    assert {name: use.byte_count for name, use in planned.methods.items()} == {
        name: use.byte_count for name, use in done.methods.items()
    }
    with pytest.raises(TargetExistsError):
        merge(spills, target, dry_run=True)


def test_a_dry_run_looks_at_the_directory_and_the_room(
    spills: list[Path], tmp_path: Path, small_ext4_dir: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        merge(spills, tmp_path / "missing" / "merged.arrow", dry_run=True)
    large = random_spill(tmp_path / "large.arrow", [400_000, 400_000])
    completed = run(f"shuffle-merge {large} -o {small_ext4_dir}/merged.arrow --dry-run", tmp_path)
    assert completed.returncode == 2
    assert "No space left on device" in completed.stderr
    assert "would be made: " in run("shuffle-merge spills -o merged.arrow --dry-run", tmp_path).stderr


@pytest.mark.parametrize("options", [{"method": "sendfile"}, {"method": "copy_file_range"}, {}, {"compact": True}])
def test_no_more_is_written_each_second_than_was_said(tmp_path: Path, target: Path, options: dict[str, object]) -> None:
    large = random_spill(tmp_path / "large.arrow", [40_000, 40_000])
    rate = 4 * large.stat().st_size
    started = time.monotonic()
    report = merge([large], target, MergeOptions(limit_rate=rate, **options))  # type: ignore[arg-type]
    assert time.monotonic() - started > 0.9 * report.byte_count / rate


def test_a_paced_kernel_never_asks_for_long_waits(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    with open(tmp_path / "a", "rb") as source, open(tmp_path / "b", "wb") as copy:
        kernel = PacedKernel(SystemKernel(), 1 << 20)
        assert kernel.sendfile(copy.fileno(), source.fileno(), 0, 1 << 20) == 1 << 18


def test_a_priority_holds_while_it_is_asked_for() -> None:
    def level() -> str:
        from subprocess import run as process

        return process(["ionice", "-p", str(os.getpid())], capture_output=True, text=True, check=True).stdout

    before = level()
    with io_priority("idle") as taken:
        assert taken
        assert level().startswith("idle")
    with io_priority("low") as taken:
        assert taken
        assert "prio 7" in level()
    assert level().split(":")[0] == before.split(":")[0]
    with io_priority(None) as taken:
        assert taken


def test_a_kernel_without_priorities_is_a_warning(
    spills: list[Path], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    with pytest.warns(ShuffleWarning, match="takes no priority for input and output"):
        merge(spills, target, io_priority="idle")


def test_metrics_are_replaced_when_a_merge_ends_or_fails(spills: list[Path], target: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "merge.prom"
    report = merge(spills, target, metrics=metrics)
    found = dict(re.findall(r"^(\S+) (\S+)$", metrics.read_text(), re.MULTILINE))
    assert found["shuffle_merge_success"] == "1"
    assert found["shuffle_merge_rows"] == str(report.row_count)
    assert found["shuffle_merge_target_bytes"] == str(target.stat().st_size)
    assert abs(float(found["shuffle_merge_finished_timestamp_seconds"]) - time.time()) < 60
    assert run("shuffle-merge spills -o merged.arrow --metrics merge.prom", tmp_path).returncode == 2
    assert "shuffle_merge_success 0\n" in metrics.read_text()
    with pytest.warns(ShuffleWarning, match="the metrics could not be written"):
        merge(spills, target, overwrite=True, metrics=tmp_path / "missing" / "merge.prom")


def test_prometheus_reads_the_metrics(spills: list[Path], target: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    report = merge(spills, target)
    families = {family.name for family in text_string_to_metric_families(metrics_text(report, 1e9))}
    assert {"shuffle_merge_success", "shuffle_merge_copied_bytes", "shuffle_merge_duration_seconds"} <= families


def test_what_happens_is_logged(spills: list[Path], tmp_path: Path) -> None:
    assert run("shuffle-merge spills -o merged.arrow --log log --delete-sources", tmp_path).returncode == 0
    assert run("shuffle-merge missing -o merged.arrow --log log", tmp_path).returncode == 2
    lines = (tmp_path / "log").read_text().splitlines()
    assert [re.sub(r".* shuffle(\.merging)?: ", "", line)[:35] for line in lines] == [
        "merged.arrow: merging 3 sources × 2 parti"[:35],
        "merged.arrow: published: 3 sources, 2 par"[:35],
        *(f"spills/spill-{number}.spill.arrow: deleted"[:35] for number in range(3)),
        "missing: No such file or directory",
    ]
    assert "INFO" in lines[0]
    assert "ERROR" in lines[-1]


@pytest.mark.parametrize("chosen", ["0", "1", "0-", [2, 0], "1-2", [0, 1, 2]])
@pytest.mark.parametrize("options", [{}, {"compact": True}, {"verify": True}, {"transfer_to": "on"}])
def test_some_partitions_are_merged_and_the_others_empty(
    tmp_path: Path, target: Path, chosen: str | list[int], options: dict[str, bool]
) -> None:
    (tmp_path / "spills").mkdir()
    spills = random_spills(tmp_path / "spills", [100, 50, 20], [0, 30, 1], [7, 0, 7])
    wanted = {"0": [0], "1": [1], "0-": [0, 1, 2], "1-2": [1, 2]}.get(str(chosen), chosen)
    report = merge(spills, target, MergeOptions(partitions=chosen, **options))  # type: ignore[arg-type]
    merge(spills, tmp_path / "all.arrow")
    with SpillFile(target) as some, SpillFile(tmp_path / "all.arrow") as everything:
        some.verify()
        for partition in range(3):
            expected = everything.read(partition)
            assert some.read(partition).equals(expected if partition in wanted else expected.slice(0, 0))
        assert report.row_count == some.layout.row_count


def test_some_partitions_of_spark_s_files_have_the_checksums_of_their_bytes(tmp_path: Path) -> None:
    for number in range(2):
        write_spark(tmp_path / f"shuffle_0_{number}_0.data", [b"a" * 9, b"b" * 7, b"", b"c"])
    merge([tmp_path / f"shuffle_0_{number}_0.data" for number in range(2)], tmp_path / "m.data", partitions="1-2")
    assert run("shuffle verify m.data", tmp_path).returncode == 0
    assert (tmp_path / "m.data").read_bytes() == b"b" * 14


def test_partitions_that_are_none_are_refused(spills: list[Path], target: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no partition 2: its partitions are 0 to 1"):
        merge(spills, target, partitions=[2])
    with pytest.raises(ValueError, match="would remove rows of the partitions that are not merged"):
        merge(spills, target, partitions="1", delete_sources=True)
    for wrong in ([], ["1"], [True]):
        with pytest.raises(TypeError, match="partitions must be a list of numbers, or text"):
            merge(spills, target, partitions=wrong)  # type: ignore[arg-type]
    assert run("shuffle-merge spills -o merged.arrow -p 1", tmp_path).returncode == 0
