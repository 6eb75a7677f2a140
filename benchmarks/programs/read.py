"""The bytes of all blobs of a corpus, over plain sockets, the largest first: no client is faster over the same line.

    python -m benchmarks.programs.read CORPUS_JSON HOST:PORT CONNECTIONS SECONDS_FILE

Nothing is hashed or kept.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hangar_async.cli.loop import run_until_done

_PIECE = 1 << 18


async def _read(registry: str, blobs: Iterator[dict[str, Any]]) -> None:
    host, _, port = registry.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=_PIECE)
    for blob in blobs:
        writer.write(
            f"GET /v2/{blob['repository']}/blobs/{blob['digest']} HTTP/1.1\r\nHost: {registry}\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        rest = int(blob["size"])
        while rest:
            data = await reader.read(min(_PIECE, rest))
            if not data:
                raise SystemExit(f"{blob['digest']} broke off")
            rest -= len(data)
    writer.close()
    await writer.wait_closed()


async def _read_all(registry: str, blobs: list[dict[str, Any]], connections: int) -> float:
    began = time.monotonic()
    waiting = iter(sorted(blobs, key=lambda blob: -int(blob["size"])))
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_read(registry, waiting))
    return time.monotonic() - began


def main() -> None:
    told, registry, connections, seconds = sys.argv[1:]
    blobs = json.loads(Path(told).read_text())["blobs"]
    taken = run_until_done(lambda: _read_all(registry, blobs, int(connections)), print, "")
    Path(seconds).write_text(str(taken))


if __name__ == "__main__":
    main()
