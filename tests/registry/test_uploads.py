from __future__ import annotations

import asyncio
import random
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from hypothesis import given, settings, strategies as st

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import (
    DigestMismatch,
    HangarError,
    NetworkError,
    NotFound,
    RegistryError,
    SourceError,
    StorageError,
    Unauthorized,
    UploadLost,
)
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry import uploads
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.uploads import Upload
from tests.fakes.auth import TokenServer
from tests.fakes.clock import turns_until
from tests.fakes.faults import Close, CutBody, Fault, Hold, Lost, Status
from tests.fakes.pushes import Pushes
from tests.fakes.registry import FakeRegistry, answering, fake_registry
from tests.registry.rig import LAYER, LAYER_BLOB, LOGIN, ME, Lent, Proxy, Uploads, client_of, describe, image_at


async def push_layer(host: str, settings: RegistrySettings | None = None, tries: int = 1) -> None:
    chosen = replace(settings or RegistrySettings(), username="me", password="pass:word")
    async with RegistryClient(chosen, username_for=host) as client:
        upload = client.upload(Reference.parse(f"{host}/app"), LAYER_BLOB)
        async with upload:
            for left in reversed(range(tries)):
                try:
                    await upload.send(Lent(LAYER))
                except RegistryError as error:
                    if not left or not error.transient:
                        raise


@pytest.mark.parametrize("location", ["/upload/1", "upload?a=b", "http://{host}/upload/1", "//{host}/x#part"])
async def test_it_goes_on_at_the_registry_with_credentials(location: str) -> None:
    uploads = Uploads()
    async with answering(uploads) as registry:
        uploads.location = location.replace("{host}", registry.address)
        await push_layer(registry.address)
    assert uploads.methods == ["POST", "PUT"]
    assert uploads.bodies[-1] == LAYER
    [put] = [request for request in registry.requests if request.method == "PUT"]
    assert put.headers["Authorization"] == ME
    assert put.query["digest"] == str(LAYER_BLOB.digest)


async def test_elsewhere_it_goes_on_without_credentials() -> None:
    uploads, storage = Uploads(), Uploads(wants=None)
    async with answering(storage) as elsewhere, answering(uploads) as registry:
        uploads.location = f"http://{elsewhere.address}/bucket/a%2Fb?sig=a%2bb%3D"
        await push_layer(registry.address)
    [put] = elsewhere.requests
    assert put.raw_path == f"/bucket/a%2Fb?sig=a%2bb%3D&digest={LAYER_BLOB.digest}"
    assert not elsewhere.secrets()
    assert storage.bodies == [LAYER]


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_an_expired_upload_address_elsewhere_is_replaced(status: int) -> None:
    """An address that another server has signed is good for a while."""
    uploads, storage = Uploads(), Uploads(wants=None, faults={"PUT": [status], "GET": [status]})
    async with answering(storage) as elsewhere, answering(uploads) as registry:
        uploads.location = f"http://{elsewhere.address}/x?sig=SECRET"
        await push_layer(registry.address, tries=2)
    # It might have been the answer alone that was refused.
    assert uploads.methods == ["POST", "HEAD", "POST"]
    assert storage.methods == ["PUT", "GET", *(["DELETE"] if status == 400 else []), "PUT"]


async def test_a_refusal_elsewhere_is_reported_without_the_signature() -> None:
    uploads, storage = Uploads(), Uploads(wants=None, faults={"PUT": [413]})
    async with answering(storage) as elsewhere, answering(uploads) as registry:
        uploads.location = f"http://{elsewhere.address}/x?sig=SECRET"
        with pytest.raises(RegistryError) as caught:
            await push_layer(registry.address)
    assert caught.value.host == elsewhere.address
    assert "SECRET" not in f"{caught.value} {caught.value.advice} {caught.value!r}"


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://cdn.test/x", "https to http"),
        ("https://127.0.0.1/x", "this machine"),
        ("https://169.254.169.254/latest", "this machine"),
        ("https://user:pass@cdn.test/x", "user name"),
        ("ftp://cdn.test/x", "no web address"),
        ("http://registry.test:81/x", "https to http"),
    ],
)
async def test_an_unsafe_upload_address_of_a_public_registry_is_refused(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings], location: str, why: str
) -> None:
    async with answering(Uploads(location), tls=server_tls) as registry, Proxy({}).running() as proxy:
        proxy.routes = {"registry.test:443": registry.address}
        settings = replace(trusting("registry.test"), proxies=Proxies(proxy.url, proxy.url))
        with pytest.raises(RegistryError, match=f"wants the upload to go on at .*{why}") as caught:
            await push_layer("registry.test", settings)
    assert set(proxy.lines) == {"CONNECT registry.test:443 HTTP/1.1"}
    assert not caught.value.transient
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize("location", ["http://registry.test/upload/1", "http://registry.test:443/upload/1"])
async def test_an_http_address_of_a_registry_with_tls_is_asked_by_https(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings], location: str
) -> None:
    uploads = Uploads(location)
    async with answering(uploads, tls=server_tls) as registry, Proxy({}).running() as proxy:
        proxy.routes = {"registry.test:443": registry.address}
        await push_layer("registry.test", replace(trusting("registry.test"), proxies=Proxies(proxy.url, proxy.url)))
    assert set(proxy.lines) == {"CONNECT registry.test:443 HTTP/1.1"}
    assert uploads.methods == ["POST", "PUT"]
    assert {request.headers["Authorization"] for request in registry.asked("/upload")} == {ME}


async def test_an_upload_to_a_closed_port_is_a_network_error() -> None:
    uploads = Uploads()
    async with answering(uploads) as registry:
        pass
    with pytest.raises(NetworkError):
        await push_layer(registry.address)


DATA = random.Random(11).randbytes(300_000)


BLOB = describe(DATA)


REPOSITORY = "team/app"


UPLOADS = "/blobs/uploads/"


def pushes_of(registry: FakeRegistry) -> Pushes:
    assert registry.pushes is not None
    return registry.pushes


async def content_of(registry: FakeRegistry, digest: Digest = BLOB.digest) -> bytes:
    size = await registry.content.size(REPOSITORY, digest)
    assert size is not None, "it did not arrive"
    return b"".join([bytes(piece) async for piece in registry.content.read(digest, 0, size)])


async def finish(upload: Upload, lent: Lent, tries: int = 5) -> list[HangarError]:
    """Send until it is there; returns the errors on the way."""
    errors: list[HangarError] = []
    while not upload.complete:
        try:
            await upload.send(lent)
        except HangarError as error:
            errors.append(error)
            if not error.transient or len(errors) == tries:
                raise
    return errors


async def push(registry: FakeRegistry, lent: Lent, blob: Descriptor = BLOB, tries: int = 5) -> list[HangarError]:
    async with client_of() as client, client.upload(image_at(registry), blob) as upload:
        errors = await finish(upload, lent, tries)
        assert upload.offset == blob.size
    assert lent.settled
    return errors


def asked(registry: FakeRegistry) -> list[str]:
    """The requests about uploads, short."""
    return [f"{one.method} {one.status}" for one in registry.asked(UPLOADS)]


@pytest.mark.parametrize("size", [0, 1, 2, 1000, len(DATA)])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_blob_is_one_put(pushable_registry: FakeRegistry, size: int, algorithm: str) -> None:
    data = DATA[:size]
    blob = describe(data, digest=Digest.of(data, algorithm))
    lent = Lent(data, 70_000)
    assert not await push(pushable_registry, lent, blob)
    assert asked(pushable_registry) == ["POST 202", "PUT 201"]
    assert await content_of(pushable_registry, blob.digest) == data
    assert lent.opened == ([0] if size else [])
    put = pushable_registry.asked(UPLOADS, "PUT")[0]
    assert put.headers["Content-Length"] == str(size)
    assert put.headers["Content-Type"] == "application/octet-stream"
    # The query of the address stays as it was, character for character.
    assert put.path.endswith(f"?_state=a%2Fb%3D&digest={blob.digest}")


async def test_a_registry_that_wants_pieces_gets_them(
    pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_PIECE", 80_000)
    pushes_of(pushable_registry).minimum = 50_000
    lent = Lent(DATA, 70_000)
    assert not await push(pushable_registry, lent)
    assert asked(pushable_registry) == ["POST 202", *["PATCH 202"] * 4, "PUT 201"]
    spans = [one.headers["Content-Range"] for one in pushable_registry.asked(UPLOADS, "PATCH")]
    assert spans == ["0-79999", "80000-159999", "160000-239999", "240000-299999"]
    assert await content_of(pushable_registry) == DATA
    assert lent.opened == [0]


async def test_a_wanted_piece_larger_than_the_blob_is_the_blob(pushable_registry: FakeRegistry) -> None:
    pushes_of(pushable_registry).minimum = 10 << 20
    assert not await push(pushable_registry, Lent(DATA))
    assert asked(pushable_registry) == ["POST 202", "PUT 201"]


@pytest.mark.parametrize("text", ["", "x", "-5", "9" * 50, "1.5"])
async def test_a_wanted_length_that_makes_no_sense_is_none(pushable_registry: FakeRegistry, text: str) -> None:
    pushes_of(pushable_registry).minimum = text  # type: ignore[assignment]
    assert not await push(pushable_registry, Lent(DATA))
    assert asked(pushable_registry) == ["POST 202", "PUT 201"]


async def test_a_body_too_large_goes_in_pieces_and_so_does_the_next_blob_at_once(
    pushable_registry: FakeRegistry,
) -> None:
    pushes_of(pushable_registry).largest = 80_000
    lent = Lent(DATA, 70_000)
    other = describe(DATA[1:])
    async with client_of() as client:
        async with client.upload(image_at(pushable_registry), BLOB) as upload:
            assert not await finish(upload, lent)
        # 300,000 and 150,000 are too large.
        assert asked(pushable_registry) == ["POST 202", "PUT 413", "PATCH 413", *["PATCH 202"] * 4, "PUT 201"]
        assert await content_of(pushable_registry) == DATA
        pushable_registry.requests.clear()
        async with client.upload(image_at(pushable_registry), other) as upload:
            assert not await finish(upload, Lent(DATA[1:]))
        assert asked(pushable_registry) == ["POST 202", *["PATCH 202"] * 4, "PUT 201"]
        small = describe(DATA[:75_000])
        pushable_registry.requests.clear()
        async with client.upload(image_at(pushable_registry), small) as upload:
            assert not await finish(upload, Lent(DATA[:75_000]))
        assert asked(pushable_registry) == ["POST 202", "PUT 201"]
    assert lent.settled


async def test_pieces_have_a_least_size(pushable_registry: FakeRegistry) -> None:
    pushes_of(pushable_registry).largest = 1000
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(RegistryError, match="too large") as caught:
            await upload.send(Lent(DATA))
    assert caught.value.status == 413
    assert not caught.value.transient
    assert "client_max_body_size" in caught.value.advice
    # Nothing was learned of it for others, and the upload was cancelled.
    assert not client._largest
    assert asked(pushable_registry)[-1] == "DELETE 204"
    assert not pushes_of(pushable_registry).sessions


async def test_a_registry_that_wants_more_than_its_proxy_takes(pushable_registry: FakeRegistry) -> None:
    pushes_of(pushable_registry).minimum, pushes_of(pushable_registry).largest = 200_000, 150_000
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(RegistryError, match="too large"):
            await upload.send(Lent(DATA))


@settings(max_examples=60)
@given(cut=st.integers(0, len(DATA)), reset=st.booleans(), piece=st.sampled_from([1000, 65_536, 1 << 20]))
def test_an_upload_broken_at_any_byte_continues_there(cut: int, reset: bool, piece: int) -> None:
    async def run() -> None:
        async with fake_registry(pushable=True) as registry:
            registry.fail(UPLOADS, CutBody(cut, reset), method="PUT")
            lent = Lent(DATA, piece)
            errors = await push(registry, lent)
            assert [type(error) for error in errors] == [NetworkError]
            assert await content_of(registry) == DATA
            # None and one byte look alike, so after these it starts again.
            start = cut if cut > 1 else 0
            assert lent.opened == ([0, start] if start < len(DATA) else [0])
            assert sum(pushes_of(registry).received) == cut + len(DATA) - start

    asyncio.run(run())


@settings(max_examples=40)
@given(cuts=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 60_000)), max_size=3), lost=st.sets(st.integers(0, 6)))
def test_pieces_that_break_in_any_way_make_the_blob(cuts: list[tuple[int, int]], lost: set[int]) -> None:
    async def run() -> None:
        async with fake_registry(pushable=True) as registry:
            pushes_of(registry).minimum = 50_000
            for number, after in cuts:
                registry.fail(UPLOADS, CutBody(after), method="PATCH", skip=number)
            for number in lost:
                registry.fail(UPLOADS, Lost(), method="PATCH", skip=number)
            await push(registry, Lent(DATA, 30_000), tries=20)
            assert await content_of(registry) == DATA

    with pytest.MonkeyPatch.context() as change:
        change.setattr(uploads, "_PIECE", 50_000)
        asyncio.run(run())


@dataclass(frozen=True)
class Answered:
    """Does what it is asked for, and says so by another status."""

    status: int

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        answer.set_status(self.status)
        return answer


async def test_other_statuses_of_success_are_taken(
    pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of registries that answer with 201 to each piece."""
    monkeypatch.setattr(uploads, "_PIECE", 80_000)
    pushes_of(pushable_registry).minimum = 50_000
    pushable_registry.fail(UPLOADS, Answered(201), method="PATCH", times=None)
    pushable_registry.fail(UPLOADS, Answered(202), method="PUT", times=None)
    assert not await push(pushable_registry, Lent(DATA, 70_000))
    assert await content_of(pushable_registry) == DATA


async def test_the_bytes_gained_before_a_break_are_told_by_the_next_error(pushable_registry: FakeRegistry) -> None:
    pushable_registry.fail(UPLOADS, CutBody(100_000), method="PUT")
    pushable_registry.fail(UPLOADS, CutBody(50_000), method="PATCH")
    pushable_registry.fail(UPLOADS, Close(), method="PATCH")
    first, second, third = await push(pushable_registry, Lent(DATA))
    gained = [error.gained for error in (first, second, third) if isinstance(error, NetworkError)]
    assert gained == [0, 100_000, 50_000]
    assert await content_of(pushable_registry) == DATA


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_lost_response_sends_nothing_twice(pushable_registry: FakeRegistry, method: str) -> None:
    if method == "PATCH":
        pushable_registry.fail(UPLOADS, CutBody(1000), method="PUT")
    pushable_registry.fail(UPLOADS, Lost(), method=method)
    lent = Lent(DATA)
    await push(pushable_registry, lent)
    assert await content_of(pushable_registry) == DATA
    # Nothing was sent twice.
    assert sum(pushes_of(pushable_registry).received) == len(DATA)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_upload_continues_after_a_transient_error(
    pushable_registry: FakeRegistry, status: int, method: str
) -> None:
    pushable_registry.fail(UPLOADS, Status(status, {"Retry-After": "3"}), method=method)
    [error] = await push(pushable_registry, Lent(DATA))
    assert isinstance(error, RegistryError)
    assert (error.status, error.retry_after) == (status, 3.0)
    assert await content_of(pushable_registry) == DATA


async def test_a_failing_question_for_the_offset_is_repeated(pushable_registry: FakeRegistry) -> None:
    pushable_registry.fail(UPLOADS, CutBody(100_000), method="PUT")
    pushable_registry.fail(UPLOADS, Status(503), method="GET")
    lent = Lent(DATA)
    assert len(await push(pushable_registry, lent)) == 2
    assert lent.opened == [0, 100_000]
    assert await content_of(pushable_registry) == DATA


async def test_a_lost_session_is_started_again(pushable_registry: FakeRegistry) -> None:
    pushable_registry.fail(UPLOADS, CutBody(100_000), method="PUT")
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        lent = Lent(DATA)
        with pytest.raises(NetworkError):
            await upload.send(lent)
        pushes_of(pushable_registry).sessions.clear()
        await upload.send(lent)
    assert asked(pushable_registry) == ["POST 202", "PUT 200", "GET 404", "POST 202", "PUT 201"]
    assert lent.opened == [0, 0]
    assert await content_of(pushable_registry) == DATA


@pytest.mark.parametrize(
    "answer",
    [
        Status(404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'),
        Status(404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}'),
        Status(400, {"Content-Type": "application/json"}, b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}'),
        Status(404),
    ],
)
async def test_a_session_lost_during_a_request_is_started_again_by_the_next_try(
    pushable_registry: FakeRegistry, answer: Status
) -> None:
    pushable_registry.fail(UPLOADS, answer, method="PUT")
    [error] = await push(pushable_registry, Lent(DATA))
    assert isinstance(error, UploadLost)
    # It may know the session all the same.
    cancelled = ["DELETE 204"] if answer.status == 400 else []
    assert asked(pushable_registry) == ["POST 202", f"PUT {answer.status}", *cancelled, "POST 202", "PUT 201"]
    assert not cancelled or not pushes_of(pushable_registry).sessions


@pytest.mark.parametrize("status", [400, 404, 405, 410, 501])
async def test_an_upload_with_an_unknown_offset_is_started_again(pushable_registry: FakeRegistry, status: int) -> None:
    pushable_registry.fail(UPLOADS, CutBody(100_000), method="PUT")
    pushable_registry.fail(UPLOADS, Status(status), method="GET")
    lent = Lent(DATA)
    assert len(await push(pushable_registry, lent)) == 1
    assert lent.opened == [0, 0]
    assert await content_of(pushable_registry) == DATA
    # The one that is given up is cancelled, but where it is gone.
    assert bool(pushes_of(pushable_registry).sessions) == (status in (404, 410))


@pytest.mark.parametrize(
    "report",
    [
        lambda _: "",
        lambda _: "bytes",
        lambda _: "0-299999",
        lambda _: f"0-{10**18}",
        lambda size: f"{size}-{size}",
        lambda _: "0-0",
    ],
)
async def test_an_impossible_range_is_not_continued_from(
    pushable_registry: FakeRegistry, report: Callable[[int], str]
) -> None:
    pushable_registry.fail(UPLOADS, CutBody(100_000), method="PUT")
    pushes_of(pushable_registry).report = report
    lent = Lent(DATA, 50_000)
    # The server closes the connection before the client has given all of it to its kernel.
    await push(pushable_registry, lent)
    assert await content_of(pushable_registry) == DATA


async def test_a_false_range_is_found_by_the_digest(pushable_registry: FakeRegistry) -> None:
    pushable_registry.fail(UPLOADS, CutBody(100_000), method="PUT")
    pushes = pushes_of(pushable_registry)
    pushes.report = lambda size: f"0-{size - 2}" if size else "0-0"
    pushes.check_spans = False
    lent = Lent(DATA)
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(NetworkError):
            await upload.send(lent)
        with pytest.raises(HangarError) as caught:
            await upload.send(lent)
        assert caught.value.transient
        pushes.report = lambda size: f"0-{size - 1}"
        await finish(upload, lent)
    assert await content_of(pushable_registry) == DATA


async def test_endless_contradictions_of_a_registry_are_given_up(pushable_registry: FakeRegistry) -> None:
    pushable_registry.fail(UPLOADS, CutBody(100_000), method="PUT")
    pushes_of(pushable_registry).report = lambda size: f"0-{size - 2}" if size else "0-0"
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(NetworkError):
            await upload.send(Lent(DATA))
        with pytest.raises(UploadLost, match="does not go on"):
            await upload.send(Lent(DATA))
        assert upload.offset == 0
        await upload.send(Lent(DATA))
    assert len(pushable_registry.requests) < 20
    assert await content_of(pushable_registry) == DATA


async def test_bytes_that_were_not_taken_are_sent_again(
    pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_PIECE", 100_000)
    pushes = pushes_of(pushable_registry)
    pushes.minimum = 50_000
    pushes.drops = [30_000]
    lent = Lent(DATA, 40_000)
    assert not await push(pushable_registry, lent)
    assert lent.opened == [0, 70_000]
    assert await content_of(pushable_registry) == DATA


async def test_an_address_that_lost_its_port_is_told_as_such(pushable_registry: FakeRegistry) -> None:
    """As of a registry behind a proxy that does not tell it the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    headers = {"Location": f"http://127.0.0.1:{port}/v2/app/blobs/uploads/1"}
    pushable_registry.fail(UPLOADS, Status(202, headers), method="POST")
    with pytest.raises(NetworkError, match="refused") as caught:
        await push(pushable_registry, Lent(DATA), tries=1)
    assert f"wants uploads to go on at its port {port}" in caught.value.advice


async def test_other_bytes_are_found_by_the_registry(pushable_registry: FakeRegistry) -> None:
    wrong = bytearray(DATA)
    wrong[1000] ^= 1
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(DigestMismatch, match="another digest") as caught:
            await upload.send(Lent(bytes(wrong)))
        assert caught.value.digest == str(BLOB.digest)
        assert caught.value.tries == 2
        assert str(caught.value.advice).startswith("run the same command again; if it stays so, the registry")
        assert not upload.complete
        await upload.send(Lent(DATA))
    assert await content_of(pushable_registry) == DATA


async def test_a_registry_that_names_another_digest(pushable_registry: FakeRegistry) -> None:
    headers = {"Docker-Content-Digest": str(Digest.of(b"other"))}
    pushable_registry.fail(UPLOADS, Status(201, headers), method="PUT")
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(DigestMismatch):
            await upload.send(Lent(DATA))
        assert not upload.complete
        await finish(upload, Lent(DATA))


async def test_a_success_before_the_last_byte_is_not_believed(pushable_registry: FakeRegistry) -> None:
    pushable_registry.fail(UPLOADS, Status(201), method="PUT")
    gated, lent = Lent(DATA, 40_000, asyncio.Event(), 2), Lent(DATA, 40_000)
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        await upload.send(lambda offset: lent(offset) if gated.opened else gated(offset))
        assert upload.complete
    assert await content_of(pushable_registry) == DATA


async def test_an_upload_continues_after_a_failure_of_its_source(
    pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_PIECE", 100_000)
    pushes_of(pushable_registry).minimum = 50_000

    async def broken(offset: int) -> AsyncIterator[bytes]:
        yield DATA[:150_000]
        raise StorageError("cannot read it", path="it")

    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(StorageError):
            await upload.send(broken)
        lent = Lent(DATA)
        await upload.send(lent)
    assert lent.opened[0] >= 100_000
    assert await content_of(pushable_registry) == DATA


@pytest.mark.parametrize("status", [404, 413, 416, 429])
async def test_a_refusal_of_the_source_is_not_one_of_the_target(pushable_registry: FakeRegistry, status: int) -> None:
    failure = RegistryError("no", host="source.example", status=status, code="BLOB_UPLOAD_UNKNOWN", advice="look there")

    async def broken(offset: int) -> AsyncIterator[bytes]:
        yield DATA[:150_000]
        raise failure

    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(SourceError, match=f"cannot read blob {BLOB.digest} at its source: no") as caught:
            await upload.send(broken)
        assert (caught.value.failure, caught.value.advice) == (failure, "look there")
        assert caught.value.transient == (status == 429)
        # Neither a smaller body nor a new session is tried.
        assert len(pushable_registry.asked("/uploads/", "POST")) == 1
        assert pushable_registry.asked("/uploads/", "PATCH") == []


async def test_a_source_that_breaks_is_not_a_network_error_of_the_target(pushable_registry: FakeRegistry) -> None:
    async def broken(offset: int) -> AsyncIterator[bytes]:
        yield DATA[:150_000]
        raise NetworkError("cut", host="source.example", gained=150_000)

    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(SourceError) as caught:
            await upload.send(broken)
        assert caught.value.transient
        assert caught.value.uses_try == (not caught.value.gained)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (403, Unauthorized), (404, NotFound), (405, RegistryError)]
)
async def test_a_refused_start_is_a_lasting_error(
    pushable_registry: FakeRegistry, status: int, kind: type[RegistryError]
) -> None:
    pushable_registry.fail(UPLOADS, Status(status), method="POST", times=None)
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(kind) as caught:
            await upload.send(Lent(DATA))
    assert type(caught.value) is kind
    assert not caught.value.transient
    assert str(BLOB.digest) in str(caught.value)


async def test_a_session_without_an_address_is_refused(pushable_registry: FakeRegistry) -> None:
    pushable_registry.fail(UPLOADS, Status(202), method="POST")
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(RegistryError, match="no web address"):
            await upload.send(Lent(DATA))


async def test_an_unused_upload_costs_no_request(pushable_registry: FakeRegistry) -> None:
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        assert (upload.offset, upload.complete) == (0, False)
    assert not pushable_registry.requests


async def test_a_complete_upload_is_not_cancelled(pushable_registry: FakeRegistry) -> None:
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        await upload.send(Lent(DATA))
        await upload.send(Lent(DATA))
        await upload.cancel()
        assert upload.complete
    assert asked(pushable_registry) == ["POST 202", "PUT 201"]


@pytest.mark.parametrize("fault", [None, Close(), Status(405), Status(500)])
async def test_an_abandoned_upload_is_cancelled_as_far_as_possible(
    pushable_registry: FakeRegistry, fault: Fault | None
) -> None:
    pushable_registry.fail(UPLOADS, CutBody(1000), method="PUT")
    if fault is not None:
        # aiohttp asks again when a connection that was used before is closed.
        pushable_registry.fail(UPLOADS, fault, method="DELETE", times=None)
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(NetworkError):
            await upload.send(Lent(DATA))
    assert asked(pushable_registry)[-1].startswith("DELETE")
    assert bool(pushes_of(pushable_registry).sessions) == (fault is not None)


async def test_a_cancellation_that_is_not_answered_is_given_up(
    pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hangar_async.registry.upload_session._CANCEL_TIMEOUT", 0.01)
    pushable_registry.fail(UPLOADS, CutBody(1000), method="PUT")
    pushable_registry.fail(UPLOADS, Hold(asyncio.Event()), method="DELETE")
    async with client_of() as client, client.upload(image_at(pushable_registry), BLOB) as upload:
        with pytest.raises(NetworkError):
            await upload.send(Lent(DATA))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "GET", "HEAD"])
async def test_cancelled_at_any_request_it_leaves_no_task_and_no_session(
    pushable_registry: FakeRegistry, method: str
) -> None:
    hold = Hold(asyncio.Event())
    if method != "PUT":
        pushable_registry.fail(UPLOADS, CutBody(1000 if method != "HEAD" else len(DATA)), method="PUT")
    if method == "HEAD":
        pushable_registry.fail(UPLOADS, Status(404), method="GET")
    pushable_registry.fail("/blobs/", hold, method=method)
    lent = Lent(DATA)
    async with client_of() as client:
        before = asyncio.all_tasks()

        async def work() -> None:
            async with client.upload(image_at(pushable_registry), BLOB) as upload:
                await finish(upload, lent)

        task = asyncio.ensure_future(work())
        await hold.reached.wait()
        task.cancel()
        if method == "POST":
            # What it opens is known when its response is there.
            await asyncio.sleep(0)
            hold.until.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert lent.settled
        # The only connection is free, and what remains are tasks of the server.
        assert not await client.has_blob(image_at(pushable_registry), BLOB)
        ours = [one for one in asyncio.all_tasks() - before if "aiohttp.client" in repr(one.get_coro())]
        assert not ours
    assert method == "HEAD" or not pushes_of(pushable_registry).sessions


@dataclass
class Memory:
    """Sessions that are kept, by repository; and the offsets that were noted."""

    addresses: dict[str, str] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)

    def session(self, image: Reference, blob: Descriptor) -> str:
        return self.addresses.get(image.repository, "")

    async def note_session(self, image: Reference, blob: Descriptor, address: str, offset: int) -> None:
        self.addresses[image.repository] = address
        self.offsets.append(offset)

    async def forget_session(self, image: Reference, blob: Descriptor, *, is_there: bool = False) -> None:
        self.addresses.pop(image.repository, None)


async def broken_off(registry: FakeRegistry, after: int = 100_000) -> Memory:
    """Break an upload off, and return what was kept of it."""
    memory = Memory()
    registry.fail(UPLOADS, CutBody(after), method="PUT")
    async with client_of(sessions=memory) as client, client.upload(image_at(registry), BLOB) as upload:
        with pytest.raises(NetworkError):
            await upload.send(Lent(DATA))
    assert asked(registry) == ["POST 202", "PUT 200"]
    assert list(memory.addresses) == [REPOSITORY]
    registry.requests.clear()
    pushes_of(registry).received.clear()
    return memory


async def resume(registry: FakeRegistry, memory: Memory) -> tuple[Lent, int]:
    """Send the blob in another run; returns its source, and the number of bytes that were there."""
    lent = Lent(DATA)
    async with client_of(sessions=memory) as client, client.upload(image_at(registry), BLOB) as upload:
        await finish(upload, lent)
    assert await content_of(registry) == DATA
    assert memory.addresses == {}
    return lent, upload.resumed


@pytest.mark.parametrize("after", [100_000, len(DATA)])
async def test_the_next_run_goes_on_in_a_session_that_was_kept(pushable_registry: FakeRegistry, after: int) -> None:
    memory = await broken_off(pushable_registry, after)
    lent, resumed = await resume(pushable_registry, memory)
    assert resumed == after
    assert sum(pushes_of(pushable_registry).received) == len(DATA) - after
    rest = ["PATCH 202"] if after < len(DATA) else []
    assert asked(pushable_registry) == ["GET 204", *rest, "PUT 201"]
    assert lent.opened == [after] * len(rest)
    assert memory.offsets == [0, after, *[len(DATA)] * len(rest)]


async def test_a_kept_session_that_is_lost_is_started_again(pushable_registry: FakeRegistry) -> None:
    memory = await broken_off(pushable_registry)
    pushes_of(pushable_registry).sessions.clear()
    assert (await resume(pushable_registry, memory))[1] == 0
    assert asked(pushable_registry) == ["GET 404", "POST 202", "PUT 201"]


@pytest.mark.parametrize("status", [400, 401, 403, 416])
async def test_a_kept_session_that_is_refused_is_started_again(pushable_registry: FakeRegistry, status: int) -> None:
    memory = await broken_off(pushable_registry)
    pushable_registry.fail(UPLOADS, Status(status), method="GET")
    assert (await resume(pushable_registry, memory))[1] == 0
    assert asked(pushable_registry) == [f"GET {status}", "DELETE 204", "POST 202", "PUT 201"]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/upload", "http://169.254.169.254/latest", "file:///etc/passwd", "", "\udcff"]
)
async def test_a_kept_address_that_leads_elsewhere_costs_no_more_than_a_new_session(
    pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """The state may be old, or wrong."""
    monkeypatch.setattr("hangar_async.registry.exchange.is_internal", lambda host: not host.startswith("127."))
    monkeypatch.setattr("hangar_async.registry.upload_session._CANCEL_TIMEOUT", 0.01)
    memory = Memory({REPOSITORY: address})
    assert (await resume(pushable_registry, memory))[1] == 0
    assert asked(pushable_registry) == ["POST 202", "PUT 201"]


async def test_a_kept_session_waits_for_a_registry_that_is_overloaded(pushable_registry: FakeRegistry) -> None:
    memory = await broken_off(pushable_registry)
    pushable_registry.fail(UPLOADS, Status(503), method="GET", times=2)
    assert (await resume(pushable_registry, memory))[1] == 100_000


async def test_a_kept_session_with_other_bytes_is_found_by_the_registry(pushable_registry: FakeRegistry) -> None:
    memory = await broken_off(pushable_registry)
    [session] = pushes_of(pushable_registry).sessions.values()
    session.data[:3] = b"???"
    await resume(pushable_registry, memory)
    assert asked(pushable_registry) == ["GET 204", "PATCH 202", "PUT 400", "DELETE 404", "POST 202", "PUT 201"]


async def test_a_kept_session_is_not_cancelled_by_a_cancellation(pushable_registry: FakeRegistry) -> None:
    memory, hold = Memory(), Hold(asyncio.Event())
    pushable_registry.fail(UPLOADS, hold, method="PUT")

    async def work() -> None:
        async with client_of(sessions=memory) as client, client.upload(image_at(pushable_registry), BLOB) as upload:
            await upload.send(Lent(DATA))

    task = asyncio.ensure_future(work())
    await hold.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pushable_registry.asked(UPLOADS, "DELETE") == []
    assert list(memory.addresses) == [REPOSITORY]


async def test_a_session_that_docker_registry_ended_is_started_again(docker_registry: str) -> None:
    """It has the bytes of a request that broke off, and refuses to go on with them."""
    memory, lent = Memory(), Lent(DATA, piece=100_000, gate=asyncio.Event(), gated=2)
    image = Reference.parse(f"{docker_registry}/kept/app:1")

    async def work(source: Lent) -> None:
        async with client_of(sessions=memory) as client, client.upload(image, BLOB) as upload:
            await upload.send(source)

    task = asyncio.ensure_future(work(lent))
    await turns_until(lambda: lent.taken == 200_000)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert memory.addresses
    await work(Lent(DATA))
    assert memory.addresses == {}
    async with client_of() as client:
        assert await client.has_blob(image, BLOB)


async def test_a_blob_that_is_there_needs_no_session(pushable_registry: FakeRegistry) -> None:
    memory = await broken_off(pushable_registry)
    pushable_registry.content.add_blob(REPOSITORY, DATA)
    async with client_of(sessions=memory) as client:
        assert await client.has_blob(image_at(pushable_registry), BLOB)
    assert memory.addresses == {}


async def test_an_upload_address_may_be_absolute_and_change(pushable_registry: FakeRegistry) -> None:
    pushes = pushes_of(pushable_registry)
    pushes.minimum, numbers = 100_000, iter(range(100))
    pushes.place = lambda path: f"http://{pushable_registry.address}{path}&n={next(numbers)}#part"
    assert not await push(pushable_registry, Lent(DATA))
    puts = pushable_registry.asked(UPLOADS, "PUT")
    assert [re.search("n=([0-9]+)&digest", one.path) is not None for one in puts] == [True]
    assert await content_of(pushable_registry) == DATA


async def test_a_mounted_blob_needs_no_upload(pushable_registry: FakeRegistry) -> None:
    pushable_registry.content.add_blob("base/one", DATA)
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        assert await client.mount_blob(image, BLOB, "base/one") is None
        assert await client.has_blob(image, BLOB)
    [post] = pushable_registry.asked("/uploads/")
    assert post.path == f"/v2/team/app/blobs/uploads/?mount={BLOB.digest}&from=base/one"


@pytest.mark.parametrize("there", [False, True])
async def test_an_upload_that_was_opened_instead_of_a_mount_is_used(
    pushable_registry: FakeRegistry, there: bool
) -> None:
    assert pushable_registry.pushes
    if there:
        pushable_registry.content.add_blob("base/one", DATA)
        pushable_registry.pushes.mounts = False
    pushable_registry.pushes.minimum = 1000
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        upload = await client.mount_blob(image, BLOB, "base/one")
        assert upload
        async with upload:
            await upload.send(Lent(DATA))
        assert await client.has_blob(image, BLOB)
    assert [one.method for one in pushable_registry.asked("/uploads/")] == ["POST", "PUT"]


async def test_an_upload_that_was_opened_instead_of_a_mount_may_be_cancelled(pushable_registry: FakeRegistry) -> None:
    assert pushable_registry.pushes
    async with client_of(pushable_registry.address) as client:
        upload = await client.mount_blob(image_at(pushable_registry), BLOB, "base/one")
        assert upload
        assert pushable_registry.pushes.sessions
        await upload.cancel()
    assert not pushable_registry.pushes.sessions


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
async def test_a_refused_mount_returns_an_upload(pushable_registry: FakeRegistry, status: int) -> None:
    pushable_registry.fail("/uploads/.*mount", Status(status), times=None)
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        upload = await client.mount_blob(image, BLOB, "base/one")
        assert upload
        await upload.send(Lent(DATA))
        assert await client.has_blob(image, BLOB)


@pytest.mark.parametrize(
    ("there", "fault", "methods"),
    [
        (True, None, ["POST"]),
        (False, None, ["POST", "PUT"]),
        (False, Status(405), ["POST", "POST", "PUT"]),
        (True, Status(503), ["POST", "POST"]),
    ],
)
async def test_an_upload_asks_for_the_blob_when_it_opens(
    pushable_registry: FakeRegistry, there: bool, fault: Status | None, methods: list[str]
) -> None:
    if there:
        pushable_registry.content.add_blob("team/app", DATA)
    if fault is not None:
        pushable_registry.fail("/uploads/.*mount", fault)
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        async with client.upload(image, BLOB, may_be_there=True) as upload:
            while not upload.complete:
                with suppress(RegistryError):
                    await upload.send(Lent(DATA))
            assert upload.was_there == there
            assert upload.mount_refused == (fault == Status(405))
        assert await client.has_blob(image, BLOB)
    assert [one.method for one in pushable_registry.asked("/uploads/")] == methods


async def test_a_mount_may_be_tried_again_later(pushable_registry: FakeRegistry) -> None:
    pushable_registry.fail("/uploads/", Status(503))
    pushable_registry.fail("/uploads/", Close())
    async with client_of(pushable_registry.address) as client:
        with pytest.raises(RegistryError) as refused:
            await client.mount_blob(image_at(pushable_registry), BLOB, "base/one")
        assert refused.value.transient
        with pytest.raises(NetworkError):
            await client.mount_blob(image_at(pushable_registry), BLOB, "base/one")


async def test_a_mount_of_another_digest_is_refused(pushable_registry: FakeRegistry) -> None:
    headers = {"Docker-Content-Digest": str(Digest.of(b"other"))}
    pushable_registry.fail("/uploads/", Status(201, headers))
    async with client_of(pushable_registry.address) as client:
        with pytest.raises(DigestMismatch):
            await client.mount_blob(image_at(pushable_registry), BLOB, "base/one")


async def test_a_token_that_ends_in_the_middle_of_an_upload_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar_async.registry.uploads._PIECE", 10_000)
    tokens = TokenServer({"me": "pass:word"}, uses=2)
    async with fake_registry(auth=tokens, pushable=True) as registry, client_of(registry.address, LOGIN) as client:
        assert registry.pushes
        registry.pushes.minimum = 10_000
        blob, lent = describe(DATA[:50_000]), Lent(DATA[:50_000], 4000)
        async with client.upload(image_at(registry), blob) as upload:
            await upload.send(lent)
        assert await client.has_blob(image_at(registry), blob)
    assert len(tokens.requests) == 4
    assert lent.settled


async def test_a_push_without_credentials_is_unauthorized_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_registry(auth=TokenServer(), pushable=True) as registry, client_of(registry.address) as client:
        with pytest.raises(Unauthorized, match="no credentials") as caught:
            await client.upload(image_at(registry), BLOB).send(Lent(DATA))
    assert "DEST_USERNAME" in caught.value.advice
