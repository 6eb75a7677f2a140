"""The same faults beside `skopeo copy --retry-times 3`, by hand: `python -m tests.faults.beside_skopeo [NAME ...]`.

Prints for each row what became of it, for the column of docs/reliability.md. Minutes, since its waits are real.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.fakes.registry import fake_registry
from tests.faults.rig import BAD, Row, Scene
from tests.faults.rows_registry import REGISTRY_ROWS

_LIMIT = 45.0


async def copy(row: Row, place: Path) -> str:
    """Copy the image that meets the fault, and say in a few words what became of it."""
    async with fake_registry() as registry:
        scene = Scene(registry, place)
        registry.add("bad:1", BAD)
        row.script(scene)
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *("skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--retry-times", "3"),
            *("--src-tls-verify=false", f"docker://{registry.address}/bad:1", f"oci:{place}/out:bad"),
            env={"PATH": os.environ["PATH"], "HOME": str(place)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_LIMIT):
                _, told = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
            return f"still waits after {_LIMIT:.0f} s"
        seconds = time.monotonic() - began
        blobs = f"{scene.asked(scene.blob())} requests for the blob, {sum(map(bool, scene.ranges()))} with Range"
        word = "copied" if process.returncode == 0 else f"fails ({told.decode(errors='replace').strip()[-160:]})"
        return f"{word}; {blobs}; {seconds:.0f} s"


async def main() -> None:
    """Go through the rows."""
    for row in REGISTRY_ROWS:
        if not sys.argv[1:] or row.name in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as place:
                sys.stdout.write(f"{row.name}: {await copy(row, Path(place))}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
