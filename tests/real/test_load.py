"""`load` into a real registry: what comes out at the far side is what went in here, seen by a real client."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.engine.events import BlobProgress, Event, HostClosed, Retrying
from hangar_async.engine.load import load
from hangar_async.engine.reports import LoadReport
from hangar_async.engine.save import save
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference
from hangar_async.testing.images import Built, image, layer
from tests.engine.forms import pack_as_hangar
from tests.engine.loading import load_options, run_load, run_validate
from tests.engine.made import make_layout
from tests.engine.pull.rig import buildkit_cache
from tests.engine.push.rig import referrer
from tests.fakes import docker_registry as real
from tests.fakes.images import AMD64, small
from tests.fakes.push import push
from tests.fakes.registry import FakeRegistry
from tests.fakes.skopeo import Skopeo
from tests.real.rig import options, push_all


async def raw(skopeo: Skopeo, name: str) -> str:
    return await skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}")


async def saved(tmp_path: Path, names: Mapping[str, Built], **keywords: Any) -> Path:
    keywords = {"format": "gzip", "destination": tmp_path / "all.tar.gz", "sync": False, **keywords}
    report = await save(options(tmp_path, *names, **keywords))
    assert report.status == 0, [str(outcome.error) for outcome in report.failed]
    assert report.output is not None
    return Path(keywords["destination"])


def good(report: LoadReport) -> LoadReport:
    assert [str(outcome.error) for outcome in report.failed] == []
    return report


def copied(second_registry: str, name: str) -> str:
    """The name of an image at the other registry."""
    reference = Reference.parse(name)
    return f"{second_registry}/{reference.repository}:{reference.tag}"


@pytest.mark.parametrize("keywords", [{"part_size": 500_000}, {"format": "zstd", "destination": "all.tar.zstd"}])
async def test_there_and_back(
    keywords: dict[str, Any],
    docker_registry: str,
    second_registry: str,
    images: Mapping[str, Built],
    skopeo: Skopeo,
    tmp_path: Path,
) -> None:
    """registry -> save -> load -> registry: every root, and every manifest below it, byte for byte."""
    names = await push_all(docker_registry, images, f"there-{keywords.get('format', 'gzip')}")
    if "destination" in keywords:
        keywords = {**keywords, "destination": tmp_path / keywords["destination"]}
    held = await saved(tmp_path, names, **keywords)
    if "part_size" in keywords:
        assert len(list(tmp_path.glob("all.tar.gz.part*"))) > 2
    good(await run_load(tmp_path, held, second_registry))
    for name, built in names.items():
        target = copied(second_registry, name)
        assert await raw(skopeo, target) == built.raw.decode(), name
        for digest, (_, document) in built.documents.items():
            assert await raw(skopeo, f"{target.rpartition(':')[0]}@{digest}") == document.decode()
    assert (await run_validate(tmp_path, held, second_registry)).status == 0
    again = good(await run_load(tmp_path, held, second_registry))
    assert {outcome.state for outcome in again.outcomes} == {"present"}


async def test_loaded_images_can_be_pulled(
    docker_registry: str, second_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    """Whole, by a client that hashes each blob. Foreign layers are nowhere; indexes in indexes it does not take."""
    wanted = {name: built for name, built in images.items() if name not in ("foreign", "nested")}
    names = await push_all(docker_registry, wanted, "pulled")
    good(await run_load(tmp_path, await saved(tmp_path, names), second_registry))
    for number, name in enumerate(names):
        target = f"dir:{tmp_path / str(number)}"
        await skopeo(
            "copy",
            "--all",
            "--preserve-digests",
            "--src-tls-verify=false",
            f"docker://{copied(second_registry, name)}",
            target,
        )


async def test_an_archive_without_index(
    docker_registry: str, second_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    """As Hangar makes it: each platform's manifest as it was, under an index that is made for them."""
    names = await push_all(docker_registry, images, "hangar")
    (tmp_path / "d").mkdir()
    cache = await saved(tmp_path, names, format="dir", destination=tmp_path / "d" / "saved-image-cache")
    (tmp_path / "hangar").mkdir()
    held = tmp_path / "hangar" / "all.tar.gz"
    pack_as_hangar(cache, held)
    good(await run_load(tmp_path, held, second_registry))
    listed = json.loads((cache / "saved-images-list.json").read_text())["List"]
    for item in listed:
        target = f"{second_registry}/{Reference.parse(item['Source']).repository}"
        for platform in item["Images"]:
            document = await raw(skopeo, f"{target}@{platform['Digest']}")
            assert str(Digest.of(document.encode())) == platform["Digest"]
    assert not list(tmp_path.glob(".load.*"))


async def test_a_layout_that_skopeo_wrote(
    docker_registry: str, second_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    (name,) = await push_all(docker_registry, {"theirs": images["attested"]}, "layouts")
    layout = f"oci:{tmp_path / 'theirs'}:quay.local/team/app:v1"
    await skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", f"docker://{name}", layout)
    good(await run_load(tmp_path, tmp_path / "theirs", f"{second_registry}/mirror"))
    assert await raw(skopeo, f"{second_registry}/mirror/team/app:v1") == images["attested"].raw.decode()


async def test_architectures_add_up(
    docker_registry: str, second_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    (name,) = await push_all(docker_registry, {"added": images["multi"]}, "added")
    for number, architectures in enumerate((["amd64"], ["arm64", "arm/v7"])):
        assert await raw(skopeo, name) == images["multi"].raw.decode()
        (tmp_path / str(number)).mkdir()
        held = await saved(tmp_path / str(number), {name: images["multi"]}, architectures=architectures)
        good(await run_load(tmp_path, held, second_registry))
    assert await raw(skopeo, copied(second_registry, name)) == images["multi"].raw.decode()


async def test_two_loads_at_once(
    docker_registry: str, second_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    """They send what the other one is just sending, and neither fails."""
    names = await push_all(docker_registry, images, "twice")
    held = await saved(tmp_path, names)
    (tmp_path / "other").mkdir()
    reports = await asyncio.gather(
        run_load(tmp_path, held, second_registry), run_load(tmp_path / "other", held, second_registry)
    )
    for report in reports:
        good(report)
    for name, built in names.items():
        assert await raw(skopeo, copied(second_registry, name)) == built.raw.decode()


def large() -> Built:
    """An image of a few layers that take a moment to be sent."""
    noise = random.Random(21)
    return image([layer({f"{number}": noise.randbytes(6_000_000)}, "none") for number in range(4)], AMD64)


async def test_a_registry_that_is_full(docker_registry: str, small_disk: Callable[[int], Path], tmp_path: Path) -> None:
    """The image that does not fit fails, and says what the registry said; the tag is not there."""
    built = large()
    await push(docker_registry, "full/app:1", built)
    held = await saved(tmp_path, {f"{docker_registry}/full/app:1": built})
    with real.docker_registry(small_disk(10 << 20)) as tiny:
        report = await run_load(tmp_path, held, tiny)
        [failed] = report.failed
        assert report.status == 1
        assert failed.error is not None
        assert tiny in str(failed.error)
        compared = await run_validate(tmp_path, held, tiny)
        assert "it is not there" in str(compared.failed[0].error)


async def test_a_registry_that_is_restarted_meanwhile(docker_registry: str, skopeo: Skopeo, tmp_path: Path) -> None:
    """It takes no more bytes in the middle of an upload, and later does again; all is there in the end."""
    built = large()
    await push(docker_registry, "restarted/app:1", built)
    held = await saved(tmp_path, {f"{docker_registry}/restarted/app:1": built})
    settings = RegistrySettings(retry=RetryPolicy(retries=50, first=0.1, longest=0.3, longest_pause=0.3))
    begun, events = asyncio.Event(), list[Event]()

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, BlobProgress):
            begun.set()

    with ExitStack() as stack:
        address = stack.enter_context(real.docker_registry(tmp_path / "restarted"))
        wish = load_options(tmp_path, held, address, environment=Environment(destinations=settings))
        loading = asyncio.create_task(load(wish, watch))
        await begun.wait()
        await asyncio.to_thread(stack.close)
        port = int(address.rpartition(":")[2])
        await asyncio.to_thread(stack.enter_context, real.docker_registry(tmp_path / "restarted", port=port))
        good(await loading)
        assert any(isinstance(event, Retrying | HostClosed) for event in events)
        target = f"dir:{tmp_path / 'copy'}"
        await skopeo("copy", "--src-tls-verify=false", f"docker://{address}/restarted/app:1", target)


@pytest.mark.parametrize("form", ["gzip", "hangar"])
@pytest.mark.parametrize("kind", ["oci", "multi"])
async def test_images_that_garbage_collection_removed(
    form: str, kind: str, docker_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    """The registry says by its cache that it has all of it, takes the manifest, and keeps nothing."""
    (name,) = names = await push_all(docker_registry, {kind: images[kind]}, f"collected-{form}")
    held = await saved(tmp_path, names)
    if form == "hangar":
        held = tmp_path / "saved-images.tar.gz"
        cache = await saved(tmp_path, names, format="dir", destination=tmp_path / "saved-image-cache-2")
        pack_as_hangar(cache, held)
    with real.docker_registry(tmp_path / "registry") as address:
        target = copied(address, name)
        loaded = good(await run_load(tmp_path, held, address))
        await delete_manifests(target, [outcome.digest for outcome in loaded.outcomes], images[kind])
        await asyncio.to_thread(real.collect_garbage, tmp_path / "registry")
        again = good(await run_load(tmp_path, held, address))
        assert again.sent.uploaded_blobs >= len(images[kind].blobs)
        await skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{target}", f"dir:{tmp_path / 'copy'}")
        assert (await run_validate(tmp_path, held, address)).status == 0


async def delete_manifests(name: str, roots: Iterable[Digest | None], built: Built) -> None:
    registry, _, path = name.rpartition(":")[0].partition("/")
    async with aiohttp.ClientSession(f"http://{registry}") as session:
        for digest in {*roots, *built.documents}:
            async with session.delete(f"/v2/{path}/manifests/{digest}") as answer:
                assert answer.status in (202, 404)


async def test_referrers_are_found_by_the_tag_of_their_subject(
    docker_registry: str, skopeo: Skopeo, tmp_path: Path
) -> None:
    """The registry does not list them."""
    app = small("app")
    signatures = [referrer(app, f"signature {number}") for number in range(3)]
    entries = [(one, {"io.containerd.image.name": f"x.local/signed/app:v{n}"}) for n, one in enumerate(signatures)]
    layout = await asyncio.to_thread(make_layout, tmp_path / "layout", entries)
    for _ in range(2):
        good(await run_load(tmp_path, layout, docker_registry))
        found = json.loads(await raw(skopeo, f"{docker_registry}/signed/app:sha256-{app.digest.hex}"))
        assert {one["digest"] for one in found["manifests"]} == {str(one.digest) for one in signatures}


async def test_a_cache_of_buildkit_is_taken(
    docker_registry: str, fake_registry: FakeRegistry, skopeo: Skopeo, tmp_path: Path
) -> None:
    cache = buildkit_cache()
    fake_registry.add("build/cache:1", cache)
    archive = await saved(tmp_path, {f"{fake_registry.address}/build/cache:1": cache})
    good(await run_load(tmp_path, archive, docker_registry))
    assert await raw(skopeo, f"{docker_registry}/build/cache:1") == cache.raw.decode()
    assert (await run_validate(tmp_path, archive, docker_registry)).status == 0
