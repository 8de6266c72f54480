"""What every test shares: the switch that forbids skipping, what the markers require, and real file systems.

Helpers that a test calls by name live in modules beside this one, not here.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import hypothesis
import pytest

from shuffle.testing.file_systems import CannotMountError, loop_mounted, tmpfs_mounted, why_not_mountable
from tests.helpers.needs import needs_of
from tests.helpers.spills import open_files_in

# Set where everything is installed, as in .ci/run: there a skipped test is a promise that nobody checked.
REQUIRE_ALL = os.environ.get("SHUFFLE_TESTS_REQUIRE_ALL", "") not in {"", "0"}

# No deadline: a slow moment of the machine is no defect of the code. Where everything is required the examples are
# fixed, so that a failure there comes from the change that is tested.
hypothesis.settings.register_profile("shuffle", deadline=None, derandomize=REQUIRE_ALL, print_blob=True)
hypothesis.settings.register_profile("quick", parent=hypothesis.settings.get_profile("shuffle"), max_examples=10)
hypothesis.settings.load_profile("shuffle")

# In the background of a script Ctrl-C is ignored, by all that is started there: tests that send it would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REQUIREMENTS: dict[str, Callable[[], str | None]] = {
    "root": lambda: None if os.geteuid() == 0 else "needs root",
    "mount": why_not_mountable,
    "java": lambda: None if shutil.which("java") else "needs a Java runtime",
}
PROCESS_STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})
PROCESSES = ("process", "mount", "java", "browser")
processes_started: list[str] = []


def note_process(event: str, _arguments: object) -> None:
    """Note, as an audit hook, that a process starts."""
    if event in PROCESS_STARTS:
        processes_started.append(event)


sys.addaudithook(note_process)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for need in needs_of(item):
            item.add_marker(need)
    # The order in which tools/test begins files: most of the time goes where processes start, and short files fill the
    # end, when every other core would wait for the last long one.
    starting = Counter(item.path for item in items if any(map(item.get_closest_marker, (*PROCESSES, "slow"))))
    items.sort(key=lambda item: -starting[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    processes_started.clear()
    result = yield
    if processes_started and not any(map(item.get_closest_marker, PROCESSES)):
        pytest.fail("a test that starts processes is marked: @pytest.mark.process")
    return result


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, why_not in REQUIREMENTS.items():
        if item.get_closest_marker(marker) and (reason := why_not()):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skipping(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skipping(report)
    return report


def _forbid_skipping(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (REQUIRE_ALL and report.skipped):
        return
    # A skip carries (path, line, reason); an expected failure its reason, and the failure itself.
    expected_failure = getattr(report, "wasxfail", None)
    if expected_failure is not None:
        del report.wasxfail
        reason = f"expected to fail: {expected_failure}"
    else:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: {reason} (SHUFFLE_TESTS_REQUIRE_ALL forbids this)"


def _mount_or_skip(mounting: AbstractContextManager[Path], kind: str) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            mount_point = stack.enter_context(mounting)
        except CannotMountError as error:
            pytest.skip(str(error))
        assert f" {mount_point} {kind} " in Path("/proc/self/mounts").read_text()
        yield mount_point


@pytest.fixture(scope="session")
def btrfs_mount() -> Iterator[Path]:
    yield from _mount_or_skip(loop_mounted("btrfs", 2048), "btrfs")


@pytest.fixture(scope="session")
def ext4_mount() -> Iterator[Path]:
    yield from _mount_or_skip(loop_mounted("ext4", 2048), "ext4")


@pytest.fixture(scope="session")
def tmpfs_mount() -> Iterator[Path]:
    yield from _mount_or_skip(tmpfs_mounted(512), "tmpfs")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """A name in a directory where nothing else may appear, not even a file without a name that is still open."""
    directory = tmp_path / "outputs"
    directory.mkdir()
    yield directory / "merged.arrow"
    assert set(os.listdir(directory)) <= {"merged.arrow"}
    assert open_files_in(tmp_path) == []


def _fresh_directory(mount_point: Path) -> Iterator[Path]:
    directory = tempfile.mkdtemp(dir=mount_point)
    yield Path(directory)
    shutil.rmtree(directory)


@pytest.fixture
def xfs_dir(reflink_dir: Path) -> Path:
    """An empty directory on XFS, which shares blocks (reflink): the plugin's fixture, named as its neighbours here."""
    return reflink_dir


@pytest.fixture
def btrfs_dir(btrfs_mount: Path) -> Iterator[Path]:
    """An empty directory on btrfs, which shares blocks."""
    yield from _fresh_directory(btrfs_mount)


@pytest.fixture
def ext4_dir(ext4_mount: Path) -> Iterator[Path]:
    """An empty directory on ext4, which does not share blocks."""
    yield from _fresh_directory(ext4_mount)


@pytest.fixture
def tmpfs_dir(tmpfs_mount: Path) -> Iterator[Path]:
    """An empty directory in memory."""
    yield from _fresh_directory(tmpfs_mount)


@pytest.fixture
def small_ext4_dir() -> Iterator[Path]:
    """A disk of its own of 8 MiB, to be filled up."""
    yield from _mount_or_skip(loop_mounted("ext4", 8), "ext4")


@pytest.fixture
def verified_dir(spill_dir: Path) -> Path:
    """An empty directory; every partitioned file that a test leaves in it must verify: the plugin's fixture."""
    return spill_dir
