"""A registry of many small images that fails one request of twenty, in a process of its own.

    python -m benchmarks.programs.faulty_registry IMAGES LIST_FILE COUNTS_FILE

The image list is written when it is ready; what was asked goes into COUNTS_FILE when it is terminated.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.oci.platform import Platform
from hangar_async.testing.images import image, layer
from tests.fakes.faults import Bytes, Close, Cut, Fault, Status, flipped
from tests.fakes.registry import FakeRegistry, fake_registry

_ONE_IN = 20
_AMD64 = Platform("linux", "amd64")
#: Each as often as the others.
_FAULTS: tuple[Fault, ...] = (
    Close(),
    Close(reset=True),
    Cut(700),
    Cut(1, reset=True),
    Status(429, {"Retry-After": "0"}),
    Status(429),
    Status(500),
    Status(502),
    Status(503, {"Retry-After": "1"}),
    Status(504),
    Bytes(flipped),
)


def fill(registry: FakeRegistry, count: int) -> list[str]:
    """Put in images, ten over each base; returns their names."""
    names = []
    for number in range(count):
        base = layer({"base": random.Random(number // 10).randbytes(3000)}, "none")
        own = layer({"own": random.Random(f"{number}").randbytes(1000)}, "none")
        names.append(f"soak/app-{number:04}:1")
        registry.add(names[-1], image([base, own], _AMD64, labels={"number": str(number)}))
    return names


async def serve(count: int, images: Path, counts: Path) -> None:
    """Serve until terminated."""
    chosen = random.Random(7)
    asked: Counter[str] = Counter()
    failed = 0

    async def sometimes(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal failed
        asked[request.path] += 1
        if request.path == "/v2/" or chosen.randrange(_ONE_IN):
            return await handler(request)
        failed += 1
        return await chosen.choice(_FAULTS)(request, handler)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with fake_registry() as registry:
        registry.fail("", sometimes, times=None)
        names = fill(registry, count)
        images.write_text("".join(f"{registry.address}/{name}\n" for name in names))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()
    asked.pop("/v2/", None)
    counts.write_text(json.dumps({"asked": asked.total(), "needed": len(asked), "failed": failed}))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
