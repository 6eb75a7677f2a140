"""`extract`: one image out of an archive or a cache directory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from hangar_async.archive.write.docker_tar import PlainTar
from hangar_async.config.options import ExtractOptions
from hangar_async.disk import Disk
from hangar_async.engine.events import Checked, CheckStarted, Event, Observer, ignore
from hangar_async.engine.open_layout import find_archive, layout_at, read_images
from hangar_async.engine.pack.checks import check_target
from hangar_async.engine.reports import Output
from hangar_async.errors import ContentError, InvalidValue, NoPlatform, UsageError
from hangar_async.layout.files import BLOBS, INDEX_NAME, MARKER, MARKER_NAME, blob_name
from hangar_async.layout.images import HeldImage, HeldPlatform, find_image
from hangar_async.layout.manifest_loader import read_files
from hangar_async.layout.protocols import Layout, LayoutFile
from hangar_async.oci.manifest import MAX_DOCUMENT, REF_NAME, Descriptor, Manifest, join_index, parse_manifest
from hangar_async.oci.platform import PlatformPattern
from hangar_async.oci.reference import Reference
from hangar_async.store.publish import NewTree
from hangar_async.threads import Interrupt, in_thread


async def extract(options: ExtractOptions, observer: Observer = ignore) -> Output:
    """Write one image as an OCI image layout, or one platform of it as a tar that `docker load` reads.

    Every blob is checked on the way. Raises UsageError for an image that is not there, NoPlatform, ContentError for a
    damaged one, ArchiveError, StorageError; nothing is left then.
    """
    await in_thread(check_target, options.destination, directory=options.format == "oci", flag="-o")
    interrupt = Interrupt()
    loop = asyncio.get_running_loop()

    def tell(event: Event) -> None:
        loop.call_soon_threadsafe(observer, event)

    return await interrupt.in_thread(_extract, options, interrupt, tell)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What is written of an image: what names it, and all its content."""

    reference: Reference
    root: Descriptor
    contents: tuple[Descriptor, ...]
    made: dict[str, bytes]


def _extract(options: ExtractOptions, interrupt: Interrupt, tell: Callable[[Event], None]) -> Output:
    def goes_on(count: int) -> None:
        interrupt()
        tell(Checked(count))

    layout = layout_at(options.source, find_archive(options.source), interrupt)
    image = _find(read_images(layout).images, options.image)
    if image.problems:
        raise ContentError(f"{image.name} is not whole: {image.problems[0]}", advice="bring the archive here again")
    if options.format == "oci":
        chosen = _choose(image, options.platform, layout)
        tell(CheckStarted(sum(content.size for content in chosen.contents)))
        size = _write_layout(options, layout, chosen, goes_on)
    else:
        platform = _only_platform(image, options.platform)
        tell(CheckStarted(platform.size))
        size = _write_docker_archive(options, layout, image, platform, goes_on)
    return Output((options.destination,), size, options.format)


def _find(images: Sequence[HeldImage], text: str) -> HeldImage:
    for image in images:
        if not image.named and image.name == text:
            return image
    try:
        wanted = Reference.parse(text)
    except InvalidValue as error:
        raise UsageError(str(error)) from error
    image = find_image(images, wanted.cache_name)
    digests = [one.descriptor.digest for one in image.platforms]
    if image.root is not None:
        digests.append(image.original or image.root.digest)
    if wanted.digest not in (None, *digests):
        raise UsageError(f"{image.name} in it is not {wanted.digest} but {digests[-1]}")
    return image


def _platforms(image: HeldImage, wanted: str | None) -> list[HeldPlatform]:
    try:
        pattern = PlatformPattern.parse(wanted or "all")
    except InvalidValue as error:
        raise UsageError(f"--platform: {error}") from error
    found = [one for one in image.platforms if wanted is None or pattern.matches(one.platform)]
    if not found:
        names = ", ".join(str(one.platform) for one in image.platforms)
        raise NoPlatform(f"no {wanted} in {image.name}; it has {names}", advice="choose another one with --platform")
    return found


def _only_platform(image: HeldImage, wanted: str | None) -> HeldPlatform:
    found = _platforms(image, wanted)
    if len(found) > 1:
        several = ", ".join(str(one.platform) for one in found)
        raise UsageError(f"{image.name} has {several}, and a docker-archive holds one: choose it with --platform")
    return found[0]


def _choose(image: HeldImage, wanted: str | None, layout: Layout) -> _Chosen:
    if wanted is None and image.root is not None:
        # The raw index that a partial one was made of is no part of a layout that has to be whole.
        contents = tuple(one for one in image.contents if one.digest not in image.originals)
        return _Chosen(image.reference, image.root, contents, {})
    found = _platforms(image, wanted)
    parts = tuple({one.digest: one for platform in found for one in _contents(platform, layout)}.values())
    if len(found) == 1:
        return _Chosen(image.reference, found[0].descriptor, parts, {})
    index = join_index([platform.descriptor for platform in found])
    return _Chosen(image.reference, index.descriptor, parts, {_blob(index.descriptor): index.raw})


def _contents(platform: HeldPlatform, layout: Layout) -> list[Descriptor]:
    manifest = _manifest(platform, layout)
    held = layout.sizes()
    blobs = [manifest.config, *manifest.layers]
    return [platform.descriptor, *(one for one in blobs if blob_name(one.digest) in held)]


def _manifest(platform: HeldPlatform, layout: Layout) -> Manifest:
    name = blob_name(platform.descriptor.digest)
    raw = dict(read_files(layout, [name], MAX_DOCUMENT))[name]
    if isinstance(raw, ContentError):
        raise raw
    document = parse_manifest(raw, platform.descriptor.media_type)
    assert isinstance(document, Manifest)  # noqa: S101 - the catalogue has read it as one
    return document


def _blob(descriptor: Descriptor) -> str:
    return f"{BLOBS}/{descriptor.digest.algorithm}/{descriptor.digest.hex}"


def _read(layout: Layout, contents: Iterable[Descriptor]) -> Iterator[tuple[Descriptor, LayoutFile]]:
    wanted = {blob_name(one.digest): one for one in contents}
    for file in layout.files(wanted):
        yield wanted[file.name], file


def _write_layout(options: ExtractOptions, layout: Layout, chosen: _Chosen, goes_on: Callable[[int], None]) -> int:
    """Source: OCI image-spec, image-layout.md."""
    annotations = {REF_NAME: chosen.reference.layout_name}
    index = {"schemaVersion": 2, "manifests": [chosen.root.to_json(annotations)]}
    documents = {MARKER_NAME: MARKER, INDEX_NAME: json.dumps(index, indent=2).encode() + b"\n"}
    files = ((_blob(one), file) for one, file in _read(layout, chosen.contents))
    tree = NewTree(options.destination, Disk(), goes_on, options.sync)
    return tree.write(files, {**chosen.made, **documents})


def _write_docker_archive(
    options: ExtractOptions,
    layout: Layout,
    image: HeldImage,
    platform: HeldPlatform,
    goes_on: Callable[[int], None],
) -> int:
    """Source: moby's image/spec, "Combined Image JSON + Filesystem Changeset Format"."""
    manifest = _manifest(platform, layout)
    if not manifest.is_image:
        raise UsageError(f"{image.name} is an artifact and no image: --format oci can hold it")
    contents = (manifest.config, *manifest.layers)
    missing = [one for one in contents if blob_name(one.digest) not in layout.sizes()]
    if missing:
        raise UsageError(f"{image.name} has the foreign layer {missing[0].digest}, which was left out of the archive")
    names = {one.digest: f"{one.digest.hex}.tar" for one in manifest.layers}
    names[manifest.config.digest] = f"{manifest.config.digest.hex}.json"
    # Docker takes a name without digest; an image by digest alone has none.
    tags = [image.reference.layout_name] if image.reference.tag else []
    listed = {"Config": names[manifest.config.digest], "RepoTags": tags}
    document = json.dumps([{**listed, "Layers": [names[one.digest] for one in manifest.layers]}]).encode()
    with PlainTar(options.destination, sync=options.sync) as tar:
        for one, file in _read(layout, contents):
            tar.add(names[one.digest], file.size, file.pieces, one.digest, goes_on)
        tar.add("manifest.json", len(document), iter([document]), None, goes_on)
        return tar.commit()
