from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from hangar_async.buffers import SIZES, PieceBuffers
from hangar_async.engine.push.sources import read_in_thread
from hangar_async.layout.directory import FileReader
from hangar_async.layout.files import LayoutReader
from tests.engine.rig import counting


async def test_a_reader_that_is_opened_at_the_moment_of_a_cancellation_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.touch()
    started, go, closed = threading.Event(), threading.Event(), threading.Event()

    class Noted(FileReader):
        def close(self) -> None:
            super().close()
            closed.set()

    def open_reader() -> LayoutReader:
        started.set()
        assert go.wait(30)
        return Noted(path)

    async def read() -> None:
        async for _ in read_in_thread(open_reader, PieceBuffers()):
            pass

    task = asyncio.create_task(read())
    await asyncio.to_thread(started.wait, 30)
    task.cancel()
    asyncio.get_running_loop().call_soon(go.set)
    await asyncio.wait([task])
    assert task.cancelled()
    assert closed.is_set()


@pytest.mark.parametrize(("size", "hops"), [(0, 1), (10, 1), (SIZES[0] + 1, 2)])
async def test_a_small_blob_is_opened_read_and_closed_in_one_hop_to_a_thread(
    size: int, hops: int, tmp_path: Path
) -> None:
    path = tmp_path / "blob"
    path.write_bytes(bytes(size))
    with counting() as counts:
        pieces = [bytes(piece) async for piece in read_in_thread(lambda: FileReader(path), PieceBuffers())]
    assert b"".join(pieces) == bytes(size)
    assert counts["hops"] == hops
