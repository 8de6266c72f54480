"""What URLs name."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.serve.resource import (
    FileResource,
    Health,
    Listing,
    Metrics,
    NoResourceError,
    PartitionsResource,
    Readiness,
    Resource,
    parse,
)


@pytest.mark.parametrize(
    ("target", "resource"),
    [
        ("/", Listing()),
        ("/?a=b", Listing()),
        ("http://host:1/", Listing()),
        ("/healthz", Health()),
        ("/metrics", Metrics()),
        ("/a.arrow", FileResource("a.arrow")),
        ("/a.arrow?x=/../", FileResource("a.arrow")),
        ("/day%201/a.arrow", FileResource("day 1/a.arrow")),
        ("/%C3%A9.arrow", FileResource("é.arrow")),
        ("/%ff.arrow", FileResource("\udcff.arrow")),
        ("/%252e.arrow", FileResource("%2e.arrow")),
        ("/...arrow", FileResource("...arrow")),
        ("/a.arrow/partitions/3", PartitionsResource("a.arrow", 3, 4)),
        ("/a.arrow/partitions/3-6", PartitionsResource("a.arrow", 3, 7)),
        ("/a.arrow/partitions/0-0", PartitionsResource("a.arrow", 0, 1)),
        ("/d/e/a.arrow/partitions/%33", PartitionsResource("d/e/a.arrow", 3, 4)),
        ("http://host/a.arrow/partitions/3", PartitionsResource("a.arrow", 3, 4)),
        ("/partitions/a.arrow", FileResource("partitions/a.arrow")),
    ],
)
def test_a_path_names_one_thing(target: str, resource: Resource) -> None:
    assert parse(target) == resource


@pytest.mark.parametrize(
    "target",
    [
        "", "*", "a.arrow", "//", "//a.arrow", "/a.arrow/", "/./a.arrow", "/../a.arrow", "/d/../a.arrow",
        "/%2e%2e/a.arrow", "/%2E./a.arrow", "/..%2fa.arrow", "/d%2fa.arrow",
        "/a.arrow%00", "/%00/a.arrow", "/a.txt", "/etc/passwd",
        "/Metrics", "/metrics/", "/a.arrow/partitions",
        "/a.arrow/partitions/", "/a.arrow/partitions/x", "/a.arrow/partitions/-1",
        "/a.arrow/partitions/1-", "/a.arrow/partitions/6-3", "/a.arrow/partitions/01", "/a.arrow/partitions/1-2-3",
        "/a.arrow/partitions/\u0661", "/a.arrow/partitions/99999999999", "/a.txt/partitions/1", "/partitions/1",
        "http://[/a.arrow", "/a.arrow/partitions/1/", "/a.arrow/../b.arrow/partitions/1",
    ],
)  # fmt: skip
def test_other_paths_name_nothing(target: str) -> None:
    with pytest.raises(NoResourceError):
        parse(target)


@given(st.text(st.sampled_from("/.%2eEfF05ac~arow-pti\\\0é")) | st.text())
def test_no_path_leaves_the_root(text: str) -> None:
    try:
        resource = parse(f"/{text}.arrow")
    except NoResourceError:
        return
    if isinstance(resource, Listing | Health | Readiness | Metrics):  # the rest may be a query
        return
    assert os.path.normpath(f"/root/{resource.name}") == f"/root/{resource.name}"
