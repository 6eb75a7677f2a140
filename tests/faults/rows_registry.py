"""The faults of registries: the rows of the table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from email.utils import formatdate

from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.errors import (
    ContentError,
    DigestMismatch,
    NetworkError,
    NotFound,
    RateLimited,
    RegistryError,
    Unauthorized,
    UnsupportedManifest,
)
from hangar_async.oci import media_types
from hangar_async.server.responses import ContentResponse
from tests.fakes.auth import TokenServer
from tests.fakes.faults import Bytes, Close, Cut, Headers, IgnoreRange, Stall, Status, flipped, redirect
from tests.faults.rig import BIG, GOOD, RETRIES, SMALL, Row, Scene

_SIZE = len(BIG.data)
_MIDDLE = _SIZE // 2
_TRIES = RETRIES + 1


def _on_blob(fault: object, **keywords: object) -> Callable[[Scene], None]:
    return lambda scene: void(scene.registry.fail(scene.blob(), fault, **keywords))  # type: ignore[arg-type]


def _on_manifest(fault: object, **keywords: object) -> Callable[[Scene], None]:
    return lambda scene: void(scene.registry.fail(scene.manifest, fault, **keywords))  # type: ignore[arg-type]


def void(_: object) -> None:
    """Nothing is to be returned."""


def _asked_blob(times: int) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        assert scene.asked(scene.blob()) == times

    return check


def _asked_manifest(times: int) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        assert scene.asked(scene.manifest) == times

    return check


def _asked_a_few_times(scene: Scene) -> None:
    # A connection that was used before may have been closed for its age, so aiohttp asks once more by itself.
    assert _TRIES <= scene.asked(scene.blob()) <= 2 * _TRIES


def _goes_on(start: int) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        assert scene.ranges() == [None, f"bytes={start}-"]

    return check


def _begins_again(scene: Scene) -> None:
    first, ranged, *rest = scene.ranges()
    assert (first, rest) == (None, [None]) or (first, rest) == (None, [])
    assert ranged == f"bytes={_MIDDLE}-"


def _cut_then(fault: object) -> Callable[[Scene], None]:
    def script(scene: Scene) -> None:
        scene.registry.fail(scene.blob(), Cut(_MIDDLE), ranged=False)
        scene.registry.fail(scene.blob(), fault, ranged=True)  # type: ignore[arg-type]

    return script


def _pauses(*expected: float) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        assert scene.pauses() == list(expected)
        assert not scene.retries()

    return check


def _busy(after: str | None, times: int | None = 1) -> Callable[[Scene], None]:
    headers = {} if after is None else {"Retry-After": after}
    return _on_manifest(Status(429, headers), times=times)


def _date(scene: Scene) -> None:
    # A date is reckoned from the clock of this machine; only that it is waited for is looked at.
    scene.registry.fail(scene.manifest, Status(429, {"Retry-After": formatdate(usegmt=True)}))


def _no_wait_but_growing(scene: Scene) -> None:
    assert scene.pauses()[:1] != [0.0] or len(scene.pauses()) > 1
    assert all(pause <= 4.0 for pause in scene.pauses())


def _comes_back_later(scene: Scene) -> None:
    error = scene.outcome().error
    assert "takes no more requests before 20" in str(error)
    assert not [wait for wait in scene.time.waits if wait > 900]


def _six_hours(scene: Scene) -> None:
    """The other image has asked for all it needs by then: all that comes later fails too."""

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        while not all(scene.asked(f"/good/blobs/{digest}") for digest in GOOD.blobs):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        return web.Response(status=429, headers={"Retry-After": "21600"})

    scene.registry.fail(scene.blob(), answer, times=None)


def _expired_token(scene: Scene) -> None:
    scene.registry.auth = TokenServer(uses=3)


def _refused_token(scene: Scene) -> None:
    scene.registry.auth = TokenServer(private=frozenset({"bad"}))


def _renamed(scene: Scene) -> None:
    scene.registry.auth = TokenServer(names={"bad": "hub/bad"})


def _the_scope_of_the_challenge(scene: Scene) -> None:
    assert isinstance(scene.registry.auth, TokenServer)
    scopes = [one.scopes for one in scene.registry.auth.requests if one.scopes != ("repository:good:pull",)]
    # The first one is of both repositories.
    assert [len(one) for one in scopes] == [2, 1]
    assert scopes[1] == ("repository:hub/bad:pull",)


class _OtherRegistry:
    """The server by its other name, as another registry: it gives blobs for a token of its own."""

    def __init__(self) -> None:
        self.tokens = TokenServer()

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/other/token":
            return await self.tokens.answer(request)
        if request.host.startswith("127.0.0.1"):
            address = request.host.replace("127.0.0.1", "localhost")
            self.tokens.realm = f"http://{address}/other/token"
            return web.Response(status=307, headers={"Location": f"http://{address}{request.path}"})
        challenge = self.tokens.challenge(request)
        return (
            web.Response(status=401, headers={"WWW-Authenticate": challenge}) if challenge else await handler(request)
        )


def _at_another_registry(scene: Scene) -> None:
    other = _OtherRegistry()
    scene.registry.fail("/other/token", other, times=None)
    scene.registry.fail(scene.blob(), other, times=None)


def _one_token_more(scene: Scene) -> None:
    assert isinstance(scene.registry.auth, TokenServer)
    assert len([one for one in scene.registry.auth.requests if "repository:bad:pull" in one.scopes]) >= 2


class _Expired:
    """Sends to a signed address; the first one has run out."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "signature" in request.query:
            return web.Response(status=403) if request.query["signature"] == "1" else await handler(request)
        self.count += 1
        # Another origin: the same server by its other name.
        host = request.host.replace("127.0.0.1", "localhost")
        return web.Response(status=307, headers={"Location": f"http://{host}{request.path}?signature={self.count}"})


def _endless(scene: Scene) -> None:
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": media_types.OCI_INDEX})
        await response.prepare(request)
        for _ in range(1600):  # 100 MB
            await response.write(b" " * 65_536)
        return response

    scene.registry.fail(scene.manifest, answer, times=None)


def _document(make: Callable[[Scene], dict[str, object]]) -> Callable[[Scene], None]:
    """Let the tag name another document."""

    def script(scene: Scene) -> None:
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            raw = json.dumps(make(scene)).encode()
            return web.Response(body=raw, content_type=media_types.OCI_INDEX)

        scene.registry.fail(scene.manifest, answer, times=None)

    return script


def _entry(**changes: object) -> dict[str, object]:
    return {"mediaType": media_types.OCI_MANIFEST, "digest": f"sha256:{'a' * 64}", "size": 10, **changes}


def _many(scene: Scene) -> dict[str, object]:
    # 100,000 entries of a platform that nobody wants: about 13 MB.
    platform = {"os": "plan9", "architecture": "mips"}
    return {"schemaVersion": 2, "manifests": [_entry(platform=platform)] * 100_000}


def _circle(scene: Scene) -> None:
    """An index that names one that names it again cannot be made; one that is served under every digest can."""
    index = {"schemaVersion": 2, "manifests": [_entry(mediaType=media_types.OCI_INDEX)]}
    raw = json.dumps(index).encode()

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.Response(body=raw, content_type=media_types.OCI_INDEX)

    scene.registry.fail("/bad/manifests/", answer, times=None)


def _nested(scene: Scene) -> None:
    """An index within an index, and so on, deeper than any is."""
    inner = _entry()
    for _ in range(20):
        raw = json.dumps({"schemaVersion": 2, "manifests": [inner]}).encode()
        digest = scene.registry.content.add_manifest("bad", raw, media_types.OCI_INDEX)
        inner = _entry(mediaType=media_types.OCI_INDEX, digest=str(digest), size=len(raw))
    raw = json.dumps({"schemaVersion": 2, "manifests": [inner]}).encode()

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.Response(body=raw, content_type=media_types.OCI_INDEX)

    scene.registry.fail(scene.manifest, answer, times=None)


def _moved(scene: Scene) -> None:
    """The tag names another image from the second request on: there must be none."""
    other = scene.registry.content.add_manifest("bad", b'{"schemaVersion":2,"manifests":[]}', media_types.OCI_INDEX)

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = await handler(request)
        scene.registry.content.tag("bad", "1", other)
        return found

    scene.registry.fail(scene.manifest, answer)


def _trickle(scene: Scene) -> None:
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = await handler(request)
        assert isinstance(found, ContentResponse)
        whole = b"".join([bytes(piece) async for piece in found.pieces])

        async def pieces() -> object:
            for start in range(0, len(whole), 400_000):
                yield whole[start : start + 400_000]
                await asyncio.sleep(0.06)  # all of it takes longer than the time limit of 0.3 s

        found.pieces = pieces()  # type: ignore[assignment]
        return found

    scene.registry.fail(scene.blob(), answer)


def _drip(scene: Scene) -> None:
    scene.settings |= {"least_speed": 1 << 30, "least_speed_span": 0.05}

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = await handler(request)
        assert isinstance(found, ContentResponse)
        whole = found.pieces

        async def pieces() -> object:
            async for piece in whole:
                for number in range(len(piece)):
                    yield piece[number : number + 1]
                    await asyncio.sleep(0.01)

        found.pieces = pieces()  # type: ignore[assignment]
        return found

    scene.registry.fail(scene.blob(), answer, times=None)


REGISTRY_ROWS = [
    Row(
        "closed-before-headers",
        "closes the connection before any header",
        "tried again",
        _on_blob(Close()),
        None,
        [_asked_blob(2)],
    ),
    Row(
        "reset-before-headers",
        "resets the connection before any header",
        "tried again",
        _on_blob(Close(reset=True)),
        None,
        [_asked_blob(2)],
    ),
    Row(
        "closed-always",
        "closes every connection",
        "the image fails as `network` after the tries, others go on",
        _on_blob(Close(), times=None),
        NetworkError,
        [_asked_a_few_times],
    ),
    Row(
        "cut",
        "closes after N bytes of a body",
        "goes on from the byte reached, by Range",
        _on_blob(Cut(_MIDDLE)),
        None,
        [_goes_on(_MIDDLE)],
    ),
    Row(
        "cut-by-reset",
        "resets after N bytes of a body",
        "goes on from what had arrived",
        _on_blob(Cut(_MIDDLE, reset=True)),
        None,
        [_asked_blob(2)],
    ),
    Row(
        "cut-at-the-last-byte",
        "closes one byte before the end",
        "asks for the last byte alone",
        _on_blob(Cut(_SIZE - 1)),
        None,
        [_goes_on(_SIZE - 1)],
    ),
    Row(
        "cut-again-and-again",
        "closes after some bytes, more often than there are tries",
        "goes on: a try that gained bytes uses up none",
        _on_blob(Cut(200_000), times=10),
        None,
        [_asked_blob(11)],
    ),
    Row(
        "range-ignored",
        "answers a Range with 200 and the whole",
        "the blob begins again, nothing is mixed",
        _cut_then(IgnoreRange()),
        None,
        [_begins_again],
    ),
    Row(
        "range-wrong-start",
        "206 from another byte",
        "the whole blob is requested again",
        _cut_then(Headers({"Content-Range": f"bytes 5-{_SIZE - 1}/{_SIZE}"})),
        None,
        [_begins_again],
    ),
    Row(
        "range-wrong-total",
        "206 of another total",
        "the whole blob is requested again",
        _cut_then(Headers({"Content-Range": f"bytes {_MIDDLE}-{_SIZE - 1}/{_SIZE + 1}"})),
        None,
        [_begins_again],
    ),
    Row(
        "range-without-content-range",
        "206 without Content-Range",
        "the whole blob is requested again",
        _cut_then(Headers({"Content-Range": None})),
        None,
        [_begins_again],
    ),
    Row("range-416", "416", "the whole blob is requested again", _cut_then(Status(416)), None, [_begins_again]),
    Row(
        "token-expired",
        "401 in the middle: the token has run out",
        "the token is renewed, nothing fails",
        _expired_token,
        None,
        [_one_token_more],
    ),
    Row(
        "token-refused",
        "401 with a fresh token",
        "the image fails at once as `unauthorised`",
        _refused_token,
        Unauthorized,
        [],
    ),
    Row(
        "token-of-another-scope",
        "wants a token for another scope than that of the path",
        "the scope of its challenge is asked for",
        _renamed,
        None,
        [_the_scope_of_the_challenge],
    ),
    Row(
        "another-registry-with-tokens",
        "redirects to another registry, which wants a token",
        "a token is got from its token server, without credentials",
        _at_another_registry,
        None,
        [_asked_blob(3)],
    ),
    Row(
        "signed-address-expired",
        "403 from a signed address of the storage",
        "a fresh address is asked for at the registry",
        _on_blob(_Expired(), times=None),
        None,
        [],
    ),
    Row(
        "retry-after-seconds",
        "429 with Retry-After in seconds",
        "all requests of this registry wait so long, no try is used up",
        _busy("77", 6),
        None,
        [_pauses(*[77.0] * 6), _asked_manifest(7)],
    ),
    Row("retry-after-date", "429 with Retry-After as a date", "waits until then", _date, None, [_asked_manifest(2)]),
    Row(
        "retry-after-0",
        "429 with Retry-After 0, again and again",
        "asked again at once, then less and less often",
        _busy("0", 5),
        None,
        [_no_wait_but_growing, _asked_manifest(6)],
    ),
    Row(
        "retry-after-negative",
        "429 with a negative Retry-After",
        "as without one",
        _busy("-5", 2),
        None,
        [_no_wait_but_growing],
    ),
    Row(
        "retry-after-missing",
        "429 without Retry-After",
        "pauses that grow, with jitter",
        _busy(None, 4),
        None,
        [_no_wait_but_growing, _asked_manifest(5)],
    ),
    Row(
        "retry-after-six-hours",
        "429 with Retry-After of six hours",
        "the images of this registry fail at once as `rate limited`, with the time at which to come back",
        _six_hours,
        RateLimited,
        [_comes_back_later, _asked_blob(1)],
    ),
    *[
        Row(f"status-{status}-once", f"{status} once", "tried again", _on_blob(Status(status)), None, [_asked_blob(2)])
        for status in (500, 502, 503, 504)
    ],
    *[
        Row(
            f"status-{status}-always",
            f"{status} always",
            "the image fails after the tries, others go on",
            _on_blob(Status(status), times=None),
            RegistryError,
            [_asked_blob(_TRIES)],
        )
        for status in (500, 502, 503, 504)
    ],
    *[
        Row(
            f"status-{status}",
            f"{status}",
            "the image fails at once",
            _on_blob(Status(status), times=None),
            error,
            [_asked_blob(1)],
        )
        for status, error in ((400, RegistryError), (403, Unauthorized), (404, NotFound), (405, RegistryError))
    ],
    Row(
        "html",
        "HTML instead of JSON",
        "the image fails as bad content",
        _on_manifest(Status(200, {"Content-Type": "text/html"}, b"<html>log in</html>"), times=None),
        ContentError,
        [_asked_manifest(1)],
    ),
    Row(
        "content-encoding",
        "a blob with Content-Encoding: gzip whose bytes are right",
        "taken: the digest decides",
        _on_blob(Headers({"Content-Encoding": "gzip"}), times=None),
        None,
        [_asked_blob(1)],
    ),
    Row(
        "wrong-digest-once",
        "a blob with one bit flipped, once",
        "not kept, fetched again",
        _on_blob(Bytes(flipped)),
        None,
        [_asked_blob(2)],
    ),
    Row(
        "wrong-digest-always",
        "a blob with one bit flipped, always",
        "never kept; the image fails after the second try",
        _on_blob(Bytes(flipped), times=None),
        DigestMismatch,
        [_asked_blob(2)],
    ),
    Row(
        "wrong-manifest",
        "a manifest of another digest than its index says",
        "never kept; the image fails",
        lambda scene: void(scene.registry.fail("/bad/manifests/sha256", Bytes(flipped), times=None)),
        DigestMismatch,
        [],
    ),
    Row(
        "size-shorter",
        "a blob that is shorter than declared",
        "refused before its body is read",
        _on_blob(Bytes(lambda data: data[:-1]), times=None),
        DigestMismatch,
        [],
    ),
    Row(
        "size-longer",
        "a blob that is longer than declared",
        "refused before its body is read",
        _on_blob(Bytes(lambda data: data + b"x"), times=None),
        DigestMismatch,
        [],
    ),
    Row(
        "types-disagree",
        "a manifest whose Content-Type and mediaType disagree",
        "refused",
        _on_manifest(Headers({"Content-Type": media_types.OCI_MANIFEST}), times=None),
        ContentError,
        [],
    ),
    Row(
        "two-kinds",
        "a manifest with both layers and manifests",
        "refused: it could be read in two ways",
        _document(lambda _: {"schemaVersion": 2, "config": _entry(), "layers": [], "manifests": []}),
        ContentError,
        [],
    ),
    Row(
        "unknown-type",
        "an unknown kind of manifest",
        "refused by its type",
        _document(lambda _: {"schemaVersion": 2, "mediaType": "application/vnd.example+json", "manifests": []}),
        ContentError,
        [],
    ),
    Row(
        "schema1",
        "Docker schema 1",
        "refused, with what to do",
        _document(lambda _: {"schemaVersion": 1, "fsLayers": []}),
        UnsupportedManifest,
        [],
    ),
    Row(
        "tag-moved",
        "a tag that moves between two requests",
        "it is asked for once, all else by digest",
        _moved,
        None,
        [_asked_manifest(1)],
    ),
    Row(
        "blob-404",
        "a blob that is not there",
        "the image fails at once as `not found`",
        lambda scene: void(scene.registry.fail(scene.blob(SMALL), Status(404), times=None)),
        NotFound,
        [],
    ),
    Row(
        "redirect-loop",
        "redirects in a circle",
        "refused",
        _on_blob(redirect("/v2/bad/blobs/loop"), times=None),
        RegistryError,
        [_asked_blob(1)],
    ),
    Row(
        "stall",
        "nothing arrives any more",
        "after `--stall-timeout` it counts as broken, and goes on from the byte reached",
        lambda scene: void(scene.registry.fail(scene.blob(), Stall(_MIDDLE, asyncio.Event()))),
        None,
        [_goes_on(_MIDDLE)],
    ),
    Row(
        "trickle",
        "a body that comes slowly, but comes",
        "no time limit on the whole: it arrives",
        _trickle,
        None,
        [_asked_blob(1)],
    ),
    Row(
        "too-slow",
        "a body that comes at less than 1 KiB a second for 5 minutes",
        "given up and tried again; all blobs of the host share the 1 KiB",
        _drip,
        NetworkError,
        [_asked_blob(3)],
    ),
    Row(
        "manifest-100-mb", "a manifest of 100 MB", "given up after 4 MiB", _endless, ContentError, [_asked_manifest(1)]
    ),
    Row("index-100000", "an index of 100,000 entries", "given up after 4 MiB", _document(_many), ContentError, []),
    Row(
        "index-circle", "an index that names itself", "its digest cannot be right: refused", _circle, DigestMismatch, []
    ),
    Row("index-nested", "indexes within indexes, 20 deep", "refused", _nested, ContentError, []),
]
