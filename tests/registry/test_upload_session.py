"""The requests of one upload: opened, sent, asked about and cancelled."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st

from hangar_async.config.registries import RegistrySettings
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.upload_session import UploadSession, received_bytes
from tests.fakes.faults import Hold
from tests.fakes.registry import FakeRegistry, answering
from tests.registry.rig import LAYER, LAYER_BLOB, Uploads, client_of, describe, image_at


async def test_a_session_can_be_used_by_itself() -> None:
    uploads = Uploads()
    async with answering(uploads) as registry:
        settings = RegistrySettings(username="me", password="pass:word")
        async with RegistryClient(settings, username_for=registry.address) as client:
            session = UploadSession(client.exchange, Reference.parse(f"{registry.address}/app"), LAYER_BLOB)
            await session.cancel()
            await session.open()
            assert await session.append(0, LAYER[:10], 10) is None
            assert await session.offset() is None
            await session.finish(LAYER[10:])
            assert not session.address
    assert uploads.methods == ["POST", "PATCH", "GET", "PUT"]


async def opened(registry: FakeRegistry, kind: str, hold: Hold) -> asyncio.Task[object]:
    """Begin to open a session, or to mount, and cancel that while the registry has the request."""
    registry.fail("/uploads/", hold, method="POST")
    started = asyncio.Event()

    async def work() -> None:
        async with client_of(registry.address) as client:
            started.set()
            image, blob = image_at(registry), describe(LAYER)
            if kind == "mount":
                await client.mount_blob(image, blob, "base/one")
            else:
                async with client.upload(image, blob) as upload:
                    await upload.send(None)  # type: ignore[arg-type]

    task: asyncio.Task[object] = asyncio.create_task(work())
    await hold.reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("kind", ["send", "mount"])
async def test_a_session_that_opens_during_a_cancellation_is_cancelled(
    pushable_registry: FakeRegistry, kind: str
) -> None:
    assert pushable_registry.pushes
    hold = Hold(asyncio.Event())
    task = await opened(pushable_registry, kind, hold)
    hold.until.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [f"{one.method} {one.status}" for one in pushable_registry.asked("/uploads/")] == ["POST 202", "DELETE 204"]
    assert not pushable_registry.pushes.sessions


@pytest.mark.parametrize("kind", ["send", "mount"])
async def test_a_cancellation_waits_for_a_response_for_a_bounded_time(
    pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("hangar_async.registry.upload_session._CANCEL_TIMEOUT", 0.01)
    task = await opened(pushable_registry, kind, Hold(asyncio.Event()))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [one for one in pushable_registry.asked("/uploads/") if one.method == "DELETE"]


@pytest.mark.parametrize(
    ("text", "count"),
    [("0-1", 2), ("0-999", 1000), (" 0-5 ", 6), ("bytes=0-9", 10), ("bytes 0-9", 10), (f"0-{10**18}", 10**18 + 1)],
)
def test_the_range_of_an_upload_is_read_as_its_size(text: str, count: int) -> None:
    assert received_bytes(text) == count


@pytest.mark.parametrize("text", ["", "0-0", "1-5", "0-", "-5", "0", "0-x", "0-5/10", "0-٣", "0--1", f"0-{10**30}"])
def test_an_uncertain_range_of_an_upload_is_none(text: str) -> None:
    assert received_bytes(text) is None


@given(st.text())
def test_any_text_is_a_size_or_none(text: str) -> None:
    found = received_bytes(text)
    assert found is None or found > 1
