from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.errors import Incomplete, NotFound, RegistryError, Unauthorized
from hangar_async.registry.failures import refused

WHAT = "manifest reg.io/app:v1"


def refuse(status: int, code: str = "", message: str = "", **more: object) -> RegistryError:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode() if code else b""
    return refused("reg.io", WHAT, status, {}, body, push=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code", "kind", "said", "advice"),
    [
        (400, "MANIFEST_BLOB_UNKNOWN", Incomplete, f"lacks something that {WHAT} names", "push it again"),
        (404, "MANIFEST_BLOB_UNKNOWN", Incomplete, f"lacks something that {WHAT} names", "push it again"),
        (400, "MANIFEST_INVALID", RegistryError, f"does not take {WHAT}", "log"),
        (400, "NAME_INVALID", RegistryError, "does not take the name", "another name"),
        (400, "TAG_INVALID", RegistryError, "does not take the tag", "immutable"),
        (404, "NAME_UNKNOWN", NotFound, "has no repository", "make it there first"),
        (405, "UNSUPPORTED", RegistryError, "takes no pushes", "can be written"),
        (409, "", RegistryError, "does not let", "immutable"),
        (412, "DENIED", RegistryError, "does not let", "immutable"),
        (413, "", RegistryError, "too large", "client_max_body_size"),
        (415, "", RegistryError, "media type", "update"),
        (507, "", RegistryError, "no room", "quota"),
    ],
)
def test_what_is_refused_is_said_with_what_to_do(
    status: int, code: str, kind: type[RegistryError], said: str, advice: str
) -> None:
    error = refuse(status, code, "because\nof that" if code else "")
    assert type(error) is kind
    assert said in str(error)
    assert WHAT in str(error)
    assert (f"{code}: because of that" in str(error)) == bool(code)
    assert advice in error.advice or advice in str(error)
    assert (error.host, error.status, error.code) == ("reg.io", status, code)
    assert error.transient == (kind is Incomplete)
    assert "\n" not in str(error)


def test_what_is_said_beside_other_things() -> None:
    """As docker-registry does where another client is just pushing the same."""
    errors = [{"code": "DIGEST_INVALID", "message": "no"}, {"code": "MANIFEST_BLOB_UNKNOWN", "message": "unknown"}]
    error = refused("reg.io", WHAT, 400, {}, json.dumps({"errors": errors}).encode(), push=True)
    assert isinstance(error, Incomplete)
    assert error.code == "MANIFEST_BLOB_UNKNOWN"
    assert "DIGEST_INVALID: no" in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_push_is_told_which_credentials_were_used(status: int) -> None:
    error = refuse(status, "DENIED", "no", source="/home/me/.docker/config.json")
    assert isinstance(error, Unauthorized)
    assert "/home/me/.docker/config.json" in str(error)
    assert "may push" in error.advice
    error = refuse(status)
    assert "no credentials" in str(error)
    assert "DEST_USERNAME" in error.advice


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_recover_is_told_as_when_pulling(status: int) -> None:
    error = refused("reg.io", WHAT, status, {"Retry-After": "7"}, b"", push=True)
    assert error.transient
    assert error.retry_after == 7


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_place_that_a_registry_sent_us_to_may_be_asked_for_anew(status: int) -> None:
    error = refuse(status, redirected=True)
    assert type(error) is RegistryError
    assert error.transient


def test_anything_else_is_told_by_its_number() -> None:
    assert "answered 418" in str(refuse(418))


@given(status=st.integers(300, 599), body=st.binary(max_size=100), code=st.text(max_size=10))
def test_any_answer_makes_an_error_of_one_line(status: int, body: bytes, code: str) -> None:
    for content in (body, json.dumps({"errors": [{"code": code, "message": "{what} {0}"}]}).encode()):
        error = refused("reg.io", WHAT, status, {}, content, push=True)
        assert error.status == status
        assert len(str(error).splitlines()) == 1
