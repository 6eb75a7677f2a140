"""Lists in pages: whatever the names and the sizes of pages, all are shown once, in order."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, strategies as st

from hangar_async.server.routes import page

NAMES = ["1.0", "1.1", "2.0", "latest"]


def follow(names: list[str], query: dict[str, str]) -> list[list[str]]:
    """Follow the links from page to page."""
    pages = []
    while True:
        chosen, headers = page(names, query, "/v2/app/tags/list")
        pages.append(chosen)
        if not headers:
            return pages
        target, relation = headers["Link"].split("; ")
        assert relation == 'rel="next"'
        assert target.startswith("</v2/app/tags/list?")
        parts = parse_qs(urlsplit(target[1:-1]).query, strict_parsing=True)
        query = {name: value for name, (value,) in parts.items()}


def test_pages() -> None:
    assert follow(NAMES, {}) == [NAMES]
    assert follow(NAMES, {"n": "3"}) == [NAMES[:3], NAMES[3:]]
    assert follow(NAMES, {"n": "2"}) == [NAMES[:2], NAMES[2:]]
    assert follow(NAMES, {"n": "0"}) == [[]]
    assert follow(NAMES, {"last": "1.1"}) == [NAMES[2:]]
    assert follow(NAMES, {"last": "1.5"}) == [NAMES[2:]]
    assert follow(NAMES, {"n": "9", "last": "zzz"}) == [[]]
    assert follow([], {"n": "2"}) == [[]]


def test_the_rest_of_the_query_stays() -> None:
    _, headers = page(NAMES, {"n": "1", "ns": "docker.io&x=1"}, "/p")
    assert headers["Link"] == '</p?n=1&ns=docker.io%26x%3D1&last=1.0>; rel="next"'


@pytest.mark.parametrize("count", ["-1", "x", "", "9" * 30, "²", "1.5", " 1"])
def test_a_number_that_is_none(count: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        page(NAMES, {"n": count}, "/p")


@given(st.sets(st.text("abAB01._-", min_size=1, max_size=6), max_size=30), st.integers(1, 40))
def test_all_names_come_once_and_in_order(names: set[str], count: int) -> None:
    listed = sorted(names)
    pages = follow(listed, {"n": str(count)})
    assert [name for one in pages for name in one] == listed
    assert all(len(one) == count for one in pages[:-1])
    assert 0 < len(pages[-1]) <= count or not listed


@given(st.sets(st.text("abAB01._-", min_size=1, max_size=6), max_size=30), st.text("abAB01._-", max_size=6))
def test_last_need_not_be_a_name(names: set[str], last: str) -> None:
    chosen, _ = page(sorted(names), {"last": last}, "/p")
    assert chosen == sorted(name for name in names if name > last)
