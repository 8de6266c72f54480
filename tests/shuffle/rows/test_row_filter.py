"""Conditions on rows: what passes is what a database says, and what cannot be meant is told with its place."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuffle.rows.errors import InputError
from shuffle.rows.row_filter import row_filter_of
from shuffle.rows.row_filter_tokens import RowFilterError

HOURS = [None, *(datetime(2024, 1, 31, hour, tzinfo=UTC) for hour in range(1, 6))]
PRICES = [Decimal("1.50"), None, Decimal("2.55"), Decimal(0), Decimal(-3), Decimal(10)]
ROWS = pa.table(
    {
        "row": range(6),
        "small": pa.array([1, 2, 3, None, -4, 127], pa.int8()),
        "unsigned": pa.array([0, 2**64 - 1, None, 1, 2, 3], pa.uint64()),
        "ratio": pa.array([0.1, 2.5, None, -1.0, 0.0, 1e30], pa.float32()),
        "half": pa.array([None] * 6, pa.float16()),
        "price": pa.array(PRICES, pa.decimal128(15, 2)),
        "mode": ["AIR", "RAIL", None, "", "it's", "50%"],
        "kind": pa.array(["a", "b", None, "a", "c", "b"]).dictionary_encode(),
        "day": [date(1995, 1, 1), date(1994, 12, 31), None, date(1970, 1, 1), date(1995, 1, 2), None],
        "time": pa.array(HOURS, pa.timestamp("us")),
        "instant": pa.array(HOURS, pa.timestamp("ms", "UTC")),
        "is_new": [True, False, None, True, False, None],
        "raw": [b"a", b"\x00", None, b"", b"b", b"c"],
        "list": [[1], [], None, [2, 3], [None], [1]],
        "größe": [1, 2, 3, 4, 5, None],
        "with space.dot": [1, 2, 3, 4, 5, None],
        'with "quotes"': [1, 2, 3, 4, 5, None],
        "in": [1, 2, 3, 4, 5, None],
    }
)


def passing(condition: str) -> list[int]:
    rows: list[int] = ROWS.filter(row_filter_of(condition, ROWS.schema).expression)["row"].to_pylist()
    return rows


def passing_in_duckdb(condition: str) -> list[int]:
    rows = ROWS.drop_columns("half")  # noqa: F841 (duckdb finds it by its name, and has no such type)
    selected = duckdb.execute(f"select row from rows where {condition} order by row").fetchall()
    return [row for (row,) in selected]


CONDITIONS = [
    "small = 1", "small == 1", "small != 1", "small <> 1", "small < 2", "small <= 2", "small > 2", "small >= 2",
    "2 < small", "small = -4", "small = 1.0", "small > 1e1", "unsigned = 18446744073709551615", "ratio = 0.1",
    "ratio > 1e29", "ratio < .5", "price = 1.5", "price >= 2.55", "price > 1e0", "mode = 'AIR'", "mode = ''",
    "mode = 'it''s'", "mode > 'A'", "kind = 'a'", "kind <> 'a'", "kind > 'a'", "day < '1995-01-01'",
    "day >= '1995-01-01' and day < '1995-01-02'", "time > '2024-01-31 02:00:00'", "time < '2024-02-01'",
    "instant >= '2024-01-31T03:00:00Z'", "instant = '2024-01-31T04:00:00+01:00'", "is_new", "not is_new",
    "is_new = true", "is_new <> TRUE", "false = is_new", "raw = 'b'", "small in (1, 3, 99)", "small not in (1, 3)",
    "not small in (1, 3)", "kind in ('a')", "kind not in ('a', 'b')", "price in (1.5, 10)", "day in ('1995-01-01')",
    "mode in ('AIR', 'RAIL') and small = 2", "small between 2 and 3", "small not between 2 and 3",
    "not (small between 2 and 3)", "day between '1970-01-01' and '1994-12-31'", "mode like 'A%'", "mode like '_AIL'",
    "mode not like '%I%'", "kind like 'a%'", "mode like ''", "small is null", "small is not null",
    "not small is null", "not small is not null", "list is null", "kind is not null", "price > small", "row < small",
    "mode = kind", "small <> small", "small = 1 or small = 2 and mode = 'x'",
    "(small = 1 or small = 2) and mode <> 'x'", "not small = 1 or is_new", "not (small = 1 and is_new)",
    "not (small in (1) or is_new)", "not not small = 1", "NOT(small=1)AND(NOT is_new)", '"größe" = 2', "größe=2",
    '"with space.dot" > 3', '"with ""quotes""" > 3', '"in" in (1, 2)', '"small" = 1', " \n small\t=1 ",
]  # fmt: skip


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_rows_that_pass_are_those_of_a_database(condition: str) -> None:
    assert passing(condition) == passing_in_duckdb(condition)


def conditions_on_columns() -> st.SearchStrategy[str]:
    numbers = st.integers(-5, 5).map(str)
    texts = st.sampled_from(["'AIR'", "''", "'it''s'", "'50%'", "'zz'"])
    signs = st.sampled_from(["=", "!=", "<>", "<", "<=", ">", ">="])
    negation = st.sampled_from(["", "not "])
    return st.one_of(
        st.tuples(st.sampled_from(["small", "price", "größe"]), signs, numbers).map(" ".join),
        st.tuples(st.just("mode"), signs, texts).map(" ".join),
        st.tuples(numbers, signs, st.sampled_from(["small", "price"])).map(" ".join),
        st.tuples(negation, st.lists(numbers, min_size=1, max_size=3)).map(
            lambda t: f"small {t[0]}in ({', '.join(t[1])})"
        ),
        st.tuples(negation, numbers, numbers).map(lambda t: f"price {t[0]}between {t[1]} and {t[2]}"),
        st.tuples(st.sampled_from(["small", "mode", "list"]), negation).map(lambda t: f"{t[0]} is {t[1]}null"),
        st.just("is_new"),
    )


conditions = st.recursive(
    conditions_on_columns(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or", "AND"]), inner).map(" ".join),
        inner.map(lambda condition: f"({condition})"),
        inner.map(lambda condition: f"not ({condition})"),
    ),
    max_leaves=8,
)


@given(conditions)
@settings(max_examples=200, deadline=None)
def test_any_condition_passes_the_rows_of_a_database(condition: str) -> None:
    assert passing(condition) == passing_in_duckdb(condition)


# Each: a condition, the character at fault, what was expected and what is there.
REFUSALS = [
    ("", 1, "a condition", "the end"),
    ("small", 6, "a comparison, IN, BETWEEN, LIKE or IS", "the end"),
    ("small >", 8, "a column, a number, a text in '…', TRUE or FALSE", "the end"),
    ("small > and row = 1", 9, "a column, a number", "and"),
    ("small = 1 row = 2", 11, "AND, OR or the end", "row"),
    ("day > 1995-01-01", 7, "a value of day, which is date32[day]", "1995; such a value is written as '2024-01-31'"),
    ("(small = 1", 11, "AND, OR or )", "the end"),
    ("small = 1)", 10, "AND, OR or the end", ")"),
    ("small in 1", 10, "(", "1"),
    ("small in ()", 11, "a number", ")"),
    ("small in (1", 12, ", or )", "the end"),
    ("small in (null)", 11, "a number", "null"),
    ("small not 1", 11, "IN, BETWEEN or LIKE", "1"),
    ("small is 1", 10, "NULL or NOT NULL", "1"),
    ("small is not 1", 14, "NULL", "1"),
    ("small between 1 or 2", 17, "AND", "or"),
    ("mode like 1", 11, "a pattern in '…'", "1"),
    ("small like '1%'", 1, "values that LIKE takes", "small is int8"),
    ("true", 5, "a comparison", "the end"),
    ("1 = 2", 5, "a column, for a value is on the other side", "2"),
    ("small = null", 9, "IS NULL asks for nulls", "null"),
    ("null = small", 1, "a condition", "null"),
    ("smal = 1", 1, "one of the columns row, small, ", "smal"),
    ("1 = smal", 5, "one of the columns row, small, ", "smal"),
    ('mode = "AIR"', 8, "text is written '…'", '"AIR"'),
    ("row.b = 1", 4, "is written \"so\"", "'.'"),
    ("small = 1;", 10, "a name, a value or a sign", "';'"),
    ("mode = 'AIR", 8, "a closing '", "none"),
    ('"mode = 1', 1, 'a closing "', "none"),
    ("small = 'one'", 9, "a value of small, which is int8", "'one'"),
    ("small = '1'", 9, "a value of small, which is int8", "'1'"),
    ("small = 1000", 9, "a value of small, which is int8", "1000"),
    ("small = 1.5", 9, "a value of small, which is int8", "1.5"),
    ("small in (1, true)", 14, "a value of small, which is int8", "true"),
    ("unsigned = -1", 12, "which is uint64", "-1"),
    ("price = 1.555", 9, "which is decimal128(15, 2)", "1.555"),
    ("price = 1e999999999", 9, "which is decimal128(15, 2)", "1e999999999"),
    ("small = 1e999999999", 9, "which is int8", "1e999999999"),
    ("mode = 1", 8, "which is string", "1"),
    ("kind = 1", 8, "which is string", "1"),
    ("is_new = 1", 10, "which is bool", "1"),
    ("is_new = 'true'", 10, "which is bool", "'true'"),
    ("day = 'yesterday'", 7, "which is date32", "'yesterday'"),
    ("instant > '2024-01-31'", 11, "tz=UTC]", "'2024-01-31'; such a value is written as '2024-01-31T12:00:00Z'"),
    ("list = 1", 8, "which is list", "1"),
    ("list = list", 8, "values that = takes", "list is list"),
    ("half between 1 and 2", 1, "values that BETWEEN takes", "half is halffloat"),
    ("small = mode", 9, "values that = takes", "small is int8 and mode is string"),
    ("row = 1 or " * 1000 + "row = 1", 11_001, "at most 1000 tests", "row; IN (…) takes any number of values"),
    ("(" * 101 + "row = 1" + ")" * 101, 101, "at most 100 parentheses", "("),
    ("(row = 1) or " + "(" * 101 + "row = 1" + ")" * 101, 114, "at most 100 parentheses", "("),
    ("unsigned = 1e20", 12, "which is uint64", "1e20"),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "character", "expected", "actual"), REFUSALS, ids=[r[0][:30] for r in REFUSALS])
def test_what_cannot_be_meant_is_told_with_its_place(
    condition: str, character: int, expected: str, actual: str
) -> None:
    with pytest.raises(RowFilterError) as refused:
        row_filter_of(condition, ROWS.schema)
    message = refused.value.problem
    assert message.startswith(f"at character {character}, "), message
    place, _, found = message.partition(": expected ")
    before, marker, behind = place.removeprefix(f"at character {character}, ").partition("[here]")
    assert marker
    assert (before.lstrip("…"), behind.rstrip("…")) == (
        condition[: character - 1][-40:],
        condition[character - 1 :][:40],
    )
    assert expected in found
    assert f", found {actual}" in found


@pytest.mark.parametrize(("before", "behind"), [(40, 40), (41, 40), (40, 41), (41, 41)])
def test_what_is_left_out_around_the_place_is_marked(before: int, behind: int) -> None:
    condition = "(" * before + ")" * behind
    with pytest.raises(RowFilterError) as refused:
        row_filter_of(condition, ROWS.schema)
    shown = f"{'…' * (before > 40)}{'(' * 40}[here]{')' * 40}{'…' * (behind > 40)}"
    assert refused.value.problem.startswith(f"at character {before + 1}, {shown}: expected ")


@pytest.mark.parametrize(("view", "plain"), [(pa.string_view(), pa.string()), (pa.binary_view(), pa.binary())])
def test_views_are_compared_as_plain_values(view: pa.DataType, plain: pa.DataType) -> None:
    """Which Arrow needs to compare them with the statistics of Parquet's row groups."""
    schema = pa.schema([("x", view), ("y", plain)])
    for name in ("x", "y"):
        compared = row_filter_of(f"{name} = 'a'", schema).expression
        assert ("cast" in str(compared)) == (name == "x")


def test_a_name_of_several_columns_is_refused() -> None:
    schema = pa.schema([("twice", pa.int64()), ("twice", pa.int64())])
    with pytest.raises(RowFilterError, match="found twice, which 2 columns are called"):
        row_filter_of("twice = 1", schema)


@pytest.mark.parametrize(
    "condition",
    [" or ".join(["small = 1"] * 1000), " and ".join(["small = 1"] * 1000), f"small in ({', '.join(['1'] * 10_000)})",
     "not " * 10_000 + "small = 1", "(" * 100 + "small = 1" + ")" * 100, " or ".join(["(small = 1)"] * 200)],
    ids=["or", "and", "in", "not", "parentheses", "groups"],
)  # fmt: skip
def test_a_long_condition_is_no_deep_one(condition: str) -> None:
    assert passing(condition) == [0]


@pytest.mark.parametrize(
    ("expression", "columns"),
    [
        (pc.field("small") > 1, ["small"]),
        (
            (pc.field("mode") == "AIR") | pc.field("row").isin([2, 3]) & pc.field("is_new").is_null(),
            ["row", "mode", "is_new"],
        ),
        (pc.scalar(True), []),
    ],
    ids=str,
)
def test_an_expression_is_taken_as_it_is(expression: pc.Expression, columns: list[str]) -> None:
    assert row_filter_of(expression, ROWS.schema) == (expression, columns)


def test_a_condition_is_text_or_an_expression_that_fits() -> None:
    with pytest.raises(InputError, match=r"where: the expression does not fit the columns: .*smal"):
        row_filter_of(pc.field("smal") > 1, ROWS.schema)
    with pytest.raises(TypeError, match=r"where must be text or a pyarrow.compute.Expression, not 1"):
        row_filter_of(1, ROWS.schema)
