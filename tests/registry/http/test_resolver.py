from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NoReturn

import aiohappyeyeballs
import pytest
from yarl import URL

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http.resolver import OutsideResolver
from hangar_async.registry.http.transport import Transport
from tests.fakes.names import Names
from tests.registry.http.rig import Site
from tests.registry.rig import BLOB, DATA, Lent, read_all

INTERNAL = [
    *("127.0.0.1", "127.0.1.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "100.100.100.200"),
    *("::1", "::", "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"),
]


@pytest.mark.parametrize("address", INTERNAL)
async def test_a_name_with_an_internal_address_alone_is_refused(names: Names, address: str) -> None:
    names.add("inside.test", (address,))
    with pytest.raises(NetworkError, match=r"inside\.test has an address on this machine or its link") as caught:
        await OutsideResolver().resolve("inside.test", 443)
    assert not caught.value.transient
    assert "registries.conf" in caught.value.advice


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.1", "172.16.0.1", "fd00::1", "198.51.100.1", "2001:db8::1"])
async def test_private_and_public_addresses_are_kept(names: Names, address: str) -> None:
    names.add("storage.test", ("127.0.0.1", address, "::1"))
    assert [found["host"] for found in await OutsideResolver().resolve("storage.test", 443)] == [address]


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere at a second lookup gains nothing."""
    connected: list[str] = []

    async def connect(addr_infos: list[tuple[int, int, int, str, tuple[str, int]]], **keywords: object) -> NoReturn:
        connected.extend(info[4][0] for info in addr_infos)
        raise OSError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", connect)
    names.add("rebound.test", ("127.0.0.1", "198.51.100.1"), ("127.0.0.1",))
    async with Transport(RegistrySettings(), 1) as transport:
        with pytest.raises(NetworkError, match="the connection failed"):
            async with await transport.send(URL("https://rebound.test/"), "rebound.test", headers={}):
                raise AssertionError
    assert connected == ["198.51.100.1"]
    assert names.asked == ["rebound.test"]


async def redirect(client: RegistryClient, host: str, address: str) -> None:
    async with client.open_blob(Reference.parse(f"{host}/redirect"), BLOB) as body:
        await read_all(body)


async def token(client: RegistryClient, host: str, address: str) -> None:
    await client.get_manifest(Reference.parse(f"{host}/token:1"))


async def upload(client: RegistryClient, host: str, address: str) -> None:
    async with client.upload(Reference.parse(f"{host}/upload"), BLOB) as sending:
        await sending.send(Lent(DATA))


async def foreign(client: RegistryClient, host: str, address: str) -> None:
    async with client.open_foreign(address, BLOB) as body:
        await read_all(body)


Way = Callable[[RegistryClient, str, str], Awaitable[None]]
WAYS = pytest.mark.parametrize("way", [redirect, token, upload, foreign])


@WAYS
@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
async def test_a_name_that_leads_to_this_machine_is_for_hosts_that_are_named(
    names: Names, site: Site, way: Way, named: bool
) -> None:
    """The registry is elsewhere, behind a proxy; `inside.test` is asked without one."""
    names.add("inside.test", ("127.0.0.1",))
    place = f"inside.test:{site.inside.address.rpartition(':')[2]}"
    site.guide.address = f"https://{place}/x"
    async with RegistryClient(site.settings, named=[place] if named else []) as client:
        if named:
            await way(client, "registry.test", site.guide.address)
            assert site.inside.requests
        else:
            with pytest.raises(NetworkError, match="this machine or its link, where another server may not send us"):
                await way(client, "registry.test", site.guide.address)
            assert not site.inside.requests
    assert all("inside" not in line for line in site.proxy.lines)


@WAYS
async def test_a_registry_of_this_machine_by_its_name_may_lead_to_this_machine(
    names: Names, site: Site, way: Way
) -> None:
    names.add("inside.test", ("127.0.0.1",))
    names.add("near.test", ("127.0.0.1",))
    near = f"near.test:{site.registry.address.rpartition(':')[2]}"
    site.guide.address = f"https://inside.test:{site.inside.address.rpartition(':')[2]}/x"
    async with RegistryClient(replace(site.settings, proxies=Proxies())) as client:
        await client.ping(near)
        await way(client, near, site.guide.address)
    assert site.inside.requests


async def test_behind_a_proxy_names_are_those_of_the_proxy(names: Names, site: Site) -> None:
    names.add("inside.test", ("127.0.0.1",))
    site.proxy.routes["inside.test:443"] = site.inside.address
    site.guide.address = "https://inside.test/x"
    settings = replace(site.settings, proxies=Proxies(https=site.proxy.url))
    async with RegistryClient(settings) as client:
        await redirect(client, "registry.test", site.guide.address)
    assert names.asked == []
