from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from aiohttp import web

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError, NotFound, RegistryError
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.testing.images import Built
from tests.fakes.registry import FakeRegistry, answering
from tests.registry.rig import MANIFEST, Lent, client_of, describe, image_at, manifest_server, raw_server, request_head


async def test_connections_are_used_again_after_refusals_too() -> None:
    ports = set()

    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.json_response({"errors": []}, status=404)

    async with answering(handle) as registry, RegistryClient(RegistrySettings()) as client:
        for tag in ("a", "b", "c"):
            with pytest.raises(NotFound):
                await client.get_manifest(Reference.parse(f"{registry.address}/app:{tag}"))
    assert len(registry.asked("manifests")) == 3
    assert len(ports) == 1


async def test_a_closed_port_is_a_transient_network_error() -> None:
    async with answering(manifest_server()) as registry:
        image = Reference.parse(f"{registry.address}/app")
    async with RegistryClient(RegistrySettings()) as client:
        with pytest.raises(NetworkError) as caught:
            await client.get_manifest(image)
    assert caught.value.transient
    assert caught.value.host == image.registry
    assert str(caught.value).count(image.registry) == 1


async def test_a_host_without_address_is_a_transient_network_error() -> None:
    async with RegistryClient(RegistrySettings()) as client:
        with pytest.raises(NetworkError, match="address cannot be found") as caught:
            await client.get_manifest(Reference.parse("registry.invalid/app"))
    assert caught.value.transient


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 2", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
     b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
)  # fmt: skip
async def test_a_response_that_is_not_http_is_a_network_error(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _ = await request_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" if "/v2/ " in line else answer
        )
        await writer.drain()

    async with raw_server(talk) as host, RegistryClient(RegistrySettings()) as client:
        with pytest.raises(NetworkError) as caught:
            await client.get_manifest(Reference.parse(f"{host}/app"))
    assert caught.value.transient


async def test_a_response_that_never_comes_is_a_stall() -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path != "/v2/":
            await asyncio.Event().wait()
        return web.Response()

    async with answering(handle) as registry, RegistryClient(RegistrySettings(stall_timeout=0.1)) as client:
        with pytest.raises(NetworkError, match="nothing arrived") as caught:
            await client.get_manifest(Reference.parse(f"{registry.address}/app"))
    assert caught.value.transient


async def test_cancelling_a_request_leaves_the_client_usable() -> None:
    arrived = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("slow"):
            arrived.set()
            await asyncio.Event().wait()
        return web.Response(body=MANIFEST)

    async with answering(handle) as registry, RegistryClient(RegistrySettings(), connections=1) as client:
        task = asyncio.ensure_future(client.get_manifest(Reference.parse(f"{registry.address}/app:slow")))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get_manifest(Reference.parse(f"{registry.address}/app:quick"))).raw == MANIFEST


async def test_a_registry_is_asked_at_an_ipv6_address() -> None:
    async with answering(manifest_server(), host="::1") as registry, RegistryClient(RegistrySettings()) as client:
        image = Reference.parse(f"[::1]:{registry.address.rpartition(':')[2]}/app")
        assert (await client.get_manifest(image)).raw == MANIFEST


async def push(client: RegistryClient, image: Reference, built: Built) -> None:
    """Push an image as it has to be: blobs, children, the tag last."""
    for data in built.blobs.values():
        blob = describe(data)
        if not await client.has_blob(image, blob):
            async with client.upload(image, blob) as upload:
                await upload.send(Lent(data))
    for digest, (media_type, raw) in built.documents.items():
        assert (await client.put_manifest(image, raw, media_type, digest)).digest == digest
    assert (await client.put_manifest(image, built.raw, built.media_type)).digest == built.digest


async def test_every_kind_of_image_keeps_its_digests(
    pushable_registry: FakeRegistry, images: Mapping[str, Built]
) -> None:
    async with client_of(pushable_registry.address) as client:
        for name, built in images.items():
            image = image_at(pushable_registry, f"kinds/{name}:v1")
            assert await client.head_manifest(image, push=True) is None
            await push(client, image, built)
            assert await client.head_manifest(image, push=True) == replace(built.descriptor, platform=None)
            for digest, (media_type, raw) in built.documents.items():
                found = await client.head_manifest(image, digest, push=True)
                assert found
                assert (found.media_type, found.digest, found.size) == (media_type, digest, len(raw))
                assert (await client.get_manifest(image, digest)).raw == raw


async def test_a_manifest_before_its_blobs_is_refused(
    pushable_registry: FakeRegistry, images: Mapping[str, Built]
) -> None:
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        for name in ("oci", "multi"):
            with pytest.raises(RegistryError, match="lacks something that manifest") as caught:
                await client.put_manifest(image, images[name].raw, images[name].media_type)
            assert (caught.value.code, caught.value.transient) == ("MANIFEST_BLOB_UNKNOWN", True)
        assert await client.head_manifest(image, push=True) is None
