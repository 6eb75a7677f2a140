from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from yarl import URL

from hangar_async.errors import Unauthorized
from hangar_async.registry.auth.tokens import TokenRequest, checked_realm
from hangar_async.registry.http.addresses import is_internal
from tests.refusal import attempt


def wish(realm: str, registry: str = "https://registry.test") -> TokenRequest:
    return TokenRequest("registry.test", URL(registry), realm, "service", ("repository:a/b:pull",), None)


@pytest.mark.parametrize("realm", ["https://auth.test/token", "https://auth.test:8443/token?account=x%20y"])
def test_a_realm_is_asked_as_it_stands(realm: str) -> None:
    assert str(checked_realm(wish(realm))) == realm
    asked = checked_realm(wish(realm)).update_query({"scope": "repository:a/b:pull"})
    assert asked.query["scope"] == "repository:a/b:pull"
    assert asked.query.get("account") in (None, "x y")


@pytest.mark.parametrize(
    "realm",
    ["", "/token", "ftp://auth.test/", "https://127.0.0.\x021/", "https://\uff11\uff12\uff17.0.0.1/", "https://auth.test:0/",
     "https://[x]@/", "https://xn--/", "https://auth.test/ token", f"https://{'a' * 300}.test/"],
)  # fmt: skip
def test_a_realm_that_is_no_address_is_refused_in_one_line(realm: str) -> None:
    with pytest.raises(Unauthorized, match="no web address") as caught:
        checked_realm(wish(realm))
    assert str(caught.value).isprintable()


def test_a_registry_of_this_machine_may_send_us_to_this_machine_without_tls() -> None:
    assert checked_realm(wish("http://localhost:1/token", "http://127.0.0.1:5000")).port == 1


_starts = st.sampled_from(["https://", "http://", "//", "", "https://a@", "https://127.0.0."])


@given(_starts, st.text("abx.:/@[]?#%-0127", max_size=20) | st.text(max_size=10))
def test_any_realm_is_elsewhere_and_protected_or_refused(start: str, text: str) -> None:
    realm = attempt(lambda: checked_realm(wish(start + text)), Unauthorized)
    if realm is not None:
        assert (realm.scheme, realm.user, realm.password) == ("https", None, None)
        assert not is_internal(realm.host or "")
        assert realm.update_query({"scope": "a:b/c:pull"}).query["scope"] == "a:b/c:pull"
