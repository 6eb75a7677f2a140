"""Helpers of this room's tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hangar_async.oci.manifest import Descriptor, Index, parse_manifest
from hangar_async.testing.images import Built
from tests.engine.rig import run
from tests.fakes.registry import FakeRegistry


@dataclass
class Source:
    """An index of three platforms, one with an attestation, at a registry; it is saved in parts."""

    root: Path
    registry: FakeRegistry
    built: Built

    async def saved(self, architectures: str) -> Path:
        """Save some of its platforms, and return the directory."""
        place = self.root / architectures.replace("/", "")
        if not place.exists():
            name = f"{self.registry.address}/app:v1"
            report = await run(self.root, name, architectures=architectures.split(","), destination=place)
            assert report.status == 0
        return place

    @property
    def entries(self) -> Sequence[Descriptor]:
        """The digests that the index names."""
        parsed = parse_manifest(self.built.raw)
        assert isinstance(parsed, Index)
        return parsed.manifests
