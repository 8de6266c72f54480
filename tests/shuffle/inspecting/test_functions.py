"""What the commands do, as functions: the same names, results as JSON has them, and each in one line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shuffle import diff, inspect, repair, verify
from shuffle.inspecting.kinds import find
from shuffle.testing import write_spill
from spill_format import CorruptError
from tests.helpers.commands import run
from tests.helpers.spark_files import write_spark
from tests.helpers.spills import flat_batch


@pytest.fixture
def spills(tmp_path: Path) -> Path:
    """A sound spill and one without its end."""
    directory = tmp_path / "spills"
    directory.mkdir()
    for name in ("a", "b"):
        write_spill({0: [flat_batch(3)], 1: [flat_batch(2)]}, directory / f"{name}.spill.arrow", partition_count=3)
    cut = directory / "b.spill.arrow"
    cut.write_bytes(cut.read_bytes()[:-20])
    return directory


def printed(command: str, directory: Path) -> Any:
    return json.loads(run(command, directory).stdout)


def test_functions_answer_what_commands_print(spills: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(spills.parent)
    names = ["spills/a.spill.arrow", "spills/b.spill.arrow"]
    results: dict[str, Any] = {
        "inspect spills": inspect("spills"),
        "verify spills": verify(Path("spills")),
        "verify spills/a.spill.arrow spills/b.spill.arrow": verify(names),
        "diff spills/a.spill.arrow spills/a.spill.arrow": diff(names[0], names[0]),
        "repair spills/b.spill.arrow -o new.arrow --overwrite": repair(names[1], "new.arrow"),
        "repair spills -o repaired --overwrite": repair("spills", "repaired"),
    }
    for command, result in results.items():
        assert printed(f"shuffle {command} --json", spills.parent) == json.loads(json.dumps(result.as_dict())), command
        assert len(str(result).splitlines()) == 1
    assert verify("repaired").is_sound


def test_results_are_told_in_one_line(spills: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(spills)
    assert str(inspect("a.spill.arrow")).startswith("a.spill.arrow: 3 partitions, 5 rows, ")
    assert str(verify(".")) == "1 of 2 files damaged"
    assert str(diff("a.spill.arrow", "a.spill.arrow")) == "a.spill.arrow and a.spill.arrow hold the same rows"
    assert str(repair(".", "new")) == "new: recovered 2 files, 0 with losses"


def test_a_directory_of_sparks_files_has_arrow_files_too(spills: Path) -> None:
    (spills.parent / "blockmgr-1").mkdir()
    write_spark(spills.parent / "blockmgr-1" / "shuffle_0_0_0.data", [b"x"])
    (spills / "a.spill.arrow").rename(spills.parent / "a.arrow")

    assert [type(file).__name__ for file in find(spills.parent)] == ["SparkFiles", "ArrowFile"]


def test_nothing_is_left_where_nothing_can_be_repaired(tmp_path: Path) -> None:
    (tmp_path / "blockmgr-1").mkdir()
    write_spark(tmp_path / "blockmgr-1" / "shuffle_0_0_0.data", [b"x"])
    with pytest.raises(CorruptError, match=r"nothing can be recovered of any of 1 file: .* bytes are opaque"):
        repair(tmp_path / "blockmgr-1", tmp_path / "new")

    assert os.listdir(tmp_path) == ["blockmgr-1"]


@pytest.mark.parametrize("threads", [0, "2", True])
def test_threads_are_a_number(spills: Path, threads: Any) -> None:
    with pytest.raises(ValueError, match="threads must be a whole number from 1 on, or None, not"):
        verify(spills, threads=threads)
