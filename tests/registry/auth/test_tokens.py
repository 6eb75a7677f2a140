from __future__ import annotations

import string

import pytest
from hypothesis import given, strategies as st
from yarl import URL

from hangar_async.errors import Unauthorized
from hangar_async.registry.auth.tokens import Challenge, TokenRequest, checked_realm, parse_challenges
from hangar_async.registry.http.addresses import is_internal
from tests.refusal import attempt


def wish(realm: str, registry: str = "https://registry.test", internal: bool = False) -> TokenRequest:
    return TokenRequest("registry.test", URL(registry), realm, "service", ("repository:a/b:pull",), None, internal)


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
    assert checked_realm(wish("http://localhost:1/token", "http://127.0.0.1:5000", internal=True)).port == 1


def test_a_realm_of_this_machine_may_be_named() -> None:
    assert checked_realm(wish("https://localhost:1/token"), {"localhost:1"}).port == 1
    with pytest.raises(Unauthorized, match="this machine"):
        checked_realm(wish("https://localhost:1/token"), {"localhost:2"})


_starts = st.sampled_from(["https://", "http://", "//", "", "https://a@", "https://127.0.0."])


@given(_starts, st.text("abx.:/@[]?#%-0127", max_size=20) | st.text(max_size=10))
def test_any_realm_is_elsewhere_and_protected_or_refused(start: str, text: str) -> None:
    realm = attempt(lambda: checked_realm(wish(start + text)), Unauthorized)
    if realm is not None:
        assert (realm.scheme, realm.user, realm.password) == ("https", None, None)
        assert not is_internal(realm.host or "")
        assert realm.update_query({"scope": "a:b/c:pull"}).query["scope"] == "a:b/c:pull"


_words = st.text(string.ascii_letters + string.digits + "-_.~!#$%&'*+^`|", min_size=1)
_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
_parameters = st.dictionaries(_words.map(str.lower), _values, max_size=4)
_challenges = st.lists(st.tuples(_words.map(str.lower), _parameters), max_size=4)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="reg"', [("basic", {"realm": "reg"})]),
        (
            'Bearer realm="https://a/token",service="reg.io",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://a/token", "service": "reg.io", "scope": "repository:a/b:pull,push"})],
        ),
        ('BEARER Realm=plain , service = "s"', [("bearer", {"realm": "plain", "service": "s"})]),
        ("Basic", [("basic", {})]),
        ("", []),
        ('Negotiate a+b/c==, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Bearer realm="a", Basic realm="b, c"', [("bearer", {"realm": "a"}), ("basic", {"realm": "b, c"})]),
        (r'Basic realm="a\"b"', [("basic", {"realm": 'a"b'})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        ('Bearer realm="never closed', [("bearer", {}), ("closed", {})]),
    ],
)
def test_challenges_of_real_servers(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    found = [(challenge.scheme, dict(challenge.parameters)) for challenge in parse_challenges([header])]
    assert found == expected


def test_several_headers_are_one_list() -> None:
    found = parse_challenges(['Bearer realm="r",service="s"', "Basic"])
    assert found == (Challenge("bearer", {"realm": "r", "service": "s"}), Challenge("basic"))
    assert (found[0].realm, found[0].service, found[1].realm) == ("r", "s", "")


@given(_challenges)
def test_a_written_challenge_is_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={_quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in challenges
    )
    assert [(found.scheme, dict(found.parameters)) for found in parse_challenges([header])] == challenges


@given(st.text(max_size=300))
def test_any_text_is_read_to_its_end(text: str) -> None:
    for challenge in parse_challenges([text]):
        assert challenge.scheme


def test_a_header_of_open_quotes_takes_no_long_time() -> None:
    assert len(parse_challenges(['a="' * 100_000])) == 0
