"""Other programs, each run to its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping


async def run(*words: str, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return what it wrote; raises RuntimeError with its complaint."""
    environment = {"PATH": os.environ["PATH"], **(env or {})}
    process = await asyncio.create_subprocess_exec(
        *words, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=-1
    )
    try:
        out, complaint = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {complaint.decode()}")
    return out.decode()
