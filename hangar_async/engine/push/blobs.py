"""Blobs from a layout into a registry: each sent once, whatever the number of repositories that need it."""

from collections.abc import Iterable
from contextlib import aclosing
from functools import partial

from hangar_async.engine.events import BlobEnded, BlobProgress, BlobReused, BlobStarted, Observer
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.queue import Rank, Ticket
from hangar_async.engine.limits.rate import RateLimit
from hangar_async.engine.push.sources import BlobSource, OpenPieces, Pieces
from hangar_async.engine.reports import Sent
from hangar_async.errors import (
    DigestMismatch,
    HangarError,
    NetworkError,
    RegistryError,
    SourceError,
)
from hangar_async.oci import Descriptor, Digest, Reference
from hangar_async.registry.uploads import Upload
from hangar_async.singleflight import SingleFlight
from hangar_async.state.hints import NO_STATE, State

#: The bytes that a try gains before it breaks off, from which that is progress; fewer use up a try.
LEAST_GAIN = 64 << 10


class BlobPusher:
    """Pushes blobs; one that another repository of the registry has is mounted from there.

    A blob that is on its way to another repository is waited for. The `flights` belong to the run; `state` knows where
    earlier runs have put blobs.
    """

    def __init__(
        self,
        client: LimitedClient,
        flights: SingleFlight,
        rate: RateLimit,
        source: BlobSource,
        observe: Observer,
        state: State = NO_STATE,
    ) -> None:
        self.sent = Sent()
        self._client = client
        self._flights = flights
        self._rate = rate
        self._source = source
        self._observe = observe
        self._state = state
        #: The repositories that images of the run go to, to be kept by the run.
        self.targets: set[str] = set()
        #: The repositories, by name, that are known to have a blob.
        self._repositories: dict[Digest, dict[str, None]] = {}
        #: The repositories that had nothing when they were looked at; they have what this run has sent.
        self._new: dict[str, bool] = {}
        #: The blobs that were sent, to any repository.
        self._sent: set[Digest] = set()
        #: The repositories whose word about blobs was wrong.
        self._doubted: set[str] = set()
        #: False when the registry has not mounted a blob: it is asked first then, or an upload is begun for nothing.
        self._mounts = True
        #: False when the registry refuses to mount a blob from the repository that is to have it.
        self._asks_by_mount = True

    def doubt(self, repository: str) -> None:
        """Forget which blobs a repository has: it said so, or mounted them, but refused a manifest that names them.

        From now on each blob that it needs is sent, once, without a question.
        """
        if repository not in self._doubted:
            self._doubted.add(repository)
            for repositories in self._repositories.values():
                repositories.pop(repository, None)

    def doubted(self, repository: str) -> bool:
        """Tell whether the word of a repository was wrong in this run."""
        return repository in self._doubted

    def is_doubtful(self, repository: str, blobs: Iterable[Descriptor]) -> bool:
        """Tell whether all that is known of these blobs is the word of the registry: none of them was sent."""
        return repository in self._doubted or self._sent.isdisjoint(blob.digest for blob in blobs)

    async def look(self, image: Reference, rank: Rank) -> None:
        """Ask once whether the repository of an image exists: one that is new is not asked for content."""

        async def ask() -> None:
            try:
                self._new[image.repository] = await self._client.is_new(image, Ticket(rank))
            except RegistryError:
                self._new[image.repository] = False  # a login that may push need not be allowed to list

        if image.repository not in self._new:
            await self._flights.join(("repository", image.repository), ask)

    def note_new(self, repository: str, *, is_new: bool) -> None:
        """Note what another process has found out about a repository."""
        self._new.setdefault(repository, is_new)

    def note_sent(self, blob: Descriptor) -> None:
        """Note that another process has sent a blob."""
        self._sent.add(blob.digest)

    def has_sent(self, blob: Descriptor) -> bool:
        """Tell whether a blob was sent, to any repository."""
        return blob.digest in self._sent

    def is_new(self, repository: str) -> bool:
        """Tell whether a repository had nothing when it was looked at."""
        return self._new.get(repository, False)

    def holds(self, repository: str, blobs: Iterable[Descriptor]) -> None:
        """Note that a repository of the registry has blobs: they are mounted from there."""
        if repository not in self._doubted:
            for blob in blobs:
                self._repositories.setdefault(blob.digest, {}).setdefault(repository)

    async def has(self, image: Reference, blob: Descriptor, rank: Rank) -> bool:
        """Ask whether a blob is in the repository of an image; raises HangarError."""
        repositories = self._repositories.setdefault(blob.digest, {})
        if image.repository in repositories:
            return True
        if image.repository in self._doubted or self.is_new(image.repository):
            return False
        if not await self._client.has_blob(image, blob, Ticket(rank)):
            return False
        if image.repository in self._doubted:
            return False  # since the question was asked
        repositories[image.repository] = None
        self._found(blob)
        return True

    def _found(self, blob: Descriptor) -> None:
        self.sent.present_blobs += 1
        self.sent.present_bytes += blob.size
        self._observe(BlobReused(blob.digest, blob.size))

    async def push(self, image: Reference, blob: Descriptor, rank: Rank) -> None:
        """Bring a blob into the repository of an image; raises HangarError."""
        # Two images of one repository may need it at the same moment.
        await self._flights.join((image.repository, blob.digest), partial(self._push, image, blob, rank))

    async def _push(self, image: Reference, blob: Descriptor, rank: Rank) -> None:
        repositories = self._repositories.setdefault(blob.digest, {})
        if image.repository in self._doubted and image.repository not in repositories:
            await self.send(image, blob, rank)
        is_asked = not self._mounts
        if is_asked and await self.has(image, blob, rank):
            return
        while not repositories:
            is_leader = False

            async def upload() -> None:
                nonlocal is_leader
                is_leader = True
                if is_asked or not await self.has(image, blob, rank):
                    await self._bring(image, blob, rank)

            try:
                await self._flights.join(blob.digest, upload)
            except HangarError:
                if is_leader:
                    raise
        if image.repository not in repositories:
            # Without a question: the answer says whether the blob is there.
            await self._mount(image, blob, next(iter(repositories)), rank)
            repositories[image.repository] = None

    async def send(self, image: Reference, blob: Descriptor, rank: Rank, source: OpenPieces | None = None) -> None:
        """Send a blob to the repository of an image, whatever it has; raises HangarError.

        Its bytes come from `source` where it is no blob of the layout.
        """
        # A repository without manifests is new for some registries, and may have blobs of a run that was killed.
        may_be_there = self.is_new(image.repository) and image.repository not in self._doubted and source is None
        await self._send(self._client.upload(image, blob, may_be_there=may_be_there), rank, source)
        self._repositories.setdefault(blob.digest, {})[image.repository] = None
        await self._state.note_holder(image, blob)

    async def _bring(self, image: Reference, blob: Descriptor, rank: Rank) -> None:
        """Send a blob that this run has not sent yet, or mount it from where an earlier run has sent it.

        One that was on its way to another repository of the run goes on there.
        """
        begun = self._state.begun_in(image, blob, self.targets)
        holder = None if begun else await self._state.holder(image, blob)
        if holder is None:
            target = Reference(image.registry, begun) if begun not in (None, image.repository) else image
            await self.send(target, blob, rank)
            return
        await self._mount(image, blob, holder, rank, is_hint=True)
        self._repositories.setdefault(blob.digest, {})[image.repository] = None

    async def _mount(
        self, image: Reference, blob: Descriptor, source_repository: str, rank: Rank, *, is_hint: bool = False
    ) -> None:
        upload = await self._client.mount(image, blob, source_repository, Ticket(rank))
        if upload is None:
            self.sent.mounted_blobs += 1
            self.sent.mounted_bytes += blob.size
            self._observe(BlobReused(blob.digest, blob.size))
            return
        self._mounts = self._mounts and is_hint
        async with upload:
            if is_hint or not await self.has(image, blob, rank):
                await self._send(upload, rank)
                await self._state.note_holder(image, blob)

    async def _send(self, upload: Upload, rank: Rank, source: OpenPieces | None = None) -> None:
        blob, registry = upload.blob, upload.image.registry
        open_pieces = source or partial(self._source.read, blob)
        async with upload:
            while not upload.complete:
                host = "" if source else self._source.host(blob)
                try:
                    send = partial(self._send_once, upload, rank, open_pieces)
                    await self._client.send(upload, Ticket(rank), send, host)
                except HangarError as error:
                    is_refused = isinstance(error, DigestMismatch)
                    damage = await self._source.damage(blob) if is_refused else ""
                    is_of_target = source is not None or (is_refused and not damage)
                    if not is_of_target and self._source.give_up(blob, error, registry):
                        continue
                    if damage:
                        raise DigestMismatch(damage, digest=str(blob.digest), advice=self._source.advice) from error
                    raise
        if upload.was_there:
            self._found(blob)
            return
        self.sent.uploaded_blobs += 1
        self.sent.resumed_bytes += upload.resumed
        self._sent.add(blob.digest)

    async def _send_once(self, upload: Upload, rank: Rank, source: OpenPieces) -> None:
        blob = upload.blob
        self._observe(BlobStarted(blob.digest, blob.size, str(upload.image), upload.offset))
        upload.may_be_there = upload.may_be_there and self._asks_by_mount
        try:
            await upload.send(partial(self._pieces, blob, rank, source))
        except (NetworkError, SourceError) as error:
            if error.gained < LEAST_GAIN:
                error.gained = 0
            raise
        finally:
            self._asks_by_mount = self._asks_by_mount and not upload.mount_refused
            self._observe(BlobEnded(blob.digest, blob.size, upload.complete))

    async def _pieces(self, blob: Descriptor, rank: Rank, source: OpenPieces, start: int) -> Pieces:
        done = start
        async with aclosing(source(start)) as pieces:
            async for piece in pieces:
                # Before it is sent: after the last piece nothing more is asked for.
                await self._rate.take(len(piece))
                done += len(piece)
                self.sent.uploaded_bytes += len(piece)
                self._client.usage.count(rank, len(piece))
                self._observe(BlobProgress(blob.digest, len(piece), done))
                yield piece
