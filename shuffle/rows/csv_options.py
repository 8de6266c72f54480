"""How CSV files are written that are read: options, and what they refuse."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field

from shuffle.option_kinds import Flag, Text, Texts, check_options


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvOptions:
    """How the CSV files are written that are read.

    Attributes:
        delimiter: the character between values.
        header: whether the first line has the columns' names. Without names columns are f0, f1, ….
        nulls: texts that stand for null unless they are quoted; the default is an empty field. A quoted empty field
            is an empty text.
        types: types of columns by name: ``"string"``, ``"decimal(15,2)"``, … or a ``pyarrow.DataType``. Other types are
            guessed from the first MiB of the first file. Where a number would change a text (007, or more digits than
            the number holds), the column is text, with a warning.
        encoding: encoding of the text, as Python names it: utf-8, latin-1, cp1252, ….
    """

    delimiter: Text = ","
    header: Flag = True
    nulls: Texts = ("",)
    types: Mapping[str, object] = field(default_factory=dict)
    encoding: Text = "utf-8"

    def __post_init__(self) -> None:
        check_options(self)
        if len(self.delimiter.encode()) != 1 or self.delimiter in '"\r\n':
            raise ValueError(f"delimiter must be one ASCII character, not {self.delimiter!r}")
        if not isinstance(self.types, Mapping):
            raise TypeError(f"types must be a mapping of columns to types, not {self.types!r}")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(f"encoding must be one that Python knows, not {self.encoding!r}") from None
