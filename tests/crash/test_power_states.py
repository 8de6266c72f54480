"""A power cut at any moment of a command: some of the states in which it leaves the disk; ``tools/campaign`` tries all.

What must hold in each state is said in ``tests/helpers/power_states.py``.
"""

from pathlib import Path

import pytest

from tests.helpers.fault_scenarios import MERGE
from tests.helpers.logged_disk import why_not_here
from tests.helpers.power_states import SCENARIOS, record, states_of, try_states

COUNT = 10

pytestmark = [
    pytest.mark.mount,
    pytest.mark.process,
    pytest.mark.skipif(why_not_here() is not None, reason=str(why_not_here())),
]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ext4", "durable merge"),
        ("ext4", "merge that replaces and deletes"),
        ("xfs", "merge that deletes"),
        ("btrfs", "durable merge that replaces"),
    ],
)
def test_after_a_power_cut_all_is_done_or_nothing(tmpfs_dir: Path, kind: str, name: str) -> None:
    recording = record(kind, SCENARIOS[name], tmpfs_dir)
    states = states_of(recording.log, name)
    step = len(states) // COUNT
    tried = [state for number, state in enumerate(states) if number % step == 0 or state.cut == recording.log.ended]

    assert list(try_states(recording, SCENARIOS[name], tried)) == []


def test_what_was_not_made_durable_is_found_missing(tmpfs_dir: Path) -> None:
    """Were it not, the disk would keep what a power cut loses."""
    recording = record("ext4", MERGE, tmpfs_dir)
    answered = [state for state in states_of(recording.log, "") if state.cut == recording.log.ended]

    found = [what for _, what in try_states(recording, f"{MERGE} --durable", answered)]

    assert "the command had answered, and its target is gone" in found
