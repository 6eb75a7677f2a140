"""`extract`: images of a source into an OCI layout, a tar of one, or a docker-archive."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hangar_async import oci
from hangar_async.archive.read.docker_layers import LayerStore
from hangar_async.archive.write.plain_tar import PlainTar
from hangar_async.config.options import ExtractOptions
from hangar_async.disk import Disk
from hangar_async.engine.events import CheckStarted, Notice, Observer, ignore, report_checked, threadsafe
from hangar_async.engine.open_layout import find_archive, layer_store, layout_at
from hangar_async.engine.outputs import check_outputs, check_target, told_disk
from hangar_async.engine.reports import Output
from hangar_async.engine.standard_input import source_path
from hangar_async.errors import ContentError, InvalidValue, NoPlatform, UsageError
from hangar_async.layout.files import BLOBS, INDEX_NAME, MARKER, MARKER_NAME, Layout, LayoutFile, blob_name
from hangar_async.layout.foreign import MANIFEST_NAME
from hangar_async.layout.images import read_images
from hangar_async.layout.names import find_image
from hangar_async.store.publish import NewTree
from hangar_async.threads import Interrupt, in_thread

_FULL_NAME = "io.containerd.image.name"


async def extract(options: ExtractOptions, observer: Observer = ignore) -> Output:
    """Write images as an OCI image layout, in a directory or a tar, or one platform of each for `docker load`.

    Each digest is written once. Every blob is checked on the way. Raises UsageError for an image that is not there,
    NoPlatform, ContentError for a damaged one, ArchiveError, StorageError; no files are left then.
    """
    await in_thread(check_outputs, [options.destination], [options.source])
    destination = await in_thread(check_target, options.destination, directory=options.format == "oci", flag="-o")
    options = replace(options, destination=destination)
    if options.remark:
        observer(Notice(options.remark))
    interrupt = Interrupt()
    with told_disk(lambda text: observer(Notice(text))) as disk:
        async with (
            source_path(options.source, destination.parent) as path,
            layer_store(destination.parent, disk) as store,
        ):
            options = replace(options, source=path)
            return await interrupt.in_thread(_extract, options, interrupt, threadsafe(observer), disk, store)


def _extract(
    options: ExtractOptions, interrupt: Interrupt, observer: Observer, disk: Disk, store: LayerStore
) -> Output:
    report = report_checked(interrupt, observer)
    layout = layout_at(options.source, find_archive(options.source, interrupt), interrupt, store)
    images = read_images(layout).images
    chosen = list({image.name: image for image in (_find(images, name) for name in options.names)}.values())
    for image in chosen:
        if image.problems:
            raise ContentError(f"{image.name} is not whole: {image.problems[0]}", advice="bring the archive here again")
    parts = (
        _docker_parts(options, layout, chosen) if options.format == "docker-archive" else _oci_parts(options, chosen)
    )
    observer(CheckStarted(sum(content.size for content in parts.contents.values())))
    files = ((parts.names[content.digest], file) for content, file in _read(layout, parts.contents.values()))
    if options.format == "oci":
        size = NewTree(options.destination, disk, report, options.sync).write(files, parts.documents)
    else:
        size = _write_tar(options, files, parts, report, disk)
    return Output((options.destination,), size, options.format)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of an output: documents that are made, then contents with their names in it, each digest once."""

    documents: Mapping[str, bytes]
    contents: Mapping[oci.Digest, oci.Descriptor]
    names: Mapping[oci.Digest, str]


def _oci_parts(options: ExtractOptions, images: Sequence[oci.Image]) -> _Parts:
    """Make the parts of an OCI image layout; in the form of a platform, it is a docker-archive too.

    Source: OCI image-spec, image-layout.md.
    """
    entries: list[dict[str, Any]] = []
    contents: dict[oci.Digest, oci.Descriptor] = {}
    made: dict[str, bytes] = {}
    listed: list[dict[str, Any]] = []
    for image in images:
        if options.target == "docker":
            _only_platform(image, options.platform)  # raises for several: older versions take one
        root, below, index_files = _choose(image, options.platform)
        name = image.wanted.layout_name
        full = {_FULL_NAME: name} if image.wanted.tag and options.target else {}
        entries.append(root.to_json({oci.REF_NAME: name, **full}))
        contents.update((content.digest, content) for content in below)
        made.update(index_files)
        platforms = _platforms(image, options.platform) if image.platforms else []
        if options.target is not None and len(platforms) == 1:
            listed.append(_docker_entry(image, platforms[0], _blob_path))
    documents = {INDEX_NAME: json.dumps({"schemaVersion": 2, "manifests": entries}, indent=2).encode() + b"\n"}
    if listed:
        documents[MANIFEST_NAME] = json.dumps(listed).encode()
    documents |= {MARKER_NAME: MARKER, **made}
    return _Parts(documents, contents, {digest: _blob_path(content) for digest, content in contents.items()})


def _docker_parts(options: ExtractOptions, layout: Layout, images: Sequence[oci.Image]) -> _Parts:
    """Make the parts of a docker-archive.

    Source: moby's image/spec, "Combined Image JSON + Filesystem Changeset Format".
    """
    contents: dict[oci.Digest, oci.Descriptor] = {}
    names: dict[oci.Digest, str] = {}
    entries = []
    for image in images:
        platform = _only_platform(image, options.platform)
        manifest = _manifest(image, platform)
        if not manifest.is_image:
            raise UsageError(f"{image.name} is an artifact and no image: --format oci can hold it")
        missing = [content for content in manifest.blobs if blob_name(content.digest) not in layout.sizes()]
        if missing:
            raise UsageError(
                f"{image.name} has the foreign layer {missing[0].digest}, which was left out of the archive"
            )
        names.update((layer.digest, f"{layer.digest.hex}.tar") for layer in manifest.layers)
        names[manifest.config.digest] = f"{manifest.config.digest.hex}.json"
        contents.update((content.digest, content) for content in manifest.blobs)
        entries.append(_docker_entry(image, platform, lambda content: names[content.digest]))
    return _Parts({MANIFEST_NAME: json.dumps(entries).encode()}, contents, names)


def _docker_entry(
    image: oci.Image, platform: oci.ImagePlatform, path: Callable[[oci.Descriptor], str]
) -> dict[str, Any]:
    manifest = _manifest(image, platform)
    # Docker takes a name without digest; an image by digest alone has none.
    tags = [image.wanted.layout_name] if image.wanted.tag else []
    return {"Config": path(manifest.config), "RepoTags": tags, "Layers": [path(layer) for layer in manifest.layers]}


def _write_tar(
    options: ExtractOptions,
    files: Iterable[tuple[str, LayoutFile]],
    parts: _Parts,
    report: Callable[[int], None],
    disk: Disk,
) -> int:
    """Write a tar, its lists first, so that who imports it knows at once what follows; return its size in bytes."""
    with PlainTar(
        options.destination, sync=options.sync, disk=disk, check=lambda: report(0), compressed=options.compressed
    ) as tar:
        for name, data in parts.documents.items():
            tar.add(name, len(data), iter([data]), None, report)
        for name, file in files:
            tar.add(name, file.size, file.pieces, file.digest, report)
        return tar.commit()


def _find(images: Sequence[oci.Image], text: str) -> oci.Image:
    for image in images:
        if not image.named and image.name == text:
            return image
    try:
        reference = oci.Reference.parse(text)
    except InvalidValue as error:
        raise UsageError(str(error)) from error
    image = find_image(images, reference.cache_name, text.partition("@")[0])
    digests = [platform.descriptor.digest for platform in image.platforms]
    if image.root is not None:
        digests.append(image.original or image.root.digest)
    if reference.digest not in (None, *digests):
        raise UsageError(f"{image.name} in it is not {reference.digest} but {digests[-1]}")
    return image


def _platforms(image: oci.Image, platform_name: str | None) -> list[oci.ImagePlatform]:
    try:
        pattern = oci.PlatformPattern.parse(platform_name or "all")
    except InvalidValue as error:
        raise UsageError(f"--platform: {error}") from error
    if not image.platforms:
        raise UsageError(f"{image.name} has no platforms: --format oci without --platform can hold it")
    platforms = [item for item in image.platforms if platform_name is None or pattern.matches(item.platform)]
    if not platforms:
        names = ", ".join(str(item.platform) for item in image.platforms)
        raise NoPlatform(
            f"no {platform_name} in {image.name}; it has {names}", advice="choose another one with --platform"
        )
    return platforms


def _only_platform(image: oci.Image, platform_name: str | None) -> oci.ImagePlatform:
    platforms = _platforms(image, platform_name)
    if len(platforms) > 1:
        names = ", ".join(str(item.platform) for item in platforms)
        raise UsageError(f"{image.name} has {names}, and a docker-archive holds one: choose it with --platform")
    return platforms[0]


def _choose(
    image: oci.Image, platform_name: str | None
) -> tuple[oci.Descriptor, tuple[oci.Descriptor, ...], dict[str, bytes]]:
    """Choose the platforms of an image: return their root, their contents, and the files that are made for them."""
    if platform_name is None and image.root is not None:
        # The index that a partial one was made of is no part of a layout that has to be whole.
        return image.root, image.below_root(), {}
    platforms = _platforms(image, platform_name)
    present = {content.digest for content in image.contents}
    contents: dict[str, oci.Descriptor] = {}
    for platform in platforms:
        manifest = _manifest(image, platform)
        parts = (platform.descriptor, *manifest.blobs)
        contents.update((str(part.digest), part) for part in parts if part.digest in present)
    if len(platforms) == 1:
        return platforms[0].descriptor, tuple(contents.values()), {}
    index = oci.join_index([platform.descriptor for platform in platforms])
    return index.descriptor, tuple(contents.values()), {_blob_path(index.descriptor): index.raw}


def _manifest(image: oci.Image, platform: oci.ImagePlatform) -> oci.Manifest:
    document = image.document(platform.descriptor)
    assert isinstance(document, oci.Manifest)  # noqa: S101 - anything else is a problem of the image
    return document


def _blob_path(descriptor: oci.Descriptor) -> str:
    return f"{BLOBS}/{descriptor.digest.algorithm}/{descriptor.digest.hex}"


def _read(layout: Layout, contents: Iterable[oci.Descriptor]) -> Iterator[tuple[oci.Descriptor, LayoutFile]]:
    names = {blob_name(content.digest): content for content in contents}
    for file in layout.files(names):
        yield names[file.name], file
