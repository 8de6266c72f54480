"""The catalog against a model of it: whatever happens to files, it gives what is there, and closes what it opened."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from shuffle.serve.catalog import Catalog, ServedFile
from spill_format import SpillError
from spill_format.storage.identity import FileIdentity
from tests.helpers.spills import open_files_in, random_spill

NAMES = st.sampled_from(["a.arrow", "b.arrow", "d/c.arrow"])
OPEN_FILES = 2


class CatalogMachine(RuleBasedStateMachine):
    """Files are written, replaced, damaged and removed, found and given back."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        (self.root / "d").mkdir()
        self.catalog = Catalog(self.root, OPEN_FILES)
        self.rows: dict[str, int | None] = {}
        """Rows of each file that there is; None for a damaged one."""
        self.holding: list[ServedFile] = []
        self.has_had: set[str] = set()

    def teardown(self) -> None:
        for file in self.holding:
            file.release()
        self.catalog.close()
        assert open_files_in(self.root) == []
        shutil.rmtree(self.root)

    @rule(name=NAMES, rows=st.integers(1, 50))
    def write(self, name: str, rows: int) -> None:
        random_spill(self.root / "new", [rows, 1]).rename(self.root / name)
        self.rows[name] = rows + 1

    @rule(name=NAMES)
    def damage(self, name: str) -> None:
        if name in self.rows:
            content = (self.root / name).read_bytes()
            (self.root / "new").write_bytes(content[:-1])
            (self.root / "new").rename(self.root / name)
            self.rows[name] = None

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)
        self.rows.pop(name, None)

    @rule(name=NAMES, target=held)
    def take(self, name: str) -> ServedFile | None:
        try:
            file = self.catalog.find(name)
            if file is None:
                file = self.catalog.open(name)
                self.catalog.keep(file)
        except FileNotFoundError:
            assert name not in self.rows
            return None
        except SpillError:
            assert self.rows[name] is None
            return None
        self.has_had.add(name)
        self.holding.append(file)
        extent = file.extent(0, 2)
        assert extent is not None
        assert extent.row_count == self.rows[name]
        return file

    @rule(file=consumes(held))
    def give_back(self, file: ServedFile | None) -> None:
        if file is not None:
            self.holding.remove(file)
            file.release()

    @rule(file=held)
    def open_again(self, file: ServedFile | None) -> None:
        if file is None or not (self.root / file.name).exists():
            return
        is_same = FileIdentity.of(os.stat(self.root / file.name)) == file.identity
        try:
            self.catalog.reopen(file).release()
        except SpillError:
            assert not is_same
        else:
            assert is_same or self.catalog.find(file.name) is None  # one that is kept may have lost its name

    @rule()
    def list_all(self) -> None:
        listed = {each.name: each.row_count for each in self.catalog.listing()}
        assert listed == self.rows

    @invariant()
    def no_more_is_open_than_may_be(self) -> None:
        assert self.catalog.kept_count <= OPEN_FILES
        assert len(open_files_in(self.root)) <= OPEN_FILES + len(self.holding)

    @invariant()
    def it_remembers_what_it_has_had(self) -> None:
        for name in ("a.arrow", "b.arrow", "d/c.arrow"):
            assert self.catalog.has_had(name) == (name in self.has_had)


TestCatalog = CatalogMachine.TestCase
TestCatalog.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
