"""Signatures and the like are found at registries without an API for them: by a tag of their subject."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.engine.reports import LoadReport
from hangar_async.errors import ContentError, Differs
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built, image, index, layer
from tests.engine.loading import document, run_load, run_validate, tagged
from tests.engine.made import make_layout
from tests.engine.push.rig import referrer, without_referrers
from tests.fakes.faults import Function, Headers, Status
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.registry import FakeRegistry

APP = small("app")
TAG = f"sha256-{APP.digest.hex}"


async def load_all(tmp_path: Path, registry: FakeRegistry, built: Iterable[Built], **keywords: Any) -> LoadReport:
    names = [(one, {"io.containerd.image.name": f"x.local/team/app:v{number}"}) for number, one in enumerate(built)]
    source = await asyncio.to_thread(make_layout, tmp_path / f"layout{len(list(tmp_path.iterdir()))}", names)
    return await run_load(tmp_path, source, registry, **keywords)


async def listed(registry: FakeRegistry, tag: str = TAG) -> list[dict[str, Any]]:
    """The entries of the list of referrers."""
    digest = await tagged(registry.content, f"team/app:{tag}")
    assert digest is not None
    found: list[dict[str, Any]] = json.loads(await document(registry.content, "team/app", digest))["manifests"]
    return found


async def test_referrers_are_listed_under_the_tag_of_their_subject(
    pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    without_referrers(pushable_registry)
    signatures = [referrer(APP, f"signature {number}", {"number": str(number)}) for number in range(5)]
    report = await load_all(tmp_path, pushable_registry, [APP, *signatures], jobs=20)
    assert report.status == 0, report.failed
    entries = await listed(pushable_registry)
    assert {one["digest"] for one in entries} == {str(one.digest) for one in signatures}
    for one in entries:
        assert one["artifactType"] == "application/vnd.example.signature"
        assert one["size"] == len(signatures[int(one["annotations"]["number"])].raw)
        assert one["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert len(pushable_registry.asked("/referrers/")) == 1
    # The same again writes nothing, and writes what an earlier run could not any more.
    puts = len(pushable_registry.asked(method="PUT"))
    assert (await load_all(tmp_path, pushable_registry, [APP, *signatures])).status == 0
    assert len(pushable_registry.asked(method="PUT")) == puts
    pushable_registry.content.remove("team/app", await digest_at(pushable_registry))
    assert (await load_all(tmp_path, pushable_registry, [APP, *signatures])).status == 0
    assert len(await listed(pushable_registry)) == 5


async def digest_at(registry: FakeRegistry, tag: str = TAG) -> Digest:
    digest = await tagged(registry.content, f"team/app:{tag}")
    assert digest is not None
    return digest


async def test_a_referrer_within_an_index_is_listed_too(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    without_referrers(pushable_registry)
    signature = referrer(APP, "signature")
    assert (await load_all(tmp_path, pushable_registry, [index([APP, signature])])).status == 0
    assert [one["digest"] for one in await listed(pushable_registry)] == [str(signature.digest)]


@pytest.mark.parametrize("has_api", [True, False])
async def test_a_registry_that_lists_them_itself_gets_no_tag(
    has_api: bool, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """Its answer to the PUT says so, or its API does."""
    if has_api:
        pushable_registry.fail("/manifests/", Headers({"OCI-Subject": None}), method="PUT", times=None)
    else:
        pushable_registry.fail("/referrers/", Status(404), times=None)
    assert (await load_all(tmp_path, pushable_registry, [referrer(APP, "signature")])).status == 0
    assert await pushable_registry.content.tags("team/app") == ["v0"]
    assert len(pushable_registry.asked("/referrers/")) == has_api


async def test_a_list_of_others_is_added_to(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    """Each entry stays as it is, fields that are not known too."""
    without_referrers(pushable_registry)
    takes_any_list(pushable_registry)
    theirs = {"mediaType": "a/b", "digest": f"sha256:{'0' * 64}", "size": 7, "artifactType": "c/d", "data": "eA=="}
    raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [theirs]}).encode()
    pushable_registry.content.add_manifest("team/app", raw, INDEX, [TAG])
    assert (await load_all(tmp_path, pushable_registry, [signature := referrer(APP, "signature")])).status == 0
    entries = await listed(pushable_registry)
    assert entries[0] == theirs
    assert [one["digest"] for one in entries[1:]] == [str(signature.digest)]


def takes_any_list(registry: FakeRegistry) -> None:
    """Let an index name what is not there."""
    assert registry.pushes is not None
    registry.pushes.complete = False


INDEX = "application/vnd.oci.image.index.v1+json"


class Rival:
    """Another client, which replaces the list right after this one has written it, so many times."""

    def __init__(self, registry: FakeRegistry, times: int) -> None:
        self.registry = registry
        self.left = times

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if self.left:
            self.left -= 1
            entry = {"mediaType": "a/b", "digest": f"sha256:{self.left:064}", "size": 7}
            raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
            self.registry.content.add_manifest("team/app", raw, INDEX, [TAG])
        return response


async def test_a_list_that_another_client_replaces_is_written_again(
    pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    pushable_registry.fail(f"/manifests/{TAG}", Rival(pushable_registry, 2), method="PUT", times=None)
    without_referrers(pushable_registry)
    takes_any_list(pushable_registry)
    assert (await load_all(tmp_path, pushable_registry, [signature := referrer(APP, "signature")])).status == 0
    assert [one["digest"] for one in await listed(pushable_registry)][1:] == [str(signature.digest)]


async def test_a_list_that_is_replaced_again_and_again(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    pushable_registry.fail(f"/manifests/{TAG}", Rival(pushable_registry, 100), method="PUT", times=None)
    without_referrers(pushable_registry)
    takes_any_list(pushable_registry)
    [failed] = (await load_all(tmp_path, pushable_registry, [referrer(APP, "signature")])).failed
    assert isinstance(failed.error, Differs)
    assert TAG in str(failed.error)


def partial(built: Built) -> bytes:
    """An index of some of the platforms of an image."""
    fields = json.loads(built.raw)
    return json.dumps({**fields, "manifests": fields["manifests"][:1]}).encode()


async def test_parts_of_an_image_are_no_list_of_referrers(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    """An image that was saved by digest, in part, has this tag too."""
    without_referrers(pushable_registry)
    subject = index([APP, small("app", platform=ARM64)])
    tag = f"sha256-{subject.digest.hex}"
    pushable_registry.add("team/app:v1", subject)
    pushable_registry.content.add_manifest("team/app", raw := partial(subject), INDEX, [tag])
    [failed] = (await load_all(tmp_path, pushable_registry, [referrer(subject, "signature")])).failed
    assert "no list of referrers" in str(failed.error)
    assert await digest_at(pushable_registry, tag) == Digest.of(raw)


async def by_digest(tmp_path: Path, subject: Built, signatures: Iterable[Built]) -> Path:
    """A layout with an image that has no name but its digest, and signatures."""
    names = {f"x.local/team/app@{subject.digest}": subject}
    names |= {f"x.local/team/app:signature{number}": one for number, one in enumerate(signatures)}
    entries = [(built, {"org.opencontainers.image.ref.name": name}) for name, built in names.items()]
    return await asyncio.to_thread(make_layout, tmp_path / f"layout{len(list(tmp_path.iterdir()))}", entries)


@pytest.mark.parametrize("jobs", [1, 20])
@pytest.mark.parametrize("subject", [APP, index([APP])])
async def test_the_list_of_referrers_has_the_tag_and_the_image_its_digest(
    subject: Built, jobs: int, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    without_referrers(pushable_registry)
    source = await by_digest(tmp_path, subject, [signature := referrer(subject, "signature")])
    tag = f"sha256-{subject.digest.hex}"
    for _ in range(2):
        report = await run_load(tmp_path, source, pushable_registry, jobs=jobs)
        assert report.status == 0, report.failed
        [note] = [outcome.note for outcome in report.outcomes if outcome.note]
        assert f"team/app:{tag}" in note
        assert [one["digest"] for one in await listed(pushable_registry, tag)] == [str(signature.digest)]
        assert await document(pushable_registry.content, "team/app", subject.digest) == subject.raw
    assert (await run_validate(tmp_path, source, pushable_registry)).status == 0


async def test_at_a_registry_that_lists_referrers_the_image_has_the_tag(
    pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source = await by_digest(tmp_path, APP, [referrer(APP, "signature")])
    assert (await run_load(tmp_path, source, pushable_registry)).status == 0
    assert await digest_at(pushable_registry) == APP.digest


@pytest.mark.parametrize("subject", [APP, index([APP])])
async def test_an_image_without_a_name_replaces_no_list_of_referrers(
    subject: Built, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    without_referrers(pushable_registry)
    assert (await load_all(tmp_path, pushable_registry, [signature := referrer(subject, "signature")])).status == 0
    source, tag = await by_digest(tmp_path, subject, []), f"sha256-{subject.digest.hex}"
    report = await run_load(tmp_path, source, pushable_registry)
    assert report.status == 0
    assert f"team/app:{tag}" in report.outcomes[0].note
    assert [one["digest"] for one in await listed(pushable_registry, tag)] == [str(signature.digest)]
    assert await document(pushable_registry.content, "team/app", subject.digest) == subject.raw


async def test_more_platforms_of_an_image_without_a_name_take_its_tag(
    pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    subject = index([APP, small("app", platform=ARM64)])
    tag = f"sha256-{subject.digest.hex}"
    pushable_registry.add("team/app:v1", subject)
    pushable_registry.content.add_manifest("team/app", partial(subject), INDEX, [tag])
    assert (await run_load(tmp_path, await by_digest(tmp_path, subject, []), pushable_registry)).status == 0
    assert await digest_at(pushable_registry, tag) == subject.digest


async def test_a_list_of_referrers_that_is_loaded_itself_replaces_no_other(
    pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    without_referrers(pushable_registry)
    first, second = referrer(APP, "first"), referrer(APP, "second")
    assert (await load_all(tmp_path, pushable_registry, [APP, first])).status == 0
    entries = [(index([second]), {"io.containerd.image.name": f"x.local/team/app:{TAG}"})]
    source = await asyncio.to_thread(make_layout, tmp_path / "lists", entries)
    assert (await run_load(tmp_path, source, pushable_registry)).status == 0
    assert [one["digest"] for one in await listed(pushable_registry)] == [str(first.digest), str(second.digest)]


@pytest.mark.parametrize("taken", [APP, index([APP])])
async def test_a_tag_of_anything_else_is_left(taken: Built, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    """The subject itself may have it, as an image without any other name."""
    without_referrers(pushable_registry)
    tag = f"sha256-{taken.digest.hex}"
    pushable_registry.add(f"team/app:{tag}", taken)
    [failed] = (await load_all(tmp_path, pushable_registry, [referrer(taken, "signature")])).failed
    assert isinstance(failed.error, ContentError)
    assert "no list of referrers" in str(failed.error)
    assert await digest_at(pushable_registry, tag) == taken.digest


async def test_images_without_subject_cost_no_request(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    assert (await load_all(tmp_path, pushable_registry, [image([layer({"a": b"1"})], AMD64)])).status == 0
    assert not pushable_registry.asked("/referrers/")


async def test_a_registry_that_sends_a_page_lists_nothing(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    without_referrers(pushable_registry)

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    pushable_registry.faults.rules.pop()
    pushable_registry.fail("/referrers/", Function(page), times=None)
    assert (await load_all(tmp_path, pushable_registry, [referrer(APP, "signature")])).status == 0
    assert len(await listed(pushable_registry)) == 1
