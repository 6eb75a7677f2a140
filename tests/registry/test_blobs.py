from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from aiohttp import web
from hypothesis import given, strategies as st

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import (
    DigestMismatch,
    NetworkError,
    NotFound,
    RegistryError,
)
from hangar_async.oci.reference import Reference
from hangar_async.registry.blobs import foreign_url, host_of, is_rest
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http.addresses import is_internal
from tests.fakes.faults import Status, redirect
from tests.fakes.registry import FakeRegistry, answering
from tests.refusal import attempt
from tests.registry.rig import BLOB, DATA, client_of, describe, fetch_blob, image_at, serve_blob, serve_manifest


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
def test_an_unsafe_address_of_a_foreign_layer_is_refused(text: str, why: str) -> None:
    with pytest.raises(NetworkError, match=why) as caught:
        foreign_url(text, internal=False)
    assert not caught.value.transient
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("address", "host"),
    [("https://a.test/x", "a.test"), ("http://a.test:81/", "a.test:81"), ("/x", ""), ("", ""), ("http://[x]@/", "")],
)
def test_the_host_of_an_address_is_its_name_and_port(address: str, host: str) -> None:
    assert host_of(address) == host


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


_numbers = st.integers(0, 1 << 50)


@given(first=_numbers, more=_numbers, beyond=_numbers, known=st.booleans())
def test_a_written_content_range_is_read_back(first: int, more: int, beyond: int, known: bool) -> None:
    last, total = first + more, first + more + 1 + beyond
    text = f"bytes {first}-{last}/{total if known else '*'}"
    assert is_rest(text, first, last + 1) is (not known or beyond == 0)
    assert not is_rest(text, first + 1, last + 1)
    assert not is_rest(text, first, last + 2)


@pytest.mark.parametrize(
    "text",
    ["", "bytes", "bytes 5-4/10", "bytes 0-10/10", "bytes */10", "bits 0-1/2", "bytes 0-1", "bytes 0-1/2/3",
     "bytes ٣-4/5", "bytes -1-3/5", "bytes 0-9/10, bytes 0-9/10"],
)  # fmt: skip
def test_a_malformed_content_range_is_no_rest(text: str) -> None:
    assert not any(is_rest(text, start, size) for start in range(12) for size in range(12))


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert is_rest(text, 0, 1) in (False, True)


async def test_a_blob_is_opened_at_a_byte(settings: RegistrySettings) -> None:
    async def partial(request: web.Request) -> web.Response:
        first = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        field = f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"
        return web.Response(status=206, body=DATA[first:], headers={"Content-Range": field})

    start, pieces, registry = await fetch_blob(settings, partial, start=1_234_567)
    assert (start, b"".join(pieces)) == (1_234_567, DATA[1_234_567:])
    assert [request.headers["Range"] for request in registry.asked("blobs")] == ["bytes=1234567-"]


async def test_a_range_that_the_server_ignores_gives_the_whole(settings: RegistrySettings) -> None:
    start, pieces, registry = await fetch_blob(settings, serve_blob, start=1000)
    assert (start, b"".join(pieces)) == (0, DATA)
    assert len(registry.asked("blobs")) == 1


@pytest.mark.parametrize(
    ("status", "content_range"),
    [
        (416, f"bytes */{len(DATA)}"),
        (206, None),
        (206, f"bytes 999-{len(DATA) - 1}/{len(DATA)}"),
        (206, f"bytes 1000-{len(DATA) - 1}/{len(DATA) + 1}"),
        (206, f"bytes 1000-{len(DATA) - 2}/{len(DATA)}"),
        (206, "nonsense"),
        (200, None),
        (203, None),
        (204, None),
        (400, None),
        (501, None),
    ],
)
async def test_after_a_wrong_range_the_whole_blob_is_fetched(
    settings: RegistrySettings, status: int, content_range: str | None
) -> None:
    async def mangled(request: web.Request) -> web.Response:
        if "Range" not in request.headers:
            return web.Response(body=DATA)
        fields = {"Content-Range": content_range} if content_range else {}
        return web.Response(status=status, body=DATA[1000:] if status in (200, 206) else b"", headers=fields)

    start, pieces, registry = await fetch_blob(settings, mangled, start=1000)
    assert (start, b"".join(pieces)) == (0, DATA)
    assert ["Range" in request.headers for request in registry.asked("blobs")] == [True, False]


async def test_after_a_range_of_another_length_the_whole_blob_is_fetched(settings: RegistrySettings) -> None:
    async def multipart(request: web.Request) -> web.Response:
        if "Range" not in request.headers:
            return web.Response(body=DATA)
        field = {"Content-Range": f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"}
        return web.Response(status=206, body=b"--B\r\n\r\n" + DATA[1000:] + b"\r\n--B--", headers=field)

    start, pieces, _ = await fetch_blob(settings, multipart, start=1000)
    assert (start, b"".join(pieces)) == (0, DATA)


async def test_a_part_that_was_not_asked_for_is_refused(settings: RegistrySettings) -> None:
    async def partial(request: web.Request) -> web.Response:
        return web.Response(status=206, body=DATA, headers={"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"})

    with pytest.raises(RegistryError) as caught:
        await fetch_blob(settings, partial)
    assert caught.value.status == 206


async def test_a_missing_blob_is_not_found(settings: RegistrySettings) -> None:
    async def missing(request: web.Request) -> web.Response:
        raise web.HTTPNotFound

    for start in (0, 5):
        with pytest.raises(NotFound, match=str(BLOB.digest)):
            await fetch_blob(settings, missing, start=start)


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
async def test_a_length_other_than_declared_is_refused_at_once(settings: RegistrySettings, size: int) -> None:
    with pytest.raises(DigestMismatch, match=f"not the declared {size}"):
        await fetch_blob(settings, serve_blob, describe(DATA, size=size))


async def test_more_bytes_than_declared_are_refused(settings: RegistrySettings) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(DATA)

    with pytest.raises(DigestMismatch, match="larger than the declared"):
        await fetch_blob(settings, endless)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "aws-chunked", "utf-8", "none", "identity", "br"])
async def test_right_bytes_are_taken_under_any_encoding(settings: RegistrySettings, encoding: str) -> None:
    async def encoded(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=DATA, headers={"Content-Encoding": encoding})

    _, pieces, _ = await fetch_blob(settings, encoded)
    assert b"".join(pieces) == DATA


@pytest.mark.parametrize("change", [gzip.compress, lambda data: data[:-1]], ids=["encoded", "short"])
async def test_wrong_bytes_are_refused_with_the_encoding(
    settings: RegistrySettings, change: Callable[[bytes], bytes]
) -> None:
    async def encoded(request: web.Request) -> web.Response:
        return web.Response(body=change(DATA), headers={"Content-Encoding": "gzip"})

    with pytest.raises(DigestMismatch, match=r"Content-Encoding 'gzip'"):
        await fetch_blob(settings, encoded)


async def test_has_blob_costs_one_head(pushable_registry: FakeRegistry) -> None:
    pushable_registry.content.add_blob("team/app", DATA)
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        assert await client.has_blob(image, BLOB)
        assert not await client.has_blob(image, describe(b"other"))
        assert not await client.has_blob(image_at(pushable_registry, "other"), BLOB)
    assert [one.method for one in pushable_registry.asked("/blobs/")] == ["HEAD"] * 3


@pytest.mark.parametrize("status", [405, 501])
async def test_a_registry_without_head_is_taken_to_have_no_blob(fake_registry: FakeRegistry, status: int) -> None:
    fake_registry.fail("/blobs/", Status(status))
    async with client_of(fake_registry.address) as client:
        assert not await client.has_blob(image_at(fake_registry), BLOB)


@pytest.mark.parametrize(("status", "there"), [(200, True), (404, False), (400, False), (401, False), (403, False)])
async def test_a_redirected_head_finds_a_blob_by_its_status(
    fake_registry: FakeRegistry, status: int, there: bool
) -> None:
    async def storage(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with answering(storage) as elsewhere, client_of(fake_registry.address) as client:
        fake_registry.fail("/blobs/", redirect(f"http://{elsewhere.address}/x"))
        assert await client.has_blob(image_at(fake_registry), BLOB) == there
    assert [request.method for request in elsewhere.requests] == ["HEAD"]


async def foreign(url: str, known: str | None = None, start: int = 0) -> bytes:
    """Fetch a foreign blob with a user name at hand, after asking the registry `known`, if any."""
    host = url.partition("://")[2].partition("/")[0]
    settings = RegistrySettings(username="me", password="secret")
    async with RegistryClient(settings, username_for=host) as client:
        if known:
            await client.get_manifest(Reference.parse(f"{known}/app"))
        async with client.open_foreign(url, BLOB, start) as body:
            return b"".join([bytes(piece) async for piece in body.pieces()])


async def test_a_foreign_blob_comes_without_credentials() -> None:
    async def store(request: web.Request) -> web.Response:
        if request.path == "/layer":
            return web.Response(body=DATA, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    async with answering(serve_manifest) as registry, answering(store) as elsewhere:
        assert await foreign(f"http://{elsewhere.address}/layer", registry.address) == DATA
        assert await foreign(f"http://{elsewhere.address}/layer", registry.address, start=7) == DATA
        with pytest.raises(Exception, match="denies access"):
            await foreign(f"http://{elsewhere.address}/other", registry.address)
    assert not elsewhere.secrets()


async def test_a_foreign_blob_on_this_machine_is_refused_unless_a_registry_there_was_asked() -> None:
    async with answering(serve_manifest) as elsewhere:
        with pytest.raises(NetworkError, match="this machine") as caught:
            await foreign(f"http://{elsewhere.address}/layer")
    assert not elsewhere.requests
    assert not caught.value.transient


@pytest.mark.parametrize(
    "url",
    ["ftp://a.test/x", "file:///etc/passwd", "/x", "", "https://u:p@a.test/x", "https://a.test/ x", "http://a:0x1/"],
)
async def test_an_unsafe_foreign_address_is_never_asked(url: str) -> None:
    with pytest.raises(NetworkError) as caught:
        await foreign(url)
    assert not caught.value.transient


async def test_a_missing_or_wrong_foreign_blob_is_refused() -> None:
    async def store(request: web.Request) -> web.Response:
        if request.path == "/short":
            return web.Response(body=DATA[1:])
        if request.path == "/packed":
            return web.Response(body=gzip.compress(DATA, 1), headers={"Content-Encoding": "gzip"})
        return web.Response(status=404)

    async with answering(serve_manifest) as registry, answering(store) as elsewhere:
        for path, error in (("short", DigestMismatch), ("packed", DigestMismatch), ("gone", NotFound)):
            with pytest.raises(error):
                await foreign(f"http://{elsewhere.address}/{path}", registry.address)
