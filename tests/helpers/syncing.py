"""Writing back what is dirty, of one file system: ``os.sync`` would do that to other tests' files, too."""

import subprocess
from pathlib import Path


def write_back(directory: Path) -> None:
    subprocess.run(["sync", "-f", directory], check=True)
