"""Where the commands ``shuffle`` and ``shuffle-merge`` begin, and ``python -m shuffle``.

Ctrl-C while modules are imported ends quietly: until a command runs, nothing has to be cleaned up.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any


def main() -> int:
    """Run ``shuffle``; the exit code."""
    commands = _commands("shuffle")
    return 2 if commands is None else commands.main()


def merge_main() -> int:
    """Run ``shuffle-merge``; the exit code."""
    commands = _commands("shuffle-merge")
    return 2 if commands is None else commands.merge_main()


def _commands(program: str) -> Any:
    """Import the commands; None, after one line on stderr, where that fails, as it does without memory."""
    _end_quietly_when_interrupted()
    try:
        from shuffle import cli
    except (ImportError, MemoryError, OSError) as error:  # Python's own exit code, 1, would mean damage
        reason = "out of memory" if isinstance(error, MemoryError) else str(error).strip().splitlines()[-1]
        sys.stderr.write(f"{program}: error: cannot start: {reason}\n")
        return None
    return cli


def _end_quietly_when_interrupted() -> None:
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
