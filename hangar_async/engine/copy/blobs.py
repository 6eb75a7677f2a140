"""Blobs of registries, as a source for others: they are streamed, and never stored."""

from collections.abc import Iterable
from contextlib import aclosing
from functools import partial

from hangar_async.config.registries import Mirrors, RetryPolicy
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.hosts import Clock, backoff
from hangar_async.engine.push.blobs import Pieces
from hangar_async.errors import DigestMismatch, HangarError, NetworkError, NotFound, RegistryError
from hangar_async.oci import Descriptor, Digest, Reference, Verifier
from hangar_async.registry.client import RegistryClient
from hangar_async.threads import in_thread

#: The seconds that a target waits, in one upload, for a source that broke off: some registries give up after a minute.
_PATIENCE = 30.0


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
        #: The repositories that name each blob, by name, without those that do not give it.
        self._sources: dict[Digest, dict[str, Reference]] = {}
        self._errors: dict[Digest, HangarError] = {}

    def offer(self, blobs: Iterable[Descriptor], image: Reference) -> None:
        """Offer the repository of an image, and its mirrors, as sources of blobs."""
        for blob in blobs:
            sources = self._sources.setdefault(blob.digest, {})
            for source in self._mirrors.sources(image):
                sources.setdefault(source.name, source)

    def host(self, blob: Descriptor) -> str:
        """Return the registry that a blob is read from next."""
        return next((source.registry for source in self._sources[blob.digest].values()), "")

    def gone(self, blobs: Iterable[Descriptor]) -> dict[Digest, NotFound]:
        """Return the answers for those of the blobs that no source has."""
        errors = {blob.digest: self._errors.get(blob.digest) for blob in blobs if not self._sources[blob.digest]}
        return {digest: error for digest, error in errors.items() if isinstance(error, NotFound)}

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
                part, skipped = memoryview(piece)[skipped:], max(0, skipped - len(piece))
                if part:
                    yield part

    async def _read(self, blob: Descriptor, start: int) -> Pieces:
        position, failures, waited = start, 0, 0.0
        while True:
            source, before = self._source(blob), position
            try:
                async with self._client.open_blob(source, blob, position) as body:
                    skipped = position - body.start
                    async for piece in body.pieces():
                        # A source without ranges begins with the first byte.
                        part, skipped = memoryview(piece)[skipped:], max(0, skipped - len(piece))
                        if part:
                            position += len(part)
                            yield part
                return
            except NetworkError as error:
                failures = 1 if position > before else failures + 1
                waited = 0.0 if position > before else waited
                pause = backoff(self._policy, failures)
                if not error.transient or failures > self._policy.retries or waited + pause > _PATIENCE:
                    raise
            except RegistryError as error:
                if error.transient or not self._drop(blob, source, error):
                    raise
                continue
            waited += pause
            await self._clock.sleep(pause)

    def _source(self, blob: Descriptor) -> Reference:
        """Return the next source of a blob; raises the error of the last one where none is left."""
        for source in self._sources[blob.digest].values():
            return source
        raise self._errors[blob.digest]

    def _drop(self, blob: Descriptor, source: Reference, error: RegistryError) -> bool:
        """Leave out a source that does not give a blob; tell whether another one is left."""
        self._sources[blob.digest].pop(source.name, None)
        self._errors[blob.digest] = error
        return bool(self._sources[blob.digest])

    async def damage(self, blob: Descriptor) -> str:
        """Read a blob once more, and return its damage at the source, "" for none."""
        source = self._source(blob)
        subject = f"blob {blob.digest.short} of {source.name}"
        return await self._limited.call(subject, source.registry, partial(self._damage, blob, source))

    async def _damage(self, blob: Descriptor, source: Reference) -> str:
        verifier = Verifier(blob.digest, blob.size, f"blob {blob.digest} of {source.name}")
        try:
            async with aclosing(self.read(blob, 0)) as pieces:
                async for piece in pieces:
                    await in_thread(verifier.update, piece)
            verifier.finish()
        except DigestMismatch as error:
            return str(error)
        return ""
