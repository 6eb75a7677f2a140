"""Every verb reads the files of release 0.1.0."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import aiohttp
import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import (
    CompressOptions,
    DecompressOptions,
    ExtractOptions,
    ListOptions,
    ServeOptions,
    SyncOptions,
    VerifyOptions,
)
from hangar_async.config.output import OutputSettings
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.compress import compress, decompress
from hangar_async.engine.extract import extract
from hangar_async.engine.load import load
from hangar_async.engine.ls import ls
from hangar_async.engine.save import sync
from hangar_async.engine.serve import serving
from hangar_async.engine.validate import load_validate
from hangar_async.engine.verify import verify
from hangar_async.oci.reference import Reference
from hangar_async.server.app import serving as registry_serving
from hangar_async.testing.images import image, layer
from hangar_async.testing.memory import MemoryContent, Pushes
from tests.fakes.images import AMD64
from tests.golden.rig import HERE

EXPECTED: dict[str, dict[str, object]] = json.loads((HERE / "expected.json").read_text())
ARCHIVES = ["whole.tar.gz", "whole.tar.zstd", "parts.tar.gz", "parts.tar.zstd", "partial.tar.gz", "hangar.tar.gz"]
SOURCES = [*ARCHIVES, "cache"]
MULTI = "registry.example.com/golden/multi:1"


def digest_of(source: str, name: str) -> str | None:
    """The digest of an image as a whole; Hangar's archives do not name an image of several platforms."""
    if name != MULTI:
        return str(EXPECTED[name]["digest"]) if name != "registry.example.com/golden/docker:1" else None
    return str(EXPECTED[name]["digest"]) if source not in ("hangar.tar.gz", "partial.tar.gz") else None


@pytest.mark.parametrize("source", SOURCES)
async def test_ls_names_all_images(golden: Path, source: str) -> None:
    listing = await ls(ListOptions(golden / source))
    assert {image.name for image in listing.images} == EXPECTED.keys()
    assert listing.incomplete == ()
    assert listing.saved == "2023-11-14T22:13:20Z"
    for one in listing.images:
        digest = digest_of(source, one.name)
        assert digest in (None, str(one.digest))
    platforms = {one.name: [str(each.platform) for each in one.platforms] for one in listing.images}
    both = ["linux/amd64"] if source == "partial.tar.gz" else ["linux/amd64", "linux/arm64"]
    assert platforms[MULTI] == both
    assert (len(listing.parts) > 10) == source.startswith("parts")


@pytest.mark.parametrize("source", SOURCES)
async def test_verify_finds_no_problem(golden: Path, source: str) -> None:
    verdict = await verify(VerifyOptions(golden / source))
    assert verdict.problems == ()
    assert verdict.files > len(EXPECTED)


@pytest.mark.parametrize("source", SOURCES)
async def test_extract_writes_a_layout_and_a_docker_archive(golden: Path, tmp_path: Path, source: str) -> None:
    output = await extract(ExtractOptions(source=golden / source, image=MULTI, destination=tmp_path / "layout"))
    listing = await ls(ListOptions(output.path))
    assert [(one.name, one.problems) for one in listing.images] == [(MULTI, ())]
    tar = tmp_path / "docker.tar"
    await extract(
        ExtractOptions(
            source=golden / source, image=MULTI, destination=tar, format="docker-archive", platform="linux/amd64"
        )
    )
    with tarfile.open(tar) as found:
        manifest = found.extractfile("manifest.json")
        assert manifest is not None
        [entry] = json.loads(manifest.read())
        assert entry["RepoTags"] == [MULTI]
        assert {entry["Config"], *entry["Layers"], "manifest.json"} == set(found.getnames())


@pytest.mark.parametrize("source", ARCHIVES)
async def test_decompress_writes_the_cache(golden: Path, tmp_path: Path, source: str) -> None:
    await decompress(DecompressOptions(archive=golden / source, destination=tmp_path / "cache"))
    assert (await verify(VerifyOptions(tmp_path / "cache"))).problems == ()
    blobs = {f"sha256:{path.name}" for path in (tmp_path / "cache/share/sha256").iterdir()}
    if source.startswith(("whole", "parts")):
        assert blobs >= {blob for one in EXPECTED.values() for blob in one["blobs"]}  # type: ignore[attr-defined]


async def test_compress_makes_an_archive_of_the_cache(golden: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.tar.gz"
    report = await compress(CompressOptions(cache=golden / "cache", output=OutputSettings(target=target)))
    assert report.status == 0
    assert {one.name for one in (await ls(ListOptions(target))).images} == EXPECTED.keys()
    assert (await verify(VerifyOptions(target))).problems == ()


@pytest.mark.parametrize("source", SOURCES)
async def test_load_pushes_every_image_and_load_validate_finds_it(golden: Path, tmp_path: Path, source: str) -> None:
    content = MemoryContent()
    async with registry_serving(content, middlewares=[Pushes(content).middleware]) as address:
        options = LoadOptions(
            source=golden / source,
            destination=address,
            failed=None,
            spool=tmp_path,
            environment=Environment(),
        )
        report = await load(options)
        assert [outcome.state for outcome in report.outcomes] == ["pushed"] * len(EXPECTED)
        assert (await load_validate(options)).status == 0
    for name in EXPECTED:
        reference = Reference.parse(name)
        root = await content.resolve(reference.repository, str(reference.tag))
        assert root is not None
        assert digest_of(source, name) in (None, str(root.digest))


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "hangar.tar.gz"])
async def test_serve_answers_for_manifests_and_blobs(golden: Path, source: str) -> None:
    async with (
        serving(ServeOptions(source=golden / source, listen="127.0.0.1:0")) as served,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{served.url}/v2/golden/chart/manifests/1") as answer:
            assert answer.status == 200
            name = "registry.example.com/golden/chart:1"
            assert answer.headers["Docker-Content-Digest"] == EXPECTED[name]["digest"]
            manifest = json.loads(await answer.read())
        async with session.get(f"{served.url}/v2/golden/chart/blobs/{manifest['layers'][0]['digest']}") as answer:
            assert answer.status == 200
            assert len(await answer.read()) == manifest["layers"][0]["size"]


async def test_sync_adds_an_image_to_the_cache(golden: Path, tmp_path: Path) -> None:
    content = MemoryContent()
    content.add("new:1", image([layer({"a": b"new"})], AMD64))
    async with registry_serving(content) as address:
        options = SyncOptions(images=[f"{address}/new:1"], cache=golden / "cache")
        assert (await sync(options)).status == 0
        names = {one.name for one in (await ls(ListOptions(golden / "cache"))).images}
        assert names == {*EXPECTED, f"{address}/new:1"}
    assert (await verify(VerifyOptions(golden / "cache"))).problems == ()
