"""Images go from registry to registry as they are; what is there already costs a HEAD on each side."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.events import Event, ImageEnded, MirrorEnded, QuotaReported, RunStarted
from hangar_async.engine.mirror import mirror, mirror_validate
from hangar_async.engine.reports import MirrorReport
from hangar_async.errors import Differs, NoPlatform, NotFound, RateLimited, SourceError, UsageError
from hangar_async.oci import Platform
from hangar_async.testing.images import attestation, image, index, layer
from tests.engine.loading import tagged
from tests.failed_list import names_in
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Close, Cut, CutBody, PullQuota, Status, redirect
from tests.fakes.images import AMD64, ARM64, library, small
from tests.fakes.registry import Asked, FakeRegistry

RETRY = RetryPolicy(retries=2, first=0.0, longest=0.0, outage_pauses=(0.0,))
SETTINGS = RegistrySettings(retry=RETRY, stall_timeout=20.0)
BIG = layer({"big": random.Random(1).randbytes(700_000)}, "none")


def options(source: FakeRegistry, target: FakeRegistry, *lines: str, **keywords: Any) -> MirrorOptions:
    """Options of a mirror of all platforms below `copies` of the target."""
    values: dict[str, Any] = {
        "images": [line.replace("SOURCE", source.address).replace("TARGET", target.address) for line in lines],
        "destination": None if keywords.get("template") else f"{target.address}/copies",
        "architectures": ["all"],
        "systems": ["all"],
        "environment": Environment(registries=SETTINGS, destinations=SETTINGS),
        "jobs": 4,
    }
    return MirrorOptions(**{**values, **keywords})


async def run(source: FakeRegistry, target: FakeRegistry, *lines: str, **keywords: Any) -> MirrorReport:
    return await mirror(options(source, target, *lines, **keywords), clock=FakeClock().clock)


def wire(registry: FakeRegistry) -> list[tuple[str, str]]:
    """List the requests but those that look for the registry, and forget them."""
    found = [(one.method, one.path.partition("?")[0]) for one in registry.requests if one.path not in ("/v2/", "/v2")]
    registry.requests.clear()
    return found


async def test_every_kind_of_image_arrives_as_it_was(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    kinds = library()
    for name, built in kinds.items():
        fake_registry.add(f"{name}:1", built)
    report = await run(fake_registry, pushable_registry, *(f"SOURCE/{name}:1" for name in kinds))
    assert [str(outcome.error) for outcome in report.failed] == []
    assert report.status == 0
    for name, built in kinds.items():
        assert await tagged(pushable_registry.content, f"copies/{name}:1") == built.digest, name
        for digest, (_, raw) in built.documents.items():
            found = await pushable_registry.content.resolve(f"copies/{name}", digest)
            assert found is not None, f"{name}: {digest}"
            assert found.size == len(raw)
    uploads = [one.query["digest"] for one in pushable_registry.asked("/blobs/uploads/", "PUT")]
    assert len(set(uploads)) == len(uploads)


async def test_a_target_that_hides_its_tags_is_copied_to(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    fake_registry.add("app:1", small("app"))
    for method in ("HEAD", "GET"):
        pushable_registry.fail("/manifests/1", Status(412), method=method, times=None)
    assert [one.state for one in (await run(fake_registry, pushable_registry, "SOURCE/app:1")).outcomes] == ["copied"]


async def test_an_unchanged_tag_costs_a_head_on_each_side_and_a_digest_one(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    built = index([small("amd"), small("arm", platform=ARM64)])
    fake_registry.add("app:1", built)
    lines = ["SOURCE/app:1", f"SOURCE/app:1@{built.digest}"]
    assert (await run(fake_registry, pushable_registry, lines[0])).status == 0
    wire(fake_registry), wire(pushable_registry)
    report = await run(fake_registry, pushable_registry, lines[0])
    assert [outcome.state for outcome in report.outcomes] == ["unchanged"]
    assert wire(fake_registry) == [("HEAD", "/v2/app/manifests/1")]
    assert wire(pushable_registry) == [("HEAD", "/v2/copies/app/manifests/1")]
    assert (await run(fake_registry, pushable_registry, lines[1])).outcomes[0].state == "unchanged"
    assert wire(fake_registry) == []
    assert wire(pushable_registry) == [("HEAD", "/v2/copies/app/manifests/1")]


async def test_a_tag_that_is_there_may_stay(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    fake_registry.add("app:1", small("first"))
    keywords: dict[str, Any] = {"overwrite": "never"}
    assert (await run(fake_registry, pushable_registry, "SOURCE/app:1", **keywords)).outcomes[0].state == "copied"
    first = await tagged(pushable_registry.content, "copies/app:1")
    moved = fake_registry.add("app:1", small("second"))
    wire(fake_registry), wire(pushable_registry)
    outcome = (await run(fake_registry, pushable_registry, "SOURCE/app:1", **keywords)).outcomes[0]
    assert (outcome.state, outcome.source_digest, outcome.digest) == ("kept", moved, first)
    assert [one[0] for one in (*wire(fake_registry), *wire(pushable_registry))] == ["HEAD", "HEAD"]
    assert (await run(fake_registry, pushable_registry, "SOURCE/app:1")).outcomes[0].state == "copied"


async def test_a_partial_index_that_is_there_costs_the_index_of_the_source(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    built = index([small("amd"), small("arm", platform=ARM64), attestation(small("amd"))])
    fake_registry.add("app:1", built)
    keywords: dict[str, Any] = {"architectures": ["amd64"], "index": "partial"}
    first = (await run(fake_registry, pushable_registry, "SOURCE/app:1", **keywords)).outcomes[0]
    assert first.state == "copied"
    assert first.digest != first.source_digest == built.digest
    wire(fake_registry), wire(pushable_registry)
    again = (await run(fake_registry, pushable_registry, "SOURCE/app:1", **keywords)).outcomes[0]
    assert (again.state, again.digest) == ("unchanged", first.digest)
    assert wire(fake_registry) == [("HEAD", "/v2/app/manifests/1"), ("GET", f"/v2/app/manifests/{built.digest}")]
    assert wire(pushable_registry) == [("HEAD", "/v2/copies/app/manifests/1")]


async def test_with_a_state_a_partial_index_that_is_there_costs_two_heads_and_a_digest_one(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    other = small("other", platform=Platform("linux", "s390x"))
    built = index([small("amd"), small("arm", platform=ARM64), other, attestation(small("amd"))])
    fake_registry.add("app:1", built)
    head = ("HEAD", "/v2/copies/app/manifests/1")
    keywords: dict[str, Any] = {"index": "partial", "state": tmp_path / "state"}
    for platform in ("amd64", "arm64"):  # the second one is joined with the first one
        first = await run(fake_registry, pushable_registry, "SOURCE/app:1", architectures=[platform], **keywords)
        assert first.outcomes[0].state == "copied"
        wire(fake_registry), wire(pushable_registry)
        for line, asked in (("SOURCE/app:1", [("HEAD", "/v2/app/manifests/1")]), (f"SOURCE/app:1@{built.digest}", [])):
            again = await run(fake_registry, pushable_registry, line, architectures=[platform], **keywords)
            assert again.outcomes[0].state == "unchanged"
            assert again.outcomes[0].digest == first.outcomes[0].digest
            assert (wire(fake_registry), wire(pushable_registry)) == (asked, [head])
    # Of other platforms it knows nothing, and asks.
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1", architectures=["amd64", "arm64"], **keywords)
    assert len(wire(fake_registry)) > 1
    assert report.notices == ()


async def test_a_state_learns_of_a_partial_index_that_is_there(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fake_registry.add("app:1", index([small("amd"), small("arm", platform=ARM64)]))
    keywords: dict[str, Any] = {"architectures": ["amd64"], "index": "partial"}
    await run(fake_registry, pushable_registry, "SOURCE/app:1", **keywords)
    gets = []
    for _ in range(2):
        fake_registry.requests.clear()
        await run(fake_registry, pushable_registry, "SOURCE/app:1", **keywords, state=tmp_path / "state")
        gets.append(len(fake_registry.asked("/manifests/", "GET")))
    assert gets == [1, 0]


async def test_a_state_that_cannot_be_used_ends_the_run_before_any_request(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("nginx")
    with pytest.raises(UsageError, match="is no state of hangar-async"):
        await run(fake_registry, pushable_registry, "SOURCE/app:1", state=tmp_path / "list")
    with pytest.raises(UsageError, match=r"the state .* is a directory"):
        await run(fake_registry, pushable_registry, "SOURCE/app:1", state=tmp_path)
    assert fake_registry.requests == pushable_registry.requests == []


async def test_an_index_that_is_named_by_its_digest_is_read_once(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    built = index([small("amd"), small("arm", platform=ARM64)])
    fake_registry.add("app:1", built)
    line = f"SOURCE/app:1@{built.digest}"
    for _ in range(2):
        await run(fake_registry, pushable_registry, line, architectures=["amd64"], index="partial", referrers="none")
        reads = [path for method, path in wire(fake_registry) if method == "GET" and str(built.digest) in path]
        assert len(reads) == 1


@pytest.mark.parametrize("refused", [True, False])
async def test_a_sparse_index_and_a_partial_one_where_that_is_refused(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, *, refused: bool
) -> None:
    built = {name: index([small(name), small(f"{name}-arm", platform=ARM64)]) for name in ("one", "two")}
    for name, one in built.items():
        fake_registry.add(f"{name}:1", one)
    assert pushable_registry.pushes is not None
    pushable_registry.pushes.complete = refused
    report = await run(
        fake_registry, pushable_registry, "SOURCE/one:1", "SOURCE/two:1", architectures=["amd64"], jobs=1, requests=1
    )
    assert [str(outcome.error) for outcome in report.failed] == []
    for name, outcome in zip(built, report.outcomes, strict=True):
        assert await tagged(pushable_registry.content, f"copies/{name}:1") == outcome.digest
        assert (outcome.digest == built[name].digest) != refused
        assert outcome.note
    sparse = [one for one in pushable_registry.asked("/manifests/1$", "PUT") if one.status and one.status >= 400]
    assert len(sparse) == refused


async def test_a_registry_that_refused_a_sparse_index_is_not_asked_to_take_one_in_the_next_run(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    for number, expected in ((1, [400, 201]), (2, [201])):
        fake_registry.add(f"app{number}:1", index([small(f"{number}"), small(f"{number}-arm", platform=ARM64)]))
        pushable_registry.requests.clear()
        report = await run(
            fake_registry,
            pushable_registry,
            f"SOURCE/app{number}:1",
            architectures=["amd64"],
            state=tmp_path / "state",
        )
        assert report.status == 0
        assert [one.status for one in pushable_registry.asked("/manifests/1$", "PUT")] == expected


async def test_the_same_registry_at_both_ends_mounts_all(pushable_registry: FakeRegistry) -> None:
    pushable_registry.add("app:1", index([small("amd"), small("arm", platform=ARM64)]))
    assert (await run(pushable_registry, pushable_registry, "SOURCE/app:1")).status == 0
    assert pushable_registry.asked("/blobs/sha256", "GET") == []
    assert pushable_registry.asked("/blobs/uploads/", "PUT") == []
    assert all("mount" in one.query for one in pushable_registry.asked("/blobs/uploads/", "POST"))


async def test_a_blob_goes_once_to_a_registry(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    for number in range(5):
        fake_registry.add(f"app{number}:1", image([BIG], AMD64, labels={"n": str(number)}))
    assert (await run(fake_registry, pushable_registry, *(f"SOURCE/app{number}:1" for number in range(5)))).status == 0
    [digest] = [digest for digest in fake_registry.blobs_asked() if digest == str(BIG.digest)]
    assert fake_registry.blobs_asked()[digest] == 1
    mounts = [one for one in pushable_registry.asked("/uploads/", "POST") if one.query.get("mount") == digest]
    assert len([one for one in mounts if not one.path.startswith(f"/v2/{one.query['from']}/")]) == 4


async def test_a_new_repository_is_asked_for_nothing(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    built = index([small("amd"), small("arm", platform=ARM64)])
    fake_registry.add("app:1", built)
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1")
    assert [outcome.state for outcome in report.outcomes] == ["copied"]
    counts = Counter((method, path.split("/")[4]) for method, path in wire(pushable_registry))
    blobs = len(built.blobs)
    # Its tag and its tags, a POST and a PUT for each blob, and a PUT for each document.
    assert counts == {
        ("GET", "tags"): 1,
        ("HEAD", "manifests"): 1,
        ("POST", "blobs"): blobs,
        ("PUT", "blobs"): blobs,
        ("PUT", "manifests"): 3,
    }


@pytest.mark.parametrize("fault", [Cut(300_000), Cut(0), Close()])
async def test_a_source_that_breaks_off_goes_on_in_one_upload(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, fault: Any
) -> None:
    fake_registry.add("app:1", image([BIG], AMD64))
    fake_registry.fail(f"/blobs/{BIG.digest}", fault, method="GET")
    assert (await run(fake_registry, pushable_registry, "SOURCE/app:1")).status == 0
    uploads = [one for one in pushable_registry.asked("/uploads/", "PUT") if one.query["digest"] == str(BIG.digest)]
    assert len(uploads) == 1
    assert len([one for one in fake_registry.asked("/blobs/", "GET") if str(BIG.digest) in one.path]) == 2


async def test_a_target_that_breaks_off_gets_the_rest(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    fake_registry.add("app:1", image([BIG], AMD64))
    pushable_registry.fail(f"/uploads/.*digest={BIG.digest}", CutBody(300_000), method="PUT")
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1")
    assert [str(outcome.error) for outcome in report.failed] == []
    ranges = [one.headers.get("Range") for one in fake_registry.asked(f"/blobs/{BIG.digest}", "GET")]
    assert ranges == [None, "bytes=300000-"]


async def test_a_large_upload_goes_on_in_the_next_run(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hangar_async.state.hints.LARGE", len(BIG.data) - 1)
    fake_registry.add("app:1", image([BIG], AMD64))
    pushes = pushable_registry.pushes
    assert pushes is not None
    pushable_registry.fail(f"/uploads/.*{BIG.digest.hex}", CutBody(500_000), method="PUT")
    pushable_registry.fail("/uploads/", Status(503), method="GET", times=None)
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1", state=tmp_path / "state")
    assert report.status == 3
    assert len(pushes.sessions) == 1
    pushable_registry.faults.rules.clear()
    pushes.received.clear()
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1", state=tmp_path / "state")
    assert report.status == 0
    assert sum(pushes.received) <= len(BIG.data) - 500_000 + 5_000
    assert report.sent.resumed_bytes == 500_000
    assert report.sent.uploaded_bytes == sum(pushes.received)
    assert pushes.sessions == {}
    with closing(sqlite3.connect(tmp_path / "state")) as state:
        assert state.execute("SELECT * FROM upload").fetchall() == []


@pytest.mark.parametrize("lost", [False, True])
async def test_a_blob_that_an_earlier_run_has_sent_is_mounted(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, *, lost: bool
) -> None:
    for name in ("one", "two"):
        fake_registry.add(f"{name}:1", image([BIG], AMD64, labels={"name": name}))
    assert pushable_registry.pushes is not None
    await run(fake_registry, pushable_registry, "SOURCE/one:1", state=tmp_path / "state")
    # What is known may be wrong by now.
    pushable_registry.pushes.mounts = not lost
    pushable_registry.requests.clear()
    report = await run(fake_registry, pushable_registry, "SOURCE/one:1", "SOURCE/two:1", state=tmp_path / "state")
    assert report.status == 0
    asked = [one for one in pushable_registry.asked("/uploads/") if str(BIG.digest) in one.raw_path.replace("%3A", ":")]
    assert [one.method for one in asked] == ["POST", "PUT"][: 1 + lost]
    assert asked[0].query["from"] == "copies/one"


async def test_pulls_are_left_to_others(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    names = [f"app{number}" for number in range(10)]
    for name in names:
        fake_registry.add(f"{name}:1", small(name))
    hub = PullQuota(limit=10)
    fake_registry.fail("/manifests/", hub, times=None)
    retry = replace(RETRY, keep_quota=4)
    settings = replace(SETTINGS, retry=retry)
    lines = [f"SOURCE/{name}:1" for name in names]
    keywords: dict[str, Any] = {
        "environment": Environment(registries=settings, destinations=settings),
        "failed": tmp_path / "failed.txt",
    }
    for _ in range(2):
        report = await run(fake_registry, pushable_registry, *lines, **keywords)
        assert report.status == 1
        assert hub.pulls == 6
        assert len(report.failed) == 4
        assert {type(outcome.error) for outcome in report.failed} == {RateLimited}
        assert all("window ends" in str(outcome.error) for outcome in report.failed)
        failed = [outcome.entry.text for outcome in report.failed]
        assert names_in(tmp_path / "failed.txt") == failed
        assert report.quotas == (QuotaReported(fake_registry.address, 4, 10, 21600),)
    # What is there needs none of them.
    assert Counter(outcome.state for outcome in report.outcomes) == {"unchanged": 6, "failed": 4}


async def test_failures_are_of_the_side_that_made_them(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    for name in ("good", "lost", "refused"):
        fake_registry.add(f"{name}:1", image([layer({name: name.encode()})], AMD64))
    fake_registry.fail("/lost/blobs/", Status(404), times=None)
    pushable_registry.fail("/copies/refused/", Status(403), method="PUT", times=None)
    lines = ["SOURCE/none:1", "SOURCE/good:1", "SOURCE/lost:1", "SOURCE/refused:1"]
    report = await run(fake_registry, pushable_registry, *lines, failed=tmp_path / "mirror-failed.txt")
    assert report.status == 1
    errors = {outcome.entry.line: outcome.error for outcome in report.outcomes}
    assert isinstance(errors[1], NotFound)
    assert errors[1].host == fake_registry.address
    assert errors[2] is None
    assert isinstance(errors[3], SourceError)
    assert errors[3].failure.host == fake_registry.address
    assert errors[4] is not None
    assert pushable_registry.address in str(errors[4])
    bad = [line.replace("SOURCE", fake_registry.address) for line in (lines[0], *lines[2:])]
    assert names_in(tmp_path / "mirror-failed.txt") == bad


async def test_two_images_of_one_name_are_refused_before_any_byte(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    fake_registry.add("a/app:1", small("one"))
    fake_registry.add("b/app:1", small("two"))
    lines = ["SOURCE/a/app TARGET/x/app 1", "SOURCE/b/app TARGET/x/app 1"]
    with pytest.raises(UsageError, match=r"image list:1 and image list:2 would both be .*/x/app:1"):
        await run(fake_registry, pushable_registry, *lines, destination=None)
    assert pushable_registry.requests == []


async def test_two_sources_of_one_image_are_one(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    for name in ("a/app:1", "b/app:1"):
        fake_registry.add(name, small("one"))
    lines = ["SOURCE/a/app TARGET/x/app 1", "SOURCE/b/app TARGET/x/app 1"]
    report = await run(fake_registry, pushable_registry, *lines, destination=None)
    assert report.status == 0
    assert report.outcomes[1].same_as == report.outcomes[0].entry
    assert report.outcomes[1].digest == small("one").digest
    assert [outcome.state for outcome in report.outcomes] == ["copied", "copied"]
    assert len(pushable_registry.asked("/manifests/1$", "PUT")) == 1


async def test_a_dry_run_sends_nothing(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fake_registry.add("app:1", small("one"))
    fake_registry.add("new:1", small("two"))
    await run(fake_registry, pushable_registry, "SOURCE/app:1")
    wire(pushable_registry)
    failed = tmp_path / "mirror-failed.txt"
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1", "SOURCE/new:1", dry_run=True, failed=failed)
    assert [outcome.state for outcome in report.outcomes] == ["unchanged", "planned"]
    assert {method for method, _ in wire(pushable_registry)} == {"HEAD"}
    assert not failed.exists()


async def test_a_tag_that_moves_is_told(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    fake_registry.add("app:1", small("one"))
    await run(fake_registry, pushable_registry, "SOURCE/app:1")
    fake_registry.add("app:1", small("two"))
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1")
    assert report.outcomes[0].replaced == small("one").digest
    assert f"was {small('one').digest}, and is {small('two').digest} now" in report.notices[0]


async def test_events(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    fake_registry.add("app:1", small("one"))
    events: list[Event] = []
    report = await mirror(options(fake_registry, pushable_registry, "SOURCE/app:1", "wrong line"), events.append)
    assert events[0] == RunStarted(1, 24)
    assert events[-1] == MirrorEnded(report)
    assert sum(isinstance(event, ImageEnded) for event in events) == 1
    assert report.status == 1
    assert len(report.invalid) == 1


@pytest.mark.parametrize("hashed", [True, False])
async def test_wrong_bytes_reach_no_target_where_they_are_hashed(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, *, hashed: bool
) -> None:
    fake_registry.add("app:1", image([BIG], AMD64))
    fake_registry.fail(f"/blobs/{BIG.digest}", Status(200, body=bytes(len(BIG.data))), method="GET", times=None)
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1", verify_bytes=hashed)
    [failed] = report.failed
    assert f"blob {BIG.digest} of {fake_registry.address}/app is damaged" in str(failed.error)
    refused = [one for one in pushable_registry.asked("/uploads/", "PUT") if one.status == 400]
    assert bool(refused) != hashed


async def test_an_image_that_differs_is_found(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    one = index([small("amd"), small("arm", platform=ARM64)])
    for name in ("same", "moved", "missing", "sparse"):
        fake_registry.add(f"{name}:1", one)
    lines = [f"SOURCE/{name}:1" for name in ("same", "moved", "missing", "sparse")]
    await run(fake_registry, pushable_registry, *lines[:2])
    assert pushable_registry.pushes is not None
    pushable_registry.pushes.complete = False
    await run(fake_registry, pushable_registry, lines[3], architectures=["amd64"])
    fake_registry.add("moved:1", small("other"))
    report = await mirror_validate(options(fake_registry, pushable_registry, *lines), clock=FakeClock().clock)
    assert [type(outcome.error) for outcome in report.outcomes] == [type(None), Differs, Differs, Differs]
    filtered = options(fake_registry, pushable_registry, lines[3], architectures=["amd64"])
    assert (await mirror_validate(filtered, clock=FakeClock().clock)).status == 0


@pytest.mark.parametrize("platforms", [["all"], ["amd64"]], ids=["all", "amd64"])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("gone", ["manifest", "blob"])
async def test_an_attestation_that_is_gone_at_its_source_is_no_difference(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, *, gone: str, sparse: bool, platforms: list[str]
) -> None:
    proof = attestation(small("amd"))
    fake_registry.add("app:1", index([small("amd"), small("arm", platform=ARM64), proof]))
    digest = proof.built.digest if gone == "manifest" else next(iter(proof.built.blobs))
    fake_registry.content.remove("app", digest)
    assert pushable_registry.pushes is not None
    pushable_registry.pushes.complete = not sparse
    assert (await run(fake_registry, pushable_registry, "SOURCE/app:1", architectures=platforms)).status == 0
    compared = options(fake_registry, pushable_registry, "SOURCE/app:1", architectures=platforms)
    report = await mirror_validate(compared, clock=FakeClock().clock)
    assert [str(outcome.error) for outcome in report.failed] == []
    assert str(proof.built.digest) in report.outcomes[0].note
    # One platform less is a difference all the same.
    pushable_registry.content.remove("copies/app", small("amd").digest)
    assert isinstance((await mirror_validate(compared, clock=FakeClock().clock)).outcomes[0].error, Differs)


async def test_a_whole_index_teaches_nothing_about_sparse_ones(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    """The registry refuses sparse indexes; the first image is whole there with what an earlier run has brought."""
    whole, other = (index([small(name), small(f"{name}-arm", platform=ARM64)]) for name in ("whole", "other"))
    fake_registry.add("app:whole", whole)
    fake_registry.add("app:other", other)
    lines = ["SOURCE/app:whole", "SOURCE/app:other"]
    assert (await run(fake_registry, pushable_registry, lines[0], architectures=["amd64"])).status == 0
    report = await run(fake_registry, pushable_registry, *lines, architectures=["arm64"], jobs=1, requests=1)
    assert [str(outcome.error) for outcome in report.failed] == []
    assert report.outcomes[0].digest == whole.digest
    assert report.outcomes[1].digest != other.digest
    # And once more: the registry refuses sparse ones, and the first image becomes whole.
    fake_registry.add("app:third", index([small("third"), small("third-arm", platform=ARM64)]))
    await run(fake_registry, pushable_registry, "SOURCE/app:third", architectures=["amd64"])
    lines = ["SOURCE/app:other", "SOURCE/app:third"]
    report = await run(fake_registry, pushable_registry, *lines[::-1], architectures=["arm64"], jobs=1, requests=1)
    assert [str(outcome.error) for outcome in report.failed] == []


async def test_an_image_that_shares_its_name_and_cannot_be_asked_for_fails(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    fake_registry.add("a/app:1", small("one"))
    fake_registry.add("b/app:1", small("one"))
    fake_registry.fail("/v2/a/app/", Status(403), times=None)
    lines = [f"SOURCE/{name}/app TARGET/x/app 1" for name in ("a", "b")]
    report = await run(fake_registry, pushable_registry, *lines, destination=None)
    assert [outcome.state for outcome in report.outcomes] == ["failed", "copied"]


@pytest.mark.parametrize("fault", [Status(404), Status(403), Close(), Cut(0)])
async def test_another_image_s_repository_gives_what_the_first_one_does_not(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, fault: Any
) -> None:
    for name in ("a", "b"):
        fake_registry.add(f"{name}:1", image([BIG], AMD64, labels={"n": name}))
    fake_registry.fail(f"/a/blobs/{BIG.digest}", fault, method="GET", times=None)
    report = await run(fake_registry, pushable_registry, "SOURCE/b:1", "SOURCE/a:1", jobs=1, requests=1)
    assert [str(outcome.error) for outcome in report.failed] == []
    report = await run(
        fake_registry, pushable_registry, "SOURCE/a:1", "SOURCE/b:1", destination=pushable_registry.address
    )
    assert report.outcomes[1].error is None


async def test_an_image_without_a_tag_is_copied_under_its_digest(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    built = index([small("amd"), small("arm", platform=ARM64)])
    fake_registry.add("app:1", built)
    line = f"SOURCE/app@{built.digest}"
    part = await run(fake_registry, pushable_registry, line, architectures=["amd64"], platform_tags=True)
    assert [str(outcome.error) for outcome in part.failed] == []
    assert "named by its digest alone" in part.outcomes[0].note
    assert part.outcomes[0].digest != built.digest
    whole = await run(fake_registry, pushable_registry, line)
    assert (whole.outcomes[0].digest, whole.outcomes[0].note) == (built.digest, "")
    assert (await run(fake_registry, pushable_registry, line)).outcomes[0].state == "unchanged"
    assert pushable_registry.content._repositories["copies/app"].tags == {}


async def test_what_a_comparison_finds_can_be_copied(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    fake_registry.add("app:1", index([small("amd"), small("arm", platform=ARM64)]))
    assert pushable_registry.pushes is not None
    pushable_registry.pushes.complete = False
    await run(fake_registry, pushable_registry, "SOURCE/app:1", architectures=["amd64"])
    assert (await run(fake_registry, pushable_registry, "SOURCE/app:1")).outcomes[0].state == "unchanged"
    compared = options(fake_registry, pushable_registry, "SOURCE/app:1")
    assert isinstance((await mirror_validate(compared, clock=FakeClock().clock)).outcomes[0].error, Differs)
    assert (await run(fake_registry, pushable_registry, "SOURCE/app:1", recheck=True)).status == 0
    assert (await mirror_validate(compared, clock=FakeClock().clock)).status == 0


async def test_no_selected_platform_is_never_the_same(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    fake_registry.add("app:1", index([small("amd"), small("arm", platform=ARM64)]))
    await run(fake_registry, pushable_registry, "SOURCE/app:1")
    chosen = options(fake_registry, pushable_registry, "SOURCE/app:1", architectures=["s390x"])
    assert isinstance((await mirror_validate(chosen, clock=FakeClock().clock)).outcomes[0].error, NoPlatform)


async def test_the_original_replaces_a_part(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    built = index([small("amd"), small("arm", platform=ARM64)])
    fake_registry.add("app:1", built)
    assert pushable_registry.pushes is not None
    pushable_registry.pushes.complete = False
    keywords: dict[str, Any] = {"architectures": ["amd64"]}
    await run(fake_registry, pushable_registry, "SOURCE/app:1", index="partial", **keywords)
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1", index="original", **keywords)
    assert (report.outcomes[0].state, report.outcomes[0].digest) == ("copied", built.digest)


async def test_a_foreign_layer_comes_from_its_own_address(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    address = f"http://{fake_registry.address}/v2/store/blobs/{BIG.digest}"
    files = {"big": random.Random(1).randbytes(700_000)}
    fake_registry.add("app:1", image([layer(files, "none", docker=True, urls=[address])], AMD64, docker=True))
    fake_registry.content.add_blob("store", BIG.data)
    fake_registry.fail(f"/app/blobs/{BIG.digest}", Status(404), times=None)
    report = await run(fake_registry, pushable_registry, "SOURCE/app:1", include_foreign=True)
    assert [str(outcome.error) for outcome in report.failed] == []


def is_asked(registry: FakeRegistry, upload: Asked) -> bool:
    """Tell whether the request that opened an upload has named its blob."""
    digest = upload.query["digest"]
    return any(one.query.get("mount") == digest for one in registry.asked("/blobs/uploads/", "POST"))


def of_blob(registry: FakeRegistry, repository: str) -> Counter[str]:
    """Count the requests of a repository for the large blob; each other blob that was sent has one POST too."""
    counts = Counter[str]()
    for one in registry.asked(f"^/v2/{repository}/blobs/"):
        # Its own repository is asked by the request that opens an upload.
        is_mount = one.query.get("from", repository) != repository
        name = "mount" if is_mount else one.method
        if str(BIG.digest) in one.raw_path or (name == "POST" and "mount" not in one.query):
            counts[name] += 1
        elif name == "PUT" and not is_asked(registry, one):
            counts["POST"] -= 1
    return +counts


@pytest.mark.parametrize(
    ("case", "source", "target"),
    [
        ("new repository", {"GET": 1}, {"POST": 1, "PUT": 1}),
        ("new repository with it", {}, {"POST": 1}),
        ("repository without it", {"GET": 1}, {"HEAD": 1, "POST": 1, "PUT": 1}),
        ("repository with it", {}, {"HEAD": 1}),
        ("repository of an earlier image", {"GET": 1}, {"POST": 1, "PUT": 1}),
        ("another repository", {"GET": 1}, {"mount": 1}),
        ("another repository without mounts", {"GET": 2}, {"mount": 1, "PUT": 1}),
        ("a storage elsewhere", {"GET": 2}, {"POST": 1, "PUT": 1}),
        ("the same registry", {}, {"mount": 1}),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
async def test_the_requests_for_a_blob_are_the_fewest(
    fake_registry: FakeRegistry,
    pushable_registry: FakeRegistry,
    case: str,
    source: dict[str, int],
    target: dict[str, int],
) -> None:
    from_ = pushable_registry if case == "the same registry" else fake_registry
    for name in ("app:1", "app:2", "second:1"):
        from_.add(name, image([BIG], AMD64, labels={"n": name}))
    lines, seen = ["SOURCE/app:1"], "app"
    assert pushable_registry.pushes is not None
    if case == "new repository with it":
        # Some registries know no repository without manifests.
        pushable_registry.content.add_blob("copies/app", BIG.data)
        pushable_registry.fail("/copies/app/tags/", Status(404))
    elif case == "repository without it":
        pushable_registry.add("copies/app:0", small("unrelated"))
    elif case == "repository with it":
        pushable_registry.add("copies/app:0", small("unrelated"))
        pushable_registry.content.add_blob("copies/app", BIG.data)
    elif case == "repository of an earlier image":
        lines.append("SOURCE/app:2")
    elif case.startswith("another repository"):
        pushable_registry.pushes.mounts = "without" not in case
        lines.append("SOURCE/second:1")
        seen = "second"
    elif case == "a storage elsewhere":
        host = fake_registry.address.replace("127.0.0.1", "localhost")
        place = f"http://{host}/v2/second/blobs/{BIG.digest}"
        fake_registry.fail(f"/app/blobs/{BIG.digest}", redirect(place), method="GET")
    report = await run(from_, pushable_registry, *lines, jobs=1, requests=1)
    assert [outcome.state for outcome in report.outcomes] == ["copied"] * len(lines)
    assert of_blob(pushable_registry, f"copies/{seen}") == target
    if from_ is fake_registry:
        assert of_blob(fake_registry, "(app|second)") == source


async def test_a_registry_that_refuses_to_mount_a_blob_where_it_is_is_asked_once(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    for name in ("a", "b"):
        fake_registry.add(f"{name}:1", small(name))
    pushable_registry.fail("/uploads/.*mount", Status(400), times=None)
    assert (await run(fake_registry, pushable_registry, "SOURCE/a:1", "SOURCE/b:1", jobs=1, requests=1)).status == 0
    assert len(pushable_registry.asked("/uploads/.*mount", "POST")) == 1
