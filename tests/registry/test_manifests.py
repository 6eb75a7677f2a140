import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hangar_async.registry.manifests import Quota


@pytest.mark.parametrize(
    ("limit", "remaining", "quota"),
    [
        ("100;w=21600", "76;w=21600", Quota(76, 100, 21600)),
        ("200 ; w = 60; burst=3", "0", Quota(0, 200, 60)),
        ("5", "5;policy", Quota(5, 5, 0)),
        ("", "76;w=21600", None),
        ("100;w=21600", "many", None),
        ("-1", "3", None),
        ("٣", "3", None),
    ],
)
def test_what_is_left(limit: str, remaining: str, quota: Quota | None) -> None:
    assert Quota.parse(CIMultiDict({"RateLimit-Limit": limit, "RateLimit-Remaining": remaining})) == quota


def test_most_registries_say_nothing() -> None:
    assert Quota.parse({}) is None


@given(st.text(), st.text())
def test_any_text_is_read_or_passed_over(limit: str, remaining: str) -> None:
    Quota.parse({"ratelimit-limit": limit, "ratelimit-remaining": remaining})
