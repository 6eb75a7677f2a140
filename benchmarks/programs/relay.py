"""A relay that makes a registry seem far away, in a process of its own, so that no other event loop pays for it.

    python -m benchmarks.programs.relay HOST:PORT SECONDS

Each byte is handed on SECONDS later, in both directions. Its own HOST:PORT is the first line that it writes; it ends
when it is terminated.
"""

from __future__ import annotations

import asyncio
import sys

from tests.fakes.relay import relay


async def _serve(target: str, seconds: float) -> None:
    async with relay(target, delay=seconds) as state:
        print(state.address, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    asyncio.run(_serve(sys.argv[1], float(sys.argv[2])))


if __name__ == "__main__":
    main()
