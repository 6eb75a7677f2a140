"""Debian's skopeo, in an environment of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.fakes.programs import run

BINARY = "skopeo"


@dataclass(frozen=True)
class Skopeo:
    """Runs skopeo; `home` is all that it has of a user's."""

    home: Path

    async def __call__(self, *arguments: str) -> str:
        """Run it to its end and return what it wrote; raises RuntimeError with its complaint."""
        words = [BINARY, "--insecure-policy", "--tmpdir", str(self.home), *arguments]
        return await run(*words, env={"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home)})
