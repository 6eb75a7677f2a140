"""An image of the list is fetched whole, or fails alone."""

import asyncio
import json
from pathlib import Path

import pytest

from hangar_async.engine.events import Event
from hangar_async.engine.pull.image import MAX_TASKS
from hangar_async.engine.save import save
from hangar_async.errors import Conflict, ContentError, NotFound
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.store.content import ContentStore
from hangar_async.store.directory import PARTIALS
from hangar_async.testing.images import Built, IndexEntry, artifact, attestation, image, index, layer
from tests.engine.pull.rig import changed_entry
from tests.engine.rig import all_digests, counting, entries, held, listed, options, run
from tests.engine.served import refer
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.registry import FakeRegistry


async def test_by_digest_with_and_without_tag(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    one, two = small("one"), small("two")
    fake_registry.add("app:1", one)
    fake_registry.add("app", two)
    lines = f"{fake_registry.address}/app:kept@{two.digest}", f"{fake_registry.address}/app@{one.digest}"
    report = await run(tmp_path, *lines)
    assert report.status == 0
    assert [image["Tag"] for image in listed(tmp_path / "out")] == ["kept", f"sha256-{one.digest.hex}"]
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries(tmp_path / "out")]
    assert names == [f"{fake_registry.address}/app:kept", f"{fake_registry.address}/app@{one.digest}"]


async def test_one_name_for_two_contents(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    one, two = small("one"), small("two")
    fake_registry.add("app:1", one)
    fake_registry.add("app", two)
    name = f"{fake_registry.address}/app:1"
    same, other = f"{name}@{one.digest}", f"{name}@{two.digest}"
    report = await run(tmp_path, name, same, other)
    assert [outcome.ok for outcome in report.outcomes] == [True, True, False]
    assert report.outcomes[1].same_as == report.outcomes[0].entry
    error = report.outcomes[2].error
    assert isinstance(error, Conflict)
    assert "line 3" in str(error)
    assert "line 2" in str(error)
    assert len(listed(tmp_path / "out")) == 1
    unlike = await run(tmp_path, name, other, destination=tmp_path / "other")
    assert isinstance(unlike.outcomes[1].error, Conflict)


async def test_an_image_that_fails_half_way_is_not_in_the_output(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    bad, good = small("bad"), small("good")
    fake_registry.add("bad:1", bad)
    fake_registry.add("good:1", good)
    fake_registry.content.remove("bad", Digest.of(layer({"bad.txt": b"bad" * 50}).data))
    report = await run(tmp_path, f"{fake_registry.address}/bad:1", f"{fake_registry.address}/good:1")
    assert report.status == 1
    assert isinstance(error := report.failed[0].error, NotFound)
    assert "lacks this part" in error.advice
    assert [image["Source"] for image in listed(tmp_path / "out")] == [f"{fake_registry.address}/good"]
    assert held(tmp_path / "out") == all_digests(good)


async def test_an_image_without_layers(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    fake_registry.add("empty:1", image([], AMD64))
    assert (await run(tmp_path, f"{fake_registry.address}/empty:1")).status == 0


def _attestation(subject: Built) -> IndexEntry:
    return attestation(subject)


def _artifact(subject: Built) -> IndexEntry:
    """A referrer beside its subject, which only the type in the entry of the index tells."""
    return IndexEntry(refer(artifact("application/vnd.example.sbom", b"parts", "text/spdx"), subject, "text/spdx"))


def _signature(subject: Built) -> IndexEntry:
    """A signature whose config is that of an image, as cosign makes it."""
    return IndexEntry(refer(image([layer({"signature": b"s"})], AMD64), subject, ""), with_platform=False)


_COMPANIONS = {"attestation": _attestation, "artifact": _artifact, "signature": _signature}


@pytest.mark.parametrize("gone", ["manifest", "config", "layer"])
@pytest.mark.parametrize("kind", _COMPANIONS)
async def test_companions_of_an_image_never_fail_it(
    fake_registry: FakeRegistry, tmp_path: Path, kind: str, gone: str
) -> None:
    amd64, arm64 = small("a"), small("b", platform=ARM64)
    companion = _COMPANIONS[kind](amd64)
    whole = index([amd64, companion, arm64, attestation(arm64)])
    if kind != "attestation":
        whole = changed_entry(whole, 1, artifactType="text/spdx")
    fake_registry.add("app:1", whole)
    manifest = json.loads(companion.built.raw)
    digest = {
        "manifest": str(companion.built.digest),
        "config": manifest["config"]["digest"],
        "layer": manifest["layers"][0]["digest"],
    }[gone]
    fake_registry.content.remove("app", Digest.parse(digest))
    report = await run(tmp_path, f"{fake_registry.address}/app:1", validate=True)
    assert report.status == 0, [str(outcome.error) for outcome in report.failed]
    (outcome,) = report.outcomes
    kept = all_digests(amd64, arm64, attestation(arm64).built)
    assert (outcome.left_out, report.left_out) == (1, 1)
    (note,) = outcome.notes
    assert note.startswith(f"left out {companion.built.digest}, which only accompanies the image: ")
    assert f"not found at {fake_registry.address}" in note
    (entry,) = entries(tmp_path / "out")
    assert entry["annotations"]["io.hangar-async.original.digest"] == str(whole.digest)
    assert held(tmp_path / "out") == {entry["digest"], str(whole.digest), *kept}


@pytest.mark.parametrize("gone", ["manifest", "blob"])
async def test_an_index_of_artifacts_alone_fails_where_one_of_them_is_gone(
    fake_registry: FakeRegistry, tmp_path: Path, gone: str
) -> None:
    one, other = (artifact("application/vnd.example.chart", name, "text/plain") for name in (b"one", b"other"))
    whole = changed_entry(index([one, other]), 1, artifactType="application/vnd.example.chart")
    fake_registry.add("app:1", whole)
    fake_registry.content.remove("app", other.digest if gone == "manifest" else Digest.of(b"other"))
    report = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert isinstance(report.failed[0].error, NotFound)


async def test_a_blob_of_an_attestation_that_an_image_needs_too_fails_it(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    shared = layer({"shared": b"shared"})
    amd64 = small("a", shared)
    other = IndexEntry(small("proof", shared), attestation(amd64).annotations)
    fake_registry.add("app:1", index([amd64, other]))
    fake_registry.content.remove("app", shared.digest)
    report = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert isinstance(report.failed[0].error, NotFound)


async def test_manifests_of_many_layers_are_refused_and_the_tasks_of_an_image_have_a_bound(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    tiny = b'{"digest":"sha256:' + b"a" * 64 + b'","size":1}'
    for number in range(6):
        raw = b'{"schemaVersion":2,"config":' + tiny + b',"layers":[' + b",".join([tiny] * 40_000)
        raw += b'],"annotations":{"number":"%d"}}' % number
        fake_registry.content.add_manifest("hostile", raw, media_types.OCI_MANIFEST, [str(number)])
    layers = [layer({f"{number}": b"x"}, "none") for number in range(400)]
    fake_registry.add("many:1", index([image(layers, AMD64), image(layers, ARM64)]))
    peaks: list[int] = []

    def count(event: Event) -> None:
        peaks.append(len(asyncio.all_tasks()))

    lines = [f"{fake_registry.address}/hostile:{number}" for number in range(6)]
    report = await save(options(tmp_path, *lines, f"{fake_registry.address}/many:1", jobs=20), count)
    assert [outcome.ok for outcome in report.outcomes] == [False] * 6 + [True]
    for outcome in report.failed:
        assert isinstance(outcome.error, ContentError)
        assert "has 40,000 layers, and at most 4,096 are taken" in str(outcome.error)
    # A task and its flight for each blob; the run, the entries, the connections, and the registry of this test.
    assert max(peaks) < 2 * MAX_TASKS + 150


async def test_a_small_image_needs_few_tasks_and_one_hop_to_a_thread_for_each_content(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    """A manifest, a config and a layer; one more for the folder. Sums that do not grow with the list are left out."""
    names = [f"{fake_registry.address}/app:{number}" for number in range(12)]
    for number in range(12):
        fake_registry.add(f"app:{number}", small(str(number)))
    sums = []
    for count in (2, 12):
        (tmp_path / str(count)).mkdir()
        with counting() as counts:
            assert (await run(tmp_path / str(count), *names[:count], jobs=1, referrers="none")).status == 0
        sums.append(counts)
    # The image, and a flight for each of two blobs.
    assert sums[1]["tasks"] - sums[0]["tasks"] == 10 * 3
    # The free space is looked at by each of the images that are planned before the first look has ended.
    assert sums[1]["hops"] - sums[0]["hops"] <= 10 * (4 + 1)


async def test_the_documents_that_an_index_names_are_not_read_again(
    fake_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = index([IndexEntry(small("one")), IndexEntry(small("two", platform=ARM64))])
    fake_registry.add("app:1", built)
    read: list[Digest] = []
    original = ContentStore.read

    async def note(store: ContentStore, digest: Digest, limit: int) -> bytes:
        read.append(digest)
        return await original(store, digest, limit)

    monkeypatch.setattr(ContentStore, "read", note)
    assert (await run(tmp_path, f"{fake_registry.address}/app:1")).status == 0
    assert not built.documents.keys() & read


async def test_a_config_of_which_an_earlier_run_left_a_part(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    built = small("app")
    fake_registry.add("app:1", built)
    manifest = built.descriptor.digest
    config = min(built.blobs, key=lambda digest: not built.blobs[digest].startswith(b"{"))
    data = built.blobs[config]
    partial = tmp_path / "saved-image-cache" / PARTIALS / f"sha256-{config.hex}.{len(data)}"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(data[:10])
    assert (await run(tmp_path, f"{fake_registry.address}/app:1")).status == 0
    assert {str(config), str(manifest)} <= held(tmp_path / "out")
