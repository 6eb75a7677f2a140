"""A save from a registry that sends its clients to a name of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save
from hangar_async.errors import NetworkError
from tests.fakes.clock import FakeClock
from tests.fakes.faults import redirect
from tests.fakes.names import Names
from tests.fakes.registry import fake_registry
from tests.faults.rig import BAD, GOOD, SMALL
from tests.registry.rig import Proxy


async def _save(place: Path, proxy: str, *images: str) -> Report:
    settings = RegistrySettings(tls_verify=False, proxies=Proxies(proxy, proxy, bypass=("inside.test",)))
    options = SaveOptions(
        images=images, destination=place / "out.tar.gz", jobs=1, environment=Environment(registries=settings)
    )
    return await save(options, clock=FakeClock().clock)


async def test_a_redirect_to_a_name_of_this_machine_fails_its_image_unless_the_list_names_the_host(
    tmp_path: Path, names: Names
) -> None:
    names.add("inside.test", ("127.0.0.1", "fd00:ec2::254"))
    async with (
        fake_registry() as registry,
        fake_registry() as inside,
        Proxy({"registry.test:80": registry.address}).running() as proxy,
    ):
        port = inside.address.rpartition(":")[2]
        for server in (registry, inside):
            server.add("bad:1", BAD)
            server.add("good:1", GOOD)
        path = f"/v2/bad/blobs/{SMALL.digest}"
        registry.fail(path, redirect(f"http://inside.test:{port}{path}"), times=None)
        report = await _save(tmp_path, proxy.url, "registry.test/bad:1", "registry.test/good:1")
        assert [outcome.ok for outcome in report.outcomes] == [False, True]
        error = report.outcomes[0].error
        assert isinstance(error, NetworkError)
        assert str(error).startswith("inside.test has an address on this machine or its link")
        assert not error.transient
        assert inside.requests == []
        assert len(registry.asked(path)) == 1
        report = await _save(tmp_path, proxy.url, "registry.test/bad:1", f"inside.test:{port}/good:1")
        assert [outcome.ok for outcome in report.outcomes] == [True, True], report.outcomes
        assert inside.asked(path)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::ffff:7f00:1]", "169.254.169.254"])
async def test_a_redirect_to_an_address_of_this_machine_fails_its_image(tmp_path: Path, name: str) -> None:
    async with fake_registry() as registry, Proxy({"registry.test:80": registry.address}).running() as proxy:
        registry.add("bad:1", BAD)
        registry.fail("/blobs/", redirect(f"http://{name}:1/x"), times=None)
        report = await _save(tmp_path, proxy.url, "registry.test/bad:1")
    assert "an address on this machine or its link" in str(report.outcomes[0].error)
