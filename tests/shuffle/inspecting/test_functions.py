"""What the commands do, as functions: the same names, results as JSON has them, and each in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from shuffle import diff, inspect, repair, verify
from shuffle.testing import write_spill
from tests.helpers.commands import run
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
