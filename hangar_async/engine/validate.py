"""Whether a registry has what lies in an archive: at the far side after `load`, at the source after `save`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from hangar_async.config.mirrors import NO_MIRRORS, Mirrors
from hangar_async.config.options import LoadOptions
from hangar_async.engine.events import Observer, ignore
from hangar_async.engine.limits.clock import Clock
from hangar_async.engine.limits.queue import Rank, Ticket, planning_rank
from hangar_async.engine.limits.retry import Retrier
from hangar_async.engine.open_layout import find_archive, layout_at, read_images
from hangar_async.engine.push.run import LoadRun
from hangar_async.engine.reports import Comparison, ComparisonReport, ImageOutcome
from hangar_async.errors import ContentError, Differs, HangarError, the_error
from hangar_async.layout.images import Catalog, HeldImage, root_of
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor, Index, Manifest, parse_manifest
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.threads import Interrupt

#: Images that are compared at once; their requests wait for permits.
_ABREAST = 40


async def load_validate(
    options: LoadOptions, observer: Observer = ignore, *, clock: Clock | None = None
) -> ComparisonReport:
    """Compare by digests what an archive, a cache directory or any OCI image layout holds with what a registry has.

    Nothing is sent. An image that differs is an outcome in the report. Raises as `load` does.
    """
    run = await LoadRun.prepare(replace(options, dry_run=False), observer, clock or Clock())
    try:
        async with run.client() as client:
            comparer = Comparer(client, run.retrier, run.selection.documents)

            async def one(number: int, image: HeldImage, where: Reference) -> Comparison:
                await comparer.compare(image, where, number)
                return Comparison(image, where)

            comparisons = await run.each(one, Comparison)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    failed = [one.image for one in comparisons if not one.ok]
    await run.write_failed(failed)
    return ComparisonReport(
        source=options.source,
        destination=options.where,
        comparisons=comparisons,
        seconds=run.seconds,
        failed_list=options.failed if failed else None,
        notices=tuple(run.notices),
    )


async def compare_saved(
    outcomes: Iterable[ImageOutcome], written: Path, client: RegistryClient, retrier: Retrier, mirrors: Mirrors
) -> list[ImageOutcome]:
    """Compare saved images, as they are read back from where they were written, with what their source has now.

    Returns the outcomes, those that differ with an error. Raises ArchiveError, ContentError and StorageError where
    what was written cannot be read.
    """
    catalog = await _read_back(written)
    held = {image.name: image for image in catalog.images}
    comparer = Comparer(client, retrier, catalog.documents, mirrors)
    abreast = asyncio.Semaphore(_ABREAST)

    async def one(number: int, outcome: ImageOutcome) -> ImageOutcome:
        if outcome.image is None:
            return outcome
        image = held.get(outcome.image.reference.cache_name)
        async with abreast:
            try:
                if image is None:
                    raise Differs(f"it is not in {written}", advice="save it again")
                await comparer.compare(image, image.reference, number)
            except (HangarError, ExceptionGroup) as error:
                return replace(outcome, error=the_error(error))
        return outcome

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number, outcome)) for number, outcome in enumerate(outcomes)]
    return [task.result() for task in tasks]


async def _read_back(written: Path) -> Catalog:
    interrupt = Interrupt()

    def read() -> Catalog:
        return read_images(layout_at(written, find_archive(written), interrupt))

    return await interrupt.in_thread(read)


_T = TypeVar("_T")
Documents = Mapping[Digest, Manifest | Index]


class Comparer:
    """Asks a registry, or its mirrors first, for the manifests of images; no blob is asked for.

    Equal manifests name equal blobs, and a registry takes no manifest whose blobs it lacks.
    """

    def __init__(
        self, client: RegistryClient, retrier: Retrier, documents: Documents, mirrors: Mirrors = NO_MIRRORS
    ) -> None:
        self._client = client
        self._retrier = retrier
        self._documents = documents
        self._mirrors = mirrors

    async def compare(self, image: HeldImage, where: Reference, number: int) -> None:
        """Compare an image with what its name stands for there: raises Differs, or what keeps it from being known."""
        if image.problems:
            raise ContentError(image.problems[0], advice="get the archive anew; verify names all that is damaged")
        root, rank = root_of(image, self._documents), planning_rank(number)
        entries = list(_below(root, self._documents)) if isinstance(root, Index) else []
        async with asyncio.TaskGroup() as group:
            named = group.create_task(self._name(image, root, where, rank))
            asked = [(entry, group.create_task(self._head(where, entry.digest, rank))) for entry in entries]
        lacking = [f"{_called(entry)} is not there" for entry, task in asked if task.result() is None]
        if problems := [*named.result(), *lacking]:
            raise Differs("; ".join(problems), advice="bring it there again")

    async def _name(self, image: HeldImage, root: Manifest | Index, where: Reference, rank: Rank) -> list[str]:
        """Say what is wrong with what the name stands for: one index may hold more platforms than this one."""
        there = await self._head(where, None, rank)
        if there is None:
            return ["it is not there"]
        if there.digest in (root.digest, image.original):
            return []
        if isinstance(root, Index):
            other = await self._index(where, rank)
            if other is not None and _digests(root) <= _digests(other):
                return []
        return [f"there it is {there.digest}, here {image.original or root.digest}"]

    async def _head(self, where: Reference, digest: Digest | None, rank: Rank) -> Descriptor | None:
        what = f"manifest {digest.short if digest else where.tag} of {where.name}"
        return await self._first(where, what, rank, lambda source: self._client.head_manifest(source, digest))

    async def _index(self, where: Reference, rank: Rank) -> Index | None:
        served = await self._first(where, f"manifest {where.tag} of {where.name}", rank, self._client.get_manifest)
        with suppress(ContentError):
            document = None if served is None else parse_manifest(served.raw, served.content_type)
            return document if isinstance(document, Index) else None
        return None

    async def _first(
        self, where: Reference, what: str, rank: Rank, ask: Callable[[Reference], Awaitable[_T | None]]
    ) -> _T | None:
        """Return what the first of all sources has, None where none has it; raises the registry's HangarError."""
        *mirrors, registry = self._mirrors.sources(where)
        for mirror in mirrors:
            with suppress(HangarError):
                found = await self._retrier.run(what, mirror.registry, Ticket(rank), partial(ask, mirror), others=True)
                if found is not None:
                    return found
        return await self._retrier.run(what, registry.registry, Ticket(rank), partial(ask, registry))


def _below(index: Index, documents: Documents, depth: int = 0) -> Iterator[Descriptor]:
    for entry in index.manifests:
        yield entry
        below = documents.get(entry.digest)
        if isinstance(below, Index) and depth < 10:
            yield from _below(below, documents, depth + 1)


def _digests(index: Index) -> set[Digest]:
    return {entry.digest for entry in index.manifests}


def _called(entry: Descriptor) -> str:
    return f"{entry.platform}, manifest {entry.digest}," if entry.platform else f"manifest {entry.digest}"
