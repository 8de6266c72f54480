"""Merges that are refused, raced, traced or out of space: real processes, real kernel, real disks.

Kills at every call are in ``tests/faults/test_every_call.py``.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.spark_files import write_spark
from tests.helpers.spills import assert_merge_of, random_spills
from tests.helpers.strace import FIRST, LAST, ROOT, calls_in, needs_strace, traced

# Every call with which a merge changes anything or copies.
CALLS = (
    "openat,access,lseek,preadv,preadv2,pwrite64,pwritev,pwritev2,writev,copy_file_range,sendfile,ioctl,"
    "ftruncate,link,linkat,unlink,rename,fsync"
)

MERGER = f"""
import os, sys
from shuffle import MergeOptions, merge
directory, target, *options = sys.argv[1:]
settings = dict(option.split("=") for option in options if "=" in option)
flags = {{option: True for option in options if "=" not in option}}
options = MergeOptions(threads=1, **settings, **flags)
os.access("{FIRST}", os.F_OK)
merge([directory], target, options)
os.access("{LAST}", os.F_OK)
"""


@dataclass(frozen=True)
class Place:
    """Where a merge takes place: spills with known content, and a directory for the target alone."""

    spills: list[Path]
    target: Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in ("spills", "outputs"):
        (tmp_path / name).mkdir()
    spills = random_spills(tmp_path / "spills", [40, 0, 3], [7, 7, 0])
    return Place(spills, tmp_path / "outputs" / "merged.arrow")


def merge_under_strace(
    place: Place, trace: Path, options: list[str], *injections: str
) -> subprocess.CompletedProcess[str]:
    return traced(trace, CALLS, ["-c", MERGER, place.spills[0].parent, place.target, *options], *injections)


@needs_strace
def test_off_makes_no_call_that_copies_inside_the_kernel(place: Place, tmp_path: Path) -> None:
    completed = merge_under_strace(place, tmp_path / "trace", ["transfer_to=off"])
    assert (completed.returncode, completed.stderr) == (0, "")
    names = {call.name for call in calls_in(tmp_path / "trace")}
    assert {"linkat", "preadv2", "pwritev2"} <= names or {"linkat", "preadv", "pwritev"} <= names
    assert not names & {"copy_file_range", "sendfile", "ioctl"}
    assert_merge_of(place.spills, place.target)


@needs_strace
def test_a_durable_merge_of_sparks_files_syncs_each_before_it_appears_and_the_directory_after(tmp_path: Path) -> None:
    for name in ("maps", "outputs"):
        (tmp_path / name).mkdir()
    maps = [write_spark(tmp_path / "maps" / f"shuffle_0_{number}_0.data", [b"x", b"y"]) for number in range(2)]
    completed = merge_under_strace(Place(maps, tmp_path / "outputs" / "merged.data"), tmp_path / "trace", ["durable"])
    assert (completed.returncode, completed.stderr) == (0, "")
    calls = [call.name for call in calls_in(tmp_path / "trace") if call.name in {"fsync", "linkat"}]
    assert calls == ["fsync", "linkat", "fsync", "fsync"] * 3  # data, checksums, index


@needs_strace
@pytest.mark.parametrize(
    ("method", "injection"),
    [
        ("copy_file_range", "copy_file_range:error=EXDEV:when=1"),
        ("copy_file_range", "copy_file_range:error=ENOSYS:when=3+"),
        ("copy_file_range", "copy_file_range:error=EPERM:when=1+"),
        ("copy_file_range", "copy_file_range:error=EIO:when=2"),
        ("copy_file_range", "copy_file_range:error=ETXTBSY:when=1"),
        ("sendfile", "sendfile:error=EPERM:when=1+"),
        ("copy_file_range", "copy_file_range:retval=0:when=2+"),
        ("sendfile", "sendfile:error=EINVAL:when=2+"),
        ("sendfile", "sendfile:retval=0:when=1+"),
    ],
)
def test_a_real_call_that_fails_gives_way(place: Place, tmp_path: Path, method: str, injection: str) -> None:
    completed = merge_under_strace(place, tmp_path / "trace", [f"method={method}", "transfer_to=on"], injection)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert_merge_of(place.spills, place.target)


@needs_strace
@pytest.mark.parametrize(
    ("method", "injection", "what"),
    [
        ("sendfile", "sendfile:retval=8:when=2", "the target's file position"),
        ("copy_file_range", "copy_file_range:retval=1000000:when=2", "bytes copied"),
        ("sendfile", "lseek:retval=5:when={last}", "the target's file position"),
    ],
)
@pytest.mark.parametrize("transfer_to", ["auto", "on"])
def test_a_real_call_that_lies_is_caught(
    place: Place, tmp_path: Path, method: str, injection: str, what: str, transfer_to: str
) -> None:
    trace = tmp_path / "trace"
    options = [f"method={method}", f"transfer_to={transfer_to}"]
    merge_under_strace(place, trace, options)
    seeks = [call.ordinal for call in calls_in(trace) if call.name == "lseek"]
    place.target.unlink()
    injection = injection.format(last=seeks[-1] if seeks else 0)
    completed = merge_under_strace(place, trace, options, injection)
    assert what in completed.stderr
    if transfer_to == "on":
        assert "PositionError" in completed.stderr.splitlines()[-1]
        assert os.listdir(place.target.parent) == []
    else:
        assert completed.returncode == 0
        assert "ShuffleWarning: rebuilding" in completed.stderr
        assert_merge_of(place.spills, place.target)


RACER = """
import sys
from shuffle import merge
from spill_format import TargetExistsError
directory, target = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
try:
    merge([directory], target)
except TargetExistsError:
    print("lost")
else:
    print("won")
"""


@pytest.mark.parametrize("_round", range(3))
def test_of_merges_that_race_for_a_target_one_wins(place: Place, _round: int) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, place.spills[0].parent, place.target],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=60)[0] for racer in racers]
    assert sorted(answers) == ["lost\n", "lost\n", "won\n"]
    assert os.listdir(place.target.parent) == [place.target.name]
    assert_merge_of(place.spills, place.target)


MERGE_WITH_FILE_LIMIT = """
import resource, signal, sys
from shuffle import MergeOptions, merge
directory, target, method, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
merge([directory], target, MergeOptions(method=method))
"""


@pytest.mark.parametrize("method", ["copy_file_range", "sendfile", "buffered"])
@pytest.mark.parametrize("limit", [100, 2000])  # in the header, and among the ranges
def test_a_limit_on_file_sizes_is_an_error_that_names_the_target(place: Place, method: str, limit: int) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", MERGE_WITH_FILE_LIMIT, place.spills[0].parent, place.target, method, str(limit)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 1
    error = completed.stderr.splitlines()[-1]
    assert error.startswith("OSError: [Errno 27] File too large")
    assert error.endswith(f"'{place.target}'")
    assert os.listdir(place.target.parent) == []
