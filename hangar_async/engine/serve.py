"""`serve`: saved images as a registry, from where they lie."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangar_async.config.options import ServeOptions
from hangar_async.engine.events import Listening, Notice, Observer, Served, ignore
from hangar_async.engine.open_layout import seekable_layout_at
from hangar_async.engine.serving.content import LayoutContent, Shelf, full_names, shelve
from hangar_async.engine.serving.reader import BlobReader
from hangar_async.errors import HangarError, UsageError
from hangar_async.layout.images import read_images
from hangar_async.oci.image import Image
from hangar_async.server import app
from hangar_async.server.listen import server_context
from hangar_async.server.page import Page, ShownImage
from hangar_async.threads import in_thread

if TYPE_CHECKING:
    from hangar_async.server.htpasswd import Users

_ALL = ("", "0.0.0.0", "::")  # noqa: S104 - what it means when somebody writes it
#: Names and problems that are told; the rest are counted.
_SHOWN = 5
#: Failures of one text are told once, and so many texts are remembered.
_MOST_TOLD = 1000


async def serve(options: ServeOptions, observer: Observer = ignore) -> None:
    """Serve images until it is cancelled; answers under way then get about two seconds to end.

    The observer gets `Listening` once images can be pulled, and a `Notice` for what cannot be read any more. Raises
    UsageError, ListenError, ArchiveError and ContentError for what cannot be served, StorageError.
    """
    async with serving(options, observer):
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(options: ServeOptions, observer: Observer = ignore) -> AsyncIterator[Served]:
    """Serve images during the block, as `serve` does until it is cancelled."""
    tls, users = await in_thread(_keys, options)
    opened = await in_thread(_open, options)
    for notice in _remarks(options, opened):
        observer(Notice(notice))
    host, port = options.address
    content = LayoutContent(opened.shelf, opened.blobs)
    failed = _Failures(observer)
    with closing(opened.blobs):
        async with app.serving(content, host, port, tls=tls, users=users, page=opened.page, failed=failed) as address:
            served = Served(address, _url(options, address), opened.images)
            observer(Listening(served))
            yield served


@dataclass(frozen=True, slots=True)
class _Opened:
    """What lies at the source, ready to be served."""

    images: tuple[Image, ...]
    shelf: Shelf
    blobs: BlobReader
    page: Page


def _keys(options: ServeOptions) -> tuple[ssl.SSLContext | None, Users | None]:
    """Read the files of TLS and of users."""
    tls = users = None
    if options.tls_cert is not None and options.tls_key is not None:
        tls = server_context(options.tls_cert, options.tls_key)
    if options.htpasswd is not None:
        from hangar_async.server.htpasswd import read_users

        users = read_users(options.htpasswd)
    return tls, users


def _open(options: ServeOptions) -> _Opened:
    layout = seekable_layout_at(options.source)
    catalog = read_images(layout)
    if not catalog.images:
        raise UsageError(f"there is no image in {options.source}: nothing can be served")
    shelf = shelve(catalog, layout.sizes())
    page = Page(options.source.resolve().name, [_shown(image, shelf) for image in catalog.images])
    return _Opened(catalog.images, shelf, BlobReader(layout), page)


def _remarks(options: ServeOptions, opened: _Opened) -> Iterator[str]:
    """What whoever starts the server should know."""
    host, _ = options.address
    own = host in ("localhost", "::1") or host.startswith("127.")
    if options.htpasswd is not None and options.tls_cert is None and not own:
        yield "passwords cross the network as they are: --tls-cert and --tls-key would hide them"
    broken = [f"{image.name} is incomplete: {image.problems[0]}" for image in opened.images if image.problems]
    clashes = [
        f"{one.name} is {one.first}; {one.second} has to be asked for with its registry" for one in opened.shelf.clashes
    ]
    for texts, noun in ((broken, "image is incomplete"), (clashes, "name stands for the first of several images")):
        yield from texts[:_SHOWN]
        if len(texts) > _SHOWN:
            yield f"{len(texts) - _SHOWN} more: {noun}"


def _url(options: ServeOptions, address: str) -> str:
    host, _, port = address.rpartition(":")
    name = socket.gethostname() if options.address[0] in _ALL else host
    return f"{'http' if options.tls_cert is None else 'https'}://{name}:{port}"


def _shown(image: Image, shelf: Shelf) -> ShownImage:
    reference = image.reference
    name = reference.repository
    if reference.tag is not None:
        # The name without a registry is another image's where that stands before it in the list.
        own = shelf.registries[reference.registry.lower()][name].tags.get(reference.tag)
        if shelf.repositories[name].tags.get(reference.tag) != own:
            name = full_names(reference.registry.lower(), name)[0]
    pull = f"{name}:{reference.tag}" if reference.tag is not None else f"{name}@{reference.digest}"
    platforms = tuple(str(one.platform) for one in image.platforms if not one.platform.unknown)
    digest = "" if image.digest is None else str(image.digest)
    return ShownImage(image.name, digest, image.size, platforms, pull, not image.problems)


class _Failures:
    """Tells what could not be read, once."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._told: set[str] = set()

    def __call__(self, error: HangarError) -> None:
        text = str(error)
        if text not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(text)
            self._observer(Notice(f"{text}; {error.advice}"))
