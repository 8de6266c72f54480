"""The error of inputs: a file, a column or a condition that rows cannot be read by."""
# PURE

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Inputs cannot be read as asked; the message names the file or the column, what was expected and what is there.

    Attributes:
        problem: the message without the argument's name.
        argument: the argument at fault, as the function calls it, or None.
    """

    def __init__(self, problem: str, argument: str | None = None) -> None:
        self.problem = problem
        self.argument = argument
        super().__init__(problem if argument is None else f"{argument}: {problem}")


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Let an error of Arrow's that names no file name the one that is read."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, MemoryError) or file in str(error):
            raise
        raise InputError(f"{file}: {error}") from error
