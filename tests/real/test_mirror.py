"""`mirror` between two real registries: each image arrives with the digests of its source, as a real client sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.jobs.run import mirror_jobs
from hangar_async.engine.mirror import mirror, mirror_validate
from hangar_async.errors import Differs
from hangar_async.oci import Digest
from hangar_async.testing.images import Built, index
from tests.fakes.images import ARM64, small
from tests.fakes.push import push, push_blob
from tests.fakes.skopeo import Skopeo, check_directory
from tests.real.rig import push_all

#: The kinds that skopeo does not copy: one names what is nowhere, one is an index in an index.
_NOT_COPIED = ("foreign", "nested")


def mirrored(target: str, names: Mapping[str, Built], **keywords: Any) -> MirrorOptions:
    """Options of a mirror of images, whole, below `copies` of a registry."""
    values: dict[str, Any] = {
        "architectures": ["all"],
        "systems": ["all"],
        "destination": f"{target}/copies",
        "jobs": 8,
    }
    return MirrorOptions(**{"images": list(names), **values, **keywords})


def copied(target: str, name: str) -> str:
    """Return the name of a copy."""
    return f"{target}/copies/{name.partition('/')[2]}"


async def raw(skopeo: Skopeo, name: str) -> bytes:
    return (await skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}")).encode()


async def test_every_kind_of_image_from_registry_to_registry(
    docker_registry: str, second_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    """Each document byte for byte, each blob hashed by a client; once more, nothing is sent; and both sides agree."""
    names = await push_all(docker_registry, images, "mirrored")
    report = await mirror(mirrored(second_registry, names))
    assert [str(outcome.error) for outcome in report.failed] == []
    blobs = {digest: len(data) for built in images.values() for digest, data in built.blobs.items()}
    assert report.sent.uploaded_blobs == len(blobs)
    assert report.sent.uploaded_bytes == sum(blobs.values())
    assert report.sent.mounted_blobs
    for number, (name, built) in enumerate(names.items()):
        copy = copied(second_registry, name)
        assert await raw(skopeo, copy) == built.raw, name
        for digest, (_, document) in built.documents.items():
            assert await raw(skopeo, f"{copy.rpartition(':')[0]}@{digest}") == document
        if name.rpartition("/")[2].partition(":")[0] not in _NOT_COPIED:
            place = tmp_path / str(number)
            words = ("copy", "--all", "--preserve-digests", "--src-tls-verify=false")
            await skopeo(*words, f"docker://{copy}", f"dir:{place}")
            check_directory(place, built)
    again = await mirror(mirrored(second_registry, names))
    assert {outcome.state for outcome in again.outcomes} == {"unchanged"}
    assert again.sent.uploaded_blobs == again.sent.mounted_blobs == again.sent.present_blobs == 0
    compared = await mirror_validate(mirrored(second_registry, names))
    assert [str(outcome.error) for outcome in compared.failed] == []


async def test_some_platforms_of_a_tag_that_moves(docker_registry: str, second_registry: str, skopeo: Skopeo) -> None:
    """This registry takes no sparse index: the tag names a partial one, which is found again."""
    before, after = (index([small(name), small(f"{name}-arm", platform=ARM64)]) for name in ("before", "after"))
    await push(docker_registry, "moving/app:1", before)
    chosen = mirrored(second_registry, {f"{docker_registry}/moving/app:1": before}, architectures=["amd64"])
    for built in (before, after):
        await push(docker_registry, "moving/app:1", built)
        if built is after:
            assert isinstance((await mirror_validate(chosen)).outcomes[0].error, Differs)
        [outcome] = (await mirror(chosen)).outcomes
        assert (outcome.state, outcome.source_digest) == ("copied", built.digest)
        found = await raw(skopeo, f"{second_registry}/copies/moving/app:1")
        assert Digest.of(found) == outcome.digest != built.digest
        assert str(small("before" if built is before else "after").digest).encode() in found
        assert (await mirror(chosen)).outcomes[0].state == "unchanged"
        assert (await mirror_validate(chosen)).status == 0


async def test_blobs_of_a_repository_without_manifests_are_not_sent_again(
    docker_registry: str, second_registry: str
) -> None:
    """As after a kill: this registry knows no such repository, and has the blobs all the same."""
    built = small("killed")
    await push(docker_registry, "killed/app:1", built)
    config, *_ = built.blobs.items()
    async with aiohttp.ClientSession(f"http://{second_registry}") as session:
        await push_blob(session, "copies/killed/app", *config)
    report = await mirror(mirrored(second_registry, {f"{docker_registry}/killed/app:1": built}))
    assert [str(outcome.error) for outcome in report.failed] == []
    assert (report.sent.present_blobs, report.sent.uploaded_blobs) == (1, len(built.blobs) - 1)


async def test_a_registry_that_deletes_no_tags_keeps_what_a_job_has_put(
    docker_registry: str, second_registry: str, tmp_path: Path
) -> None:
    """It answers 405 to the deletion of a tag: that is told, and the rest of the run is as it should be."""
    config = tmp_path / "mirror.yaml"
    config.write_text(
        f"version: 1\nstate: known.db\njobs:\n- name: apps\n  from: {docker_registry}/pruned/app\n"
        f"  to: '{second_registry}/copies/{{name}}'\n  tags: {{match: 'v*', newest: 1}}\n  prune: {{}}\n"
    )
    for tag in ("v1", "v2"):
        await push(docker_registry, f"pruned/app:{tag}", small(f"pruned {tag}"))
        report = await mirror_jobs(MirrorJobsOptions(config=config))
        assert report.status == 0
    assert [(one.state, one.reason) for one in report.jobs[0].pruned] == [
        ("left", f"{second_registry} deletes no tags")
    ]
    session = aiohttp.ClientSession(f"http://{second_registry}")
    async with session, session.get("/v2/copies/app/tags/list") as answer:
        assert sorted((await answer.json())["tags"]) == ["v1", "v2"]
