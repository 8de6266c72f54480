"""Conditions on rows, as ``--where`` takes them, become Arrow expressions.

    condition  = all-of { OR all-of }                                         of at most 1,000 tests
    all-of     = negatable { AND negatable }
    negatable  = { NOT } ( "(" condition ")" | test )
    test       = operand ( = | == | != | <> | < | <= | > | >= ) operand       one of them, or both, a column
               | column [ NOT ] IN "(" value { "," value } ")"
               | column [ NOT ] BETWEEN value AND value
               | column [ NOT ] LIKE text
               | column IS [ NOT ] NULL
               | column                                                       of booleans
    value      = number | 'text' | TRUE | FALSE

Nothing else is understood, and nothing is evaluated here. Arrow has no parser of its own, and those of SQL take far
more than can be pushed down to a scan. Nulls count as in SQL: a comparison with null is neither true nor false, and
only rows for which the whole is true pass. NaN is compared as null is.
"""
# PURE

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from shuffle.rows.errors import InputError
from shuffle.rows.row_filter_tokens import Token, tokens_of

_COMPARISONS: dict[str, Callable[[pc.Expression, pc.Expression], pc.Expression]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_PLAIN_TYPES = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
_VALUE = "a number, a text in '…', TRUE or FALSE"
_INTEGER_DIGITS = 20  # of the largest uint64
_MOST_NESTED = 100  # parentheses: this parser and Arrow call themselves for each
# Arrow takes time that grows with their square, and calls itself for each: 10,000 overflow the stack.
_MOST_TESTS = 1000


class RowFilter(NamedTuple):
    """A condition as Arrow's expression, and the columns that it needs."""

    expression: pc.Expression
    columns: list[str]


def row_filter_of(condition: str | pc.Expression, schema: pa.Schema) -> RowFilter:
    """Make the filter that is true for the rows that a condition means.

    Args:
        condition: text, as the module says, or an expression, which has Arrow's meaning.
        schema: of the rows as they are stored, though views may be read as plain values. In text, a value must be one
            of its column's type; dates and timestamps are written as text.

    Raises:
        InputError: the text is not a condition, or the condition does not fit such rows; the message shows the place.
        TypeError: the condition is neither text nor an expression.
    """
    if isinstance(condition, pc.Expression):
        return _filter_of_expression(condition, schema)
    if not isinstance(condition, str):
        raise TypeError(f"where must be text or a pyarrow.compute.Expression, not {condition!r}")
    parser = _Parser(condition, schema)
    return RowFilter(parser.parsed(), list(parser.columns))


def _filter_of_expression(expression: pc.Expression, schema: pa.Schema) -> RowFilter:
    def problem_with(fields: Sequence[pa.Field]) -> pa.ArrowException | None:
        try:
            pa.schema(fields).empty_table().filter(expression)
        except pa.ArrowException as error:
            return error
        return None

    def needed(fields: Sequence[pa.Field], others: Sequence[pa.Field]) -> list[pa.Field]:
        """The fewest of these fields that the expression needs beside others; Arrow does not tell which it names."""
        if problem_with(others) is None:
            return []
        if len(fields) == 1:
            return list(fields)
        half = len(fields) // 2
        first = needed(fields[:half], [*others, *fields[half:]])
        return first + needed(fields[half:], [*others, *first])

    readable = [field.with_type(_PLAIN_TYPES.get(field.type, field.type)) for field in schema]
    if (error := problem_with(readable)) is not None:
        raise InputError(f"the expression does not fit the columns: {error}", "where") from error
    return RowFilter(expression, [field.name for field in needed(readable, [])])


class _Condition(NamedTuple):
    """What is true where a condition holds, and where it fails: of a null neither need be."""

    holds: pc.Expression
    fails: pc.Expression

    def negated(self) -> _Condition:
        return _Condition(self.fails, self.holds)


class _Column(NamedTuple):
    token: Token
    field: pa.Field

    @property
    def expression(self) -> pc.Expression:
        field = pc.field(self.field.name)
        # Arrow compares values with the statistics of Parquet's row groups, and cannot where these are views.
        return field.cast(self.value_type) if self.field.type in _PLAIN_TYPES else field

    @property
    def plain(self) -> pc.Expression:
        """Its values, not dictionary-encoded."""
        return self.expression.cast(self.value_type) if self.value_type != self.field.type else self.expression

    @property
    def value_type(self) -> pa.DataType:
        """The type of its values, which may be dictionary-encoded or views."""
        kind = self.field.type
        return _PLAIN_TYPES.get(kind, kind.value_type if pa.types.is_dictionary(kind) else kind)


class _Parser:
    """Recursive descent: a method for each rule of the grammar."""

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self._schema = schema
        self._tokens = tokens_of(text)
        self._next = next(self._tokens)
        self._depth = self._test_count = 0
        self.columns: dict[str, None] = {}  # those named so far, in order

    def parsed(self) -> pc.Expression:
        condition = self._condition()
        if self._next.kind != "end":
            raise self._next.error("AND, OR or the end")
        return condition.holds

    def _condition(self) -> _Condition:
        parts = [self._all_of()]
        while self._takes("or"):
            parts.append(self._all_of())
        return _Condition(
            _joined(operator.or_, [p.holds for p in parts]), _joined(operator.and_, [p.fails for p in parts])
        )

    def _all_of(self) -> _Condition:
        parts = [self._negatable()]
        while self._takes("and"):
            parts.append(self._negatable())
        return _Condition(
            _joined(operator.and_, [p.holds for p in parts]), _joined(operator.or_, [p.fails for p in parts])
        )

    def _negatable(self) -> _Condition:
        is_negated = False
        while self._takes("not"):
            is_negated = not is_negated
        condition = self._parenthesized() if self._next.text == "(" else self._test()
        return condition.negated() if is_negated else condition

    def _parenthesized(self) -> _Condition:
        if self._depth == _MOST_NESTED:
            raise self._next.error(f"at most {_MOST_NESTED} parentheses in each other")
        self._take()
        self._depth += 1
        condition = self._condition()
        self._depth -= 1
        self._expect(")", "AND, OR or )")
        return condition

    def _test(self) -> _Condition:
        self._test_count += 1
        if self._test_count > _MOST_TESTS:
            raise self._next.error(f"at most {_MOST_TESTS} tests", advice="IN (…) takes any number of values")
        left = self._take()
        if left.value is not None:
            return self._comparison(left)
        column = self._column(left, f"a condition: a column, NOT, ( or {_VALUE}")
        if self._next.text in _COMPARISONS:
            return self._comparison(left)
        if self._takes("is"):
            is_negated = self._takes("not")
            self._expect("null", "NULL" if is_negated else "NULL or NOT NULL")
            condition = _Condition(column.expression.is_null(), column.expression.is_valid())
        else:
            is_negated = self._takes("not")
            condition = self._test_of_values(column, is_negated=is_negated)
        return condition.negated() if is_negated else condition

    def _test_of_values(self, column: _Column, *, is_negated: bool) -> _Condition:
        if self._takes("in"):
            return self._membership(column)
        if self._takes("between"):
            least = self._value(column)
            self._expect("and", "AND")
            most = self._value(column)
            is_between = (column.expression >= least) & (column.expression <= most)
            return _opposites(_checked(is_between, "BETWEEN", [column]), [column])
        if self._takes("like"):
            return self._likeness(column)
        if is_negated:
            raise self._next.error("IN, BETWEEN or LIKE")
        if pa.types.is_boolean(column.field.type):
            return _opposites(column.expression, [column])
        raise self._next.error("a comparison, IN, BETWEEN, LIKE or IS")

    def _comparison(self, left: Token) -> _Condition:
        sign = self._take()
        if sign.text not in _COMPARISONS:
            raise sign.error("a comparison")
        right = self._take()
        if right.keyword == "null":
            raise right.error(f"a column, {_VALUE}", advice="IS NULL asks for nulls")
        if left.value is None and right.value is None:
            columns = [self._column(side, f"a column, {_VALUE}") for side in (left, right)]
            sides = [column.expression for column in columns]
        elif left.value is None:
            columns = [self._column(left)]
            sides = [columns[0].expression, _value_of(right, columns[0])]
        else:
            columns = [self._column(right, "a column, for a value is on the other side")]
            sides = [_value_of(left, columns[0]), columns[0].expression]
        return _opposites(_checked(_COMPARISONS[sign.text](*sides), sign.text, columns), columns)

    def _membership(self, column: _Column) -> _Condition:
        self._expect("(", "(")
        values = [self._value(column)]
        while self._takes(","):
            values.append(self._value(column))
        self._expect(")", ", or )")
        is_among = _checked(column.expression.isin(pa.array(values, column.value_type)), "IN", [column])
        # Arrow answers false for a null, which is right until it is negated.
        return _opposites(is_among, [column], column.expression.is_valid())

    def _likeness(self, column: _Column) -> _Condition:
        pattern = self._take()
        if pattern.kind != "text":
            raise pattern.error("a pattern in '…'")
        # Unlike comparisons, it has no kernel for dictionaries.
        return _opposites(_checked(pc.match_like(column.plain, pattern.value), "LIKE", [column]), [column])

    def _value(self, column: _Column) -> pa.Scalar:
        return _value_of(self._take(), column)

    def _column(self, token: Token, expected: str = "a column") -> _Column:
        """The column that a token names; it is there once."""
        if token.name is None:
            raise token.error(expected)
        positions = self._schema.get_all_field_indices(token.name)
        if len(positions) != 1:
            there = f"one of the columns {', '.join(self._schema.names)}"
            actual = f"{token.text}, which {len(positions)} columns are called" if positions else None
            advice = "text is written '…'" if token.kind == "name" else None
            raise token.error(there, actual, advice)
        self.columns[token.name] = None
        return _Column(token, self._schema.field(positions[0]))

    def _take(self) -> Token:
        token = self._next
        self._next = token if token.kind == "end" else next(self._tokens)
        return token

    def _takes(self, word: str) -> bool:
        """Go on if the next token is this keyword or sign."""
        if self._next.keyword != word and (self._next.kind != "symbol" or self._next.text != word):
            return False
        self._take()
        return True

    def _expect(self, word: str, expected: str) -> None:
        if not self._takes(word):
            raise self._next.error(expected)


def _joined(
    join: Callable[[pc.Expression, pc.Expression], pc.Expression], parts: Sequence[pc.Expression]
) -> pc.Expression:
    """All parts as a tree of the least depth, since Arrow calls itself for each level."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return join(_joined(join, parts[:half]), _joined(join, parts[half:]))


def _opposites(expression: pc.Expression, columns: Sequence[_Column], *others: pc.Expression) -> _Condition:
    """Of an expression on columns that is null for nulls, or else of others that have to be true, too."""
    # Neither holds for NaN: Parquet's statistics leave it out, and row groups that have it would be passed over.
    floating = [column for column in columns if pa.types.is_floating(column.value_type)]
    needed = [*others, *(~pc.is_nan(column.plain) for column in floating)]
    return _Condition(_joined(operator.and_, [expression, *needed]), _joined(operator.and_, [~expression, *needed]))


def _checked(expression: pc.Expression, sign: str, columns: Sequence[_Column]) -> pc.Expression:
    """The expression, if Arrow has one for the types of these columns."""
    fields = {column.field.name: column.field for column in columns}
    try:
        pa.schema(fields.values()).empty_table().filter(expression)
    except pa.ArrowException as error:
        kinds = " and ".join(f"{name} is {field.type}" for name, field in fields.items())
        raise columns[-1].token.error(f"values that {sign} takes", kinds) from error
    return expression


def _value_of(token: Token, column: _Column) -> pa.Scalar:
    """The value that a token stands for, as one of the column: exactly, or nearest where those are floating-point."""
    if token.value is None:
        raise token.error(_VALUE)
    value, reason = None, None
    try:
        value = _converted(token.value, column.value_type)
    except (pa.ArrowException, OverflowError) as error:
        reason = error
    if value is None:
        example = _example(column.value_type)
        advice = None if example is None else f"such a value is written as '{example}'"
        raise token.error(f"a value of {column.field.name}, which is {column.value_type}", advice=advice) from reason
    return value


def _example(kind: pa.DataType) -> str | None:
    """Of values that are written as text, and not as any text."""
    if pa.types.is_timestamp(kind):
        return "2024-01-31 12:00:00" if kind.tz is None else "2024-01-31T12:00:00Z"
    return "2024-01-31" if pa.types.is_date(kind) else None


def _converted(value: str | bool | Decimal, kind: pa.DataType) -> pa.Scalar | None:
    """A value in the type of a column; None where it is of another sort, and Arrow's error where Arrow finds that."""
    is_decimal, is_integer, is_floating = (
        test(kind) for test in (pa.types.is_decimal, pa.types.is_integer, pa.types.is_floating)
    )
    if isinstance(value, bool):
        return pa.scalar(value) if pa.types.is_boolean(kind) else None
    if isinstance(value, str):
        # Arrow would take a text for a number.
        is_other = is_decimal or is_integer or is_floating or pa.types.is_boolean(kind)
        return None if is_other else pa.scalar(value).cast(kind)
    if is_floating:
        return pa.scalar(float(value)).cast(kind)
    if is_decimal:
        return pa.scalar(value, kind)
    # The size is looked at first, since 1e999999999 is a number that nobody should write out.
    is_whole = is_integer and value.adjusted() < _INTEGER_DIGITS and value == int(value)
    return pa.scalar(int(value), kind) if is_whole else None
