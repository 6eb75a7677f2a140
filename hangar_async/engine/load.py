"""`load`: images of an archive, read in place, into a registry."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import cast

from hangar_async.config.target_options import LoadOptions
from hangar_async.disk import Disk
from hangar_async.engine.events import ImagePlanned, LoadEnded, Observer, ignore
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.rate import RateLimit
from hangar_async.engine.open_layout import layer_store
from hangar_async.engine.outputs import check_directory
from hangar_async.engine.push.blobs import BlobPusher
from hangar_async.engine.push.image import ImagePusher, PushOptions
from hangar_async.engine.push.projects import make_projects
from hangar_async.engine.push.run import LoadRun, Named, Selection
from hangar_async.engine.push.sources import BlobSource, LayoutBlobs
from hangar_async.engine.push.spool import Spool
from hangar_async.engine.reporting.journal import reported
from hangar_async.engine.reports import LoadOutcome, LoadReport, Sent
from hangar_async.engine.standard_input import source_path
from hangar_async.errors import Conflict, HangarError, the_error
from hangar_async.layout.files import SeekableLayout
from hangar_async.oci import Digest, Image, Reference
from hangar_async.singleflight import SingleFlight
from hangar_async.tasks import each
from hangar_async.threads import in_thread


async def load(options: LoadOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> LoadReport:
    """Push the images of an archive, a cache directory, or any OCI image layout into a registry, byte for byte.

    Blobs are read in place; each digest is sent once, and mounted in further repositories. An image that fails is an
    outcome in the report. Raises UsageError before any request, ArchiveError and ContentError for a source that cannot
    be read, RegistryErrors and NetworkError where the registry does not answer at all.
    """
    async with (
        reported("load", options, observer) as journal,
        source_path(options.source, _spool(options)) as path,
        layer_store(_spool(options), Disk()) as store,
    ):
        # A dry run reads each layer once.
        kept_in = None if options.dry_run else store
        run = await LoadRun.prepare(replace(options, source=path), journal.observe, clock or Clock(), kept_in)
        _report_plan(run)
        return journal.completed(await _load(run))


async def _load(run: LoadRun) -> LoadReport:
    if run.options.dry_run:
        return await _report(run, [LoadOutcome(*named, "planned") for named in run.selection.images], Sent())
    try:
        outcomes, sent = await _push(run)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    return await _report(run, outcomes, sent)


async def _push(run: LoadRun) -> tuple[tuple[LoadOutcome, ...], Sent]:
    options = run.options
    if not run.selection.is_seekable:
        await in_thread(check_directory, _spool(options), "--spool", is_made=False)
    async with run.clients(push=True) as (registry_client, client):
        await make_projects(options, registry_client, client, [target for _, target in run.selection.images])
        async with _open_source(run) as source, SingleFlight() as flights:
            rate = RateLimit(options.environment.destinations.limit_rate, run.clock)
            blobs = BlobPusher(client, flights, rate, source, run.observe)
            images = ImagePusher(client, blobs, PushOptions(options.index_mode, options.platform_tags))
            numbered = list(_numbered(run.selection))
            for _, (image, target) in numbered:
                images.expect(image, target)
            decided = await _decide_tags(run, images)
            numbered = [one for one in numbered if one[0] not in decided]
            if isinstance(source, Spool):
                await source.feed(numbered, images, blobs)

            async def push(number: int, image: Image, target: Reference) -> LoadOutcome:
                if (outcome_or_error := decided.get(number)) is not None:
                    if isinstance(outcome_or_error, LoadOutcome):
                        return outcome_or_error
                    raise outcome_or_error
                referrers = run.selection.referrers_of(image)
                try:
                    outcome = await images.push(image, target, number, referrers)
                except (HangarError, ExceptionGroup) as group:
                    if not images.doubts(image, target, number, the_error(group)):
                        raise
                    if isinstance(source, Spool):
                        # One pass for all images that need it.
                        same = [one for one in numbered if one[1][1].repository == target.repository]
                        await source.feed(same, images, blobs)
                    outcome = await images.push(image, target, number, referrers)
                if outcome.replaced is not None:
                    name = f"{target.name}:{target.tag}"
                    run.notice(f"{name} was {outcome.replaced}, and is {outcome.digest} now")
                return outcome

            return await run.each(client, push, _failed), blobs.sent


def _numbered(selection: Selection) -> Iterator[tuple[int, Named]]:
    """Return the images and their referrers, these with the number and the target of theirs."""
    for number, (image, target) in enumerate(selection.images):
        for one in (image, *selection.referrers_of(image)):
            yield number, (one, target)


async def _decide_tags(run: LoadRun, images: ImagePusher) -> dict[int, LoadOutcome | HangarError]:
    """Find the images whose tags name others there, by their places, with what becomes of them; none to overwrite."""
    decided: dict[int, LoadOutcome | HangarError] = {}
    if run.options.on_existing_tag == "overwrite":
        return decided

    async def decide(numbered: tuple[int, Named]) -> None:
        number, (image, target) = numbered
        try:
            existing = None if image.problems else await images.replaced(image, target, number)
        except (HangarError, ExceptionGroup) as error:
            decided[number] = the_error(error)
            return
        if existing is not None:
            decided[number] = _existing_tag(run.options, image, target, existing.digest)

    await each(list(enumerate(run.selection.images)), decide, 2 * run.options.limits.requests)
    return decided


def _existing_tag(options: LoadOptions, image: Image, target: Reference, there: Digest) -> LoadOutcome | HangarError:
    digest = image.original or image.root_document().digest
    text = f"{target.name}:{target.tag} is {there} there, and {digest} here"
    if options.on_existing_tag == "skip":
        return LoadOutcome(image, target, "kept", there, note=text)
    return Conflict(text, advice="load it with --on-existing-tag overwrite, or below another prefix")


@asynccontextmanager
async def _open_source(run: LoadRun) -> AsyncIterator[BlobSource]:
    selection, options = run.selection, run.options
    if selection.is_seekable:
        yield LayoutBlobs(cast("SeekableLayout", selection.layout))
        return
    async with Spool.opened(selection.layout, _spool(options), options.limits.requests, run.disk) as spool:
        yield spool


def _spool(options: LoadOptions) -> Path:
    return options.spool or Path(gettempdir())


def _report_plan(run: LoadRun) -> None:
    seen: set[Digest] = set()
    for image, _ in run.selection.images:
        contents = (content for one in (image, *run.selection.referrers_of(image)) for content in one.contents)
        new = [content for content in dict.fromkeys(contents) if content.digest not in seen]
        seen.update(content.digest for content in new)
        size = sum(content.size for content in new)
        run.observe(ImagePlanned(image.name, len(image.platforms), len(new), size))


def _failed(image: Image, target: Reference, error: HangarError) -> LoadOutcome:
    return LoadOutcome(image, target, "failed", error=error)


async def _report(run: LoadRun, outcomes: Sequence[LoadOutcome], sent: Sent) -> LoadReport:
    options = run.options
    report = LoadReport(
        source=options.source,
        destination=options.target,
        outcomes=tuple(outcomes),
        sent=sent,
        seconds=run.seconds,
        dry=options.dry_run,
        failed_list=None if options.dry_run else await run.write_failed_list(outcomes),
        effort=None if run.effort is None else run.effort(),
        notices=tuple(run.notices),
    )
    run.observe(LoadEnded(report))
    return report
