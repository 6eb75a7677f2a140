"""Debian's skopeo, in an environment of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hangar_async.testing.images import Built
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


def check_layout(layout: Path, built: Built) -> None:
    """See that an OCI layout holds an image, byte for byte."""
    (root,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    assert root["digest"] == str(built.digest)
    for digest, (_, raw) in built.documents.items():
        assert (layout / "blobs" / digest.algorithm / digest.hex).read_bytes() == raw
    for digest, data in built.blobs.items():
        assert (layout / "blobs" / digest.algorithm / digest.hex).read_bytes() == data


def check_directory(directory: Path, built: Built) -> None:
    """See that a directory of skopeo's holds an image, byte for byte."""
    for digest, (_, raw) in built.documents.items():
        name = "manifest.json" if digest == built.digest else f"{digest.hex}.manifest.json"
        assert (directory / name).read_bytes() == raw
    for digest, data in built.blobs.items():
        assert (directory / digest.hex).read_bytes() == data
