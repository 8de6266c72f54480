"""What a pending file promises to the process that writes it; crashes and races are in tests/crash."""

import errno
import fcntl
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spill_format.errors import TargetExistsError
from spill_format.storage.publication import open_pending
from tests.helpers.publications import NEW, OLD, debris_of, write_all

pytestmark = pytest.mark.usefixtures("kind")

Make = Callable[[Path], object]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_published_file_is_there_whole(target: Path, overwrite: bool, durable: bool) -> None:
    write_all(target, overwrite=overwrite, durable=durable)
    assert target.read_bytes() == NEW


def test_a_file_has_no_name_until_it_is_published(target: Path) -> None:
    with open_pending(target) as pending:
        os.write(pending.descriptor, NEW)
        assert not target.exists()
        assert pending.path == target
        pending.publish()
        assert target.exists()


def test_a_pending_file_can_be_read_and_written_anywhere(target: Path) -> None:
    with open_pending(target) as pending:
        os.pwrite(pending.fileno(), b"tail", 4)
        os.pwrite(pending.descriptor, b"head", 0)
        assert os.pread(pending.descriptor, 100, 0) == b"headtail"
        assert not fcntl.fcntl(pending.descriptor, fcntl.F_GETFL) & os.O_APPEND
        assert not os.get_inheritable(pending.descriptor)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_permissions_are_those_that_open_would_give(target: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_all(target)
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask
    assert target.stat().st_nlink == 1


def test_leaving_without_publishing_discards(target: Path) -> None:
    with open_pending(target) as pending:
        os.write(pending.descriptor, NEW)
    assert os.listdir(target.parent) == []


def test_an_exception_discards_and_passes(target: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_pending(target):
        raise KeyboardInterrupt
    assert os.listdir(target.parent) == []


def test_discarding_twice_or_after_publishing_does_nothing(target: Path) -> None:
    pending = open_pending(target)
    pending.publish()
    pending.discard()
    pending.discard()
    assert target.exists()


def test_after_the_end_there_is_no_descriptor_and_no_second_publication(target: Path) -> None:
    with open_pending(target) as pending:
        pending.publish()
        with pytest.raises(ValueError, match="already published or discarded"):
            pending.publish()
        with pytest.raises(ValueError, match="already published or discarded"):
            _ = pending.descriptor


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("published", [False, True])
def test_descriptors_are_closed(target: Path, overwrite: bool, published: bool) -> None:
    if overwrite:
        target.write_bytes(OLD)
    before = os.listdir("/proc/self/fd")
    with open_pending(target, overwrite=overwrite, durable=True) as pending:
        if published:
            pending.publish()
    assert os.listdir("/proc/self/fd") == before


def test_a_forgotten_file_is_reported_and_closed(target: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.warns(ResourceWarning):
        open_pending(target)
    assert os.listdir("/proc/self/fd") == before
    open_pending(target).discard()  # sweeps what a temporary name left


def make_file(path: Path) -> None:
    path.write_bytes(OLD)


def make_link_to_file(path: Path) -> None:
    other = path.parent.parent / "other"
    other.write_bytes(OLD)
    path.symlink_to(other)


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "nowhere")


def make_link_to_directory(path: Path) -> None:
    path.symlink_to(path.parent.parent)


def make_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


EXISTING = [make_file, make_link_to_file, make_dangling_link]


@pytest.mark.parametrize("make", [*EXISTING, os.mkfifo, make_socket])
def test_an_existing_target_is_refused_before_the_work(target: Path, make: Make) -> None:
    make(target)
    before = target.lstat()
    with pytest.raises(TargetExistsError, match="already exists") as raised:
        open_pending(target)
    assert raised.value.path == target
    assert target.lstat() == before


@pytest.mark.parametrize("make", EXISTING)
def test_a_target_that_appears_during_the_work_is_not_replaced(target: Path, make: Make) -> None:
    with open_pending(target) as pending:
        os.write(pending.descriptor, NEW)
        make(target)
        before = target.lstat()
        with pytest.raises(TargetExistsError, match="already exists") as raised:
            pending.publish()
        assert raised.value.path == target
        assert os.pread(pending.descriptor, len(NEW), 0) == NEW
    assert target.lstat().st_ino == before.st_ino


@pytest.mark.parametrize("make", EXISTING)
def test_overwriting_replaces_what_appeared_meanwhile(target: Path, make: Make) -> None:
    with open_pending(target, overwrite=True) as pending:
        os.write(pending.descriptor, NEW)
        make(target)
        pending.publish()
    assert target.read_bytes() == NEW
    assert target.lstat().st_nlink == 1
    assert not target.is_symlink()
    pointed_at = target.parent.parent / "other"
    assert not pointed_at.exists() or pointed_at.read_bytes() == OLD


@pytest.mark.parametrize(("make", "name"), [(make_link_to_file, "other"), (make_dangling_link, "nowhere")])
def test_overwriting_a_link_replaces_what_it_leads_to(target: Path, make: Make, name: str) -> None:
    make(target)
    write_all(target, overwrite=True, durable=True)
    assert target.is_symlink()
    assert (target.parent.parent / name).read_bytes() == NEW


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o666, 0o000])
def test_overwriting_keeps_the_permissions(target: Path, mode: int) -> None:
    make_file(target)
    target.chmod(mode)
    write_all(target, overwrite=True)
    assert target.stat().st_mode & 0o7777 == mode


def test_what_a_killed_one_left_is_swept_even_where_the_target_is_refused(target: Path) -> None:
    make_file(target)
    debris_of(target).touch()
    with pytest.raises(TargetExistsError):
        open_pending(target)
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("make", [os.mkfifo, make_socket])
def test_devices_and_their_like_are_never_replaced(target: Path, make: Make) -> None:
    make(target)
    with pytest.raises(TargetExistsError, match="never replaced"):
        open_pending(target, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("make", [os.mkdir, make_link_to_directory])
def test_a_directory_is_no_target(target: Path, make: Make, overwrite: bool) -> None:
    make(target)
    with pytest.raises(IsADirectoryError) as raised:
        open_pending(target, overwrite=overwrite)
    assert raised.value.filename == str(target)


def test_a_directory_that_appears_during_the_work_is_not_replaced(target: Path) -> None:
    with open_pending(target, overwrite=True) as pending:
        target.mkdir()
        with pytest.raises(IsADirectoryError) as raised:
            pending.publish()
        assert raised.value.filename == str(target)


def test_a_missing_directory_is_named(target: Path) -> None:
    missing = target.parent / "missing"
    for directory in (None, target.parent):
        with pytest.raises(FileNotFoundError) as raised:
            open_pending(missing / "output.arrow", directory=directory)
        assert raised.value.filename == str(missing)
    with pytest.raises(FileNotFoundError) as raised:
        open_pending(target, directory=missing)
    assert raised.value.filename == str(missing)


def test_a_file_in_place_of_a_directory_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError) as raised:
        open_pending(tmp_path / "output.arrow", directory=file)
    assert raised.value.filename == str(file)


UNPRIVILEGED = """
import os, sys
from spill_format.storage.publication import open_pending
{without_unnamed_files}
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
try:
    with open_pending(sys.argv[1]) as pending:
        pending.publish()
except PermissionError as error:
    print(error.filename)
"""


@pytest.mark.root
@pytest.mark.parametrize(
    ("mode", "refused"),
    [(0o555, True), (0o777, False), (0o333, False)],
    ids=["unwritable", "writable", "writable-but-not-listable"],
)
def test_who_may_write_the_directory_may_publish(mode: int, refused: bool, kind: str) -> None:
    # Not below tmp_path, which none but its owner may enter.
    directory = Path("/var/tmp", f"publish-{secrets.token_hex(8)}")
    directory.mkdir()
    try:
        directory.chmod(mode)
        target = directory / "output.arrow"
        script = UNPRIVILEGED.format(without_unnamed_files="del os.O_TMPFILE" if kind == "named" else "")
        completed = subprocess.run([sys.executable, "-c", script, target], capture_output=True, text=True, check=False)
        assert completed.stderr == ""
        assert completed.stdout.strip() == (str(directory) if refused else "")
        assert os.listdir(directory) == ([] if refused else ["output.arrow"])
    finally:
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()


def test_a_change_of_directory_does_not_move_the_target(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(target.parent)
    with open_pending(target.name, overwrite=True) as pending:
        monkeypatch.chdir("/")
        pending.publish()
    assert target.exists()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, os.fsdecode(b"\xff" * 255), "a\nb", "(.*)[", "-"])
def test_any_name_will_do(tmp_path: Path, name: str, overwrite: bool) -> None:
    target = tmp_path / "outputs" / name
    target.parent.mkdir()
    if overwrite:
        target.write_bytes(OLD)
    write_all(target, overwrite=overwrite)
    assert target.read_bytes() == NEW
    assert os.listdir(target.parent) == [name]


def test_a_name_too_long_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as raised:
        open_pending(tmp_path / ("x" * 256))
    assert raised.value.errno == errno.ENAMETOOLONG


def test_scratch_files_lie_elsewhere_and_are_published_without_copying(target: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with (
        open_pending(target, directory=scratch) as first,
        open_pending(target, directory=scratch) as second,
    ):
        os.write(first.descriptor, OLD)
        os.write(second.descriptor, NEW)
        inode = os.fstat(second.descriptor).st_ino
        second.publish()
    assert (target.read_bytes(), target.stat().st_ino) == (NEW, inode)
    assert os.listdir(scratch) == []


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("existing", [False, True])
def test_another_file_system_is_reported_and_the_bytes_can_be_copied(
    target: Path, tmpfs_dir: Path, overwrite: bool, existing: bool
) -> None:
    with open_pending(target, directory=tmpfs_dir, overwrite=overwrite, durable=True) as scratch:
        os.write(scratch.descriptor, NEW)
        if existing:
            target.write_bytes(OLD)
        if existing and not overwrite:
            with pytest.raises(TargetExistsError):
                scratch.publish()
            return
        with pytest.raises(OSError, match="cross-device") as raised:
            scratch.publish()
        assert (raised.value.errno, raised.value.filename) == (errno.EXDEV, str(target))
        assert not existing or target.read_bytes() == OLD
        write_all(target, os.pread(scratch.descriptor, len(NEW), 0), overwrite=overwrite)
    assert target.read_bytes() == NEW
    assert os.listdir(tmpfs_dir) == []


def test_a_full_disk_passes_through_and_leaves_nothing(small_ext4_dir: Path) -> None:
    before = os.listdir(small_ext4_dir)
    with pytest.raises(OSError, match="No space left"):
        write_all(small_ext4_dir / "output.arrow", bytes(100 << 20))
    assert os.listdir(small_ext4_dir) == before


@pytest.mark.parametrize("elsewhere", [False, True])
def test_debris_of_the_dead_is_swept(target: Path, tmp_path: Path, elsewhere: bool) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    leftovers = [debris_of(target), debris_of(scratch / target.name)]
    for leftover in leftovers:
        leftover.touch()
    open_pending(target, directory=scratch if elsewhere else None).discard()
    assert [leftover.exists() for leftover in leftovers] == [False, not elsewhere]


def test_what_is_in_use_is_not_swept(target: Path) -> None:
    leftover = debris_of(target)
    with leftover.open("wb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        open_pending(target).discard()
        assert leftover.exists()
    open_pending(target).discard()
    assert not leftover.exists()


@pytest.mark.parametrize(
    "name",
    [
        ".output.arrow.tmp",
        ".output.arrow.backup.tmp",
        ".output.arrow.0123456789ABCDEF.tmp",
        ".output.arrow.0123456789abcdef.tmp.arrow",
        ".output.arrow2.0123456789abcdef.tmp",
        ".outputXarrow.0123456789abcdef.tmp",
        "output.arrow.0123456789abcdef.tmp",
    ],
)
def test_nothing_else_is_swept(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.touch()
    open_pending(tmp_path / "output.arrow").discard()
    assert file.exists()


@pytest.mark.parametrize("make", [os.mkdir, make_dangling_link, make_link_to_file, make_socket])
def test_what_only_looks_like_debris_is_left(tmp_path: Path, make: Make) -> None:
    target = tmp_path / "outputs" / "output.arrow"
    target.parent.mkdir()
    lookalike = debris_of(target)
    make(lookalike)
    open_pending(target).discard()
    assert os.path.lexists(lookalike)
