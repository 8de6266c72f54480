"""Spark's merge, in one JVM that stays warm: what ``SparkMerge.java`` beside this file does, asked from Python."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

PROGRAM = Path(__file__).with_name("SparkMerge.java")


class SparkError(Exception):
    """Spark cannot be asked; the message says what is missing or what the JVM said last."""


class SparkMerger:
    """A JVM with the jars of the installed pyspark. A context manager; the JVM ends with it.

    Args:
        log: where the JVM's standard error goes.

    Raises:
        SparkError: pyspark or Java is not installed.
    """

    def __init__(self, log: Path) -> None:
        java = shutil.which("java")
        if java is None:
            raise SparkError("Java is not installed; on Debian: apt-get install default-jre-headless")
        package = importlib.util.find_spec("pyspark")
        if package is None or package.origin is None:
            raise SparkError("pyspark is not installed: it is in the extra bench")
        jars = Path(package.origin).with_name("jars")
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [java, "-cp", f"{jars}/*", "org.codehaus.janino.SimpleCompiler", str(PROGRAM), PROGRAM.stem],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C is for this process, which ends the JVM when it has tidied up
            )

    def merge(self, offsets: Path, target: Path, spills: Sequence[Path]) -> float:
        """Merge spills into a new file and return the seconds that it took inside the JVM.

        Args:
            offsets: a file of big-endian int64, for each spill its P+1 offsets.
            target: must not exist: Spark appends.
            spills: their ranges are copied, nothing else of them.

        Raises:
            SparkError: the JVM failed; its merge did, or it was killed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("\t".join(map(str, (offsets, target, *spills))) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise SparkError(self._log.read_text()) from error
        answer = self._process.stdout.readline()
        if not answer:
            raise SparkError(self._log.read_text())
        return int(answer) / 1e9

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._process.kill()
        self._process.communicate()
