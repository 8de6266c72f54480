"""The words of a condition on rows, and the error that shows a place among them; ``row_filter.py`` has the grammar."""
# PURE

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, NamedTuple

from shuffle.rows.errors import InputError

KEYWORDS = frozenset({"and", "or", "not", "in", "between", "like", "is", "null", "true", "false"})
"""In any case; a column of such a name is written in double quotes."""

_TOKEN = re.compile(
    r"""
    (?P<number> [+-]? (?: \d+ (?: \. \d* )? | \. \d+ ) (?: [eE] [+-]? \d+ )? )
    | (?P<text> ' (?: [^'] | '' )* ' )
    | (?P<name> " (?: [^"] | "" )* " )
    | (?P<word> [^\W\d] \w* )
    | (?P<symbol> <= | >= | <> | != | == | [=<>(),] )
    """,
    re.VERBOSE,
)
_SPACE = re.compile(r"\s*")
_SHOWN_CHARACTERS = 40  # on each side of the place


class RowFilterError(InputError):
    """A condition cannot be understood, or not on these rows: the place, what was expected there and what is there."""

    def __init__(self, source: str, position: int, expected: str, actual: str, advice: str | None = None) -> None:
        before, behind = source[:position], source[position:]
        if len(before) > _SHOWN_CHARACTERS:
            before = "…" + before[-_SHOWN_CHARACTERS:]
        if len(behind) > _SHOWN_CHARACTERS:
            behind = behind[:_SHOWN_CHARACTERS] + "…"
        sentence = f"at character {position + 1}, {before}[here]{behind}: expected {expected}, found {actual}"
        super().__init__(f"{sentence}; {advice}" if advice else sentence, "where")


class Token(NamedTuple):
    """One word of a condition.

    Attributes:
        kind: ``name`` is one in double quotes, ``end`` stands behind the last token.
        text: as it is written.
        position: of its first character in ``source``.
        source: the whole condition.
    """

    kind: Literal["number", "text", "name", "word", "symbol", "end"]
    text: str
    position: int
    source: str

    @property
    def keyword(self) -> str | None:
        """The keyword in lower case, or None."""
        word = self.text.lower()
        return word if self.kind == "word" and word in KEYWORDS else None

    @property
    def name(self) -> str | None:
        """The name of a column, or None."""
        if self.kind == "name":
            return _unquoted(self.text)
        return self.text if self.kind == "word" and self.keyword is None else None

    @property
    def value(self) -> str | bool | Decimal | None:
        """The value that the token stands for, or None."""
        if self.kind == "number":
            return Decimal(self.text)
        if self.kind == "text":
            return _unquoted(self.text)
        return {"true": True, "false": False}.get(self.keyword or "")

    def error(self, expected: str, actual: str | None = None, advice: str | None = None) -> RowFilterError:
        """Make the error for a place where something else was expected; ``actual`` is the token itself by default."""
        found = "the end" if self.kind == "end" else self.text
        return RowFilterError(self.source, self.position, expected, actual or found, advice)


def tokens_of(source: str) -> Iterator[Token]:
    """Give all tokens in order, and the token that stands for the end.

    Raises:
        RowFilterError: a character begins no token.
    """
    position = _end_of_space(source, 0)
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            character = source[position]
            if character in "'\"":
                raise RowFilterError(source, position, f"a closing {character}", "none")
            advice = 'a name with other characters than letters, digits and _ is written "so"'
            raise RowFilterError(source, position, "a name, a value or a sign", repr(character), advice)
        kind = match.lastgroup
        assert kind is not None
        yield Token(kind, match.group(), position, source)  # type: ignore[arg-type]  # the groups are the kinds
        position = _end_of_space(source, match.end())
    yield Token("end", "", len(source), source)


def _end_of_space(source: str, position: int) -> int:
    space = _SPACE.match(source, position)
    assert space is not None
    return space.end()


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)
