"""Helpers of this room's tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor, Index, parse_manifest
from hangar_async.testing.images import Built, artifact
from tests.engine.rig import run
from tests.fakes.faults import Headers, Status
from tests.fakes.registry import FakeRegistry


def referrer(subject: Built, data: str, annotations: Mapping[str, str] | None = None) -> Built:
    """A signature, or the like, of an image."""
    built = artifact("application/vnd.example.signature", data.encode(), "text/plain")
    fields = {**json.loads(built.raw), "subject": subject.descriptor.to_json(), "annotations": dict(annotations or {})}
    raw = json.dumps(fields).encode()
    return replace(built, raw=raw, documents={Digest.of(raw): (built.media_type, raw)})


def without_referrers(registry: FakeRegistry) -> None:
    """Let a registry not know what a subject is."""
    registry.fail("/manifests/", Headers({"OCI-Subject": None}), method="PUT", times=None)
    registry.fail("/referrers/", Status(404), times=None)


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
