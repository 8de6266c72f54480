"""What every command owes its terminal: errors and warnings in one line, exit codes, signals, progress bars.

Nothing here knows what any command does.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from shuffle.rows.errors import InputError
from shuffle.warning import warn
from spill_format.errors import SpillError, in_words, naming
from spill_format.warning import SpillWarning

if TYPE_CHECKING:
    import logging

EXIT_DAMAGED = 1
EXIT_ERROR = 2
EXIT_CODES = {"ok": 0, "unfit": EXIT_DAMAGED, "damaged": EXIT_DAMAGED, "unreadable": EXIT_ERROR}
"""By the state of files."""

_KEYWORD = re.compile(r'\b(?P<name>[a-z_]+)=(?P<value>True|"[^"]*")')
"""An option in the advice of an error or a warning, which a function's caller gives as a keyword."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_EXPLAINED = (SpillError, ValueError, OSError, ModuleNotFoundError)  # say what there is to say; the last of an extra


class _Stderr:
    """Stderr whose failures nobody hears of: where its disk is full there is nowhere to say so, and the exit code stays
    true.

    Attributes:
        program: the name that the command was called by, with which lines begin.
    """

    program = "shuffle"

    def write(self, text: str) -> None:
        with suppress(OSError):
            if sys.stderr is not None:
                sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            if sys.stderr is not None:
                sys.stderr.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(sys.stderr, name)


_STDERR = _Stderr()


class InterruptedBySignalError(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: the command gives up, and whatever it holds is released on the way out."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


def run(command: click.Command, program: str, arguments: Sequence[str] | None) -> int:
    """Run a command and report how it ended, in one line on stderr where it did not end well; the exit code.

    That is what the command returns (None is 0), 2 after an error, 128 and the signal's number after a signal.
    Where the shell asks what a word could become, that is answered instead.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _STDERR.program = program
    # Looked for here, since the parsing of arguments may be what fails.
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file's name need not be text that the terminal can show
            stream.reconfigure(errors="backslashreplace")
    # As click has it: _SHUFFLE_COMPLETE=bash_source shuffle, which the shell then asks for each word.
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    if instruction := os.environ.get(variable):
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, program, variable, instruction)
    with _signals_raised(), _warnings_in_one_line():
        try:
            # Not command.main(), which answers a closed pipe and Ctrl-C with an exit code that means damage here.
            with command.make_context(program, arguments) as context:
                code: int | None = command.invoke(context)
            if sys.stdout is not None:
                with naming("stdout"):
                    sys.stdout.flush()
            return code or 0
        except click.exceptions.Exit as finished:
            return finished.exit_code
        except BaseException as error:  # noqa: BLE001 (the end of every error's way)
            return _report(error, debug=debug)


def say(line: str, colour: str | None = None) -> None:
    """Print one line on stderr, above the progress bar where there is one."""
    line = _one_line(line)
    if colour is not None:
        line = coloured(line, colour, err=True)
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(line, file=_STDERR)
    else:
        _STDERR.write(f"{line}\n")
        _STDERR.flush()


def say_error(message: str) -> None:
    """Print an error's one line, which begins with the program's name."""
    say(f"{_STDERR.program}: error: {message}", "red")


def say_warning(message: str) -> None:
    """Print a warning's one line."""
    say(f"{_STDERR.program}: warning: {message}", "yellow")


def say_result(line: str, bar_shown: bool) -> None:
    """Print one line on stdout, above the progress bar where both share a terminal."""
    line = escaped(line)
    if bar_shown:
        from tqdm import tqdm

        tqdm.write(line)
    else:
        click.echo(line)


def coloured(text: str, colour: str, *, err: bool = False) -> str:
    """``text`` in a colour, where stdout, or stderr, is a terminal and nobody asked for none (https://no-color.org)."""
    stream = sys.stderr if err else sys.stdout
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or stream is None or not stream.isatty():
        return text
    return click.style(text, fg=colour)


def standard_output() -> BinaryIO:
    """Stdout for bytes.

    Raises:
        OSError: it was closed by whoever started this process.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "stdout")
    return sys.stdout.buffer


@contextmanager
def progress_bar(total: int | None, unit: str, description: str, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; yields the function that advances it, which any thread may call.

    Args:
        total: how far it goes, or None where that is not known.
        unit: ``"B"`` counts in KiB, MiB, …; any other in thousands.
        description: stands before the bar.
        shown: off, nothing is printed or imported.
    """
    if not shown:
        yield lambda _count: None
        return
    from tqdm import tqdm

    lock = threading.Lock()
    with tqdm(
        total=total,
        unit=unit,
        unit_scale=True,
        unit_divisor=1024 if unit == "B" else 1000,
        desc=description,
        dynamic_ncols=True,
        leave=False,
        file=_STDERR,
    ) as bar:

        def advance(count: int) -> None:
            with lock:
                bar.update(count)

        yield advance


def describe(error: BaseException) -> str:
    """An error in words that a command's user understands: the file first, flags instead of keywords."""
    match error:
        case click.UsageError():
            hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
            text = error.format_message().removesuffix(".") + hint
        case click.ClickException():
            text = error.format_message()
        case OSError(strerror=str()) | MemoryError():
            text = in_words(error)
        case InputError(argument=str() as argument):
            text = f"--{argument.replace(' ', '-')}: {error.problem}"
        case SpillError(advice=str() as advice):
            text = str(error).removesuffix(advice) + _KEYWORD.sub(_flag_of, advice)
        # Arrow's errors are told from their module, so that nobody imports it to ask.
        case _ if isinstance(error, _EXPLAINED) or type(error).__module__.startswith("pyarrow"):
            text = str(error)
        case _:
            text = f"unexpected {type(error).__name__}: {error}; this is a defect of shuffle: --debug shows where"
    return text


def _flag_of(keyword: re.Match[str]) -> str:
    flag = f"--{keyword['name'].replace('_', '-')}"
    return flag if keyword["value"] == "True" else f"{flag} {keyword['value'].strip(chr(34))}"


def log_format(form: str) -> logging.Formatter:
    """What writes a line for each record of a log, with nothing in its message that a terminal would obey."""
    import logging

    class Lines(logging.Formatter):
        def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- as logging has it
            record.message = _one_line(record.message)
            return super().formatMessage(record)

    return Lines(form)


@contextmanager
def logged_to(path: str | None) -> Iterator[None]:
    """Append what the library logs, and an error, to a file; None logs nothing.

    A log that cannot be written, as on a full disk, is one warning: the command goes on.
    """
    if path is None:
        yield
        return
    import logging

    class Handler(logging.FileHandler):
        """A file of lines, which ends with the first line that cannot be written."""

        def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 -- as logging has it
            """Say why the log ends here."""
            if self in logger.handlers:
                logger.removeHandler(self)
                warn(f"{path}: the log could not be written: {in_words(cast(Exception, sys.exception()))}")

        def close(self) -> None:
            """Close the file; what it still buffers is lost with the lines before, of which a warning told."""
            with suppress(OSError):
                super().close()

    handler = Handler(path, encoding="utf-8")
    handler.setFormatter(log_format("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("shuffle")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except Exception as error:
        logger.error("%s", describe(error))  # noqa: TRY400 -- a line, as on stderr
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def _report(error: BaseException, *, debug: bool) -> int:
    if isinstance(error, BrokenPipeError):
        _abandon_standard_output()
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError) and error.filename is None and _is_of_echo(error):
        error.filename = "stdout"
    if isinstance(error, OSError) and error.filename == "stdout":
        _abandon_standard_output()
    if debug:
        traceback.print_exception(error)
    if isinstance(error, InterruptedBySignalError):
        say(f"{_STDERR.program}: {'interrupted' if error.signal_number == signal.SIGINT else 'terminated'}")
        return 128 + error.signal_number
    say_error(describe(error).removesuffix("."))
    return EXIT_ERROR


def _is_of_echo(error: OSError) -> bool:
    """Whether ``click.echo`` raised it, which prints on stdout here and does not say so."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__") == "click.utils"


def _one_line(text: str) -> str:
    """``text`` without line breaks, and with nothing that a terminal would obey."""
    return escaped(" ".join(part.strip() for part in text.splitlines() if part.strip()))


def escaped(text: str) -> str:
    """``text``, a file's name for example, with nothing that a terminal would obey and no line breaks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _abandon_standard_output() -> None:
    """Make the flush at exit succeed: that stdout takes no more was said, or is the reader's right (``| head``)."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise ``InterruptedBySignalError``; from then on both are ignored, since a second one would
    interrupt the cleaning up after the first."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    caught = [number for number in _SIGNALS if before[number] != signal.SIG_IGN]  # nohup, background jobs

    def handle(signal_number: int, _frame: FrameType | None) -> None:
        for number in caught:
            signal.signal(number, signal.SIG_IGN)
        raise InterruptedBySignalError(signal_number)

    for number in caught:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    def show(message: Warning | str, *_: object, **__: object) -> None:
        problem, semicolon, advice = str(message).rpartition("; ")
        say_warning(problem + semicolon + _KEYWORD.sub(_flag_of, advice))

    with warnings.catch_warnings():
        warnings.simplefilter("always", SpillWarning)
        warnings.showwarning = show
        yield
