"""`serve`: the images of an archive or a directory as a registry, read in place."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangar_async.config.options import ServeOptions
from hangar_async.engine.events import Answered, Listening, Notice, Observer, Reloaded, Served, ignore
from hangar_async.engine.open_layout import seekable_layout_at
from hangar_async.engine.serving.content import LayoutContent, Repositories, full_names, read_repositories
from hangar_async.engine.serving.reader import BlobReader
from hangar_async.errors import HangarError, UsageError
from hangar_async.layout.files import Layout, blob_name
from hangar_async.layout.images import read_images
from hangar_async.layout.manifest_loader import read_files
from hangar_async.oci import Digest, Image, ImageConfig, Manifest
from hangar_async.server import app
from hangar_async.server.connections import Limits
from hangar_async.server.page import Page, ShownImage
from hangar_async.server.security import Security
from hangar_async.threads import Interrupt, in_thread

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, StreamResponse

    from hangar_async.server.metrics import Metrics

_ALL = ("", "0.0.0.0", "::")  # noqa: S104 - the options name them
#: The seconds after which the files of TLS and of users are looked at again.
_INTERVAL = 5.0
#: Names and problems that are reported; the rest are counted.
_SHOWN = 5
#: Failures of one text are reported once, up to this number of texts.
_MAX_REPORTED = 1000
#: The page tells the age of so many images at most, from configs of so many bytes.
_MOST_DATED, _LARGEST_CONFIG = 2_000, 4 << 20


async def serve(options: ServeOptions, observer: Observer = ignore, *, reload: asyncio.Event | None = None) -> None:
    """Serve images until it is cancelled; open responses then have about two seconds to end.

    Certificate, key and users are read again when their files have changed, and when `reload` is set, which clears it.
    The observer gets `Listening` once images can be pulled, `Reloaded`, and a `Notice` of each blob that cannot be
    read any more. Raises UsageError, ListenError, ArchiveError and ContentError for a source that cannot be served,
    StorageError.
    """
    async with serving(options, observer, reload=reload):
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(
    options: ServeOptions, observer: Observer = ignore, *, reload: asyncio.Event | None = None
) -> AsyncIterator[Served]:
    """Serve images during the block, as `serve` does until it is cancelled."""
    security = await in_thread(Security, options.tls_cert, options.tls_key, options.htpasswd)
    interrupt = Interrupt()
    source = await interrupt.in_thread(_open, options, interrupt)
    for notice in _notices(options, source):
        observer(Notice(notice))
    host, port = options.address
    limits = Limits(per_address=options.max_per_address)
    metrics = None if options.metrics_address is None else _metrics()
    with closing(source.blobs):
        async with (
            _serving_metrics(metrics, options),
            app.serving(
                LayoutContent(source.repositories, source.blobs),
                host,
                port,
                tls=security.tls,
                users=security.users,
                page=source.page,
                failed=_Failures(observer),
                limits=limits,
                answered=_answered(options, metrics, observer),
            ) as address,
            _reading_again(security, reload or asyncio.Event(), observer),
        ):
            served = Served(address, _url(options, address), source.shown)
            observer(Listening(served))
            yield served


def _metrics() -> Metrics:
    from hangar_async.server.metrics import Metrics  # few want them

    return Metrics()


@asynccontextmanager
async def _serving_metrics(metrics: Metrics | None, options: ServeOptions) -> AsyncIterator[None]:
    if metrics is None or options.metrics_address is None:
        yield
        return
    async with metrics.serving(*options.metrics_address):
        yield


def _answered(
    options: ServeOptions, metrics: Metrics | None, observer: Observer
) -> Callable[[BaseRequest, StreamResponse, float], None] | None:
    """Return the function to call after each request; None where requests are neither counted nor shown."""
    if metrics is None and not options.access:
        return None

    def answered(request: BaseRequest, response: StreamResponse, seconds: float) -> None:
        if metrics is not None:
            metrics.answered(request, response, seconds)
        if options.access:
            agent, client = request.headers.get("User-Agent", ""), request.remote or ""
            size, path = response.body_length, request.raw_path
            observer(Answered(client, request.method, path, response.status, size, seconds, agent))

    return answered


@asynccontextmanager
async def _reading_again(security: Security, reload: asyncio.Event, observer: Observer) -> AsyncIterator[None]:
    """Read the files of TLS and of users again during the block."""
    async with AsyncExitStack() as stack:
        group = asyncio.TaskGroup()
        await group.__aenter__()
        # The group would wrap the exception of the block.
        stack.push_async_callback(group.__aexit__, None, None, None)
        task = group.create_task(_read_again(security, reload, observer))
        stack.callback(task.cancel)
        yield


async def _read_again(security: Security, reload: asyncio.Event, observer: Observer) -> None:
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_INTERVAL):
                await reload.wait()
        changed = not reload.is_set()
        reload.clear()
        for name, error in await in_thread(security.read_again, changed=changed):
            stays = f"{error}; {name} of the last reading stay in use"
            observer(Reloaded(name) if error is None else Notice(stays))


@dataclass(frozen=True, slots=True)
class _OpenSource:
    """The source of the options, ready to be served; `shown` are its images without their referrers."""

    images: tuple[Image, ...]
    shown: tuple[Image, ...]
    repositories: Repositories
    blobs: BlobReader
    page: Page


def _open(options: ServeOptions, check_interrupted: Callable[[], None]) -> _OpenSource:
    layout = seekable_layout_at(options.source, check_interrupted)
    catalog = read_images(layout)
    if not catalog.images:
        raise UsageError(f"there is no image in {options.source}: nothing can be served")
    repositories = read_repositories(catalog, layout.sizes())
    shown = tuple(image for image in catalog.images if image.attachment is None)
    created = _creation_days(layout, shown)
    sizes = {content.digest: content.size for image in catalog.images for content in image.contents}
    page = Page(
        options.source.resolve().name,
        [_shown(image, repositories, created) for image in shown],
        sum(sizes.values()),
    )
    return _OpenSource(catalog.images, shown, repositories, BlobReader(layout), page)


def _notices(options: ServeOptions, source: _OpenSource) -> Iterator[str]:
    """Make the notices about risks, incomplete images, and names that stand for several images."""
    host, _ = options.address
    own = host in ("localhost", "::1") or host.startswith("127.")
    if options.htpasswd is not None and options.tls_cert is None and not own:
        yield "passwords cross the network as they are: --tls-cert and --tls-key would hide them"
    broken = [f"{image.name} is incomplete: {image.problems[0]}" for image in source.images if image.problems]
    conflicts = [
        f"{conflict.name} is {conflict.first}; pull {conflict.second} with its registry in the name"
        for conflict in source.repositories.conflicts
    ]
    for texts, noun in ((broken, "image is incomplete"), (conflicts, "name stands for the first of several images")):
        yield from texts[:_SHOWN]
        if len(texts) > _SHOWN:
            yield f"{len(texts) - _SHOWN} more: {noun}"


def _url(options: ServeOptions, address: str) -> str:
    host, _, port = address.rpartition(":")
    name = socket.gethostname() if options.address[0] in _ALL else host
    return f"{'http' if options.tls_cert is None else 'https'}://{name}:{port}"


def _creation_days(layout: Layout, images: Sequence[Image]) -> dict[Digest, str]:
    """Read the days on which images were made, by the digests of their first configs; none of very many images."""
    configs = [image.configs[0] for image in images if image.configs] if len(images) <= _MOST_DATED else []
    names = {blob_name(config.digest): config.digest for config in configs}
    days: dict[Digest, str] = {}
    # A file that cannot be read is told to the client that wants it.
    with suppress(HangarError):
        for name, content in read_files(layout, names, _LARGEST_CONFIG):
            if isinstance(content, bytes):
                with suppress(HangarError):
                    days[names[name]] = _day(ImageConfig.parse(content, names[name]).created)
    return days


def _day(created: str) -> str:
    return created[:10] if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T", created) else ""


def _shown(image: Image, repositories: Repositories, created: Mapping[Digest, str]) -> ShownImage:
    reference = image.reference
    name = reference.repository
    if reference.tag is not None:
        # The name without a registry may stand for another image, which comes first in the list.
        own = repositories.by_registry[reference.registry.lower()][name].tags.get(reference.tag)
        if repositories.by_name[name].tags.get(reference.tag) != own:
            name = full_names(reference.registry.lower(), name)[0]
    pull = f"{name}:{reference.tag}" if reference.tag is not None else f"{name}@{reference.digest}"
    platforms = tuple(str(one.platform) for one in image.platforms if not one.platform.unknown)
    digest = "" if image.digest is None else str(image.digest)
    config = image.configs[0].digest if image.configs else None
    manifests = [image.documents.get(one.descriptor.digest) for one in image.platforms]
    layers = next((len(one.layers) for one in manifests if isinstance(one, Manifest) and one.is_image), 0)
    day = created.get(config, "") if config is not None else ""
    return ShownImage(image.name, digest, image.size, platforms, pull, not image.problems, layers, day)


class _Failures:
    """Reports each failure of reading once."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._reported: set[str] = set()

    def __call__(self, error: HangarError) -> None:
        text = str(error)
        if text not in self._reported and len(self._reported) < _MAX_REPORTED:
            self._reported.add(text)
            self._observer(Notice(f"{text}; {error.advice}"))
