"""Options that several commands share, and how sizes are read; each group of options becomes one object."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, get_args

import click

from shuffle.numbering import Numbers, parse_numbers
from shuffle.option_kinds import parse_size
from shuffle.options import METHOD_NAMES, MergeOptions, TransferTo
from shuffle.wording import sized

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
Function = TypeVar("Function", bound=Callable[..., Any])

CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PATH = click.Path(readable=False)
"""Any path: what is wrong with a file is best said by whoever opens it."""


SECONDS = click.FloatRange(min=0, min_open=True)


class Size(click.ParamType[int]):
    """A number of bytes, as ``parse_size`` reads it: ``1048576``, ``1024KiB``, ``1 MiB``, ``64M``, ``0.5gib``."""

    name = "size"

    def __init__(self, minimum: int = 0) -> None:
        self.minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes; raise click's usage error if the text is not a size, or the size is too small."""
        try:
            byte_count = parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if byte_count < self.minimum:
            self.fail(f"{value!r} is too small: the least is {sized(self.minimum)}", param, ctx)
        return byte_count


class Partitions(click.ParamType[Numbers]):
    """Numbers of partitions or chunks, as ``parse_numbers`` reads them.

    Args:
        noun: word for a numbered thing, such as ``partition``.
        neighbours: accept only one number, or one range of numbers.
    """

    name = "partitions"

    def __init__(self, noun: str = "partition", *, neighbours: bool = False) -> None:
        self._noun = noun
        self._neighbours = neighbours

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Numbers:
        """Return pairs ``(start, stop)``; raise click's usage error if the text is not a list of numbers."""
        try:
            numbers = parse_numbers(value, self._noun) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._neighbours and (len(numbers) > 1 or numbers[0][1] is None):
            self.fail(f"{value!r} is neither one {self._noun}, as 3, nor neighbours, as 3-6", param, ctx)
        found: Numbers = numbers
        return found


@dataclass(frozen=True, slots=True)
class Output:
    """What a command prints besides its data.

    Attributes:
        quiet: print no line about success, and no progress bar.
        progress: whether to show a progress bar; None if no option said.
    """

    quiet: bool
    progress: bool | None

    @property
    def bar_shown(self) -> bool:
        """Whether to show a progress bar: as the option says, else if stderr is a terminal."""
        if self.progress is not None:
            return self.progress
        return not self.quiet and sys.stderr is not None and sys.stderr.isatty()


debug_option: Decorator = click.option(
    "--debug", is_flag=True, expose_value=False, help="Print the traceback of an error, too."
)
version_option: Decorator = click.version_option(package_name="shuffle-merge", message="%(package)s %(version)s")
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def output_options(function: Function) -> Callable[..., Any]:
    """Options --quiet, --progress, --debug; the command gets them as ``output``."""

    @click.option("--quiet", is_flag=True, help="Print nothing but data, warnings and errors.")
    @click.option(
        "--progress/--no-progress",
        default=None,
        help="Show a progress bar on stderr.  [default: on when stderr is a terminal]",
    )
    @debug_option
    @functools.wraps(function)
    def with_output(*arguments: Any, quiet: bool, progress: bool | None, **others: Any) -> Any:
        return function(*arguments, output=Output(quiet, progress), **others)

    return with_output


threads_option: Decorator = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads at work.  [default: one a core, at most 4]",
)


def target_options(
    function: Callable[..., Any], threads_option: Callable[[Callable[..., Any]], Callable[..., Any]] = threads_option
) -> Callable[..., Any]:
    """Options of a target and of how files are merged into it; the command gets each by its name."""
    for option in (
        threads_option,
        click.option(
            "--method",
            type=click.Choice(("auto", *METHOD_NAMES)),
            help="Copy method to begin with. Where the kernel refuses a method, the next one copies.  [default: auto]",
        ),
        click.option(
            "--transfer-to",
            type=click.Choice(get_args(TransferTo)),
            help="Copy inside the kernel. auto: yes, and if the kernel misplaces bytes, copy again through buffers; "
            "on: yes, and misplaced bytes are an error; off: no.  [default: $SHUFFLE_TRANSFER_TO, or auto]",
        ),
        click.option(
            "--verify", is_flag=True, help="Read OUT again before it appears, and compare it with what was written."
        ),
        click.option("--durable", is_flag=True, help="Wait until OUT is safe on the disk (fsync)."),
        click.option(
            "--overwrite",
            is_flag=True,
            help="Replace OUT if it exists; keep its permissions. Of a link, what it leads to is replaced.",
        ),
    ):
        function = option(function)
    return function


def merge_options(function: Function) -> Callable[..., Any]:
    """Options of a merge and of its target; the command gets them as ``options``, a ``MergeOptions``."""

    @target_options
    @functools.wraps(function)
    def with_options(*arguments: Any, **others: Any) -> Any:
        names = ("overwrite", "durable", "verify", "transfer_to", "method", "threads")
        values = {name: others.pop(name) for name in names}
        return function(*arguments, options=MergeOptions(**given(values)), **others)

    return with_options


def given(values: Mapping[str, Any]) -> Any:
    """The options given on the command line; an option that was not given keeps its default."""
    return {name: value for name, value in values.items() if value is not None}
