"""The images of the tests are taken by real registries and clients."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.server.app import serving
from hangar_async.testing.images import Built
from hangar_async.testing.memory import MemoryContent
from tests.fakes.docker_registry import PASSWORD, USERNAME
from tests.fakes.images import foreign_layer, library
from tests.fakes.push import push
from tests.fakes.skopeo import Skopeo, check_directory, check_layout

KINDS = sorted(library())
# skopeo has no nested indexes, and fetches foreign layers.
COPIED = [kind for kind in KINDS if kind not in ("nested", "foreign")]


def is_oci(built: Built) -> bool:
    """Whether an OCI layout can hold all of it without a change."""
    return "docker" not in "".join(media_type for media_type, _ in built.documents.values())


@pytest.mark.parametrize("kind", KINDS)
async def test_docker_registry_takes_and_gives_it(docker_registry: str, images: Mapping[str, Built], kind: str) -> None:
    built, repository = images[kind], f"given/{kind}"
    await push(docker_registry, f"{repository}:1", built)
    headers = {"Accept": media_types.ACCEPT}
    async with aiohttp.ClientSession(f"http://{docker_registry}/v2/{repository}/", headers=headers) as session:
        for reference in ("1", str(built.digest)):
            async with session.get(f"manifests/{reference}") as answer:
                assert answer.headers["Content-Type"] == built.media_type
                assert Digest.of(await answer.read()) == built.digest
        for digest, data in built.blobs.items():
            async with session.get(f"blobs/{digest}") as answer:
                assert await answer.read() == data
        async with session.get(f"blobs/{foreign_layer().digest}") as answer:
            assert answer.status == 404


@pytest.mark.parametrize("kind", COPIED)
async def test_skopeo_copies_it_from_a_real_registry(
    docker_registry: str, skopeo: Skopeo, images: Mapping[str, Built], tmp_path: Path, kind: str
) -> None:
    built = images[kind]
    await push(docker_registry, f"copied/{kind}:1", built)
    await copy_and_check(skopeo, f"docker://{docker_registry}/copied/{kind}:1", built, tmp_path)


@pytest.mark.parametrize("kind", COPIED)
async def test_skopeo_copies_it_from_the_embedded_registry(
    skopeo: Skopeo, images: Mapping[str, Built], tmp_path: Path, kind: str
) -> None:
    content = MemoryContent()
    content.add("team/app:1", images[kind])
    async with serving(content) as address:
        await copy_and_check(skopeo, f"docker://{address}/team/app:1", images[kind], tmp_path)


async def copy_and_check(skopeo: Skopeo, source: str, built: Built, tmp_path: Path) -> None:
    raw = await skopeo("inspect", "--raw", "--tls-verify=false", source)
    assert raw.encode() == built.raw
    if is_oci(built):
        # Else it would compress what is not.
        keep = "--preserve-digests"
        await skopeo("copy", "--all", keep, "--src-tls-verify=false", source, f"oci:{tmp_path / 'layout'}:1")
        check_layout(tmp_path / "layout", built)
    await skopeo("copy", "--all", "--src-tls-verify=false", source, f"dir:{tmp_path / 'dir'}")
    check_directory(tmp_path / "dir", built)


async def test_skopeo_lists_the_tags_of_the_embedded_registry(skopeo: Skopeo, images: Mapping[str, Built]) -> None:
    content = MemoryContent()
    for tag in ("1", "2"):
        content.add(f"team/app:{tag}", images["oci"])
    async with serving(content) as address:
        listed = json.loads(await skopeo("list-tags", "--tls-verify=false", f"docker://{address}/team/app"))
    assert listed["Tags"] == ["1", "2"]


async def test_skopeo_s_complaints_are_passed_on(skopeo: Skopeo) -> None:
    async with serving(MemoryContent()) as address:
        with pytest.raises(RuntimeError, match="the repository is not known"):
            await skopeo("inspect", "--tls-verify=false", f"docker://{address}/gone:1")


async def test_a_registry_with_passwords(htpasswd_registry: str, images: Mapping[str, Built]) -> None:
    wrong, right = (aiohttp.encode_basic_auth(USERNAME, password) for password in ("wrong", PASSWORD))
    with pytest.raises(AssertionError, match="UNAUTHORIZED"):
        await push(htpasswd_registry, "app:1", images["oci"], authorization=wrong)
    await push(htpasswd_registry, "app:1", images["oci"], authorization=right)


async def test_a_registry_behind_tls(
    tls_registry: str, client_tls: ssl.SSLContext, images: Mapping[str, Built]
) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await push(tls_registry, "app:1", images["oci"], tls=ssl.create_default_context())
    await push(tls_registry, "app:1", images["oci"], tls=client_tls)
