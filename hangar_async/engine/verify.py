"""`verify`: a check that an archive or a directory is whole, and that each blob has its digest."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.check import check_index, check_part, check_stream
from hangar_async.archive.read.layout import StreamedLayout
from hangar_async.archive.read.search import parts_that_are_there
from hangar_async.archive.read.volume import Volume
from hangar_async.config.options import VerifyOptions
from hangar_async.engine.events import CheckStarted, Observer, VerifyEnded, ignore, report_checked, threadsafe
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.engine.outcomes import Verdict, VerifiedImage
from hangar_async.engine.reporting.journal import reported
from hangar_async.engine.standard_input import source_path
from hangar_async.errors import ArchiveError, ContentError, DigestMismatch, StorageError, the_error
from hangar_async.layout.files import LayoutFile, blob_name
from hangar_async.layout.images import read_images
from hangar_async.oci import Image, verified
from hangar_async.threads import Interrupt

#: The advice for an image with damaged or missing content.
ADVICE = "get the archive again, or sync the images into the directory again"


async def verify(options: VerifyOptions, observer: Observer = ignore) -> Verdict:
    """Read all of an archive, its parts, or a cache directory, and check every digest and that every image is whole.

    Nothing is unpacked. Raises UsageError for a path that does not exist, StorageError where it cannot be read.
    """
    async with reported("verify", options, observer) as journal, source_path(options.source) as path:
        verdict = journal.completed(await _verify(path, journal.observe))
        journal.observe(VerifyEnded(verdict))
        return verdict


async def _verify(path: Path, observer: Observer) -> Verdict:
    parts_interrupt, contents_interrupt = Interrupt(), Interrupt()
    try:
        archive = await contents_interrupt.in_thread(find_archive, path, contents_interrupt)
    except ArchiveError as error:
        # The parts that are there are hashed all the same: all that must be copied again is told at once.
        damaged = await parts_interrupt.in_thread(_check_parts_there, path, parts_interrupt)
        return Verdict((), 0, 0, tuple(dict.fromkeys((*error.problems, *damaged))))
    check_contents = partial(_check_contents, path, archive, contents_interrupt, threadsafe(observer))
    try:
        async with asyncio.TaskGroup() as group:
            # The parts on the disk, and the files in them, are hashed side by side.
            parts = group.create_task(parts_interrupt.in_thread(_check_parts, archive, parts_interrupt))
            contents = group.create_task(contents_interrupt.in_thread(check_contents))
    except BaseExceptionGroup as failed:
        raise the_error(failed) from failed
    verdict = contents.result()
    problems = dict.fromkeys((*parts.result(), *verdict.problems))
    return replace(verdict, problems=tuple(problems), checksum=_checksum(archive))


def _checksum(archive: Archive | None) -> str | None:
    if archive is None:
        return None
    return "none" if any(part.digest is None for part in archive.volume.parts) else "sha256"


def _check_parts(archive: Archive | None, check_interrupted: Callable[[], None]) -> list[str]:
    """Hash the parts of an archive, and compare its index with its tar."""
    if archive is None:
        return []
    volume = archive.volume
    problems = [f"{stray} is not of this archive" for stray in volume.strays]
    checks = _checks_of_parts(volume, check_interrupted)
    checks.append(partial(check_index, archive, check_interrupted))
    if archive.index is not None and _checksum(archive) == "none":
        # Parts without a digest are decoded as other programs do it.
        checks.append(partial(check_stream, archive, check_interrupted))
    return [*problems, *_problems(checks)]


def _check_parts_there(path: Path, check_interrupted: Callable[[], None]) -> list[str]:
    """Hash the parts of an archive that is not whole."""
    try:
        volume = parts_that_are_there(path)
    except StorageError:
        return []
    return [] if volume is None else list(_problems(_checks_of_parts(volume, check_interrupted)))


def _checks_of_parts(volume: Volume, check_interrupted: Callable[[], None]) -> list[Callable[[], object]]:
    return [partial(check_part, volume, part, lambda _: check_interrupted()) for part in volume.parts]


def _problems(checks: Iterable[Callable[[], object]]) -> Iterator[str]:
    for check in checks:
        try:
            check()
        except ArchiveError as error:
            yield str(error)


def _check_contents(path: Path, archive: Archive | None, interrupt: Interrupt, observer: Observer) -> Verdict:
    problems: list[str] = []
    damaged: set[str] = set()
    count = size = 0
    images: tuple[Image, ...] = ()
    report = report_checked(interrupt, observer)
    try:
        layout = layout_at(path, archive, interrupt)
        if layout.is_seekable:
            # Without an index the size is known at the end.
            observer(CheckStarted(sum(layout.sizes().values())))
        for file in layout.files():
            count, size = count + 1, size + file.size
            if problem := _check_file(file, report):
                damaged.add(file.name)
                problems.append(problem)
        images = read_images(layout).images
        if isinstance(layout, StreamedLayout) and layout.lost_footer:
            problems.append(f"{path}: its end is damaged, where the place of its index should stand")
    except (ArchiveError, ContentError) as error:
        problems.append(str(error))
    outcomes = tuple(_outcome(image, damaged) for image in images)
    problems += [f"{image.name}: {problem}" for image in images for problem in image.problems]
    problems += [f"{image.name}: {problem}" for image in images for problem in _damages(image, damaged)]
    return Verdict(outcomes, count, size, tuple(problems))


def _outcome(image: Image, damaged: set[str]) -> VerifiedImage:
    problems = [*image.problems, *_damages(image, damaged)]
    return VerifiedImage(image, ContentError("; ".join(problems), advice=ADVICE) if problems else None)


def _check_file(file: LayoutFile, report: Callable[[int], None]) -> str:
    """Read a file to its end, and return its problem, "" for none."""
    try:
        for piece in verified(file.pieces, file.digest, file.size, file.name):
            report(len(piece))
    except (ArchiveError, DigestMismatch) as error:
        # In an archive with an index the next files can be read all the same.
        return str(error)
    return ""


def _damages(image: Image, damaged: set[str]) -> Iterator[str]:
    """Name the damaged files that an image needs."""
    for content in image.contents:
        if blob_name(content.digest) in damaged:
            yield f"needs the damaged blob {content.digest}"
