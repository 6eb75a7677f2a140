"""Debian's skopeo, in an environment of its own."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

BINARY = "skopeo"


@dataclass(frozen=True)
class Skopeo:
    """Runs skopeo; `home` is all that it has of a user's."""

    home: Path

    async def __call__(self, *arguments: str) -> str:
        """Run it to its end and return what it wrote; raises RuntimeError with its complaint."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home)}
        words = [BINARY, "--insecure-policy", "--tmpdir", str(self.home), *arguments]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, env=environment, stdout=pipe, stderr=pipe)
        try:
            out, complaint = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {complaint.decode()}")
        return out.decode()
