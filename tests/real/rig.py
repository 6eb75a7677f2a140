"""A short way to save from a real registry, and to fill it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from hangar_async.testing.images import Built
from tests.fakes.push import push


def options(tmp_path: Path, *lines: str, **keywords: Any) -> SaveOptions:
    values: dict[str, Any] = {
        "images": lines,
        "architectures": ["all"],
        "format": "dir",
        "destination": tmp_path / "out",
        "cache": tmp_path / "saved-image-cache",
        "failed": tmp_path / "failed.txt",
        "jobs": 8,
        "environment": Environment(),
    }
    return SaveOptions(**{**values, **keywords})


async def push_all(registry: str, images: Mapping[str, Built], prefix: str) -> dict[str, Built]:
    for name, built in images.items():
        await push(registry, f"{prefix}/{name}:1", built)
    return {f"{registry}/{prefix}/{name}:1": built for name, built in images.items()}
