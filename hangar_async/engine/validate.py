"""`load-validate`, and the comparison after `save`: whether a registry has the images of a layout, by their digests."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hangar_async.config.registries import NO_MIRRORS, Mirrors
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.events import ComparisonEnded, Observer, ignore
from hangar_async.engine.limits.client import LimitedClient, ask_mirrors_first
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.queue import Rank, Ticket, planning_rank
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.engine.push.run import LoadRun
from hangar_async.engine.reporting.journal import reported
from hangar_async.engine.reports import Comparison, ComparisonReport, ImageOutcome
from hangar_async.engine.standard_input import source_path
from hangar_async.errors import ContentError, Differs, HangarError, the_error
from hangar_async.layout.images import LayoutImages, read_images
from hangar_async.oci import Descriptor, Digest, Document, Image, Index, Reference, is_referrers_tag, walk
from hangar_async.tasks import each
from hangar_async.threads import Interrupt

#: Images that are compared at once; their requests wait for permits.
_MAX_IMAGES_AT_ONCE = 40
#: Manifests of one image that are asked for at once.
_MAX_HEADS_AT_ONCE = 20


async def load_validate(
    options: LoadOptions, observer: Observer = ignore, *, clock: Clock | None = None
) -> ComparisonReport:
    """Compare by digests the images of an archive, a cache directory or any OCI image layout with those of a registry.

    Nothing is sent. An image that differs is an outcome in the report. Raises as `load` does.
    """
    options = replace(options, dry_run=False)
    async with (
        reported("load-validate", options, observer) as journal,
        source_path(options.source, options.spool) as path,
    ):
        run = await LoadRun.prepare(replace(options, source=path), journal.observe, clock or Clock())
        return journal.completed(await _validate(run))


async def _validate(run: LoadRun) -> ComparisonReport:
    try:
        async with run.clients(push=False) as (_, client):
            comparer = Comparer(client)

            async def compare(number: int, image: Image, target: Reference) -> Comparison:
                digest = await comparer.compare(image, target, number)
                for referrer in run.selection.referrers_of(image):
                    name = Reference(target.registry, target.repository, referrer.reference.tag, referrer.digest)
                    await comparer.compare(referrer, name, number)
                return Comparison(image, target, digest=digest)

            comparisons = await run.each(client, compare, Comparison)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    failed_list = await run.write_failed_list(comparisons)
    report = ComparisonReport(
        source=run.options.source,
        destination=run.options.target,
        comparisons=comparisons,
        seconds=run.seconds,
        failed_list=failed_list,
        notices=tuple(run.notices),
    )
    run.observe(ComparisonEnded(report))
    return report


async def compare_saved(
    outcomes: Iterable[ImageOutcome], output: Path, client: LimitedClient, mirrors: Mirrors
) -> list[ImageOutcome]:
    """Compare saved images, as they are read back from the output, with the present ones of their source.

    Returns the outcomes, those that differ with an error. Raises ArchiveError, ContentError and StorageError where the
    output cannot be read.
    """
    images = {image.name: image for image in (await _read_back(output)).images}
    comparer = Comparer(client, mirrors)
    images_at_once = asyncio.Semaphore(_MAX_IMAGES_AT_ONCE)

    async def compare(number: int, outcome: ImageOutcome) -> ImageOutcome:
        if outcome.image is None:
            return outcome
        image = images.get(outcome.image.name)
        async with images_at_once:
            try:
                if image is None:
                    raise Differs(f"it is not in {output}", advice="save it again")
                await comparer.compare(image, image.reference, number)
            except (HangarError, ExceptionGroup) as error:
                return replace(outcome, error=the_error(error))
        return outcome

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(compare(number, outcome)) for number, outcome in enumerate(outcomes)]
    return [task.result() for task in tasks]


async def _read_back(output: Path) -> LayoutImages:
    interrupt = Interrupt()
    return await interrupt.in_thread(lambda: read_images(layout_at(output, find_archive(output, interrupt), interrupt)))


class Comparer:
    """Compares manifests of images with those of a registry, or of its mirrors first; blobs are not compared.

    Equal manifests name equal blobs, and a registry takes no manifest whose blobs it lacks.
    """

    def __init__(self, client: LimitedClient, mirrors: Mirrors = NO_MIRRORS) -> None:
        self._client = client
        self._mirrors = mirrors

    async def compare(self, image: Image, target: Reference, number: int) -> Digest | None:
        """Compare an image with the image of its name at the target, and return the digest of the name there.

        Raises Differs, or the error that prevents the comparison.
        """
        if image.problems:
            raise ContentError(
                image.problems[0], advice="get the archive again; verify names everything that is damaged"
            )
        root, rank = image.root_document(), planning_rank(number)
        nodes = walk(root.descriptor, {**image.documents, root.digest: root}) if isinstance(root, Index) else ()
        entries = [node.descriptor for node in nodes if not node.is_blob and node.descriptor.digest != root.digest]

        async def head(entry: Descriptor) -> Descriptor | None:
            return await self._head(target, entry.digest, rank)

        async with asyncio.TaskGroup() as group:
            tag = group.create_task(self._compare_tag(image, root, target, rank))
            heads = group.create_task(each(entries, head, _MAX_HEADS_AT_ONCE))
        answers = zip(entries, heads.result(), strict=True)
        missing = [f"{_entry_name(entry)} is not there" for entry, answer in answers if answer is None]
        existing, differences = tag.result()
        if differences := [*differences, *missing]:
            raise Differs("; ".join(differences), advice="bring it there again")
        return existing

    async def _compare_tag(
        self, image: Image, root: Document, target: Reference, rank: Rank
    ) -> tuple[Digest | None, list[str]]:
        """Return the digest of the tag, and the differences of its image, whose index may have more platforms."""
        existing = await self._head(target, None, rank)
        digest = None if existing is None else existing.digest
        return digest, await self._differences(image, root, target, existing, rank)

    async def _differences(
        self, image: Image, root: Document, target: Reference, existing: Descriptor | None, rank: Rank
    ) -> list[str]:
        if existing is not None and existing.digest in (root.digest, image.original):
            return []
        if existing is not None and isinstance(root, Index):
            other = await self._target_index(target, rank)
            if other is not None and _digests(root) <= _digests(other):
                return []
        if is_referrers_tag(target.tag) and await self._head(target, root.digest, rank) is not None:
            return []  # the list of its referrers has the tag
        if existing is None:
            return ["it is not there"]
        return [f"there it is {existing.digest}, here {image.original or root.digest}"]

    async def _head(self, target: Reference, digest: Digest | None, rank: Rank) -> Descriptor | None:
        async def ask(source: Reference, mirror: bool) -> Descriptor | None:
            return await self._client.head_manifest(source, digest, Ticket(rank), alternatives=mirror)

        return await ask_mirrors_first(self._mirrors.sources(target), ask)

    async def _target_index(self, target: Reference, rank: Rank) -> Index | None:
        async def ask(source: Reference, mirror: bool) -> Document | None:
            return (await self._client.get_document(source, Ticket(rank), alternatives=mirror))[0]

        try:
            document = await ask_mirrors_first(self._mirrors.sources(target), ask)
        except ContentError:
            return None
        return document if isinstance(document, Index) else None


def _digests(index: Index) -> set[Digest]:
    return {entry.digest for entry in index.manifests}


def _entry_name(entry: Descriptor) -> str:
    return f"{entry.platform}, manifest {entry.digest}," if entry.platform else f"manifest {entry.digest}"
