"""Signatures and the like come with their images, however their registry tells them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hangar_async.config.environment import Environment
from hangar_async.config.registries import Mirrors, RegistrySettings, RetryPolicy, parse_mirror
from hangar_async.engine.pull import referrers as module
from hangar_async.engine.reports import ReferrerCounts, Report
from hangar_async.oci import COSIGN_TYPES, Digest, media_types
from hangar_async.testing.images import Built, artifact, index
from tests.engine.push.rig import referrer, without_referrers
from tests.engine.rig import entries, held, run
from tests.fakes.faults import Function, Status
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry, fake_registry as running

APP = index([small("app"), small("arm", platform=ARM64)])
AMD = small("app")
SIGNATURE = artifact("application/vnd.oci.image.config.v1+json", b"signed", "application/vnd.dev.cosign.simplesigning")
LIST = referrer(APP, "list of parts")
#: A signature of the list of parts.
DEEP = referrer(LIST, "signature of the list")
TYPE = "application/vnd.example.signature"


def tag(subject: Built, end: str) -> str:
    return f"sha256-{subject.digest.hex}.{end}"


def fill(registry: FakeRegistry, *, api: bool = True) -> None:
    """An image with two signatures of cosign, an attestation, and a list of parts that is signed as well."""
    registry.add("app:1", APP)
    for end, data in (("sig", b"one"), ("att", b"two")):
        registry.add(f"app:{tag(APP, end)}", artifact("application/vnd.oci.image.config.v1+json", data, "text/plain"))
    registry.add(f"app:{tag(AMD, 'sig')}", SIGNATURE)
    registry.add("app", LIST)
    registry.add("app", DEEP)
    if not api:
        without_referrers(registry)
        for subject, built in ((APP, LIST), (LIST, DEEP)):
            entry = {**built.descriptor.to_json(), "artifactType": TYPE}
            raw = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [entry]}).encode()
            registry.content.add_manifest("app", raw, media_types.OCI_INDEX, [subject.digest.tag])


def names(root: Path) -> dict[str, str]:
    """The referrers of the index of a cache: their names without the registry, and their subjects."""
    found = {one["annotations"]["org.opencontainers.image.ref.name"]: one["annotations"] for one in entries(root)}
    key = "io.hangar-async.subject.digest"
    return {name.partition("/")[2]: one[key] for name, one in found.items() if key in one}


EXPECTED = {
    f"app:{tag(APP, 'sig')}": str(APP.digest),
    f"app:{tag(APP, 'att')}": str(APP.digest),
    f"app:{tag(AMD, 'sig')}": str(AMD.digest),
    f"app@{LIST.digest}": str(APP.digest),
    f"app@{DEEP.digest}": str(LIST.digest),
}


@pytest.mark.parametrize("paging", ["whole", "paged"])
@pytest.mark.parametrize("api", [True, False])
async def test_all_referrers_of_an_image_come_with_it(
    fake_registry: FakeRegistry, tmp_path: Path, api: bool, paging: str
) -> None:
    """By the API or the list under a tag; by the list of all tags, or by each tag where these are more than a page."""
    fill(fake_registry, api=api)
    if paging == "paged":
        link = {"Link": '</v2/app/tags/list?last=1>; rel="next"'}
        page = web.json_response({"name": "app", "tags": ["1"]}, headers=link)
        fake_registry.fail("/tags/list", Function(lambda _: _answer(page)), times=None)
    report = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert report.status == 0, report.failed
    assert names(tmp_path / "out") == EXPECTED
    [outcome] = report.outcomes
    assert outcome.referrers == ReferrerCounts(2, 1, 2)
    assert outcome.notes == ()
    for built in (LIST, DEEP, SIGNATURE):
        assert {str(digest) for digest in (*built.documents, *built.blobs)} <= held(tmp_path / "out")


async def _answer(page: web.Response) -> web.StreamResponse:
    return web.Response(body=page.body, headers=page.headers)


async def test_the_requests_for_referrers(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    """One for each subject where the API is, one for the tags of a repository; none for a digest that is known."""
    fill(fake_registry)
    fake_registry.add("app:2", APP)
    report = await run(tmp_path, *(f"{fake_registry.address}/app:{number}" for number in (1, 2)))
    assert report.status == 0
    assert len(fake_registry.asked("/tags/list")) == 1
    asked = [one.path.rpartition("/")[2] for one in fake_registry.asked("/referrers/")]
    arm = small("arm", platform=ARM64)
    assert sorted(asked[:3]) == sorted(str(one.digest) for one in (APP, AMD, arm))
    assert len(asked) == len(set(asked))


async def test_a_registry_without_the_api_is_asked_for_it_once(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    for number in range(5):
        fake_registry.add(f"app:{number}", small(str(number)))
    without_referrers(fake_registry)
    lines = [f"{fake_registry.address}/app:{number}" for number in range(5)]
    report = await run(tmp_path, *lines, jobs=1, requests=1)
    assert [outcome.referrers for outcome in report.outcomes] == [ReferrerCounts()] * 5
    assert len(fake_registry.asked("/referrers/")) == 1
    assert len(fake_registry.asked("/tags/list")) == 1
    assert fake_registry.asked(r"\.sig", "GET") == fake_registry.asked(method="HEAD") == []


@pytest.mark.parametrize(
    ("selected", "found"),
    [
        ("none", None),
        (TYPE, {f"app@{LIST.digest}", f"app@{DEEP.digest}"}),
        (COSIGN_TYPES["sig"], {f"app:{tag(APP, 'sig')}", f"app:{tag(AMD, 'sig')}"}),
        (f"{COSIGN_TYPES['att']},text/x", {f"app:{tag(APP, 'att')}"}),
    ],
)
@pytest.mark.parametrize("api", [True, False])
async def test_referrers_of_some_types(
    fake_registry: FakeRegistry, tmp_path: Path, selected: str, found: set[str] | None, api: bool
) -> None:
    fill(fake_registry, api=api)
    fake_registry.requests.clear()
    report = await run(tmp_path, f"{fake_registry.address}/app:1", referrers=selected)
    assert report.status == 0
    assert set(names(tmp_path / "out")) == (found or set())
    if found is None:
        assert report.outcomes[0].referrers is None
        assert fake_registry.asked("/referrers/|/tags/") == []


async def test_a_referrer_that_the_index_names_comes_with_it_alone(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    signature = referrer(AMD, "within the index")
    fake_registry.add("app:1", index([AMD, signature]))
    report = await run(tmp_path, f"{fake_registry.address}/app:1", architectures=["all"])
    assert report.outcomes[0].referrers == ReferrerCounts()
    assert len(entries(tmp_path / "out")) == 1


def _gone(registry: FakeRegistry) -> None:
    registry.content.remove("app", LIST.digest)


def _without_a_blob(registry: FakeRegistry) -> None:
    registry.content.remove("app", list(LIST.blobs)[-1])


def _without_tags(registry: FakeRegistry) -> None:
    registry.fail("/tags/list", Status(403), times=None)


def _broken_api(registry: FakeRegistry) -> None:
    registry.fail("/referrers/", Status(500), times=None)


@pytest.mark.parametrize(
    ("spoil", "note", "found"),
    [
        (_gone, "left out the referrer", 3),
        (_without_a_blob, "left out the referrer", 4),
        (_without_tags, "", 5),
        (_broken_api, "could not be looked for", 3),
    ],
)
async def test_referrers_that_cannot_be_got_fail_no_image(
    fake_registry: FakeRegistry, tmp_path: Path, spoil: Callable[[FakeRegistry], None], note: str, found: int
) -> None:
    fill(fake_registry)
    if spoil is _gone:
        # It is listed all the same.
        body = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [LIST.descriptor.to_json()]}
        listed = web.Response(body=json.dumps(body).encode(), headers={"Content-Type": media_types.OCI_INDEX})
        fake_registry.fail(f"/referrers/{APP.digest}", Function(lambda _: _answer(listed)), times=None)
    spoil(fake_registry)
    report = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert report.status == 0, [str(one.error) for one in report.failed]
    [outcome] = report.outcomes
    assert all(note and note in one for one in outcome.notes)
    assert bool(outcome.notes) == bool(note)
    assert len(names(tmp_path / "out")) == found


@pytest.mark.parametrize(("status", "asked"), [(503, 1), (403, 2)])
async def test_a_list_that_fails_is_not_asked_for_again(
    fake_registry: FakeRegistry, tmp_path: Path, status: int, asked: int
) -> None:
    """One question for a registry that is broken, and one for each repository that is refused; the tags tell theirs."""
    fill(fake_registry)
    for name in ("app:2", "other:1"):
        fake_registry.add(name, APP if name == "app:2" else AMD)
    fake_registry.fail("/referrers/", Status(status), times=None)
    retry = RetryPolicy(retries=0, first=0.0, longest=0.0, outage_pauses=(0.0,))
    environment = Environment(registries=RegistrySettings(retry=retry))
    lines = [f"{fake_registry.address}/{name}" for name in ("app:1", "app:2", "other:1")]
    report = await run(tmp_path, *lines, environment=environment, jobs=1)
    assert report.status == 0, [str(one.error) for one in report.failed]
    assert len(fake_registry.asked("/referrers/")) == asked
    assert [outcome.referrers for outcome in report.outcomes] == [
        ReferrerCounts(2, 1),
        ReferrerCounts(2, 1),
        ReferrerCounts(),
    ]
    assert all(any("could not be looked for" in note for note in outcome.notes) for outcome in report.outcomes)


async def test_the_referrers_of_an_image_are_bounded(
    fake_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In number, and in how often one refers to the next."""
    monkeypatch.setattr(module, "MOST_REFERRERS", 3)
    fake_registry.add("app:1", AMD)
    for number in range(5):
        fake_registry.add("app", referrer(AMD, str(number)))
    [outcome] = (await run(tmp_path, f"{fake_registry.address}/app:1")).outcomes
    assert outcome.referrers == ReferrerCounts(0, 0, 3)
    assert outcome.notes == ("left out 2 of its referrers: at most 3 are taken",)
    monkeypatch.undo()
    fake_registry.add("deep:1", AMD)
    last = AMD
    for number in range(10):
        last = referrer(last, f"deep {number}")
        fake_registry.add("deep", last)
    (tmp_path / "deep").mkdir()
    [outcome] = (await run(tmp_path / "deep", f"{fake_registry.address}/deep:1")).outcomes
    assert outcome.referrers == ReferrerCounts(0, 0, 4)


async def test_pages_without_an_end_end(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fake_registry.add("app:1", AMD)
    numbers = iter(range(10_000))

    async def answer(request: web.Request) -> web.StreamResponse:
        body = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []}
        headers = {"Content-Type": media_types.OCI_INDEX, "Link": f'<{request.path}?p={next(numbers)}>; rel="next"'}
        return web.Response(body=json.dumps(body).encode(), headers=headers)

    fake_registry.fail("/referrers/", Function(answer), times=None)
    assert (await run(tmp_path, f"{fake_registry.address}/app:1")).status == 0
    assert len(fake_registry.asked("/referrers/")) == 100


async def test_an_image_of_the_list_is_no_referrer_of_another(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    """It stands in the index once, as the image that the list names."""
    fill(fake_registry)
    lines = [f"{fake_registry.address}/app:{one}" for one in ("1", tag(APP, "sig"))]
    report = await run(tmp_path, *lines, architectures=["all"])
    assert report.status == 0
    assert f"app:{tag(APP, 'sig')}" not in names(tmp_path / "out")
    found = [one["annotations"]["org.opencontainers.image.ref.name"] for one in entries(tmp_path / "out")]
    assert len(found) == len(set(found)) == 6


async def mirrored(tmp_path: Path, registry: FakeRegistry, mirror: FakeRegistry) -> Report:
    retry = RetryPolicy(retries=0, first=0.0, longest=0.0, outage_pauses=(0.0,))
    mirrors = Mirrors((parse_mirror(f"{registry.address}={mirror.address}"),))
    settings: Any = RegistrySettings(retry=retry, mirrors=mirrors)
    return await run(tmp_path, f"{registry.address}/app:1", environment=Environment(registries=settings))


@pytest.mark.parametrize("has_all", [True, False])
async def test_a_mirror_is_asked_first(fake_registry: FakeRegistry, tmp_path: Path, has_all: bool) -> None:
    """A mirror without the API is passed over for the registry."""
    fill(fake_registry)
    async with running() as mirror:
        fill(mirror)
        if not has_all:
            without_referrers(mirror)
        report = await mirrored(tmp_path, fake_registry, mirror)
    assert report.status == 0
    assert report.outcomes[0].referrers == ReferrerCounts(2, 1, 2)
    assert bool(fake_registry.asked("/referrers/")) is not has_all


def test_subjects_of_an_image() -> None:
    digests = [Digest.of(bytes([number])) for number in range(3)]
    assert module.Subjects.of_indexes(digests[0], []).digests == (digests[0],)
