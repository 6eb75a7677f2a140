"""An image is pushed children first; parts of one index add up at the destination."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from hangar_async.engine.events import Event, Notice
from hangar_async.oci.manifest import Index, parse_manifest
from hangar_async.testing.images import index
from tests.engine.forms import Saved
from tests.engine.loading import document, loaded, manifests_below, named, named_blobs, run_load, tagged, where
from tests.engine.push.rig import Source
from tests.fakes.faults import Function, Status
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry


async def test_children_come_before_parents_and_the_tag_last(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    assert pushable_registry.pushes is not None
    assert pushable_registry.pushes.complete
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry, jobs=20)
    assert report.status == 0
    for name in everything.built:
        repository, _, tag = where(name).rpartition(":")
        puts = [one.path.rpartition("/")[2] for one in pushable_registry.asked(f"/{repository}/manifests/", "PUT")]
        assert puts.index(tag) >= max(
            (number for number, one in enumerate(puts) if one.startswith("sha256:")), default=0
        )


ALL = ["amd64", "arm64", "arm/v7"]


async def index_at(to: FakeRegistry, name: str) -> Index:
    digest = await tagged(to.content, name)
    assert digest is not None
    parsed = parse_manifest(await document(to.content, name.partition(":")[0], digest))
    assert isinstance(parsed, Index)
    return parsed


async def test_a_part_is_pushed_as_it_is_held(
    several_images: Source, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    held = await several_images.saved("amd64,arm64")
    report = await loaded(tmp_path, held, pushable_registry)
    [outcome] = report.outcomes
    there = await tagged(pushable_registry.content, "library/app:v1")
    assert there == outcome.digest != several_images.built.digest
    assert str(several_images.built.digest) in outcome.note
    assert str(there) in outcome.note
    assert "linux/amd64, linux/arm64" in outcome.note
    again = await loaded(tmp_path, held, pushable_registry)
    assert [one.state for one in again.outcomes] == ["present"]


@pytest.mark.parametrize(
    "order", [("amd64", "arm64", "arm/v7"), ("arm/v7", "amd64", "arm64"), ("arm64,arm/v7", "amd64")]
)
async def test_parts_add_up_to_the_original(
    order: tuple[str, ...], several_images: Source, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """Each load keeps what the others brought, in the order of the original, until it is the original."""
    events: list[Event] = []
    brought: set[str] = set()
    for architectures in order:
        await loaded(tmp_path, await several_images.saved(architectures), pushable_registry, events=events)
        brought.update(architectures.split(","))
        found = await index_at(pushable_registry, "library/app:v1")
        assert [one.platform.suffix for one in found.manifests if one.platform and not one.platform.unknown] == [
            one.replace("/", "") for one in ALL if one in brought
        ]
    assert await tagged(pushable_registry.content, "library/app:v1") == several_images.built.digest
    # Nothing was replaced that is not kept.
    assert [event for event in events if isinstance(event, Notice)] == []
    report = await loaded(tmp_path, await several_images.saved("arm64"), pushable_registry)
    assert [(one.state, one.digest) for one in report.outcomes] == [("present", several_images.built.digest)]


async def test_another_image_is_replaced_and_told(
    several_images: Source, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    other = index([small("a"), small("b", platform=ARM64)])
    pushable_registry.add("library/app:v1", other)
    events: list[Event] = []
    report = await loaded(tmp_path, await several_images.saved("amd64"), pushable_registry, events=events)
    [outcome] = report.outcomes
    [notice] = [event.text for event in events if isinstance(event, Notice)]
    assert notice == (f"{pushable_registry.address}/library/app:v1 was {other.digest}, and is {outcome.digest} now")


async def test_a_tag_of_an_unknown_document_is_replaced(
    several_images: Source, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    raw = b'{"schemaVersion": 1, "name": "app"}'
    pushable_registry.content.add_manifest(
        "library/app", raw, "application/vnd.docker.distribution.manifest.v1+json", ["v1"]
    )
    [outcome] = (await loaded(tmp_path, await several_images.saved("amd64"), pushable_registry)).outcomes
    assert outcome.replaced is not None


async def test_the_original_where_the_registry_takes_it(
    several_images: Source, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    assert pushable_registry.pushes is not None
    refused = await run_load(tmp_path, await several_images.saved("amd64"), pushable_registry, sparse_index=True)
    [failed] = refused.failed
    assert "names" in str(failed.error)
    pushable_registry.pushes.complete = False
    await loaded(tmp_path, await several_images.saved("amd64"), pushable_registry, sparse_index=True)
    assert await tagged(pushable_registry.content, "library/app:v1") == several_images.built.digest
    # The tag is right already, but what it names is not there yet.
    report = await loaded(tmp_path, await several_images.saved("arm64"), pushable_registry, sparse_index=True)
    assert report.sent.uploaded_blobs > 0
    arm = next(one for one in several_images.entries if one.platform and one.platform.architecture == "arm64")
    assert await document(pushable_registry.content, "library/app", arm.digest)


async def test_two_loads_at_once(several_images: Source, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    """Of one archive: all is there, and nothing fails."""
    held = await several_images.saved("all")
    (tmp_path / "other").mkdir()
    async with asyncio.TaskGroup() as group:
        group.create_task(loaded(tmp_path, held, pushable_registry))
        group.create_task(loaded(tmp_path / "other", held, pushable_registry))
    assert await tagged(pushable_registry.content, "library/app:v1") == several_images.built.digest


@pytest.mark.parametrize("status", [403, 405, 412])
async def test_a_registry_that_hides_a_tag_takes_the_push_all_the_same(
    status: int, several_images: Source, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """As Harbor does for an image with a known fault, and others for one that is not there yet."""
    for method in ("HEAD", "GET"):
        pushable_registry.fail("/manifests/v1", Status(status), method=method, times=None)
    await loaded(tmp_path, await several_images.saved("amd64"), pushable_registry)
    assert await tagged(pushable_registry.content, "library/app:v1") is not None


async def test_a_tag_is_read_by_get_where_a_head_is_refused(
    several_images: Source, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    held = await several_images.saved("amd64")
    await loaded(tmp_path, held, pushable_registry)
    pushable_registry.fail("/manifests/v1", Status(403), method="HEAD", times=None)
    assert [one.state for one in (await loaded(tmp_path, held, pushable_registry)).outcomes] == ["present"]


async def test_tags_of_platforms(several_images: Source, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    await loaded(tmp_path, await several_images.saved("all"), pushable_registry, platform_tags=True)
    tags = await pushable_registry.content.tags("library/app")
    assert tags == ["v1", "v1-amd64", "v1-arm64", "v1-armv7"]
    for entry in several_images.entries:
        if entry.platform and not entry.platform.unknown:
            assert await tagged(pushable_registry.content, f"library/app:v1-{entry.platform.suffix}") == entry.digest


@pytest.mark.parametrize("form", ["gzip", "zstd-3", "hangar-gzip", "dir"])
async def test_every_kind_in_part(form: str, partial: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    report = await loaded(tmp_path, partial.at(form), pushable_registry)
    assert {outcome.state for outcome in report.outcomes} == {"pushed"}


UNKNOWN = b'{"errors": [{"code": "%s", "message": "unknown"}]}'
LIES = [(400, b"MANIFEST_BLOB_UNKNOWN"), (404, b"BLOB_UNKNOWN"), (404, b"MANIFEST_UNKNOWN")]


@pytest.mark.parametrize(("status", "code"), LIES)
@pytest.mark.parametrize("form", ["gzip", "hangar-gzip", "dir"])
async def test_blobs_that_the_registry_only_said_it_had_are_sent(
    form: str, status: int, code: bytes, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """A HEAD is answered 200 for what is not there, and the manifest is refused; see distribution issue 4569."""
    for digest in named(everything, "oci").blobs:
        length = {"Content-Length": str(len(named(everything, "oci").blobs[digest]))}
        pushable_registry.fail(f"library/oci/blobs/{digest}", Status(200, length), method="HEAD", times=None)
    refused = Status(status, {"Content-Type": "application/json"}, UNKNOWN % code)
    pushable_registry.fail("library/oci/manifests/", refused, method="PUT", times=3)
    report = await loaded(tmp_path, everything.at(form), pushable_registry, images=["oci:1"])
    assert [outcome.state for outcome in report.outcomes] == ["pushed"]
    assert uploaded(pushable_registry) == sorted(map(str, named(everything, "oci").blobs))
    assert await tagged(pushable_registry.content, "library/oci:1") == named(everything, "oci").digest


def uploaded(registry: FakeRegistry) -> list[str]:
    return sorted(one.query["digest"] for one in registry.asked("/uploads/.*digest=", "PUT"))


async def test_a_refused_manifest_is_pushed_a_second_time_and_no_more(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    refused = Status(400, {"Content-Type": "application/json"}, UNKNOWN % b"MANIFEST_BLOB_UNKNOWN")
    pushable_registry.fail("library/(oci|plain)/manifests/", refused, method="PUT", times=None)
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry, images=["oci:1", "plain", "zstd"])
    assert [outcome.state for outcome in report.outcomes].count("failed") == 2
    assert len(pushable_registry.asked("library/oci/manifests/", "PUT")) == 6
    counts = Counter(uploaded(pushable_registry))
    assert all(counts[str(digest)] <= 3 for digest in named(everything, "oci").blobs)


@pytest.mark.parametrize("form", ["gzip", "hangar-gzip"])
async def test_a_mount_that_did_not_happen(
    form: str, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """A POST with `mount` is answered 201, and nothing is mounted."""

    async def mounted(request: web.Request) -> web.Response:
        headers = {"Location": "/", "Docker-Content-Digest": request.query["mount"]}
        return web.Response(status=201, headers=headers)

    pushable_registry.fail("mount=", Function(mounted), method="POST", times=None)
    report = await loaded(tmp_path, everything.at(form), pushable_registry)
    assert report.sent.mounted_blobs
    for name in everything.built:
        repository, found = where(name).rpartition(":")[0], await tagged(pushable_registry.content, where(name))
        assert found is not None, name
        for digest in await manifests_below(pushable_registry.content, repository, found):
            for blob in named_blobs(await document(pushable_registry.content, repository, digest)):
                is_there = await pushable_registry.content.size(repository, blob) is not None
                assert is_there or name.endswith("/foreign:1"), name
