"""Cutting the power of a mounted file system."""

import subprocess
from pathlib import Path


def cut_power(mount_point: Path) -> None:
    """Cut a loop-mounted XFS off without writing back anything, then mount its image again."""
    device = subprocess.run(
        ["findmnt", "-n", "-o", "SOURCE", mount_point], check=True, capture_output=True, text=True
    ).stdout.strip()
    image = Path("/sys/class/block", Path(device).name, "loop/backing_file").read_text().strip()
    subprocess.run(["xfs_io", "-x", "-c", "shutdown", mount_point], check=True)
    subprocess.run(["umount", mount_point], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount_point], check=True)
