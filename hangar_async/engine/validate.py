"""`load-validate`, and the comparison after `save`: whether a registry has the images of a layout, by their digests."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hangar_async.config.registries import Mirrors
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.compare import Comparer
from hangar_async.engine.events import ComparisonEnded, Observer, ignore
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.engine.push.run import LoadRun
from hangar_async.engine.reporting.journal import reported
from hangar_async.engine.reports import Comparison, ComparisonReport, ImageOutcome
from hangar_async.engine.standard_input import source_path
from hangar_async.errors import Differs, HangarError, the_error
from hangar_async.layout.images import LayoutImages, read_images
from hangar_async.oci import Image, Reference
from hangar_async.threads import Interrupt

#: Images that are compared at once; their requests wait for permits.
_MAX_IMAGES_AT_ONCE = 40


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
