"""A digest that images need, and the repositories that may give it."""

import asyncio
from dataclasses import dataclass, field

from hangar_async import oci
from hangar_async.engine.limits.queue import Rank, Ticket
from hangar_async.errors import HangarError


@dataclass(frozen=True, slots=True)
class Source:
    """A repository that may give a digest, the image that names the digest, and whether it is a mirror."""

    repository: oci.Reference
    image: oci.Reference
    mirror: bool


@dataclass(slots=True, eq=False)
class ContentRequest:
    """One digest that images need: its sources, and the answers of those that failed."""

    content: oci.Descriptor
    is_document: bool
    rank: Rank
    untried: list[Source] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)
    errors: dict[str, HangarError] = field(default_factory=dict)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    ticket: Ticket | None = None
    is_stored: bool = False

    @property
    def key(self) -> tuple[oci.Digest, int]:
        """The key of its single flight."""
        return self.content.digest, self.content.size

    def offer(self, source: Source) -> None:
        """Add a repository that names this digest."""
        if source.repository.name not in self.offered:
            self.offered.add(source.repository.name)
            self.untried.append(source)
            self.more.set()

    def error(self, image: oci.Reference) -> HangarError:
        """Return the error for an image when no repository gave the digest: of its own repository, else the last."""
        return self.errors.get(image.name) or next(reversed(self.errors.values()))

    def failed(self, source: Source, error: HangarError) -> None:
        """Note that a repository does not give it."""
        self.errors[source.image.name] = error
        self.untried.remove(source)
