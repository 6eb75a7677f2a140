from __future__ import annotations

import json
import socket
import ssl
from datetime import UTC, datetime
from email.utils import format_datetime

import aiohttp
import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import Incomplete, NetworkError, NotFound, RegistryError, Unauthorized
from hangar_async.registry.failures import Reaching, read_error_list, refused, retry_after

WHAT = "manifest reg.io/app:v1"


def refuse(status: int, code: str = "", message: str = "", **more: object) -> RegistryError:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode() if code else b""
    return refused("reg.io", WHAT, status, {}, body, push=True, **more)  # type: ignore[arg-type]


NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("21600", 21600.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("Tue, 14 Nov 2023 23:14:20 +0100", 60.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("9" * 400, None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds(text: str, expected: float | None) -> None:
    assert retry_after(text, NOW) == expected


def test_a_date_counts_from_the_time_of_the_server_and_not_of_this_machine() -> None:
    headers = {"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}
    assert refused("reg.io", WHAT, 429, headers, b"").retry_after is None
    headers["Date"] = "Tue, 14 Nov 2023 22:14:00 GMT"
    assert refused("reg.io", WHAT, 429, headers, b"").retry_after == 20.0


_pieces = st.sampled_from(
    ["Tue,", "Tuesday,", "14", "99", "0", "Nov", "nov", "Nov-23", "14-Nov-2023", "2023", "23", "22:14:20", "22:14",
     "22.14.20", "::", ",", "-", "+", "GMT", "+0100", "-2400", "+99999999", "(comment)", "9" * 20, "\u0663"]
)  # fmt: skip


@given(st.text(max_size=60) | st.lists(_pieces, max_size=8).map(" ".join) | st.integers().map(str))
def test_any_retry_after_is_a_wait_or_none(text: str) -> None:
    wait = retry_after(text, NOW)
    assert wait is None or 0 <= wait < float("inf")


@given(st.integers(0, 10**11 - 1), st.datetimes(min_value=datetime(1000, 1, 1)))
def test_any_wait_is_read_as_seconds_or_as_a_date(seconds: int, date: datetime) -> None:
    assert retry_after(str(seconds), NOW) == seconds
    date = date.replace(microsecond=0, tzinfo=UTC)
    assert retry_after(format_datetime(date, usegmt=True), NOW) == max(0.0, date.timestamp() - NOW)


def test_an_error_list_is_told_in_one_line() -> None:
    body = json.dumps(
        {
            "errors": [
                {"code": "DENIED", "message": "not\nyours", "detail": {"a": 1}},
                {"message": "at all"},
                {"code": 7},
            ]
        }
    )
    assert read_error_list(body.encode(), "application/json") == ("DENIED", "DENIED: not yours; at all; 7")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"details":"incorrect username or password"}', "incorrect username or password"),
        (b'{"message":"try later"}', "try later"),
        (b"{}", ""),
        (b'{"errors":null}', ""),
        (b'{"errors":"all of them"}', ""),
        (b"[]", ""),
        (b"<html>Bad Gateway</html>", ""),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
        (b'{"message":"\\u001b[31mred\\u0007"}', "[31mred"),
    ],
)
def test_other_error_documents_are_read_or_ignored(body: bytes, said: str) -> None:
    assert read_error_list(body)[1] == said


def test_html_is_not_read_even_as_json() -> None:
    assert read_error_list(b'{"message":"x"}', "text/html; charset=utf-8") == ("", "")


@given(st.binary(max_size=200))
def test_any_body_is_read_as_text_or_ignored(body: bytes) -> None:
    assert all(isinstance(part, str) for part in read_error_list(body))


def test_a_long_message_is_cut() -> None:
    assert len(read_error_list(json.dumps({"message": "word " * 10_000}).encode())[1]) < 400


@pytest.mark.parametrize(
    ("status", "kind", "transient"),
    [(404, NotFound, False), (410, NotFound, False),
     (401, Unauthorized, False), (403, Unauthorized, False), (429, RegistryError, True),
     (400, RegistryError, False), (500, RegistryError, True), (501, RegistryError, False), (503, RegistryError, True)],
)  # fmt: skip
def test_the_status_makes_the_error(status: int, kind: type[RegistryError], transient: bool) -> None:
    error = refused("reg.io", "manifest reg.io/app:v1", status, {}, b"")
    assert type(error) is kind
    assert (error.host, error.status, error.transient) == ("reg.io", status, transient)
    assert "reg.io" in str(error)
    assert "manifest reg.io/app:v1" in str(error)
    assert error.advice


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_named_by_their_source(status: int) -> None:
    error = refused("reg.io", "it", status, {}, b"", source="/home/me/.docker/config.json")
    assert "/home/me/.docker/config.json" in str(error)
    assert "renew" in error.advice


def test_a_denial_of_a_redirected_request_is_transient() -> None:
    error = refused("cdn.io", "blob x", 403, {}, b"<Error>Request has expired</Error>", redirected=True)
    assert type(error) is RegistryError
    assert error.transient
    assert refused("cdn.io", "blob x", 404, {}, b"", redirected=True).transient is False


def fail(error: Exception) -> NetworkError:
    with pytest.raises(NetworkError) as caught, Reaching("reg.io"):
        raise error
    assert caught.value.__cause__ is error
    assert caught.value.host == "reg.io"
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(104, "Connection reset by peer"),
        OSError(113, "No route to host"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("x"),
        aiohttp.SocketTimeoutError(),
        aiohttp.ConnectionTimeoutError(),
        ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ValueError("chunk"),
    ],
)
def test_a_broken_connection_is_transient(error: Exception) -> None:
    assert fail(error).transient


def test_the_message_of_the_system_is_quoted() -> None:
    refused = OSError(111, "Connect call failed ('127.0.0.1', 1)")
    key = aiohttp.client_reqrep.ConnectionKey("reg.io", 443, True, True, None, None, None)
    assert str(fail(aiohttp.ClientConnectorError(key, refused))) == "reg.io: the connection failed (connection refused)"
    unknown = aiohttp.ClientConnectorDNSError(key, socket.gaierror(-2, "Name or service not known"))
    assert str(fail(unknown)) == "reg.io: its address cannot be found (name or service not known)"


def test_an_error_without_a_text_is_told_in_words() -> None:
    key = aiohttp.client_reqrep.ConnectionKey("reg.io", 443, True, True, None, None, None)
    error = fail(aiohttp.ClientConnectorError(key, ConnectionResetError()))
    assert str(error) == "reg.io: the connection failed (connection reset)"


def test_an_untrusted_certificate_is_lasting_and_has_advice() -> None:
    error = fail(ssl.SSLCertVerificationError(1, "certificate verify failed"))
    assert not error.transient
    assert "--tls-verify=false" in error.advice
    assert "certs.d" in error.advice


def test_our_own_errors_pass_unchanged() -> None:
    mine = NotFound("x", host="h", status=404)
    with pytest.raises(NotFound) as caught, Reaching("reg.io"):
        raise mine
    assert caught.value is mine


def test_other_exceptions_pass_unchanged() -> None:
    with pytest.raises(ZeroDivisionError), Reaching("reg.io"):
        raise ZeroDivisionError


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
def test_a_refused_push_is_explained_with_advice(
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


def test_a_missing_blob_is_recognised_among_other_codes() -> None:
    """As docker-registry does where another client is just pushing the same."""
    errors = [{"code": "DIGEST_INVALID", "message": "no"}, {"code": "MANIFEST_BLOB_UNKNOWN", "message": "unknown"}]
    error = refused("reg.io", WHAT, 400, {}, json.dumps({"errors": errors}).encode(), push=True)
    assert isinstance(error, Incomplete)
    assert error.code == "MANIFEST_BLOB_UNKNOWN"
    assert "DIGEST_INVALID: no" in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_a_denied_push_names_the_source_of_the_credentials(status: int) -> None:
    error = refuse(status, "DENIED", "no", source="/home/me/.docker/config.json")
    assert isinstance(error, Unauthorized)
    assert "/home/me/.docker/config.json" in str(error)
    assert "may push" in error.advice
    error = refuse(status)
    assert "no credentials" in str(error)
    assert "DEST_USERNAME" in error.advice


@pytest.mark.parametrize(
    ("code", "said", "is_rule"),
    [
        ("DENIED", "adding 1.0 MiB of storage resource will exceed the configured upper limit of 1.0 GiB", True),
        ("PROJECTPOLICYVIOLATION", "current image with 5 vulnerabilities cannot be pulled", True),
        ("DENIED", "requested access to the resource is denied", False),
        ("DENIED", "permission_denied: write_package", False),
        ("FORBIDDEN", "unauthorized to access repository: a/b, action: delete", False),
        ("DENIED", "denied", False),
        ("DENIED", "", False),
    ],
)
def test_a_rule_of_the_registry_is_told_in_its_own_words_and_a_lack_of_rights_with_advice(
    code: str, said: str, is_rule: bool
) -> None:
    error = refuse(403, code, said)
    assert said in str(error)
    assert isinstance(error, Unauthorized) != is_rule
    assert ("log in" in error.advice) != is_rule
    assert not error.transient


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_transient_refusal_of_a_push_is_that_of_a_pull(status: int) -> None:
    error = refused("reg.io", WHAT, status, {"Retry-After": "7"}, b"", push=True)
    assert error.transient
    assert error.retry_after == 7


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_denial_of_a_redirected_push_is_transient(status: int) -> None:
    error = refuse(status, redirected=True)
    assert type(error) is RegistryError
    assert error.transient


def test_an_unknown_refusal_names_its_status() -> None:
    assert "answered 418" in str(refuse(418))


@given(status=st.integers(300, 599), body=st.binary(max_size=100), code=st.text(max_size=10))
def test_any_answer_makes_an_error_of_one_line(status: int, body: bytes, code: str) -> None:
    for content in (body, json.dumps({"errors": [{"code": code, "message": "{what} {0}"}]}).encode()):
        error = refused("reg.io", WHAT, status, {}, content, push=True)
        assert error.status == status
        assert len(str(error).splitlines()) == 1


def test_the_limit_of_open_files_is_named() -> None:
    with (
        pytest.raises(
            NetworkError, match=r"no connection can be opened: Too many open files \(ulimit -n is "
        ) as caught,
        Reaching("reg.io"),
    ):
        raise OSError(24, "Too many open files")
    assert "raise the limit with ulimit -n" in caught.value.advice
