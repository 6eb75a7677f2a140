"""`extract`: one image of an archive or a cache directory into an OCI layout or a docker-archive."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from hangar_async import oci
from hangar_async.archive.write.writer import PlainTar
from hangar_async.config.options import ExtractOptions
from hangar_async.disk import Disk
from hangar_async.engine.events import CheckStarted, Notice, Observer, ignore, report_checked, threadsafe
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.engine.outputs import check_outputs, check_target, told_disk
from hangar_async.engine.reports import Output
from hangar_async.engine.standard_input import source_path
from hangar_async.errors import ContentError, InvalidValue, NoPlatform, UsageError
from hangar_async.layout.files import BLOBS, INDEX_NAME, MARKER, MARKER_NAME, Layout, LayoutFile, blob_name
from hangar_async.layout.images import find_image, read_images
from hangar_async.store.publish import NewTree
from hangar_async.threads import Interrupt, in_thread


async def extract(options: ExtractOptions, observer: Observer = ignore) -> Output:
    """Write one image as an OCI image layout, or one platform of it as a tar that `docker load` reads.

    Every blob is checked on the way. Raises UsageError for an image that is not there, NoPlatform, ContentError for a
    damaged one, ArchiveError, StorageError; no files are left then.
    """
    await in_thread(check_outputs, [options.destination], [options.source])
    destination = await in_thread(check_target, options.destination, directory=options.format == "oci", flag="-o")
    options = replace(options, destination=destination)
    interrupt = Interrupt()
    with told_disk(lambda text: observer(Notice(text))) as disk:
        async with source_path(options.source, destination.parent) as path:
            options = replace(options, source=path)
            return await interrupt.in_thread(_extract, options, interrupt, threadsafe(observer), disk)


def _extract(options: ExtractOptions, interrupt: Interrupt, observer: Observer, disk: Disk) -> Output:
    report = report_checked(interrupt, observer)
    layout = layout_at(options.source, find_archive(options.source, interrupt), interrupt)
    image = _find(read_images(layout).images, options.image)
    if image.problems:
        raise ContentError(f"{image.name} is not whole: {image.problems[0]}", advice="bring the archive here again")
    if options.format == "oci":
        root, contents, index_files = _choose(image, options.platform)
        observer(CheckStarted(sum(content.size for content in contents)))
        tree = NewTree(options.destination, disk, report, options.sync)
        size = _write_layout(tree, layout, image, root, contents, index_files)
    else:
        platform = _only_platform(image, options.platform)
        observer(CheckStarted(platform.size))
        size = _write_docker_archive(options, layout, image, platform, report, disk)
    return Output((options.destination,), size, options.format)


def _find(images: Sequence[oci.Image], text: str) -> oci.Image:
    for image in images:
        if not image.named and image.name == text:
            return image
    try:
        reference = oci.Reference.parse(text)
    except InvalidValue as error:
        raise UsageError(str(error)) from error
    names = {image.name for image in images}
    image = find_image(images, reference.cache_name if reference.cache_name in names else text.partition("@")[0])
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


def _write_layout(
    tree: NewTree,
    layout: Layout,
    image: oci.Image,
    root: oci.Descriptor,
    contents: Iterable[oci.Descriptor],
    index_files: dict[str, bytes],
) -> int:
    """Write an OCI image layout, and return its size in bytes.

    Source: OCI image-spec, image-layout.md.
    """
    index = {"schemaVersion": 2, "manifests": [root.to_json({oci.REF_NAME: image.reference.layout_name})]}
    documents = {MARKER_NAME: MARKER, INDEX_NAME: json.dumps(index, indent=2).encode() + b"\n"}
    files = ((_blob_path(content), file) for content, file in _read(layout, contents))
    return tree.write(files, {**index_files, **documents})


def _write_docker_archive(
    options: ExtractOptions,
    layout: Layout,
    image: oci.Image,
    platform: oci.ImagePlatform,
    report: Callable[[int], None],
    disk: Disk,
) -> int:
    """Write a docker-archive, and return its size in bytes.

    Source: moby's image/spec, "Combined Image JSON + Filesystem Changeset Format".
    """
    manifest = _manifest(image, platform)
    if not manifest.is_image:
        raise UsageError(f"{image.name} is an artifact and no image: --format oci can hold it")
    contents = manifest.blobs
    sizes = layout.sizes()
    missing = [content for content in contents if blob_name(content.digest) not in sizes]
    if missing:
        raise UsageError(f"{image.name} has the foreign layer {missing[0].digest}, which was left out of the archive")
    names = {layer.digest: f"{layer.digest.hex}.tar" for layer in manifest.layers}
    names[manifest.config.digest] = f"{manifest.config.digest.hex}.json"
    # Docker takes a name without digest; an image by digest alone has none.
    tags = [image.reference.layout_name] if image.reference.tag else []
    entry = {"Config": names[manifest.config.digest], "RepoTags": tags}
    document = json.dumps([{**entry, "Layers": [names[layer.digest] for layer in manifest.layers]}]).encode()
    with PlainTar(options.destination, sync=options.sync, disk=disk, check=lambda: report(0)) as tar:
        for content, file in _read(layout, contents):
            tar.add(names[content.digest], file.size, file.pieces, content.digest, report)
        tar.add("manifest.json", len(document), iter([document]), None, report)
        return tar.commit()
