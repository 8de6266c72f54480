"""Programs under strace: the system calls that they make, and faults that are injected into these."""

import os
import re
import shutil
import subprocess
import sys
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
STRACE = shutil.which("strace") or "strace"
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

FIRST, LAST = "/work-begins", "/work-ends"
"""Paths that a program asks for (``os.access``) around the calls of interest."""


class Call(NamedTuple):
    """The n-th use of a system call in a process, counted from 1 as strace does."""

    name: str
    ordinal: int
    line: str


def traced(trace: Path, calls: str, arguments: list[object], *injections: str) -> subprocess.CompletedProcess[str]:
    """Run Python with arguments, note these calls, and inject faults."""
    # Not --seccomp-bpf, with which strace does not deliver the signals that it is to inject.
    command = [STRACE, "-f", "-qq", "-o", trace, "-e", f"trace={calls}"]
    for injection in injections:
        command += ["-e", f"inject={injection}"]
    # The first of two runs must not write byte code and so make other calls than the second; numpy needs no threads.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [*map(str, command), sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def calls_in(trace: Path) -> list[Call]:
    """The calls between FIRST and LAST, or the end of the process."""
    counts: dict[str, int] = {}
    calls = []
    for line in trace.read_text().splitlines():
        if (match := re.match(r"\d+ +(\w+)\(", line)) is None:
            continue
        name = match[1]
        counts[name] = counts.get(name, 0) + 1
        calls.append(Call(name, counts[name], line))
    during = dropwhile(lambda call: FIRST not in call.line, calls)
    return list(takewhile(lambda call: LAST not in call.line, during))[1:]
