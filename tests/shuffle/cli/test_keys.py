"""Lists of columns: names, quotes, and the order of values."""

import click
import pytest

from shuffle.cli.keys import Columns, SortKeys
from shuffle.rows.placement import Placement, SortKey


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        (" a , b ", ("a", "b")),
        ("größe,two words,a.b,a:desc", ("größe", "two words", "a.b", "a:desc")),
        ('"a,b",c', ("a,b", "c")),
        ('"say ""so""" , c', ('say "so"', "c")),
        ('5",b', ('5"', "b")),
        ('" a "', (" a ",)),
    ],
)
def test_names_are_separated_by_commas(text: str, names: tuple[str, ...]) -> None:
    assert Columns()(text) == names


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a", [("a", False, True)]),
        ("a:asc", [("a", False, True)]),
        ("a:desc", [("a", True, False)]),
        ("a:nulls-last", [("a", False, False)]),
        ("a:desc:nulls-first", [("a", True, True)]),
        ("a:nulls-first:desc", [("a", True, True)]),
        ("a:desc, b : nulls-last ,c", [("a", True, False), ("b", False, False), ("c", False, True)]),
        ('"a:desc":desc,"b,c"', [("a:desc", True, False), ("b,c", False, True)]),
        ("a:b:desc", [("a:b", True, False)]),
        ("a:down", [("a:down", False, True)]),
    ],
)
def test_an_order_stands_behind_a_name(text: str, keys: list[tuple[str, bool, bool]]) -> None:
    assert SortKeys()(text) == tuple(SortKey(*key) for key in keys)


@pytest.mark.parametrize("kind", [Columns(), SortKeys()], ids=["columns", "sort keys"])
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "an empty name"),
        (" ", "an empty name"),
        ("a,", "an empty name"),
        (",a", "an empty name"),
        ("a,,b", "an empty name"),
        ('"a"b', "besides a name in quotes"),
        ('"a', "besides a name in quotes"),
        ('""', "besides a name in quotes"),
    ],
)
def test_what_is_no_name_is_refused(kind: click.ParamType[object], text: str, problem: str) -> None:
    with pytest.raises(click.BadParameter, match=problem):
        kind(text)


@pytest.mark.parametrize("text", ["a:asc:desc", "a:desc:desc", "a:nulls-first:nulls-last"])
def test_two_orders_of_one_column_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=f"'{text}' has more than one order"):
        SortKeys()(text)


def test_a_placement_needs_the_columns_that_it_names() -> None:
    keys = (SortKey("b", False, True),)
    assert Placement(4, by=("a", "b")).columns == ["a", "b"]
    assert Placement(4, sort_keys=keys).columns == ["b"]
    assert Placement(4, round_robin=True).columns == []
