"""Faults of mirroring: at either side, and at both at once."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.config.registries import join_routes, parse_mirror
from hangar_async.engine.events import Event, ImageEnded
from hangar_async.oci import Digest
from hangar_async.testing.images import Built, image, index
from tests.engine.loading import tagged
from tests.fakes.auth import TokenServer
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Bytes, Close, Cut, CutBody, Fault, Headers, Hold, IgnoreRange, Lost, Status, flipped
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.registry import FakeRegistry
from tests.faults.mirror_rig import BIG, FEW, LEAST_TOLD, RETRIES, After, Each, Scene, few_bytes, with_big, with_own

#: Each byte of a blob of 64 at which it may break off, and its end.
_CUTS = range(FEW + 1)
_PAIRS = 200
#: More requests than a mirror of two small images makes.
_MOST_DEATHS = 40
_MIDDLE = len(BIG.data) // 2
#: The images on each of two sides, the requests that one of these answers only together, and a pause in seconds.
_IMAGES, _IN_FLIGHT, _LONG = 12, 20, 600


def configs(*images: Built) -> int:
    """Return the bytes of what is no layer of 64 bytes."""
    return sum(len(data) for built in images for data in built.blobs.values() if len(data) != FEW)


def after_the_first(scene: Scene) -> asyncio.Event:
    """Return an event that is set when the first image has ended."""
    ended = asyncio.Event()
    scene.observe = lambda event: ended.set() if isinstance(event, ImageEnded) else None
    return ended


async def test_a_source_that_breaks_off_at_each_byte_goes_on(mirror_scene: Scene) -> None:
    """Within the one upload, from the byte that was reached."""
    layers = [few_bytes(after) for after in _CUTS]
    built = image(layers, AMD64)
    mirror_scene.source.add("app:1", built)
    cuts: dict[str, Fault] = {str(one.digest): Cut(after) for after, one in enumerate(layers)}
    mirror_scene.source.fail("/blobs/", Each(cuts), method="GET", times=None)
    await mirror_scene.mirror("SOURCE/app:1")
    await mirror_scene.check(("app", built))
    for after, one in enumerate(layers):
        rest = [] if after == FEW else [f"bytes={after}-" if after else None]
        assert mirror_scene.ranges(one.digest) == [None, *rest]
        assert len(mirror_scene.target.asked(f"/uploads/.*{one.digest}", "PUT")) == 1


async def test_a_target_that_breaks_off_at_each_byte_gets_the_rest(mirror_scene: Scene) -> None:
    """From the byte that it says it has; the bytes that it has confirmed are not sent again."""
    layers = [few_bytes(after) for after in _CUTS]
    built = image(layers, AMD64)
    mirror_scene.source.add("app:1", built)
    cuts: dict[str, Fault] = {str(one.digest): CutBody(after) for after, one in enumerate(layers)}
    mirror_scene.target.fail("/uploads/", Each(cuts), method="PUT", times=None)
    await mirror_scene.mirror("SOURCE/app:1")
    await mirror_scene.check(("app", built))
    assert cuts == {}
    assert mirror_scene.received() == configs(built) + FEW * len(layers) + sum(range(LEAST_TOLD))


async def test_both_sides_that_break_off_end_with_the_right_bytes(mirror_scene: Scene) -> None:
    drawn = random.Random(11)
    layers = [few_bytes(number) for number in range(_PAIRS)]
    pairs = [(drawn.choice(_CUTS), drawn.choice(_CUTS)) for _ in layers]
    built = image(layers, AMD64)
    mirror_scene.source.add("app:1", built)
    at_source: dict[str, Fault] = {str(one.digest): Cut(cut) for one, (cut, _) in zip(layers, pairs, strict=True)}
    at_target: dict[str, Fault] = {str(one.digest): CutBody(cut) for one, (_, cut) in zip(layers, pairs, strict=True)}
    mirror_scene.source.fail("/blobs/", Each(at_source), method="GET", times=None)
    mirror_scene.target.fail("/uploads/", Each(at_target), method="PUT", times=None)
    await mirror_scene.mirror("SOURCE/app:1")
    await mirror_scene.check(("app", built))
    assert at_source == at_target == {}
    again = sum(cut for _, cut in pairs if cut < LEAST_TOLD)
    assert mirror_scene.received() == configs(built) + FEW * _PAIRS + again


async def test_a_token_of_the_source_that_ends_is_renewed(mirror_scene: Scene) -> None:
    """It is good for one request, and ends also in the middle of a blob: the rest comes within the one upload."""
    built, source = with_big("app"), mirror_scene.source
    source.add("app:1", built)
    source.auth = tokens = TokenServer(uses=1)
    source.fail(f"/blobs/{BIG.digest}", After(tokens.revoke, Cut(_MIDDLE)), method="GET")
    await mirror_scene.mirror("SOURCE/app:1", jobs=1, requests=1)
    await mirror_scene.check(("app", built))
    assert mirror_scene.ranges(BIG.digest)[-1] == f"bytes={_MIDDLE}-"
    assert len(tokens.requests) >= 5
    assert mirror_scene.received() == sum(map(len, built.blobs.values()))


async def test_a_token_of_the_target_that_ends_is_renewed(mirror_scene: Scene) -> None:
    """It is good for one request, and ends also in the middle of a blob: the target has what it had."""
    built, target = with_big("app"), mirror_scene.target
    mirror_scene.source.add("app:1", built)
    target.auth = tokens = TokenServer(users={"me": "secret"}, uses=1)
    target.fail(f"/uploads/.*{BIG.digest}", After(tokens.revoke, CutBody(_MIDDLE)), method="PUT")
    mirror_scene.target_settings |= {"username": "me", "password": "secret"}
    await mirror_scene.mirror("SOURCE/app:1", jobs=1, requests=1)
    await mirror_scene.check(("app", built))
    assert len(tokens.requests) >= 5
    assert mirror_scene.received() == sum(map(len, built.blobs.values()))


class Gather:
    """Holds requests until so many are there at the same time."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._all = asyncio.Event()

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._count -= 1
        if not self._count:
            self._all.set()
        await self._all.wait()
        return await handler(request)


class ClosedUntil(FakeClock):
    """Lets all waits last until an event; `open` tells that it has come."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds >= _LONG:
            await self.open.wait()
        await super().sleep(seconds)


async def mirror_beside(scene: Scene, lines: list[str], quick: int) -> None:
    """Mirror images of which one half waits for a registry that is closed until the other half is done."""
    time, ended = ClosedUntil(), 0

    def observe(event: Event) -> None:
        nonlocal ended
        ended += isinstance(event, ImageEnded)
        if ended == quick:
            time.open.set()

    scene.observe = observe
    async with asyncio.timeout(60):
        await scene.mirror(*lines, destination=None, clock=time.clock)
    assert time.waits


async def test_a_source_that_limits_leaves_another_one_at_full_speed(
    mirror_scene: Scene, other_registry: FakeRegistry
) -> None:
    """Counted by the requests in flight: as many blobs come at once from the other one as there may be."""
    slow, quick, target = mirror_scene.source, other_registry, mirror_scene.target
    for number in range(_IMAGES):
        for source in (slow, quick):
            source.add(f"app{number}:1", with_own(f"{source.address}-{number}"))
    slow.fail("/blobs/", Status(429, {"Retry-After": str(_LONG)}), method="GET")
    quick.fail("/blobs/", Gather(_IN_FLIGHT), method="GET", times=_IN_FLIGHT)
    lines = [
        f"{source.address}/app{number} {target.address}/copies/{name}{number} 1"
        for number in range(_IMAGES)
        for name, source in (("slow", slow), ("quick", quick))
    ]
    await mirror_beside(mirror_scene, lines, _IMAGES)
    images = [(f"slow{number}", with_own(f"{slow.address}-{number}")) for number in range(_IMAGES)]
    images += [(f"quick{number}", with_own(f"{quick.address}-{number}")) for number in range(_IMAGES)]
    await mirror_scene.check(*images)
    assert len([one for one in slow.asked("/blobs/", "GET") if one.status == 429]) == 1


async def test_a_target_that_limits_leaves_another_one_at_full_speed(
    mirror_scene: Scene, other_target: FakeRegistry
) -> None:
    source, slow, quick = mirror_scene.source, other_target, mirror_scene.target
    images = {f"app{number}": with_own(f"{number}") for number in range(_IMAGES)}
    for name, built in images.items():
        source.add(f"{name}:1", built)
    slow.fail("/uploads/", Status(429, {"Retry-After": str(_LONG)}), method="PUT")
    quick.fail("/uploads/", Gather(_IN_FLIGHT), method="PUT", times=_IN_FLIGHT)
    lines = [f"SOURCE/{name} {target.address}/copies/{name} 1" for name in images for target in (slow, quick)]
    await mirror_beside(mirror_scene, [line.replace("SOURCE", source.address) for line in lines], _IMAGES)
    await mirror_scene.check(*images.items())
    await Scene(source, slow, report=mirror_scene.report).check(*images.items())


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "MANIFEST_BLOB_UNKNOWN"),
        (404, "MANIFEST_BLOB_UNKNOWN"),
        (404, "BLOB_UNKNOWN"),
        (400, "BLOB_UNKNOWN"),
        (404, "MANIFEST_UNKNOWN"),
        (400, "MANIFEST_INVALID"),
        (400, ""),
        (404, ""),
    ],
)
async def test_a_sparse_index_that_is_refused_is_asked_for_once(mirror_scene: Scene, status: int, code: str) -> None:
    """Then all images get partial indexes, for the run."""
    images = {
        f"app{number}": index([small(f"{number}"), small(f"{number}-arm", platform=ARM64)]) for number in range(4)
    }
    for name, built in images.items():
        mirror_scene.source.add(f"{name}:1", built)
    refusal = json.dumps({"errors": [{"code": code}]} if code else {}).encode()
    sparse = {built.digest for built in images.values()}

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        raw, repository = await request.read(), request.path.split("/", 2)[2].removesuffix("/manifests/1")
        if Digest.of(raw) in sparse:
            return web.Response(status=status, body=refusal, content_type="application/json")
        digest = mirror_scene.target.content.add_manifest(repository, raw, request.content_type, ["1"])
        return web.Response(status=201, headers={"Docker-Content-Digest": str(digest)})

    mirror_scene.target.fail("/manifests/1$", answer, method="PUT", times=None)
    report = await mirror_scene.mirror(*(f"SOURCE/{name}:1" for name in images), architectures=["amd64"])
    await mirror_scene.check()
    refused = [one for one in mirror_scene.target.asked("/manifests/1$", "PUT") if one.status == status]
    assert len(refused) == 1
    for outcome, (name, built) in zip(report.outcomes, images.items(), strict=True):
        assert outcome.source_digest == built.digest != outcome.digest
        assert await tagged(mirror_scene.target.content, f"copies/{name}:1") == outcome.digest


@pytest.mark.parametrize("removed", [False, True])
async def test_a_tag_that_moves_after_it_was_asked_for(mirror_scene: Scene, removed: bool) -> None:
    """The image of the first answer is copied; where that is gone, the one that the tag names then."""
    source, before, after = mirror_scene.source, with_big("before"), with_big("after")
    source.add("app:1", before)

    async def moves(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        source.add("app:1", after)
        if removed:
            source.content.remove("app", before.digest)
        return answer

    source.fail("/app/manifests/1$", moves, method="HEAD")
    await mirror_scene.mirror("SOURCE/app:1")
    await mirror_scene.check(("app", after if removed else before))


async def test_a_leader_that_its_target_refuses_hands_over(mirror_scene: Scene) -> None:
    """Its blob goes to the repository of the next image, once."""
    images = {name: with_big(name) for name in ("a", "b", "c")}
    for name, built in images.items():
        mirror_scene.source.add(f"{name}:1", built)
    mirror_scene.target.fail("/copies/a/blobs/uploads/", Status(403), method="PUT", times=None)
    report = await mirror_scene.mirror(*(f"SOURCE/{name}:1" for name in images))
    assert [outcome.state for outcome in report.outcomes] == ["failed", "copied", "copied"]
    for name in ("b", "c"):
        await mirror_scene.has(name, images[name])
    sent = mirror_scene.target.asked(f"/copies/[bc]/blobs/uploads/.*{BIG.digest}", "PUT")
    assert len(sent) == 1


@pytest.mark.parametrize("fault", [Status(404), Status(403), Close(), Cut(0), Bytes(flipped)])
async def test_a_leader_whose_source_fails_hands_over_to_one_with_its_own(
    mirror_scene: Scene, other_registry: FakeRegistry, fault: Fault
) -> None:
    """The second image is planned when the first one has failed: the blob comes from the other registry."""
    images = {"a": with_big("a"), "b": with_big("b")}
    mirror_scene.source.add("a:1", images["a"])
    other_registry.add("b:1", images["b"])
    mirror_scene.source.fail(f"/blobs/{BIG.digest}", fault, method="GET", times=None)
    other_registry.fail("/manifests/1$", Hold(after_the_first(mirror_scene)), method="HEAD")
    report = await mirror_scene.mirror("SOURCE/a:1", f"{other_registry.address}/b:1")
    assert [outcome.state for outcome in report.outcomes] == ["failed", "copied"]
    await mirror_scene.has("b", images["b"])


async def test_a_source_that_hangs_up_on_a_slow_target_goes_on(mirror_scene: Scene) -> None:
    """The target reads nothing until the source has closed: the one upload takes the rest."""
    built, closed = with_big("app"), asyncio.Event()
    mirror_scene.source.add("app:1", built)
    mirror_scene.source.fail(f"/blobs/{BIG.digest}", After(closed.set, Cut(_MIDDLE)), method="GET")
    mirror_scene.target.fail(f"/uploads/.*{BIG.digest}", Hold(closed), method="PUT")
    await mirror_scene.mirror("SOURCE/app:1")
    await mirror_scene.check(("app", built))
    assert mirror_scene.ranges(BIG.digest) == [None, f"bytes={_MIDDLE}-"]
    assert len(mirror_scene.target.asked(f"/uploads/.*{BIG.digest}", "PUT")) == 1


@pytest.mark.parametrize("reset", [False, True])
async def test_both_sides_break_off_in_one_large_blob(mirror_scene: Scene, reset: bool) -> None:
    built = with_big("app")
    mirror_scene.source.add("app:1", built)
    mirror_scene.source.fail(f"/blobs/{BIG.digest}", Cut(2_000_000, reset), method="GET", times=3)
    mirror_scene.target.fail(f"/uploads/.*{BIG.digest}", CutBody(1_000_000, reset), method="PUT")
    await mirror_scene.mirror("SOURCE/app:1")
    await mirror_scene.check(("app", built))
    assert mirror_scene.received() <= configs(built) + 1_500_000


@pytest.mark.parametrize("refusal", [IgnoreRange(), Status(416), Headers({"Content-Range": None})])
async def test_a_source_without_ranges_sends_the_target_nothing_twice(mirror_scene: Scene, refusal: Fault) -> None:
    built = with_big("app")
    mirror_scene.source.add("app:1", built)
    mirror_scene.source.fail(f"/blobs/{BIG.digest}", Cut(_MIDDLE), method="GET", ranged=False)
    mirror_scene.source.fail(f"/blobs/{BIG.digest}", refusal, method="GET", ranged=True, times=None)
    mirror_scene.target.fail(f"/uploads/.*{BIG.digest}", CutBody(_MIDDLE // 2), method="PUT")
    await mirror_scene.mirror("SOURCE/app:1")
    await mirror_scene.check(("app", built))
    assert mirror_scene.received() == configs(built)


class Signed:
    """Sends to signed addresses of a storage, each good for one request, which breaks off if it begins the blob."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._count = 0

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if signature := request.query.get("signature"):
            if signature in self.asked:
                return web.Response(status=403)
            self.asked.append(signature)
            return await (handler(request) if "Range" in request.headers else Cut(_MIDDLE)(request, handler))
        self._count += 1
        # Another origin: the same server by its other name.
        host = request.host.replace("127.0.0.1", "localhost")
        return web.Response(status=307, headers={"Location": f"http://{host}{request.path}?signature={self._count}"})


async def test_a_signed_address_that_expires_is_asked_for_again(mirror_scene: Scene) -> None:
    """The rest of a blob is asked for at the registry, never at the earlier address."""
    built, storage = with_big("app"), Signed()
    mirror_scene.source.add("app:1", built)
    mirror_scene.source.fail(f"/blobs/{BIG.digest}", storage, method="GET", times=None)
    await mirror_scene.mirror("SOURCE/app:1")
    await mirror_scene.check(("app", built))
    assert storage.asked == ["1", "2"]
    assert mirror_scene.received() == configs(built)


@pytest.mark.parametrize(
    "fault", [Close(), Cut(_MIDDLE), Status(429, {"Retry-After": "600"}), Status(503), Status(404)]
)
async def test_a_mirror_that_fails_after_the_documents_is_not_waited_for(
    mirror_scene: Scene, other_registry: FakeRegistry, fault: Fault
) -> None:
    """The registry itself gives the blobs, and the rest of the one that broke off."""
    images = {f"app{number}": with_big(f"{number}") for number in range(3)}
    for name, built in images.items():
        mirror_scene.source.add(f"{name}:1", built)
        other_registry.add(f"{name}:1", built)
    other_registry.fail("/blobs/", fault, method="GET", times=None)
    mirrors = join_routes([parse_mirror(f"{mirror_scene.source.address}={other_registry.address}")])
    mirror_scene.settings |= {"mirrors": mirrors}
    await mirror_scene.mirror(*(f"SOURCE/{name}:1" for name in images))
    await mirror_scene.check(*images.items())
    assert other_registry.asked("/manifests/", "GET")
    assert mirror_scene.time.waits == []
    assert mirror_scene.source.asked(f"/blobs/{BIG.digest}", "GET")


async def test_a_mirror_that_fails_is_passed_over_for_the_other_blobs(
    mirror_scene: Scene, other_registry: FakeRegistry
) -> None:
    built = image([few_bytes(number) for number in range(10)], AMD64)
    for registry in (mirror_scene.source, other_registry):
        registry.add("app:1", built)
    other_registry.fail("/blobs/", Close(), method="GET", times=None)
    mirrors = join_routes([parse_mirror(f"{mirror_scene.source.address}={other_registry.address}")])
    mirror_scene.settings |= {"mirrors": mirrors}
    await mirror_scene.mirror("SOURCE/app:1", jobs=1, requests=1)
    await mirror_scene.check(("app", built))
    # A connection that was used before is tried once more.
    assert len(other_registry.asked("/blobs/", "GET")) <= 2


async def test_a_tag_that_is_refused_teaches_nothing_about_sparse_indexes(mirror_scene: Scene) -> None:
    images = {
        f"app{number}": index([small(f"{number}"), small(f"{number}-arm", platform=ARM64)]) for number in range(2)
    }
    for name, built in images.items():
        mirror_scene.source.add(f"{name}:1", built)
    assert mirror_scene.target.pushes is not None
    mirror_scene.target.pushes.complete = False
    mirror_scene.target.fail("/app0/manifests/1$", Status(400), method="PUT", times=None)
    mirror_scene.source.fail("/app1/manifests/1$", Hold(after_the_first(mirror_scene)), method="HEAD")
    report = await mirror_scene.mirror(*(f"SOURCE/{name}:1" for name in images), architectures=["amd64"])
    assert [outcome.state for outcome in report.outcomes] == ["failed", "copied"]
    assert report.outcomes[1].digest == images["app1"].digest


class Death:
    """Lets a client die at its request of a number: before it, after it, or in its body; nothing comes after that."""

    def __init__(self, number: int, moment: str) -> None:
        self.event = asyncio.Event()
        self._left = number
        self._moment = moment

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._left -= 1
        if self._left > 0:
            return await handler(request)
        is_last = not self._left
        self.event.set()
        if is_last and self._moment == "within" and request.method == "PUT":
            return await CutBody(FEW // 2)(request, handler)
        return await (Lost() if is_last and self._moment == "after" else Close())(request, handler)


def sent(target: FakeRegistry, prefix: str) -> set[tuple[str, str]]:
    """Return the blobs that the repositories below a prefix have got, each with its repository."""
    uploads = target.asked(f"/{prefix}/.*/uploads/", "PUT")
    return {(one.path.partition("/blobs/")[0], one.query["digest"]) for one in uploads if one.status == 201}


@pytest.mark.parametrize("moment", ["before", "within", "after"])
async def test_a_mirror_that_is_killed_sends_nothing_again_that_was_confirmed(mirror_scene: Scene, moment: str) -> None:
    """At each request of the target; the same command again ends with the right images."""
    shared = few_bytes(0)
    images = {f"app{number}": image([shared, few_bytes(number)], AMD64) for number in (1, 2)}
    for name, built in images.items():
        mirror_scene.source.add(f"{name}:1", built)
    lines = [f"{mirror_scene.source.address}/{name}:1" for name in images]
    target = mirror_scene.target
    assert target.pushes is not None
    for number in range(1, _MOST_DEATHS):
        prefix = f"copies/{number}"
        death = Death(number, moment)
        rule = target.fail(f"/{prefix}/", death, times=None)
        running = asyncio.create_task(mirror_scene.mirror(*lines, destination=f"{target.address}/{prefix}"))
        dead = asyncio.create_task(death.event.wait())
        await asyncio.wait({running, dead}, return_when=asyncio.FIRST_COMPLETED)
        for task in (running, dead):
            task.cancel()
        await asyncio.gather(running, dead, return_exceptions=True)
        target.faults.rules.remove(rule)
        confirmed = sent(target, prefix)
        target.requests.clear()
        target.pushes.sessions.clear()
        await mirror_scene.mirror(*lines, destination=f"{target.address}/{prefix}")
        await mirror_scene.check(*((f"{number}/{name}", built) for name, built in images.items()))
        assert not sent(target, prefix) & confirmed
        if not death.event.is_set():
            assert 3 * (number - 1) >= 50  # all three together
            return
    raise AssertionError("it made more requests than there were deaths")


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_side_that_breaks_off_after_each_byte_is_given_up(mirror_scene: Scene, side: str) -> None:
    """A byte a try is no progress: it would take days."""
    mirror_scene.source.add("app:1", with_big("app"))
    if side == "source":
        mirror_scene.source.fail(f"/blobs/{BIG.digest}", Cut(1), method="GET", times=None)
    else:
        mirror_scene.target.fail("/uploads/.*", CutBody(1), times=None)
    report = await mirror_scene.mirror("SOURCE/app:1")
    assert [outcome.state for outcome in report.outcomes] == ["failed"]
    assert len(mirror_scene.ranges(BIG.digest)) <= (RETRIES + 1) ** 2
