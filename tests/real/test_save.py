"""`save` from a real registry, read by a real client."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save, sync
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built, image, layer
from tests.fakes import docker_registry as real
from tests.fakes.images import AMD64, tree
from tests.fakes.push import push
from tests.fakes.skopeo import Skopeo
from tests.real.rig import options, push_all

OPEN = ("--dest-tls-verify=false",)


async def test_every_kind_of_image_is_read_back_by_skopeo(
    docker_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    """Each platform by its own layout, and each image by its name from the whole."""
    names = await push_all(docker_registry, images, "kinds")
    report = await save(options(tmp_path, *names))
    assert report.status == 0, [str(outcome.error) for outcome in report.failed]
    root = tmp_path / "out"
    listed = json.loads((root / "saved-images-list.json").read_text())["List"]
    assert [f"{item['Source']}:{item['Tag']}" for item in listed] == list(names)
    platforms = [platform for item in listed for platform in item["Images"] if platform["Arch"] != "unknown"]
    for platform in platforms:
        source, target = f"oci:{root / platform['Folder']}", f"docker://{docker_registry}/copies/{platform['Folder']}"
        share = str(root / "share")
        await skopeo("copy", "--preserve-digests", "--src-shared-blob-dir", share, *OPEN, source, target)
        raw = await skopeo("inspect", "--raw", "--tls-verify=false", target)
        assert str(Digest.of(raw.encode())) == platform["Digest"]
    for name, built in names.items():
        if not built.media_type.startswith("application/vnd.docker"):  # Debian's finds only OCI's types by name
            assert await skopeo("inspect", "--raw", f"oci:{root}:{name}") == built.raw.decode()


@pytest.mark.parametrize("cached", [sync, save])
async def test_a_second_run_fetches_nothing(
    docker_registry: str, images: Mapping[str, Built], tmp_path: Path, cached: Callable[..., Awaitable[Report]]
) -> None:
    """By tag, and by digest; a tag that has moved is seen."""
    names = await push_all(docker_registry, images, f"second-{cached.__name__}")
    by_digest = f"{docker_registry}/second-{cached.__name__}/multi@{images['multi'].digest}"
    archive: dict[str, Any] = {"format": "gzip", "destination": tmp_path / "out.tar.gz"}
    first = await save(options(tmp_path, *names, by_digest, **archive))
    assert first.status == 0, first.failed
    again = await cached(options(tmp_path, *names, by_digest, **archive))
    assert again.status == 0, again.failed
    assert (again.traffic.fetched_blobs, again.traffic.fetched_bytes) == (0, 0)
    assert [one.image for one in again.outcomes] == [one.image for one in first.outcomes]
    moved = next(iter(names))
    new = image([layer({"new": cached.__name__.encode()})], AMD64)
    await push(docker_registry, moved.partition("/")[2], new)
    third = await cached(options(tmp_path, moved, **archive))
    assert third.saved[0].image is not None
    assert third.saved[0].image.digest == new.digest
    assert third.traffic.fetched_blobs == 3


async def test_saved_images_can_be_pushed_on_unchanged(
    docker_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    names = await push_all(docker_registry, {"attested": images["attested"], "multi": images["multi"]}, "onward")
    await save(options(tmp_path, *names))
    for name, built in names.items():
        target = f"{docker_registry}/copied/{name.rpartition('/')[2]}"
        await skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:{name}", f"docker://{target}")
        assert await skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}") == built.raw.decode()


async def test_a_partial_index_can_be_pushed(
    docker_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    names = await push_all(docker_registry, {"part": images["multi"]}, "partial")
    (name,) = names
    await save(options(tmp_path, name, architectures=["arm64", "arm/v7"]))
    target = f"docker://{docker_registry}/partial/again:1"
    await skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:{name}", target)
    raw = json.loads(await skopeo("inspect", "--raw", "--tls-verify=false", target))
    wanted = json.loads(names[name].raw)["manifests"]
    assert raw["manifests"] == [entry for entry in wanted if entry["platform"]["architecture"] != "amd64"]


async def test_images_pushed_by_skopeo_are_saved(
    docker_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path
) -> None:
    """A directory of skopeo's own, pushed by it; its digests are what is saved."""
    (name,) = await push_all(docker_registry, {"first": images["multi"]}, "skopeo")
    await skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path / 'theirs'}:x")
    target = f"{docker_registry}/skopeo/second:1"
    await skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{tmp_path / 'theirs'}:x", f"docker://{target}")
    report = await save(options(tmp_path, target))
    assert report.saved[0].image is not None
    raw = await skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}")
    assert report.saved[0].image.digest == Digest.of(raw.encode())


@pytest.mark.parametrize(
    ("format_", "untar"), [("gzip", "tar -xzf out.tar.gz"), ("zstd", "tar --zstd -xf out.tar.zstd")]
)
async def test_an_unpacked_archive_is_read_by_skopeo(
    docker_registry: str, images: Mapping[str, Built], skopeo: Skopeo, tmp_path: Path, format_: str, untar: str
) -> None:
    names = await push_all(docker_registry, {"oci": images["oci"], "zstd": images["zstd"]}, f"archive-{format_}")
    report = await save(options(tmp_path, *names, format=format_))
    assert report.status == 0
    process = await asyncio.create_subprocess_exec("mkdir", tmp_path / "u")
    await process.wait()
    process = await asyncio.create_subprocess_exec(*untar.split(), "-C", "u", cwd=tmp_path)
    assert await process.wait() == 0
    for name, built in names.items():
        raw = await skopeo("inspect", "--raw", f"oci:{tmp_path / 'u' / 'saved-image-cache'}:{name}")
        assert raw == built.raw.decode()


async def command(tmp_path: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    """Run the program as a user does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hangar_async", *words,
        cwd=tmp_path, env={**os.environ, **environment}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, complaint = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), complaint.decode()


async def test_a_registry_with_htpasswd(htpasswd_registry: str, images: Mapping[str, Built], tmp_path: Path) -> None:
    authorization = aiohttp.encode_basic_auth(real.USERNAME, real.PASSWORD)
    await push(htpasswd_registry, "secret/app:1", images["multi"], authorization=authorization)
    line = f"{htpasswd_registry}/secret/app:1"
    (tmp_path / "list").write_text(line)
    save_it = ("save", "-f", "list", "-c", "dir", "-d")
    status, out, _ = await command(tmp_path, *save_it, "one")
    assert status == 3
    assert "unauthorised" in out
    assert "no credentials" in out
    known = {"SOURCE_USERNAME": real.USERNAME, "SOURCE_PASSWORD": real.PASSWORD}
    assert (await command(tmp_path, *save_it, "two", **known))[0] == 0
    docker = tmp_path / "docker"
    docker.mkdir()
    entry = {"auth": "dXNlcjpwYXNzOndvcmQ="}
    (docker / "config.json").write_text(json.dumps({"auths": {htpasswd_registry: entry}}))
    assert (await command(tmp_path, *save_it, "three", DOCKER_CONFIG=str(docker)))[0] == 0
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {f"{htpasswd_registry}/secret": entry}}))
    assert (await command(tmp_path, *save_it, "four", REGISTRY_AUTH_FILE=str(tmp_path / "auth.json")))[0] == 0
    wrong = {"SOURCE_USERNAME": real.USERNAME, "SOURCE_PASSWORD": "geheim"}
    status, out, complaint = await command(tmp_path, *save_it, "five", "--debug", **wrong)
    assert status == 3
    assert "denies access" in out
    assert "geheim" not in out + complaint


async def test_a_registry_behind_tls(
    tls_registry: str, images: Mapping[str, Built], client_tls: Any, ca: Any, tmp_path: Path
) -> None:
    await push(tls_registry, "app:1", images["oci"], tls=client_tls)
    (tmp_path / "list").write_text(f"{tls_registry}/app:1")
    save_it = ("save", "-f", "list", "-c", "dir", "-d")
    status, out, _ = await command(tmp_path, *save_it, "one")
    assert status == 3
    assert "certificate" in out
    assert "--tls-verify=false" in out
    assert (await command(tmp_path, "--tls-verify=false", *save_it, "two"))[0] == 0
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    assert (await command(tmp_path, *save_it, "three", SSL_CERT_FILE=str(tmp_path / "ca.pem")))[0] == 0
    host = tmp_path / "certs.d" / tls_registry
    host.mkdir(parents=True)
    ca.cert_pem.write_to_path(host / "ca.crt")
    environment = Environment(registries=RegistrySettings(certificates=(tmp_path / "certs.d",)))
    report = await save(options(tmp_path, f"{tls_registry}/app:1", environment=environment))
    assert report.status == 0, report.failed


async def test_large_blobs_arrive_whole(docker_registry: str, tmp_path: Path) -> None:
    built = image([layer(tree(f"large {number}", 9_000_000), "none") for number in range(4)], AMD64)
    await push(docker_registry, "large/app:1", built)
    report = await save(options(tmp_path, f"{docker_registry}/large/app:1", jobs=20))
    assert report.status == 0
    for digest, data in built.blobs.items():
        assert (tmp_path / "out" / "share" / "sha256" / digest.hex).read_bytes() == data
