from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.errors import NetworkError
from hangar_async.registry.blobs import foreign_url
from hangar_async.registry.http.addresses import is_internal
from tests.refusal import attempt


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no web address"), ("layer", "no web address"), ("ftp://a.test/x", "no web address"),
        ("socks5://a:1oc0", "no web address"), ("https://[x]@/", "no web address"), ("https://a b/", "no web address"),
        ("https://a.test:99999/", "no web address"), (f"https://{'a' * 100_000}/", "no web address"),
        ("https://me:secret@a.test/", "a user name"), ("http://127.1/x", "this machine"),
        ("http://[::ffff:127.0.0.1]/", "this machine"), ("http://169.254.169.254/", "this machine"),
    ],
)  # fmt: skip
def test_addresses_of_foreign_layers_that_are_not_asked(text: str, why: str) -> None:
    with pytest.raises(NetworkError, match=why) as caught:
        foreign_url(text, internal=False)
    assert not caught.value.transient
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_address_on_this_machine_may_be_trusted() -> None:
    assert str(foreign_url("http://127.0.0.1:5000/x#y", internal=True)) == "http://127.0.0.1:5000/x"


@given(
    st.sampled_from(["https://", "http://", "//", "", "http://127.0."]),
    st.text("abx.:/@[]?#%-0127", max_size=20) | st.text(max_size=10),
)
def test_any_address_is_of_the_web_and_elsewhere_or_refused(start: str, text: str) -> None:
    url = attempt(lambda: foreign_url(start + text, internal=False), NetworkError)
    if url is not None:
        assert url.scheme in ("http", "https")
        assert (url.user, url.password, url.fragment) == (None, None, "")
        assert not is_internal(url.host or "")
