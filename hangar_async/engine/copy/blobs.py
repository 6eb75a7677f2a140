"""Blobs of registries, as a source for others: they are streamed, and never stored."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass, field
from functools import partial

from hangar_async.config.registries import Mirrors, RetryPolicy
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.hosts import Clock, backoff, failure_at_host
from hangar_async.engine.pull.plan import Plan
from hangar_async.engine.push.blobs import LEAST_GAIN
from hangar_async.engine.push.sources import Pieces
from hangar_async.errors import DigestMismatch, HangarError, NetworkError, NotFound, RegistryError, SourceError, copied
from hangar_async.oci import Descriptor, Digest, Piece, Reference, Verifier
from hangar_async.registry.blobs import BlobBody, host_of
from hangar_async.registry.client import RegistryClient
from hangar_async.tasks import each
from hangar_async.threads import in_thread

#: The seconds that a target waits, in one upload, for a source that broke off: some registries give up after a minute.
_PATIENCE = 30.0
#: Blobs of one image that are looked for at once.
_MOST_ASKED_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class _Origin:
    """A place that gives a blob: its name, its host, and the way to open the blob there at a byte.

    A mirror is not waited for: where it fails, another place is asked.
    """

    name: str
    host: str
    open: Callable[[int], AbstractAsyncContextManager[BlobBody]] = field(repr=False)
    is_mirror: bool = False


class RegistryBlobs:
    """The blobs of images at registries, each from the first repository that gives it.

    The reader holds the place at the source, see `host`: a read makes no request under a permit of its own. With
    `verify` the bytes are hashed here, before the last of them is given.
    """

    advice = "the storage of the source is damaged: push the image there again, or tell its operator"

    def __init__(
        self,
        client: RegistryClient,
        limited: LimitedClient,
        mirrors: Mirrors,
        policy: RetryPolicy,
        clock: Clock,
        *,
        verify: bool = False,
    ) -> None:
        self._client = client
        self._limited = limited
        self._mirrors = mirrors
        self._policy = policy
        self._clock = clock
        self._verify = verify
        #: The places that may give each blob, by name, without those that did not; and the last error of these.
        self._origins: dict[Digest, dict[str, _Origin]] = {}
        self._dropped: dict[Digest, dict[str, HangarError]] = {}

    def offer(self, blobs: Iterable[Descriptor], image: Reference) -> None:
        """Offer the repository of an image, its mirrors, and the addresses of foreign layers, as sources of blobs."""
        for blob in blobs:
            *mirrors, registry = self._mirrors.sources(image)
            for source in (*mirrors, registry):
                opens = partial(self._client.open_blob, source, blob)
                self._offer(blob, _Origin(source.name, source.registry, opens, source is not registry))
            for url in blob.urls if blob.is_foreign else ():
                self._offer(blob, _Origin(url, host_of(url), partial(self._client.open_foreign, url, blob)))

    def _offer(self, blob: Descriptor, origin: _Origin) -> None:
        origins = self._origins.setdefault(blob.digest, {})
        if origin.name not in self._dropped.get(blob.digest, {}):
            origins.setdefault(origin.name, origin)

    def host(self, blob: Descriptor) -> str:
        """Return the host that a blob is read from next."""
        origin = self._next(blob)
        return "" if origin is None else origin.host

    def _next(self, blob: Descriptor) -> _Origin | None:
        """Return the next place that may give a blob, without mirrors that have just failed."""
        origins = self._origins[blob.digest].values()
        asked = (one for one in origins if not (one.is_mirror and self._limited.passes_over(one.host)))
        return next(asked, next(iter(origins), None))

    def gone(self, blobs: Iterable[Descriptor]) -> dict[Digest, NotFound]:
        """Return the answers for those of the blobs that no source has."""
        return {
            blob.digest: error
            for blob in blobs
            if not self._origins[blob.digest] and isinstance(error := self._last_error(blob), NotFound)
        }

    async def leave_out_gone(self, plan: Plan, image: Reference) -> None:
        """Leave out of a plan what only accompanies the image and is at no source any more; raises HangarError."""
        needed = plan.needed()
        blobs = [blob for blob in plan.image.blobs if blob.digest not in needed]
        self.offer(blobs, image)

        async def ask(blob: Descriptor) -> None:
            async with aclosing(self._read(blob, 0)) as pieces:
                await anext(pieces, b"")

        async def look(blob: Descriptor) -> None:
            with suppress(NotFound):
                await self._limited.call(f"blob {blob.digest.short}", self.host(blob), partial(ask, blob))

        await each(blobs, look, _MOST_ASKED_AT_ONCE)
        plan.leave_out(self.gone(blobs))

    def _last_error(self, blob: Descriptor) -> HangarError | None:
        return next(reversed(self._dropped.get(blob.digest, {}).values()), None)

    def read(self, blob: Descriptor, start: int) -> Pieces:
        """Read a blob from byte `start` on, in pieces of at most 0.5 MiB; the caller closes them.

        A source that breaks off is asked again for the rest, while the target waits. Raises the NetworkError or
        RegistryError of the last source, and DigestMismatch.
        """
        return self._verified(blob, start) if self._verify else self._read(blob, start)

    async def _verified(self, blob: Descriptor, start: int) -> Pieces:
        """Hash a blob from its first byte on, and give the bytes from `start` on."""
        verifier, skipped = Verifier(blob.digest, blob.size, f"blob {blob.digest} at its source"), start
        async with aclosing(self._read(blob, 0)) as pieces:
            async for piece in pieces:
                await in_thread(verifier.update, piece)
                if verifier.count == blob.size:
                    verifier.finish()
                part, skipped = _after(piece, skipped)
                if part:
                    yield part

    async def _read(self, blob: Descriptor, start: int) -> Pieces:
        position, failures, waited = start, 0, 0.0
        while True:
            origin, before = self._origin(blob), position
            try:
                async with origin.open(position) as body:
                    # A source without ranges begins with the first byte.
                    skipped = position - body.start
                    async for piece in body.pieces():
                        part, skipped = _after(piece, skipped)
                        if part:
                            position += len(part)
                            yield part
                return
            except (NetworkError, RegistryError, DigestMismatch) as error:
                if position - before >= LEAST_GAIN:
                    failures, waited = 0, 0.0
                failures += 1
                pause = backoff(self._policy, failures)
                if origin.is_mirror and self._drop(blob, origin, error):
                    self._limited.pass_over(origin.host, error)
                    failures, waited = 0, 0.0
                    continue
                is_break = isinstance(error, NetworkError) and error.transient
                if is_break and failures <= self._policy.retries and waited + pause <= _PATIENCE:
                    waited += pause
                    await self._clock.sleep(pause)
                    continue
                # An overloaded registry is left alone for a while, by all.
                is_overloaded = isinstance(error, RegistryError) and error.transient
                if is_overloaded or not self._drop(blob, origin, error):
                    if isinstance(error, NetworkError):
                        error.gained = 0  # its tries are used up
                    raise
                failures, waited = 0, 0.0

    def _origin(self, blob: Descriptor) -> _Origin:
        """Return the next place that may give a blob; raises the error of the last one where none is left."""
        if (origin := self._next(blob)) is not None:
            return origin
        error = self._last_error(blob)
        assert error is not None  # noqa: S101 - a blob that nothing offers is not read
        raise copied(error)

    def _drop(self, blob: Descriptor, origin: _Origin, error: HangarError) -> bool:
        """Leave out a place that does not give a blob, where another one is left, or for good where it has answered."""
        others = len(self._origins[blob.digest]) > (origin.name in self._origins[blob.digest])
        if others or not isinstance(error, NetworkError):
            self._origins[blob.digest].pop(origin.name, None)
            self._dropped.setdefault(blob.digest, {})[origin.name] = error
        return others

    def give_up(self, blob: Descriptor, error: HangarError, target: str) -> bool:
        """Leave out the source of a blob for an error of its own; tell whether another one is left."""
        failure, origin = failure_at_host(error), self._next(blob)
        is_its = isinstance(error, SourceError | DigestMismatch)
        if origin is not None and failure is not None and failure.host == origin.host != target:
            is_its = True
        return is_its and origin is not None and self._drop(blob, origin, error)

    async def damage(self, blob: Descriptor) -> str:
        """Read a blob once more, and return its damage at the source, "" for none."""
        origin = self._origin(blob)
        subject = f"blob {blob.digest.short} of {origin.name}"
        return await self._limited.call(subject, origin.host, partial(self._damage, blob, origin))

    async def _damage(self, blob: Descriptor, origin: _Origin) -> str:
        verifier = Verifier(blob.digest, blob.size, f"blob {blob.digest} of {origin.name}")
        try:
            async with origin.open(0) as body:
                async for piece in body.pieces():
                    await in_thread(verifier.update, piece)
            verifier.finish()
        except DigestMismatch as error:
            return str(error)
        except NetworkError as error:
            error.gained = 0  # the next try begins again
            raise
        return ""


def _after(piece: Piece, skipped: int) -> tuple[memoryview, int]:
    """Return what is left of a piece behind so many bytes, and how many more to skip."""
    return memoryview(piece)[skipped:], max(0, skipped - len(piece))
