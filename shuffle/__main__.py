"""Where the commands ``shuffle`` and ``shuffle-merge`` begin, and ``python -m shuffle``.

Ctrl-C while modules are imported ends quietly: until a command runs, nothing has to be cleaned up.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run ``shuffle``; the exit code."""
    _end_quietly_when_interrupted()
    from shuffle import cli

    return cli.main()


def merge_main() -> int:
    """Run ``shuffle-merge``; the exit code."""
    _end_quietly_when_interrupted()
    from shuffle import cli

    return cli.merge_main()


def _end_quietly_when_interrupted() -> None:
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
