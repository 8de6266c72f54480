"""What the functions that look into files answer on a single file, with its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shuffle.inspecting.arrow import ArrowFile, ArrowInspection
from shuffle.inspecting.pushed import PushedFiles, PushedInspection
from shuffle.inspecting.pushed_repair import PushedRepair
from shuffle.inspecting.repair import repair
from shuffle.inspecting.results import FileVerification
from shuffle.inspecting.salvage import Salvage
from shuffle.inspecting.verification import verify


def inspected(path: Path) -> ArrowInspection:
    """What an Arrow file says of itself."""
    return ArrowFile(str(path)).inspect()


def inspected_pushed(path: Path) -> PushedInspection:
    """What a pushed partition says of itself."""
    return PushedFiles.at(str(path)).inspect()


def verified(path: Path, **options: Any) -> FileVerification:
    """The verdict on a file that could be judged."""
    (found,) = verify(path, **options).files
    assert isinstance(found, FileVerification)
    return found


def repaired(path: Path, target: Path, **options: Any) -> Salvage:
    """What was recovered of an Arrow file."""
    (found,) = repair(path, target, **options).files
    assert isinstance(found, Salvage)
    return found


def repaired_pushed(path: Path, target: Path, **options: Any) -> PushedRepair:
    """What was recovered of a pushed partition."""
    (found,) = repair(path, target, **options).files
    assert isinstance(found, PushedRepair)
    return found
