"""`load`: images out of an archive, where it lies, into a registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from hangar_async.config.options import LoadOptions
from hangar_async.engine.events import ImagePlanned, LoadEnded, Observer, ignore
from hangar_async.engine.limits.clock import Clock, RateLimit
from hangar_async.engine.limits.queue import Ticket
from hangar_async.engine.push.blob_source import LayoutBlobs
from hangar_async.engine.push.blobs import BlobPusher, BlobSource
from hangar_async.engine.push.image import ImagePusher, PushOptions
from hangar_async.engine.push.run import LoadRun
from hangar_async.engine.push.spool import Spool
from hangar_async.engine.reports import LoadOutcome, LoadReport, Sent
from hangar_async.errors import HangarError, the_error
from hangar_async.layout.images import HeldImage
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.harbor import HarborProjects


async def load(options: LoadOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> LoadReport:
    """Push the images of an archive, a cache directory, or any OCI image layout into a registry, byte for byte.

    Blobs are read where they lie; each digest is sent once, and mounted in further repositories. An image that fails
    is an outcome in the report. Raises UsageError before any request, ArchiveError and ContentError for what cannot be
    read, RegistryErrors and NetworkError where the registry takes nothing at all.
    """
    run = await LoadRun.prepare(options, observer, clock or Clock())
    _tell_plan(run)
    if options.dry_run:
        return _report(run, tuple(LoadOutcome(*named, "planned") for named in run.named), Sent())
    try:
        outcomes, sent = await _push(run)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    await run.write_failed(outcome.image for outcome in outcomes if not outcome.ok)
    return _report(run, outcomes, sent)


async def _push(run: LoadRun) -> tuple[tuple[LoadOutcome, ...], Sent]:
    options, selection = run.options, run.selection
    async with run.client() as client:
        if options.harbor:
            await _make_projects(run, client)
        async with _source(run) as source:
            rate = RateLimit(options.environment.destinations.limit_rate, run.clock)
            pushing = BlobPusher(client, run.retrier, rate, source, run.observe)
            wishes = PushOptions(options.sparse_index, options.platform_tags)
            push = ImagePusher(pushing, client, selection.documents, selection.sizes, wishes)
            if isinstance(source, Spool):
                await source.feed(run.named, push, pushing)

            async def one(number: int, image: HeldImage, where: Reference) -> LoadOutcome:
                outcome = await push.push(image, where, number)
                if outcome.replaced is not None:
                    name = f"{where.name}:{where.tag}"
                    run.notice(f"{name} was {outcome.replaced}, and is {outcome.digest} now")
                return outcome

            return await run.each(one, _failed), pushing.sent


@asynccontextmanager
async def _source(run: LoadRun) -> AsyncIterator[BlobSource]:
    if run.selection.seekable is not None:
        yield LayoutBlobs(run.selection.seekable)
        return
    async with Spool.opened(run.selection.layout, run.options.spool, run.options.permits) as spool:
        yield spool


async def _make_projects(run: LoadRun, client: RegistryClient) -> None:
    """Make the projects of Harbor that are missing; a name in Harbor is PROJECT/NAME."""
    registry, options = run.registry, run.options
    harbor = HarborProjects(client, registry, https=options.harbor_https)
    for project in dict.fromkeys(where.repository.partition("/")[0] for _, where in run.named):
        what, ticket = f"project {project} of {registry}", Ticket((0,))
        if not await run.retrier.run(what, registry, ticket, partial(harbor.exists, project)):
            create = partial(harbor.create, project, public=options.harbor_public)
            await run.retrier.run(what, registry, ticket, create)


def _tell_plan(run: LoadRun) -> None:
    seen: set[Digest] = set()
    for image, _ in run.named:
        new = [one for one in image.contents if one.digest not in seen]
        seen.update(one.digest for one in new)
        run.observe(ImagePlanned(image.name, len(image.platforms), len(new), sum(one.size for one in new)))


def _failed(image: HeldImage, where: Reference, error: HangarError) -> LoadOutcome:
    return LoadOutcome(image, where, "failed", error=error)


def _report(run: LoadRun, outcomes: Sequence[LoadOutcome], sent: Sent) -> LoadReport:
    options = run.options
    report = LoadReport(
        source=options.source,
        destination=options.where,
        outcomes=tuple(outcomes),
        sent=sent,
        seconds=run.seconds,
        dry=options.dry_run,
        failed_list=options.failed if any(not outcome.ok for outcome in outcomes) else None,
        notices=tuple(run.notices),
    )
    run.observe(LoadEnded(report))
    return report
