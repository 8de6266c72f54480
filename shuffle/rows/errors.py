"""The error of inputs: a file, a column or a condition that rows cannot be read by."""


class InputError(ValueError):
    """Inputs cannot be read as asked; the message names the file or the column, what was expected and what is there."""
