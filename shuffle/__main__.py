"""Where the commands ``shuffle`` and ``shuffle-merge`` begin, and ``python -m shuffle``.

Ctrl-C while modules are imported ends quietly: until a command runs, nothing has to be cleaned up.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
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
    _look_for_garbage_seldom()
    _fill_standard_streams()
    sys.meta_path.insert(0, _WithoutPandas())
    try:
        from shuffle import cli
    except (ImportError, MemoryError, OSError) as error:  # Python's own exit code, 1, would mean damage
        reason = "out of memory" if isinstance(error, MemoryError) else str(error).strip().splitlines()[-1]
        sys.stderr.write(f"{program}: error: cannot start: {reason}\n")
        return None
    return cli


class _WithoutPandas(MetaPathFinder):
    """No command uses pandas, which pyarrow imports where it is installed: a quarter of a second, and 26 MiB."""

    def find_spec(self, name: str, *_others: object) -> ModuleSpec | None:
        """Refuse pandas; leave all else to others."""
        if name == "pandas":
            raise ModuleNotFoundError("commands do without pandas", name=name)
        return None


def _look_for_garbage_seldom() -> None:
    """Of what is imported nothing becomes garbage, and what is left when a command ends the system takes back: looking
    for circles in it took a tenth of the time of a small command."""
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def _end_quietly_when_interrupted() -> None:
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _fill_standard_streams() -> None:
    """Let no file take the descriptor of a standard stream that was closed: what is printed would go into the file."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest descriptor that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (to write to it is an error, as on a full disk)


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
