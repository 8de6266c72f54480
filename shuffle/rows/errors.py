"""The error of inputs: a file, a column or a condition that rows cannot be read by."""
# PURE

from __future__ import annotations


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
