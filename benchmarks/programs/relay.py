"""A relay that makes a registry seem far away, in a process of its own, so that no other event loop pays for it.

    python -m benchmarks.programs.relay HOST:PORT SECONDS RATE SHARED_RATE

Each byte is handed on SECONDS later, in both directions; a connection gets at most RATE bytes a second, and all of them
together at most SHARED_RATE, where these are not 0. Its own HOST:PORT is the first line that it writes; it ends when it
is terminated.
"""

from __future__ import annotations

import asyncio
import sys

from hangar_async.cli.loop import run_until_done
from tests.fakes.relay import relay


async def _serve(target: str, seconds: float, rate: float, shared_rate: float) -> None:
    async with relay(target, delay=seconds, rate=rate or None, shared_rate=shared_rate or None) as state:
        print(state.address, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    target, *numbers = sys.argv[1:]
    seconds, rate, shared_rate = map(float, numbers)
    run_until_done(lambda: _serve(target, seconds, rate, shared_rate), lambda text: None, "")


if __name__ == "__main__":
    main()
