"""Referrers of mirrored images: found at the source, and written as the target needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hangar_async.engine.reports import MirrorReport, ReferrerCounts
from hangar_async.oci.media_types import OCI_INDEX
from hangar_async.testing.images import Built
from tests.engine.push.rig import without_referrers
from tests.engine.signed import Signed
from tests.engine.test_mirror import run, wire
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry

COUNTS = ReferrerCounts(1, 1, 2)
LINE = "SOURCE/team/app:1"


def signed_at(registry: FakeRegistry) -> Signed:
    found = Signed(registry.address, Path())
    found.add_to(registry)
    return found


async def missing(registry: FakeRegistry, built: Built) -> list[str]:
    """The documents and blobs of an image that a repository lacks."""
    content, name = registry.content, "copies/team/app"
    documents = [str(one) for one in built.documents if await content.resolve(name, one) is None]
    return documents + [str(one) for one in built.blobs if await content.size(name, one) is None]


def puts(registry: FakeRegistry) -> list[str]:
    return [path.rpartition("/")[2] for method, path in wire(registry) if method == "PUT" and "/manifests/" in path]


@pytest.mark.parametrize("source_api", [True, False])
@pytest.mark.parametrize("target_api", [True, False])
async def test_referrers_are_copied_before_the_tag(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, source_api: bool, target_api: bool
) -> None:
    signed = signed_at(fake_registry)
    if not source_api:
        without_referrers(fake_registry)
        list_under_tags(fake_registry, signed)
    if not target_api:
        without_referrers(pushable_registry)
    report = await run(fake_registry, pushable_registry, LINE)
    assert report.status == 0, report.failed
    assert report.outcomes[0].referrers == COUNTS
    for built in signed.referrers:
        assert await missing(pushable_registry, built) == []
    lists = [] if target_api else [signed.image.digest.tag, signed.parts.digest.tag]
    tags = await pushable_registry.content.tags("copies/team/app")
    assert sorted(tags or ()) == sorted(["1", *signed.cosign, *lists])
    assert puts(pushable_registry)[-1] == "1"


def list_under_tags(registry: FakeRegistry, signed: Signed) -> None:
    """Let the lists of referrers stand under the tags of their subjects, as clients write them."""
    *_, deep = signed.referrers
    for subject, built in ((signed.image, signed.parts), (signed.parts, deep)):
        entry = {**built.descriptor.to_json(), "artifactType": "application/vnd.example.signature"}
        raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
        registry.content.add_manifest("team/app", raw, OCI_INDEX, [subject.digest.tag])


async def test_nothing_is_asked_where_no_referrers_are_wanted(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    signed_at(fake_registry)
    await run(fake_registry, pushable_registry, LINE, referrers="none")
    paths = [path for _, path in wire(fake_registry)]
    assert not [path for path in paths if "/referrers/" in path or "/tags/" in path]
    assert not [path for _, path in wire(pushable_registry) if "/referrers/" in path]
    assert await pushable_registry.content.tags("copies/team/app") == ["1"]


async def test_unchanged_images_are_asked_for_new_referrers_on_demand(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    signed = signed_at(fake_registry)
    first = await run(fake_registry, pushable_registry, LINE, referrers="none")
    assert (first.outcomes[0].referrers, first.unlooked) == (None, 0)
    wire(fake_registry), wire(pushable_registry)
    plain = await run(fake_registry, pushable_registry, LINE)
    assert (plain.outcomes[0].state, plain.outcomes[0].referrers, plain.unlooked) == ("unchanged", None, 1)
    assert len(wire(fake_registry)) == len(wire(pushable_registry)) == 1
    again = await run(fake_registry, pushable_registry, LINE, recheck_referrers=True)
    assert (again.outcomes[0].state, again.outcomes[0].referrers, again.unlooked) == ("unchanged", COUNTS, 0)
    for built in signed.referrers:
        assert await missing(pushable_registry, built) == []
    # The index for its manifests, one request for each subject, and one for the tags; what is there is not sent again.
    wire(fake_registry), wire(pushable_registry)
    third = await run(fake_registry, pushable_registry, LINE, recheck_referrers=True)
    assert third.outcomes[0].referrers == COUNTS
    asked = [path for _, path in wire(fake_registry) if "/referrers/" in path]
    assert len(asked) == len(set(asked)) == 3 + 4
    assert {method for method, _ in wire(pushable_registry)} <= {"HEAD", "GET"}


async def test_a_dry_run_counts_referrers_and_sends_none(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    signed_at(fake_registry)
    report = await run(fake_registry, pushable_registry, LINE, dry_run=True)
    assert (report.outcomes[0].state, report.outcomes[0].referrers) == ("planned", COUNTS)
    await run(fake_registry, pushable_registry, LINE, referrers="none")
    again = await run(fake_registry, pushable_registry, LINE, recheck_referrers=True, dry_run=True)
    assert again.outcomes[0].referrers == COUNTS
    assert await pushable_registry.content.tags("copies/team/app") == ["1"]


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_referrer_that_cannot_be_copied_is_a_note(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, side: str
) -> None:
    signed = signed_at(fake_registry)
    if side == "source":
        fake_registry.content.remove("team/app", list(signed.parts.blobs)[-1])
    else:
        pushable_registry.fail(f"/manifests/{signed.parts.digest}", Status(405), method="PUT", times=None)
    report = await run(fake_registry, pushable_registry, LINE)
    assert report.status == 0, report.failed
    [outcome] = report.outcomes
    assert outcome.referrers == ReferrerCounts(1, 1, 1)
    assert f"left out the referrer {fake_registry.address}/team/app@{signed.parts.digest}" in outcome.note


async def test_within_one_registry_referrers_are_mounted(pushable_registry: FakeRegistry) -> None:
    signed = signed_at(pushable_registry)
    report: MirrorReport = await run(pushable_registry, pushable_registry, LINE)
    assert report.outcomes[0].referrers == COUNTS
    sent: Any = report.sent
    assert (sent.uploaded_blobs, sent.uploaded_bytes) == (0, 0)
    for built in signed.referrers:
        assert await missing(pushable_registry, built) == []
