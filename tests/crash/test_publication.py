"""A publication that is killed, refused, raced or cut off from power at any step: real processes, real kernel."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import pytest

import spill_format
from spill_format.storage.publication import open_pending
from tests.crash.test_publication_races import race
from tests.helpers.strace import FIRST, LAST, STRACE, Call, calls_in, needs_strace, traced

OLD = b"old" * 100
NEW = b"new" * 30_000

# Every call with which a publication changes anything.
CALLS = "openat,flock,write,fcntl,close,linkat,unlink,renameat,renameat2,fsync,access"

# The package is entered by its path alone: importing numpy, traced, would take most of the time of these tests.
PUBLISHER = f"""
import os, sys, types
package = sys.modules["spill_format"] = types.ModuleType("spill_format")
package.__path__ = {list(spill_format.__path__)!r}
from spill_format.storage.publication import open_pending
target, *options = sys.argv[1:]
if "named" in options:
    del os.O_TMPFILE  # as on systems without
os.access("{FIRST}", os.F_OK)
with open_pending(target, overwrite="overwrite" in options, durable="durable" in options) as pending:
    os.write(pending.descriptor, {NEW!r})
    pending.publish()
os.access("{LAST}", os.F_OK)
"""


def trace_of(target: Path) -> Path:
    return Path(f"{target.parent}.trace")


def publish_under_strace(target: Path, options: list[str], *injections: str) -> subprocess.CompletedProcess[str]:
    return traced(trace_of(target), CALLS, ["-S", "-c", PUBLISHER, target, *options], *injections)


def calls_of_publication(target: Path, options: list[str], *injections: str) -> list[Call]:
    """Publish once, successfully, and tell the calls that it took."""
    completed = publish_under_strace(target, options, *injections)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert target.read_bytes() == NEW
    return calls_in(trace_of(target))


def fresh(target: Path, *, existing: bool) -> None:
    """Leave nothing in the target's directory, except, if asked, an old target."""
    for file in target.parent.iterdir():
        file.unlink()
    if existing:
        target.write_bytes(OLD)


def content(target: Path) -> bytes | None:
    return target.read_bytes() if target.exists() else None


def names_beside(target: Path) -> set[str]:
    """The names in the target's directory, without those that FUSE gives for a moment to a removed file still open."""
    return {name for name in os.listdir(target.parent) if not name.startswith(".fuse_hidden")}


def assert_swept_by_the_next(target: Path) -> None:
    open_pending(target, overwrite=True).discard()
    assert names_beside(target) <= {target.name}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    directory = tmp_path / "outputs"
    directory.mkdir()
    return directory / "output.arrow"


@pytest.fixture(scope="module")
def fuse_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system that really has no unnamed files."""
    if os.geteuid() != 0 or not shutil.which("fuse2fs"):
        pytest.skip("needs root and fuse2fs")
    directory = tmp_path_factory.mktemp("fuse")
    image, mount_point = directory / "image", directory / "mount"
    mount_point.mkdir()
    image.touch()
    os.truncate(image, 16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["fuse2fs", image, mount_point, "-o", "rw"], check=True)
    yield mount_point
    subprocess.run(["umount", mount_point], check=True)


@pytest.fixture
def fuse_target(fuse_mount: Path) -> Iterator[Path]:
    directory = fuse_mount / "outputs"
    directory.mkdir()
    with pytest.raises(OSError, match="not supported"):
        os.open(directory, os.O_TMPFILE | os.O_RDWR)
    yield directory / "output.arrow"
    shutil.rmtree(directory)


# The file system's answer where it has no hard links: the name is then given by a rename that never replaces.
NO_LINKS = "linkat:error=EPERM"


class Mode(NamedTuple):
    """A way to publish, and what of it a kill may leave."""

    options: list[str]
    injections: list[str]
    existing: bool
    may_leave_debris: bool
    publishing_call: str

    def filled_in(self, target: Path) -> Self:
        """With the number of the call that opens an unnamed file."""
        if not any("{unnamed}" in injection for injection in self.injections):
            return self
        opening = next(call for call in calls_of_publication(target, self.options) if "O_TMPFILE" in call.line)
        return self._replace(injections=[each.format(unnamed=opening.ordinal) for each in self.injections])

    @property
    def injected(self) -> set[str]:
        return {injection.split(":")[0] for injection in self.injections}

    def publishes(self, call: Call, target: Path) -> bool:
        return call.name == self.publishing_call and f'"{target.name}"' in call.line


MODES = {
    "unnamed": Mode([], [], False, False, "linkat"),
    "unnamed-durable": Mode(["durable"], [], False, False, "linkat"),
    "unnamed-overwriting-nothing": Mode(["overwrite"], [], False, False, "linkat"),
    "unnamed-overwriting": Mode(["overwrite", "durable"], [], True, True, "renameat"),
    "named": Mode(["named", "durable"], [], False, True, "linkat"),
    "named-overwriting": Mode(["named", "overwrite"], [], True, True, "renameat"),
    "named-without-links": Mode(["named"], [NO_LINKS], False, True, "renameat2"),
    "refused": Mode([], ["openat:error=EOPNOTSUPP:when={unnamed}"], False, True, "linkat"),
}
each_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


def assert_old_or_new_whenever_killed(target: Path, mode: Mode) -> None:
    """Kill a publication on entering each of its calls, in turn."""
    expected = OLD if mode.existing else None
    fresh(target, existing=mode.existing)
    for call in calls_of_publication(target, mode.options, *mode.injections):
        if call.name in mode.injected:
            continue  # strace injects one thing into one call; the call before and the one after are killed
        fresh(target, existing=mode.existing)
        kill = f"{call.name}:signal=SIGKILL:when={call.ordinal}"
        completed = publish_under_strace(target, mode.options, *mode.injections, kill)
        assert completed.returncode == -signal.SIGKILL, call
        assert content(target) == expected, call
        if not mode.may_leave_debris:
            assert names_beside(target) <= {target.name}, call
        assert_swept_by_the_next(target)
        if mode.publishes(call, target):
            expected = NEW  # this call never happened; at the next one it has
    assert expected == NEW


@needs_strace
@each_mode
def test_a_kill_at_any_call_leaves_the_old_or_the_new(target: Path, mode: Mode) -> None:
    assert_old_or_new_whenever_killed(target, mode.filled_in(target))


@needs_strace
@pytest.mark.root
@pytest.mark.parametrize(
    "mode", [Mode(["durable"], [], False, True, "linkat"), Mode(["overwrite"], [], True, True, "renameat")]
)
def test_a_kill_where_there_are_no_unnamed_files(fuse_target: Path, mode: Mode) -> None:
    assert_old_or_new_whenever_killed(fuse_target, mode)


@needs_strace
@each_mode
def test_whatever_call_fails_the_error_is_told_and_the_target_is_as_it_was(target: Path, mode: Mode) -> None:
    """After publication only syncing may fail."""
    mode = mode.filled_in(target)
    fresh(target, existing=mode.existing)
    calls = calls_of_publication(target, mode.options, *mode.injections)
    duplicate = next(index for index, call in enumerate(calls) if "F_DUPFD" in call.line)
    assert calls[duplicate + 1].name == "close"
    may_fail = [call for call in calls if call.name not in {"close", "unlink", "flock"} | mode.injected]
    for call in [*may_fail, calls[duplicate + 1]]:
        completed = publish_failing(target, mode, call)
        assert completed.returncode == 1, call
        error = completed.stderr.splitlines()[-1]
        assert error.startswith("OSError: [Errno 5]"), call
        assert call.name == "write" or error.endswith((f"'{target}'", f"'{target.parent}'")), call
        published = "published, but syncing it failed" in error
        assert published == (call in may_fail[-2:] and "durable" in mode.options), call
        assert content(target) == (NEW if published else OLD if mode.existing else None), call
        assert names_beside(target) <= {target.name}, call
    published_at = max(index for index, call in enumerate(calls) if mode.publishes(call, target))
    for call in calls[published_at + 1 :]:
        if call.name not in {"fsync", "write"} | mode.injected:
            completed = publish_failing(target, mode, call)
            assert completed.returncode == 0, (call, completed.stderr)
            assert content(target) == NEW, call
            assert_swept_by_the_next(target)


def publish_failing(target: Path, mode: Mode, call: Call) -> subprocess.CompletedProcess[str]:
    fresh(target, existing=mode.existing)
    failure = f"{call.name}:error=EIO:when={call.ordinal}"
    return publish_under_strace(target, mode.options, *mode.injections, failure)


@needs_strace
@pytest.mark.parametrize("error", ["ENOSYS", "EINVAL"])
def test_where_nothing_can_refuse_to_replace_the_error_says_so(target: Path, error: str) -> None:
    completed = publish_under_strace(target, ["named"], NO_LINKS, f"renameat2:error={error}")
    assert "has neither hard links nor a rename that never replaces" in completed.stderr.splitlines()[-1]
    assert os.listdir(target.parent) == []


@needs_strace
def test_a_rename_that_never_replaces_finds_the_target_taken(target: Path) -> None:
    completed = publish_under_strace(target, ["named"], NO_LINKS, "renameat2:error=EEXIST")
    assert completed.stderr.splitlines()[-1].startswith("spill_format.errors.TargetExistsError")
    assert os.listdir(target.parent) == []


@needs_strace
@pytest.mark.parametrize("error", ["EOPNOTSUPP", "EISDIR", "ENOENT", "EINVAL"])
def test_every_way_to_refuse_an_unnamed_file_leads_to_a_named_one(target: Path, error: str) -> None:
    mode = Mode([], [f"openat:error={error}:when={{unnamed}}"], False, True, "linkat").filled_in(target)
    fresh(target, existing=False)
    calls = calls_of_publication(target, [], *mode.injections)
    assert {"linkat", "unlink", "flock"} <= {call.name for call in calls}
    assert os.listdir(target.parent) == [target.name]


@needs_strace
@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_without_locks_publication_works_and_sweeps_nothing(target: Path, error: str) -> None:
    leftover = target.with_name(f".{target.name}.0123456789abcdef.tmp")
    leftover.touch()
    calls_of_publication(target, ["named"], f"flock:error={error}")
    assert sorted(os.listdir(target.parent)) == sorted([leftover.name, target.name])


@needs_strace
def test_a_living_overwriter_s_temporary_name_is_not_swept(target: Path) -> None:
    fresh(target, existing=True)
    # The second link gives the temporary name; the process stops on leaving that call.
    command = [STRACE, "-f", "-qq", "-o", os.devnull, "-e", "inject=linkat:signal=SIGSTOP:when=2"]
    with subprocess.Popen([*command, sys.executable, "-S", "-c", PUBLISHER, str(target), "overwrite"]) as tracer:
        while len(os.listdir(target.parent)) < 2:
            assert tracer.poll() is None
        names = os.listdir(target.parent)
        try:
            open_pending(target, overwrite=True).discard()
            assert os.listdir(target.parent) == names
        finally:
            child = int(Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text())
            os.kill(child, signal.SIGCONT)
    assert tracer.returncode == 0
    assert content(target) == NEW
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.root
def test_without_proc_a_file_is_published_all_the_same(target: Path) -> None:
    script = 'mount -t tmpfs none /proc && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", PUBLISHER, str(target)]
    subprocess.run(command, check=True)
    assert target.read_bytes() == NEW
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.root
def test_one_wins_where_there_are_no_unnamed_files(fuse_target: Path, tmp_path: Path) -> None:
    winners = race(fuse_target.parent, tmp_path / "wins")
    assert {len(candidates) for candidates in winners} == {1}
