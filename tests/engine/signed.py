"""A signed image: its index, a signature and an attestation of cosign, a list of parts, and a signature of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hangar_async.testing.images import Built, artifact, index
from tests.engine.push.rig import referrer
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry

_CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True)
class Signed:
    """The signed image at a registry, as `team/app:1`, and a directory that it is saved in."""

    address: str
    saved: Path
    image: Built = field(default_factory=lambda: index([small("app"), small("arm", platform=ARM64)]))

    @property
    def cosign(self) -> dict[str, Built]:
        """The signature and the attestation, by their tags."""
        artifacts = {end: artifact(_CONFIG, end.encode(), f"text/{end}") for end in ("sig", "att")}
        return {f"sha256-{self.image.digest.hex}.{end}": built for end, built in artifacts.items()}

    @property
    def parts(self) -> Built:
        """The list of parts."""
        return referrer(self.image, "list of parts")

    @property
    def referrers(self) -> list[Built]:
        """All referrers."""
        return [*self.cosign.values(), self.parts, referrer(self.parts, "signature of the list")]

    def add_to(self, registry: FakeRegistry) -> None:
        """Put all of it into a registry."""
        registry.add("team/app:1", self.image)
        for built in self.referrers:
            registry.add("team/app", built)
        for tag, built in self.cosign.items():
            registry.content.tag("team/app", tag, built.digest)
