"""URLs of partitions."""

from __future__ import annotations

import pytest

from shuffle.client.place import Host, Place


@pytest.mark.parametrize(
    ("place", "url"),
    [
        (Place.of("http://h:1/a.arrow", 3), "http://h:1/a.arrow/partitions/3"),
        (Place.of("http://h/a%20b.arrow/", 3, 7), "http://h:80/a%20b.arrow/partitions/3-6"),
        (Place.of("https://[::1]/d/a.arrow", 0, 1), "https://[::1]:443/d/a.arrow/partitions/0"),
    ],
)
def test_a_place_has_a_url(place: Place, url: str) -> None:
    assert place.url == url
    assert Place.parse(url) == place


def test_the_url_of_a_file_is_no_place() -> None:
    assert Place.parse("http://h/a.arrow") is None
    assert Place.of("http://h/a.arrow", 1).host == Host("http", "h", 80)


@pytest.mark.parametrize(
    ("url", "first", "last"),
    [
        ("a.arrow", 0, 1),
        ("/a.arrow", 0, 1),
        ("ftp://h/a.arrow", 0, 1),
        ("http:///a.arrow", 0, 1),
        ("http://h/ä.arrow", 0, 1),
        ("http://h/a b.arrow", 0, 1),
        ("http://h/a.arrow", -1, 1),
        ("http://h/a.arrow", 3, 3),
    ],
)
def test_what_cannot_be_a_place(url: str, first: int, last: int) -> None:
    with pytest.raises(ValueError, match=r"a\.arrow|a b|ä"):
        Place.of(url, first, last)
