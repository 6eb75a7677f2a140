"""Content from registries into the store: each digest once, from whichever repository gives it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hangar_async.config.mirrors import NO_MIRRORS, Mirrors
from hangar_async.engine.limits.queue import Rank, Ticket, is_planning
from hangar_async.engine.limits.retry import Retrier
from hangar_async.engine.pull.receive import Receiver
from hangar_async.errors import ContentError, HangarError, StorageError
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor, Index, Manifest, parse_manifest
from hangar_async.oci.reference import Reference
from hangar_async.store.content import ContentStore
from hangar_async.store.ingest import Ingest


@dataclass(frozen=True, slots=True)
class _Source:
    """A repository that may give a digest, and the image for which it is asked; behind a `mirror` there is another."""

    reference: Reference
    image: Reference
    mirror: bool


@dataclass(slots=True)
class _Wanted:
    """One digest that images want: where it may be had, and the one task that fetches it."""

    content: Descriptor
    document: bool
    rank: Rank
    untried: list[_Source] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)
    errors: dict[str, HangarError] = field(default_factory=dict)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    ticket: Ticket | None = None
    task: asyncio.Task[None] | None = None
    waiters: int = 0
    here: bool = False

    def offer(self, source: _Source) -> None:
        """Add a repository that names this digest."""
        if source.reference.name not in self.offered:
            self.offered.add(source.reference.name)
            self.untried.append(source)
            self.more.set()

    def error(self, image: Reference) -> HangarError:
        """What an image is told when no repository gave the digest: its own repository's answer first."""
        return self.errors.get(image.name) or next(reversed(self.errors.values()))

    def failed(self, source: _Source, error: HangarError) -> None:
        """Note that a repository does not give it."""
        self.errors[source.image.name] = error
        self.untried.remove(source)


class Fetcher:
    """Fetches content for all images of a run; single flight a digest, before the request.

    Its tasks live in `group`, so that an image that gives up does not end the fetch of those who wait with it; a
    fetch that nobody waits for any more is ended. `images` is how many images will say what they want: a digest that
    every known repository failed to give fails only when no further image can name another one.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        receiver: Receiver,
        store: ContentStore,
        retrier: Retrier,
        images: int,
        mirrors: Mirrors = NO_MIRRORS,
    ) -> None:
        self._group = group
        self._receiver = receiver
        self._store = store
        self._retrier = retrier
        self._unnamed = images
        self._mirrors = mirrors
        self._wanted: dict[tuple[Digest, int], _Wanted] = {}

    async def root(self, image: Reference, rank: Rank) -> Manifest | Index:
        """Return the manifest or index that a reference names, and store it; raises HangarError.

        One that is named by its digest and is in the store needs no request. One that is named by a tag needs no more
        than a HEAD, which is made only where an earlier run has left something that it could name.
        """
        if image.digest is not None and (held := await self._held(image.digest)) is not None:
            return held
        document = await self._ask_root(image, rank)
        await self._store.put(document.raw, document.digest)
        return document

    async def _ask_root(self, image: Reference, rank: Rank) -> Manifest | Index:
        find = self._find if image.digest is None and self._store.has_earlier else None
        *mirrors, registry = self._mirrors.sources(image)
        for mirror in mirrors:
            try:
                return await self._receiver.root(mirror, Ticket(rank, ahead=True), find, others=True)
            except StorageError:
                raise
            except HangarError:
                continue
        return await self._receiver.root(registry, Ticket(rank, ahead=True), find)

    async def _find(self, told: Descriptor) -> Manifest | Index | None:
        # Else the image would have another digest than the same one fetched: that is of SHA-256.
        if told.digest.algorithm != "sha256":
            return None
        return await self._held(told.digest, told.size, told.media_type)

    async def _held(self, digest: Digest, size: int | None = None, media_type: str = "") -> Manifest | Index | None:
        """Return a manifest or index out of the store; None where it is not there, or something else is."""
        if not await self._store.contains(digest, size):
            return None
        try:
            raw = await self._store.read(digest, MAX_DOCUMENT)
            document = parse_manifest(raw, media_type, digest.algorithm)
        except ContentError:
            return None
        self._receiver.reused(digest, len(raw))
        return document

    async def document(self, content: Descriptor, image: Reference, rank: Rank) -> Manifest | Index:
        """Return the manifest or index that an entry of an index names, and store it; raises HangarError."""
        await self.fetch(content, image, rank, document=True)
        raw = await self._store.read(content.digest, MAX_DOCUMENT)
        return parse_manifest(raw, content.media_type, content.digest.algorithm)

    def offer(self, content: Descriptor, image: Reference, rank: Rank, *, document: bool = False) -> None:
        """Say that an image's repository names this content, and how urgent it is."""
        wanted = self._entry(content, rank, document)
        *mirrors, registry = self._mirrors.sources(image)
        for mirror in mirrors:
            wanted.offer(_Source(mirror, image, mirror=True))
        wanted.offer(_Source(registry, image, mirror=False))

    def named(self) -> None:
        """Say that one more image has offered all it wants, or will never."""
        self._unnamed -= 1
        if self._unnamed == 0:
            for wanted in self._wanted.values():
                wanted.more.set()

    async def fetch(
        self, content: Descriptor, image: Reference, rank: Rank, *, document: bool = False, patient: bool = False
    ) -> None:
        """Wait until content is in the store, whole and verified, fetching it where nobody does yet.

        `patient` waits for images that are not planned yet to name another repository, before it fails.
        Raises HangarError: the answer of the image's own repository.
        """
        self.offer(content, image, rank, document=document)
        wanted = self._entry(content, rank, document)
        while not wanted.here:
            if wanted.task is not None or wanted.untried:
                await self._join(wanted)
            elif not (patient and await self._another(wanted)):
                raise wanted.error(image)

    def _entry(self, content: Descriptor, rank: Rank, document: bool) -> _Wanted:
        key = (content.digest, content.size)
        wanted = self._wanted.get(key)
        if wanted is None:
            wanted = self._wanted[key] = _Wanted(content, document, rank)
        elif rank < wanted.rank:
            wanted.rank = rank
            if wanted.ticket is not None:
                self._retrier.raise_rank(wanted.ticket, rank)
        return wanted

    async def _another(self, wanted: _Wanted) -> bool:
        if any(isinstance(error, StorageError) for error in wanted.errors.values()):
            return False
        while not wanted.untried and self._unnamed > 0:
            wanted.more.clear()
            await wanted.more.wait()
        return bool(wanted.untried or wanted.task)

    async def _join(self, wanted: _Wanted) -> None:
        if wanted.task is None:
            work = self._run(wanted)
            try:
                wanted.task = self._group.create_task(work)
            except RuntimeError:
                # The run is being cancelled; the image that asks will be in a moment.
                work.close()
                raise asyncio.CancelledError from None
        task = wanted.task
        wanted.waiters += 1
        try:
            await asyncio.wait({task})
        finally:
            wanted.waiters -= 1
            if wanted.task is task and (task.done() or wanted.waiters == 0):
                wanted.task = None
                task.cancel()

    async def _run(self, wanted: _Wanted) -> None:
        """Get one digest from the first repository that gives it; what went wrong stands in `wanted.errors`."""
        content = wanted.content
        try:
            if await self._store.contains(content.digest, content.size):
                wanted.here = True
                self._receiver.reused(content.digest, content.size)
                return
            ticket = wanted.ticket = Ticket(wanted.rank, ahead=is_planning(wanted.rank))
            async with self._store.ingest(content.digest, content.size) as ingest:
                while wanted.untried and not wanted.here:
                    await self._try(wanted, wanted.untried[0], ticket, ingest)
        except StorageError as error:
            for source in tuple(wanted.untried):
                wanted.failed(source, error)

    async def _try(self, wanted: _Wanted, source: _Source, ticket: Ticket, ingest: Ingest) -> None:
        try:
            receive = self._receiver.document if wanted.document else self._receiver.blob
            await receive(wanted.content, source.reference, ticket, ingest, others=source.mirror)
            wanted.here = True
        except StorageError:
            raise
        except HangarError as error:
            wanted.failed(source, error)
