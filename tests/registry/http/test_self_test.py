from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter

from hangar_async.config.registries import RegistrySettings
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http import self_test
from hangar_async.registry.http.body import BufferedBody, StreamBody
from hangar_async.registry.http.self_test import aiohttp_is_known
from tests.fakes.registry import FakeRegistry
from tests.registry.rig import BLOB, DATA, Lent, image_at, read_all

pytestmark = pytest.mark.usefixtures("untested_aiohttp")


async def push_and_pull(registry: FakeRegistry, notices: list[str]) -> type[object]:
    """Send a blob and fetch it again; return how it was received."""
    async with RegistryClient(RegistrySettings(), notice=notices.append) as client:
        lent = Lent(DATA)
        async with client.upload(image_at(registry), BLOB) as upload:
            await upload.send(lent)
        assert lent.settled
        async with client.open_blob(image_at(registry), BLOB) as body:
            assert await read_all(body) == DATA
            return type(body._pieces)


async def test_this_aiohttp_is_known_and_tested_once(
    pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    assert await push_and_pull(pushable_registry, notices) is BufferedBody
    monkeypatch.delattr(self_test, "_passes")
    assert await push_and_pull(pushable_registry, notices) is BufferedBody
    assert not notices


def test_this_aiohttp_is_known_on_uvloop() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(aiohttp_is_known())


async def write_without_drain(writer: StreamWriter, chunk: Any, *, LIMIT: int = 0x10000) -> None:  # noqa: N803
    writer._write(chunk) if not writer._headers_buf else writer._send_headers_with_payload(chunk, False)
    await writer.drain()


def refuse(*arguments: object) -> None:
    raise TypeError


async def never_wait(writer: StreamWriter) -> None:
    """Return at once."""


CHANGES = {
    "read_timeout is gone": (ResponseHandler, "read_timeout", None),
    "read_nowait fails": (aiohttp.StreamReader, "read_nowait", refuse),
    "connection is gone": (aiohttp.ClientResponse, "connection", None),
    "connection is a method": (aiohttp.ClientResponse, "connection", lambda response: response._connection),
    "the connection is not given back": (BufferedBody, "close", lambda body: None),
    "write has no drain": (StreamWriter, "write", write_without_drain),
    "drain waits for nothing": (StreamWriter, "drain", never_wait),
    "transport is another one": (StreamWriter, "transport", property(lambda writer: None)),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_an_unknown_aiohttp_is_used_by_its_own_streams_with_one_notice(
    pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    owner, name, value = CHANGES[change]
    if value is None:
        monkeypatch.delattr(owner, name)
    else:
        monkeypatch.setattr(owner, name, value)
    notices: list[str] = []
    for _ in range(2):
        assert await push_and_pull(pushable_registry, notices) is StreamBody
    [notice] = notices
    assert aiohttp.__version__ in notice
    assert "slower" in notice


async def test_an_unknown_aiohttp_without_a_notice_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ResponseHandler, "read_timeout")
    assert not await aiohttp_is_known()
    assert not await aiohttp_is_known()
