"""A publication met by a power cut, or by a file system that shuts down: real XFS."""

import os
import stat
import subprocess
import sys

import pytest

from shuffle.testing.file_systems import loop_mounted
from spill_format.storage.publication import open_pending
from tests.crash.test_publication import NEW, OLD, PUBLISHER, fresh
from tests.helpers.power import cut_power
from tests.helpers.syncing import write_back


@pytest.mark.mount
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_system_that_shuts_down_after_the_link_is_told(overwrite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """XFS answers 0 to the directory's fsync then, and EIO to the file's."""
    fsync = os.fsync

    def shutting_down(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            subprocess.run(["xfs_io", "-x", "-c", "shutdown", mount_point], check=True)
        fsync(descriptor)

    with loop_mounted("xfs", 300) as mount_point:
        target = mount_point / "output.arrow"
        if overwrite:
            target.write_bytes(OLD)
        monkeypatch.setattr(os, "fsync", shutting_down)
        with open_pending(target, overwrite=overwrite, durable=True) as pending:
            os.write(pending.descriptor, NEW)
            with pytest.raises(OSError, match="published, but syncing it failed, so a power cut may undo it"):
                pending.publish()


@pytest.mark.mount
@pytest.mark.parametrize(
    ("options", "existing"),
    [([], False), (["named"], False), (["overwrite"], False), (["overwrite"], True), (["named", "overwrite"], True)],
)
def test_what_was_published_durably_survives_a_power_cut(options: list[str], existing: bool) -> None:
    with loop_mounted("xfs", 300) as mount_point:
        target = mount_point / "outputs" / "output.arrow"
        target.parent.mkdir()
        fresh(target, existing=existing)
        write_back(mount_point)
        subprocess.run([sys.executable, "-c", PUBLISHER, target, "durable", *options], check=True)
        cut_power(mount_point)
        assert target.read_bytes() == NEW
        assert os.listdir(target.parent) == [target.name]
