"""The part of an index for platforms is what a plan with all documents makes of it."""

from __future__ import annotations

import pytest

from hangar_async.engine.copy.part import selected_part
from hangar_async.engine.pull.plan import Planner
from hangar_async.oci import Descriptor, Document, ImageConfig, PlatformSelector, Reference, parse_manifest
from hangar_async.testing.images import Built, attestation, index
from tests.fakes.images import ARM64, small

AMD, ARM = small("amd"), small("arm", platform=ARM64)
NAME = Reference.parse("r.example.com/app:1")


class Documents:
    """The documents of a built image."""

    def __init__(self, built: Built) -> None:
        self._built = built

    async def document(self, entry: Descriptor, image: Reference, rank: object) -> Document:
        kind, raw = self._built.documents[entry.digest]
        return parse_manifest(raw, kind)

    async def config(self, config: Descriptor, image: Reference, rank: object) -> ImageConfig:
        return ImageConfig.parse(self._built.blobs[config.digest], config.digest)


def root_of(built: Built) -> Document:
    kind, raw = built.documents[built.digest]
    return parse_manifest(raw, kind)


@pytest.mark.parametrize("architectures", [["amd64"], ["arm64"], ["amd64", "arm64"], ["all"]])
@pytest.mark.parametrize(
    "built",
    [
        index([AMD, ARM]),
        index([AMD, ARM], docker=True),
        index([AMD, attestation(AMD), ARM, attestation(ARM)]),
        index([ARM, attestation(AMD), AMD]),
    ],
)
async def test_it_is_what_a_plan_makes(built: Built, architectures: list[str]) -> None:
    selector = PlatformSelector.parse(architectures)
    planned = (await Planner(Documents(built), selector, False, 4).plan(NAME, root_of(built), (0, 0))).image
    part = selected_part(root_of(built), selector)
    assert part is not None
    assert part.digest == planned.digest


@pytest.mark.parametrize(
    ("built", "architecture"), [(AMD, "amd64"), (index([index([AMD, ARM])]), "amd64"), (index([AMD, ARM]), "s390x")]
)
def test_where_the_index_does_not_tell_it_is_not_known(built: Built, architecture: str) -> None:
    assert selected_part(root_of(built), PlatformSelector.parse([architecture])) is None
