"""Real file systems for tests, by the name that the project's own tests know them by."""

from shuffle.testing.file_systems import (
    MINIMUM_SIZE_MIB,
    CannotMountError,
    loop_mounted,
    tmpfs_mounted,
    why_not_mountable,
)

__all__ = ["MINIMUM_SIZE_MIB", "CannotMountError", "loop_mounted", "tmpfs_mounted", "why_not_mountable"]
