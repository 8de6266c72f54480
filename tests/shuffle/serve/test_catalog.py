"""The files below a root: which are found, which are kept open, which never appear."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle.serve.catalog import Catalog, Listed, ServedFile
from spill_format import NotPartitionedError, SpillError
from tests.helpers.spills import open_files_in, random_spill


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "deep").mkdir(parents=True)
    for name in ("a.arrow", "b.spill.arrow", "deep/c.arrow"):
        random_spill(tmp_path / "root" / name, [1, 2, 3])
    return tmp_path / "root"


def test_the_listing_has_the_partitioned_files(root: Path, tmp_path: Path) -> None:
    random_spill(tmp_path / "outside.arrow", [1])
    (root / "out.arrow").symlink_to(tmp_path / "outside.arrow")
    (root / "in.arrow").symlink_to("deep/c.arrow")
    (root / "gone.arrow").symlink_to("nowhere")
    (root / "a.txt").write_text("no")
    (root / "x.arrow").mkdir()
    os.mkfifo(root / "pipe.arrow")
    damaged = (root / "a.arrow").read_bytes()[:-1]
    (root / "damaged.arrow").write_bytes(damaged)
    with pa.ipc.new_file(root / "plain.arrow", pa.schema([("n", pa.int64())])):
        pass
    listing = Catalog(root, 10).listing()
    assert [listed.name for listed in listing if listed.problem is None] == [
        "a.arrow",
        "b.spill.arrow",
        "deep/c.arrow",
        "in.arrow",
    ]
    assert listing[0] == Listed("a.arrow", (root / "a.arrow").stat().st_size, 3, 6, None)
    assert {listed.name for listed in listing if listed.problem} == {"damaged.arrow"}


@pytest.mark.parametrize(
    ("place", "found"),
    [("deep/c.arrow", True), ("../root/a.arrow", True), ("../outside.arrow", False), ("/etc/hostname", False)],
)
def test_links_are_followed_below_the_root_alone(root: Path, tmp_path: Path, place: str, found: bool) -> None:
    random_spill(tmp_path / "outside.arrow", [1])
    (root / "link.arrow").symlink_to(place)
    catalog = Catalog(root, 10)
    if found:
        catalog.open("link.arrow").release()
    else:
        with pytest.raises(FileNotFoundError):
            catalog.open("link.arrow")


def test_a_directory_that_leads_out_leads_nowhere(root: Path, tmp_path: Path) -> None:
    (tmp_path / "root-2").mkdir()
    random_spill(tmp_path / "root-2" / "a.arrow", [1])
    (root / "out").symlink_to(tmp_path / "root-2")
    with pytest.raises(FileNotFoundError):
        Catalog(root, 10).open("out/a.arrow")


def test_no_more_files_are_kept_open_than_the_bound(root: Path) -> None:
    catalog = Catalog(root, 2)
    in_use = catalog.open("a.arrow")
    catalog.keep(in_use)
    for name in ("b.spill.arrow", "deep/c.arrow"):
        file = catalog.open(name)
        catalog.keep(file)
        file.release()
    assert catalog.kept_count == 2
    assert catalog.find("a.arrow") is None
    assert len(open_files_in(root)) == 3  # the one in use stays
    in_use.release()
    assert len(open_files_in(root)) == 2
    catalog.close()
    assert open_files_in(root) == []


def test_a_kept_file_is_found_until_its_name_is_anothers(root: Path) -> None:
    catalog = Catalog(root, 10)
    file = catalog.open("a.arrow")
    catalog.keep(file)
    found = catalog.find("a.arrow")
    assert found is file
    found.release()
    random_spill(root / "new.arrow", [7, 7, 7]).rename(root / "a.arrow")
    assert catalog.find("a.arrow") is None
    assert file.is_unchanged()  # the open one is still whole
    new = catalog.open("a.arrow")
    assert new.identity_text != file.identity_text
    catalog.keep(new)
    (root / "a.arrow").unlink()
    with pytest.raises(FileNotFoundError):
        catalog.find("a.arrow")
    new.release()
    file.release()
    assert open_files_in(root) == []


def test_a_file_that_is_written_into_is_noticed(root: Path) -> None:
    catalog = Catalog(root, 10)
    file = catalog.open("a.arrow")
    with open(root / "a.arrow", "r+b") as writer:
        writer.truncate(100)
    assert not file.is_unchanged()
    file.release()


@pytest.mark.parametrize("content", [b"", b"no", b"ARROW1\0\0" * 50])
def test_what_is_not_ours_is_not_opened(root: Path, content: bytes) -> None:
    (root / "x.arrow").write_bytes(content)
    with pytest.raises((SpillError, NotPartitionedError)):
        Catalog(root, 10).open("x.arrow")
    assert open_files_in(root) == []


def test_a_root_is_a_directory(root: Path) -> None:
    with pytest.raises(NotADirectoryError):
        Catalog(root / "a.arrow", 10)
    with pytest.raises(FileNotFoundError):
        Catalog(root / "none", 10)


class ShortOfDescriptors(Catalog):
    """Has none left whenever it would open a file, until it is told otherwise."""

    has_some = False

    def open(self, name: str) -> ServedFile:
        if not self.has_some:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), name)
        return super().open(name)


def test_the_listing_forgets_no_file_that_could_not_be_opened_just_now(root: Path) -> None:
    catalog = ShortOfDescriptors(root, 10)
    with pytest.raises(OSError, match="Too many open files"):
        catalog.listing()
    catalog.has_some = True
    assert len(catalog.listing()) == 3
