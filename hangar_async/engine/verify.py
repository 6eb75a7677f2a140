"""`verify`: whether an archive or a cache directory holds what it says, whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.check import check_index, check_part, check_stream
from hangar_async.archive.read.layout import StreamedLayout
from hangar_async.engine.events import Checked, CheckStarted, Event, Observer, ignore
from hangar_async.engine.open_layout import find_archive, layout_at, read_images
from hangar_async.errors import ArchiveError, ContentError, the_error
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import HeldImage
from hangar_async.layout.protocols import LayoutFile
from hangar_async.threads import Interrupt, in_thread


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found: all images, how many files and bytes were read, and everything that is wrong."""

    images: tuple[HeldImage, ...]
    files: int
    size: int
    problems: tuple[str, ...]

    @property
    def status(self) -> int:
        """The exit status: 0 when all is right, 1 otherwise."""
        return 1 if self.problems else 0


async def verify(path: Path, observer: Observer = ignore) -> Verdict:
    """Read all of an archive, its parts, or a cache directory, and check every digest and that every image is whole.

    Nothing is unpacked. Raises UsageError where there is nothing to verify, StorageError where it cannot be read.
    """
    loop = asyncio.get_running_loop()

    def tell(event: Event) -> None:
        loop.call_soon_threadsafe(observer, event)

    outside, inside = Interrupt(), Interrupt()
    try:
        archive = await in_thread(find_archive, path)
    except ArchiveError as error:
        return Verdict((), 0, 0, (str(error),))
    try:
        async with asyncio.TaskGroup() as group:
            # The parts as they lie on the disk, and what is in them, are hashed side by side.
            parts = group.create_task(outside.in_thread(_check_parts, archive, outside))
            contents = group.create_task(inside.in_thread(_check_contents, path, archive, inside, tell))
    except BaseExceptionGroup as failed:
        raise the_error(failed) from failed
    verdict = contents.result()
    problems = dict.fromkeys((*parts.result(), *verdict.problems))
    return Verdict(verdict.images, verdict.files, verdict.size, tuple(problems))


def _check_parts(archive: Archive | None, goes_on: Callable[[], None]) -> list[str]:
    """Hash the parts of an archive, and compare its index with its tar."""
    if archive is None:
        return []
    problems = [f"{stray} is not of this archive" for stray in archive.volume.strays]
    checks = [partial(check_part, archive.volume, part, lambda _: goes_on()) for part in archive.volume.parts]
    checks.append(partial(check_index, archive, goes_on))
    if archive.index is not None and any(part.digest is None for part in archive.volume.parts):
        # What no digest vouches for is decoded as other programs do it.
        checks.append(partial(check_stream, archive, goes_on))
    for check in checks:
        try:
            check()
        except ArchiveError as error:
            problems.append(str(error))
    return problems


def _check_contents(
    path: Path, archive: Archive | None, goes_on: Callable[[], None], tell: Callable[[Event], None]
) -> Verdict:
    problems: list[str] = []
    damaged: set[str] = set()
    count = size = 0
    images: tuple[HeldImage, ...] = ()
    try:
        layout = layout_at(path, archive, goes_on)
        if archive is None or archive.index is not None:
            # Without an index the size is known at the end.
            tell(CheckStarted(sum(layout.sizes().values())))
        for file in layout.files():
            count, size = count + 1, size + file.size
            problem = _check_file(file, goes_on, tell)
            if problem:
                damaged.add(file.name)
                problems.append(problem)
        images = read_images(layout).images
        if isinstance(layout, StreamedLayout) and layout.lost_footer:
            problems.append(f"{path}: its end is damaged, where the place of its index should stand")
    except (ArchiveError, ContentError) as error:
        problems.append(str(error))
    problems += [f"{image.name}: {problem}" for image in images for problem in image.problems]
    problems += _images_of(damaged, images)
    return Verdict(images, count, size, tuple(problems))


def _check_file(file: LayoutFile, goes_on: Callable[[], None], tell: Callable[[Event], None]) -> str:
    """Read a file to its end, and say what is wrong with it."""
    digest = file.digest
    hasher = digest.hasher() if digest else None
    got = 0
    try:
        for piece in file.pieces:
            goes_on()
            got += len(piece)
            tell(Checked(len(piece)))
            if hasher:
                hasher.update(piece)
    except ArchiveError as error:
        # In an archive with an index the files behind it can be read all the same.
        return str(error)
    if got != file.size:
        return f"{file.name} has {got} bytes instead of {file.size}"
    if hasher and digest and hasher.hexdigest() != digest.hex:
        return f"{file.name} is damaged: its bytes have the digest {digest.algorithm}:{hasher.hexdigest()}"
    return ""


def _images_of(damaged: set[str], images: Iterable[HeldImage]) -> list[str]:
    """Name the images that need a damaged file."""
    found = []
    for image in images:
        broken = [one for one in image.contents if blob_name(one.digest) in damaged]
        found += [f"{image.name}: needs the damaged blob {one.digest}" for one in broken]
    return found
