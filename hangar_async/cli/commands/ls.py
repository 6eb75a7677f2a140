"""`hangar-async ls`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from hangar_async.cli import options, values
from hangar_async.cli.view.text import count_text, images_text, one_line, referrers_text, size_text, source_text

if TYPE_CHECKING:
    from hangar_async import Image, ImagePlatform, Listing
    from hangar_async.oci import Attachment

_COLUMNS = ("IMAGE", "DIGEST", "SIZE", "PLATFORMS")
#: Problems of one image, and incomplete images, that are shown; the rest are counted.
_SHOWN, _MOST_IMAGES = 3, 10


def ls_command(context: typer.Context, archive: options.Archive, as_json: options.Json = False) -> int:
    """Show the images in an archive, its parts, or a cache directory; nothing is unpacked."""
    from hangar_async import ListOptions, ls
    from hangar_async.cli.loop import watch
    from hangar_async.cli.view.text import write_document, write_rows, write_table

    flags = values.flags(context)
    path = values.existing_path(archive, "ARCHIVE")
    listing = watch(lambda _: ls(ListOptions(path)), quiet=flags.quiet, remains="nothing was changed")
    if as_json:
        write_document(json_document(listing), sys.stdout)
        return 0
    if not flags.quiet:
        write_rows([*_facts(listing), ("", "")], sys.stdout, is_work=True)
    # Programs take whole digests from the JSON document.
    write_table(_COLUMNS, [_row(image, short=sys.stdout.isatty()) for image in listing.images], sys.stdout)
    write_rows(_problems(listing), sys.stdout, is_work=True)
    return 0


def json_document(listing: Listing) -> str:
    """Make the JSON document of a listing."""
    document = {
        "path": str(listing.path),
        "format": listing.format,
        "indexed": listing.indexed,
        "parts": [{"name": part.path.name, "size": part.size, "sha256": part.sha256} for part in listing.parts],
        "strays": [path.name for path in listing.strays],
        "size": listing.size,
        "content_size": listing.content_size,
        "saved_time": listing.saved,
        "images": [_image(image) for image in listing.images],
    }
    return json.dumps(document, indent=2)


def _image(image: Image) -> dict[str, Any]:
    return {
        "name": image.name,
        "digest": None if image.digest is None else str(image.digest),
        "original": None if image.original is None else str(image.original),
        "size": image.size,
        "complete": not image.problems,
        "problems": list(image.problems),
        "referrer": None if image.attachment is None else _referrer(image.attachment),
        "platforms": [
            {
                "os": item.platform.os,
                "architecture": item.platform.architecture,
                "variant": item.platform.variant,
                "os_version": item.platform.os_version,
                "digest": str(item.descriptor.digest),
                "size": item.size,
                "folder": item.folder,
            }
            for item in image.platforms
        ],
    }


def _referrer(attachment: Attachment) -> dict[str, str]:
    return {
        "subject": str(attachment.subject),
        "kind": attachment.kind,
        "artifact_type": attachment.artifact_type,
    }


def _facts(listing: Listing) -> Iterator[tuple[str, str]]:
    """Make the lines about the archive or directory as a whole."""
    from hangar_async.engine.reports import ReferrerCounts

    kind = "directory" if listing.format == "dir" else "archive"
    text = f"{source_text(listing.path, absolute=True)}, {size_text(listing.size)}"
    yield kind, text if listing.format == "dir" else f"{text}, {listing.format}"
    names = [one_line(part.path.name) for part in listing.parts]
    if names and names != [one_line(listing.path.name)]:
        yield "parts", f"{count_text(len(names), 'part')}: {' to '.join(dict.fromkeys((names[0], names[-1])))}"
    for stray in listing.strays:
        yield "stray", f"{one_line(str(stray))} is not of this archive"
    if not listing.indexed:
        yield "index", "none: one image cannot be read without passing over the others"
    yield "holds", f"{images_text(listing.images)}, {size_text(listing.content_size)} unpacked"
    if text := referrers_text(ReferrerCounts.of(listing.images)):
        yield "referrers", text


def _row(image: Image, *, short: bool) -> tuple[str, ...]:
    digest = "-"
    if image.digest is not None:
        digest = f"{image.digest.algorithm}:{image.digest.short}" if short else str(image.digest)
    platforms = ", ".join(map(_platform, image.platforms)) or "-"
    if image.attachment is not None:
        kind = "referrer" if image.attachment.kind == "other" else image.attachment.kind
        subject = image.attachment.subject
        platforms = f"{kind} of {subject.algorithm}:{subject.short}"
    return one_line(image.name), digest, size_text(image.size), f"{'incomplete: ' if image.problems else ''}{platforms}"


def _platform(item: ImagePlatform) -> str:
    return "artifact" if item.platform.unknown else one_line(str(item.platform))


def _problems(listing: Listing) -> Iterator[tuple[str, str]]:
    for image in listing.incomplete[:_MOST_IMAGES]:
        for problem in image.problems[:_SHOWN]:
            yield "incomplete", one_line(f"{image.name}: {problem}")
        if len(image.problems) > _SHOWN:
            yield "", f"and {len(image.problems) - _SHOWN} more"
    if len(listing.incomplete) > _MOST_IMAGES:
        yield "incomplete", f"and {len(listing.incomplete) - _MOST_IMAGES:,} more images: --json has all"
