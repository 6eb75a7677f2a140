"""Platforms of an image are selected, and the content of each is planned."""

import json
from pathlib import Path

import pytest

from hangar_async.engine.pull.plan import MAX_IMAGE_ENTRIES
from hangar_async.errors import ContentError, NoPlatform, UnsupportedManifest
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, MAX_LAYERS, Descriptor
from hangar_async.oci.platform import Platform
from hangar_async.testing.images import IndexEntry, artifact, attestation, index, layer
from tests.engine.pull.rig import buildkit_cache, changed, made
from tests.engine.rig import all_digests, entries, held, listed, run
from tests.fakes.images import AMD64, ARM64, ARM_V7, WINDOWS, small
from tests.fakes.registry import FakeRegistry


def intact(root: Path) -> bool:
    return all(Digest.of(path.read_bytes()).hex == path.name for path in (root / "share" / "sha256").iterdir())


async def test_every_byte_of_an_index_that_is_held_whole(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    amd64, arm64 = small("a"), small("b", platform=ARM64)
    whole = index([amd64, arm64, attestation(amd64), attestation(arm64)])
    fake_registry.add("team/app:1", whole)
    report = await run(tmp_path, f"{fake_registry.address}/team/app:1")
    assert report.status == 0
    root = tmp_path / "out"
    assert held(root) == all_digests(whole)
    assert intact(root)
    assert entries(root)[0]["digest"] == str(whole.digest)
    assert entries(root)[0]["annotations"] == {
        "org.opencontainers.image.ref.name": f"{fake_registry.address}/team/app:1"
    }
    (one,) = listed(root)
    assert (one["Source"], one["Tag"], one["ArchList"]) == (
        f"{fake_registry.address}/team/app",
        "1",
        ["amd64", "arm64"],
    )
    assert [item["Digest"] for item in one["Images"]] == [str(amd64.digest), str(arm64.digest)]


async def test_a_part_of_an_index_gets_an_index_of_its_own(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    amd64, arm64, armv7 = small("a"), small("b", platform=ARM64), small("c", platform=ARM_V7)
    whole = index([armv7, arm64, attestation(arm64), attestation(armv7), amd64], docker=True)
    fake_registry.add("app:1", whole)
    await run(tmp_path, f"{fake_registry.address}/app:1", architectures=["amd64", "arm64"])
    (entry,) = entries(tmp_path / "out")
    assert entry["annotations"]["io.hangar-async.original.digest"] == str(whole.digest)
    partial = json.loads((tmp_path / "out" / "share" / "sha256" / entry["digest"][7:]).read_bytes())
    original = json.loads(whole.raw)
    assert partial["mediaType"] == original["mediaType"] == entry["mediaType"]
    assert partial["manifests"] == [original["manifests"][number] for number in (1, 2, 4)]
    kept = {entry["digest"], str(whole.digest), *all_digests(amd64, arm64, attestation(arm64).built)}
    assert held(tmp_path / "out") == kept


async def test_a_single_image_has_the_platform_of_its_config(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    for name, platform in (("linux", ARM_V7), ("windows", WINDOWS)):
        fake_registry.add(f"{name}:1", small(name, platform=platform, docker=True))
    report = await run(
        tmp_path,
        f"{fake_registry.address}/linux:1",
        f"{fake_registry.address}/windows:1",
        architectures=["arm/v7", "amd64"],
    )
    assert report.status == 0
    linux, windows = (image["Images"][0] for image in listed(tmp_path / "out"))
    assert (linux["OS"], linux["Arch"], linux["Variant"], linux["OsVersion"]) == ("linux", "arm", "v7", "")
    assert (windows["OS"], windows["OsVersion"]) == ("windows", "10.0.20348.2113")


async def test_systems_are_filtered(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    linux, windows = small("a"), small("b", platform=WINDOWS)
    fake_registry.add("app:1", index([linux, windows]))
    await run(tmp_path, f"{fake_registry.address}/app:1", systems=["windows"])
    (one,) = listed(tmp_path / "out")
    assert [item["OS"] for item in one["Images"]] == ["windows"]


async def test_entries_without_platform_are_looked_at(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    amd64, armv7 = small("a"), small("b", platform=ARM_V7)
    whole = index([IndexEntry(armv7, with_platform=False), IndexEntry(amd64, with_platform=False)])
    fake_registry.add("app:1", whole)
    await run(tmp_path, f"{fake_registry.address}/app:1")
    (one,) = listed(tmp_path / "out")
    assert [item["Digest"] for item in one["Images"]] == [str(amd64.digest)]


@pytest.mark.parametrize("platform", [{}, {"os": "", "architecture": ""}, {"os": "", "architecture": "amd64"}])
async def test_a_platform_that_an_entry_leaves_empty_is_read_from_the_config(
    fake_registry: FakeRegistry, tmp_path: Path, platform: dict[str, str]
) -> None:
    amd64, armv7 = small("a"), small("b", platform=ARM_V7)
    fake_registry.add("app:1", changed(index([armv7, amd64]), platform=platform))
    report = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert report.status == 0, report.failed
    (one,) = listed(tmp_path / "out")
    assert [(item["Digest"], item["OS"], item["Arch"]) for item in one["Images"]] == [
        (str(amd64.digest), "linux", "amd64")
    ]


async def test_entries_of_unknown_platform_are_left_out_and_counted(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    amd64 = small("a")
    odd = IndexEntry(small("odd", platform=Platform("unknown", "unknown")))
    fake_registry.add("app:1", index([amd64, odd]))
    report = await run(tmp_path, f"{fake_registry.address}/app:1", architectures=["all"])
    assert report.outcomes[0].notes == ("left out 1 entries of unknown platform",)
    assert str(odd.built.digest) not in held(tmp_path / "out")
    assert "io.hangar-async.original.digest" in entries(tmp_path / "out")[0]["annotations"]


async def test_nested_indexes(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    amd64, arm64, armv7 = small("a"), small("b", platform=ARM64), small("c", platform=ARM_V7)
    inner, part = index([arm64, amd64]), index([armv7, small("d", platform=AMD64)])
    fake_registry.add("whole:1", index([inner]))
    fake_registry.add("part:1", index([inner, part]))
    report = await run(tmp_path, f"{fake_registry.address}/whole:1", f"{fake_registry.address}/part:1")
    assert report.status == 0
    whole, partial = entries(tmp_path / "out")
    assert "io.hangar-async.original.digest" not in whole["annotations"]
    raw = json.loads((tmp_path / "out" / "share" / "sha256" / partial["digest"][7:]).read_bytes())
    # The inner index that is whole stands as it was; of the other one, the entry that is held.
    assert [entry["digest"] for entry in raw["manifests"]] == [
        str(inner.digest),
        str(small("d", platform=AMD64).digest),
    ]
    assert {entry["digest"] for entry in raw["manifests"]} <= held(tmp_path / "out")


async def test_artifacts_are_saved_when_they_are_named(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    chart = artifact(
        "application/vnd.cncf.helm.config.v1+json", b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    )
    fake_registry.add("chart:1", chart)
    report = await run(tmp_path, f"{fake_registry.address}/chart:1", architectures=["s390x"])
    assert report.status == 0
    (one,) = listed(tmp_path / "out")
    assert (one["Images"][0]["Arch"], one["Images"][0]["OS"]) == ("unknown", "unknown")
    assert held(tmp_path / "out") == all_digests(chart)


async def test_an_image_with_no_wanted_platform_fails_and_says_what_it_has(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    fake_registry.add("app:1", index([small("a", platform=ARM_V7), small("b", platform=WINDOWS)]))
    fake_registry.add("good:1", small("good"))
    report = await run(
        tmp_path,
        f"{fake_registry.address}/app:1",
        f"{fake_registry.address}/good:1",
        architectures=["amd64"],
        systems=["linux"],
    )
    error = report.failed[0].error
    assert isinstance(error, NoPlatform)
    assert "no image available for amd64 on linux" in str(error)
    assert "linux/arm/v7, windows/amd64 (10.0.20348.2113)" in str(error)
    assert report.status == 1


@pytest.mark.parametrize("nested", [False, True])
async def test_an_index_without_entries_is_saved_as_it_is_where_all_is_wanted(
    fake_registry: FakeRegistry, tmp_path: Path, nested: bool
) -> None:
    empty = index([index([])]) if nested else index([])
    fake_registry.add("app:1", empty)
    refused = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert isinstance(error := refused.failed[0].error, NoPlatform)
    assert error.advice == "--arch all saves an index without entries as it is"
    report = await run(tmp_path, f"{fake_registry.address}/app:1", architectures=["all"])
    assert report.status == 0
    assert held(tmp_path / "out") == all_digests(empty)
    assert [entry["digest"] for entry in entries(tmp_path / "out")] == [str(empty.digest)]
    assert listed(tmp_path / "out") == []


async def test_entries_that_are_no_documents_are_saved_as_blobs(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    amd64, armv7 = small("a"), small("b", platform=ARM_V7)
    cache, mixed = buildkit_cache(), buildkit_cache(amd64, armv7)
    fake_registry.add("cache:1", cache)
    fake_registry.add("mixed:1", mixed)
    report = await run(tmp_path, f"{fake_registry.address}/cache:1", f"{fake_registry.address}/mixed:1")
    assert report.status == 0, [str(outcome.error) for outcome in report.failed]
    whole, part = entries(tmp_path / "out")
    assert whole["digest"] == str(cache.digest)
    kept = {*all_digests(cache, amd64), str(mixed.digest), part["digest"]}
    assert held(tmp_path / "out") == kept
    raw = json.loads((tmp_path / "out" / "share" / "sha256" / part["digest"][7:]).read_bytes())
    assert raw["manifests"] == json.loads(mixed.raw)["manifests"][:4]


async def test_an_entry_of_a_kind_of_document_that_is_not_known_is_refused_by_its_type(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    kind = "application/vnd.oci.artifact.manifest.v1+json"
    odd = changed(index([small("a")]), mediaType=kind, platform=None)
    raw = json.dumps({"mediaType": kind, "schemaVersion": 2}).encode()
    entry = {"mediaType": kind, "digest": str(Digest.of(raw)), "size": len(raw)}
    odd = changed(odd, **entry)
    fake_registry.add("odd:1", odd)
    fake_registry.content.add_manifest("odd", raw, kind)
    report = await run(tmp_path, f"{fake_registry.address}/odd:1")
    assert isinstance(report.failed[0].error, UnsupportedManifest)
    assert kind in str(report.failed[0].error)


async def test_the_manifests_of_an_image_have_a_size_in_all(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    entries_of_4_mib = [
        {"mediaType": media_types.OCI_MANIFEST, "digest": str(Digest.of(bytes([number]))), "size": MAX_DOCUMENT}
        for number in range(9)
    ]
    fake_registry.add(
        "app:1", made({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries_of_4_mib})
    )
    report = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert isinstance(report.failed[0].error, ContentError)
    assert "have 37,748,736 bytes, and at most 33,554,432 are taken" in str(report.failed[0].error)
    assert len(fake_registry.asked("/manifests/")) == 1


async def test_the_entries_and_layers_of_an_image_have_a_number(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    tiny = {"digest": str(Digest.of(b"layer")), "size": 1}
    documents = {}
    for number in range(MAX_IMAGE_ENTRIES // MAX_LAYERS + 1):
        fields = {"schemaVersion": 2, "config": tiny, "layers": [tiny] * MAX_LAYERS, "annotations": {"n": str(number)}}
        raw = json.dumps(fields).encode()
        documents[Digest.of(raw)] = (media_types.OCI_MANIFEST, raw)
    members = [Descriptor(kind, digest, len(raw)).to_json() for digest, (kind, raw) in documents.items()]
    image = made({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": members}, documents)
    fake_registry.add("app:1", image)
    report = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert isinstance(report.failed[0].error, ContentError)
    assert "name more than 131,072 blobs" in str(report.failed[0].error)
    assert not fake_registry.asked("/blobs/")


async def test_a_config_that_is_too_large_is_not_fetched(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    kind = "application/vnd.oci.image.config.v1+json"
    config = {"mediaType": kind, "digest": str(Digest.of(b"config")), "size": MAX_DOCUMENT + 1}
    raw = json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode()
    fake_registry.content.add_manifest("app", raw, media_types.OCI_MANIFEST, ["1"])
    report = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert isinstance(report.failed[0].error, ContentError)
    assert "has 4194305 bytes" in str(report.failed[0].error)
    assert not fake_registry.asked("/blobs/")


async def test_schema_1_is_named(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    raw = json.dumps({"schemaVersion": 1, "name": "old", "fsLayers": []}).encode()
    fake_registry.content.add_manifest("old", raw, "application/vnd.docker.distribution.manifest.v1+prettyjws", ["1"])
    report = await run(tmp_path, f"{fake_registry.address}/old:1")
    assert isinstance(report.failed[0].error, UnsupportedManifest)
    assert report.status == 3


async def test_foreign_layers_are_left_out_and_named(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    foreign = layer({"w": b"windows" * 100}, urls=["http://127.0.0.1:1/layer"])
    fake_registry.add("app:1", small("app", foreign))
    report = await run(tmp_path, f"{fake_registry.address}/app:1")
    assert report.status == 0
    assert str(foreign.digest) in report.outcomes[0].notes[0]
    assert str(foreign.digest) not in held(tmp_path / "out")


async def test_foreign_layers_come_from_their_addresses_when_asked_for(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    data = layer({"w": b"windows" * 100})
    fake_registry.content.add_blob("elsewhere", data.data)
    url = f"http://{fake_registry.address}/v2/elsewhere/blobs/{data.digest}"
    foreign = layer({"w": b"windows" * 100}, urls=["http://127.0.0.1:1/refused", url])
    fake_registry.add("app:1", small("app", foreign))
    report = await run(tmp_path, f"{fake_registry.address}/app:1", include_foreign=True)
    assert report.status == 0, report.failed
    assert str(foreign.digest) in held(tmp_path / "out")


async def test_two_variants_of_one_architecture_have_folders_of_their_own(
    fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    v1, v3 = (
        small("v1", platform=Platform("linux", "amd64", "v1")),
        small("v3", platform=Platform("linux", "amd64", "v3")),
    )
    fake_registry.add("app:1", index([v1, v3]))
    await run(tmp_path, f"{fake_registry.address}/app:1")
    (one,) = listed(tmp_path / "out")
    folders = [item["Folder"] for item in one["Images"]]
    assert len(set(folders)) == 2
    for folder, built in zip(folders, (v1, v3), strict=True):
        found = json.loads((tmp_path / "out" / folder / "index.json").read_text())["manifests"][0]
        assert found["digest"] == str(built.digest)
