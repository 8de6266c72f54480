"""How many cores may be used, from affinity and from control groups as files describe them."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from shuffle.machine import cores
from shuffle.machine.cores import granted_cores, usable_cores

V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, None, id="no control groups"),
        pytest.param({"proc/self/cgroup": "0::/\n"}, None, id="no limit at the root"),
        pytest.param({"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "max 100000\n"}, None, id="no limit"),
        pytest.param({"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "250000 100000\n"}, 2.5, id="a limit"),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{V2}/a/b/cpu.max": "400000 100000\n",
                f"{V2}/a/cpu.max": "150000 100000\n",
            },
            1.5,
            id="the least of those around it",
        ),
        pytest.param({"proc/self/cgroup": "0::/x\n", f"{V2}/cpu.max": "50000 100000\n"}, 0.5, id="inside a container"),
        pytest.param({"proc/self/cgroup": "0::/../..\n", f"{V2}/cpu.max": "100000 100000\n"}, 1.0, id="outside of it"),
        pytest.param({"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "garbage"}, None, id="not readable"),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/a\n0::/\n",
                f"{V1}/a/cpu.cfs_quota_us": "300000\n",
                f"{V1}/a/cpu.cfs_period_us": "100000\n",
                f"{V1}/cpu.cfs_quota_us": "-1\n",
                f"{V1}/cpu.cfs_period_us": "100000\n",
            },
            3.0,
            id="version 1",
        ),
    ],
)
def test_what_control_groups_grant(tmp_path: Path, files: Mapping[str, str], expected: float | None) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert granted_cores(str(tmp_path)) == expected


@pytest.mark.parametrize(("granted", "expected"), [(None, 8), (2.5, 2), (0.3, 1), (100.0, 8), (3.6, 4)])
def test_affinity_and_control_groups_are_both_limits(
    granted: float | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cores, "granted_cores", lambda: granted)
    assert usable_cores() == expected


def test_this_process_may_use_at_least_one() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
