"""JSON documents from outside: manifests, indexes, lists, errors, credentials."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

from hangar_async.archive.commit_record import CommitRecord
from hangar_async.errors import ContentError, StorageError, UsageError
from hangar_async.layout.files import INDEX_NAME, LIST_NAME, cache_files, folder_files, folder_names, newest
from hangar_async.layout.names import name_images
from hangar_async.layout.parse import parse_folder, parse_index, parse_layout_index, parse_list
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor, ImageConfig, Index, Manifest, join_index, parse_manifest
from hangar_async.oci.platform import NO_PLATFORM, PlatformSelector
from hangar_async.oci.reference import Reference
from hangar_async.registry.auth.docker_config import parse_credential_file
from hangar_async.registry.auth.tokens import parse_token_answer
from hangar_async.registry.failures import read_error_list, refused
from tests.refusal import attempt, check_told

_TYPES = ("", media_types.OCI_INDEX, media_types.DOCKER_MANIFEST, "application/json; charset=utf-8")
_REFERENCE = Reference.parse("registry.example/team/app:1")
_SELECTOR = PlatformSelector.parse(["arm/v7", "amd64"], ["linux"])
_SHORTEST_SECRET = 8


def manifest(data: bytes) -> None:
    """Read a manifest or index as it comes with several types; what is kept of it is read back from a cache."""
    for content_type in _TYPES:
        document = attempt(lambda kind=content_type: parse_manifest(data, kind), ContentError)  # type: ignore[misc]
        if document is None:
            continue
        assert document.digest == Digest.of(data)
        assert document.descriptor.size == len(data)
        if isinstance(document, Index):
            _check_index(document)
        else:
            _check_manifest(document)


def config(data: bytes) -> None:
    """Read an image's config; its platform and its time are read back from a cache."""
    digest = Digest.of(data)
    found = attempt(lambda: ImageConfig.parse(data, digest), ContentError)
    if found is not None:
        descriptor = Descriptor(media_types.OCI_MANIFEST, digest, len(data), found.platform)
        folders = folder_names(_REFERENCE, [(digest, found.platform)])
        saved = Image(_REFERENCE, descriptor, (ImagePlatform(descriptor, folders[0]),))
        _check_saved(saved, found.created)


def images_list(data: bytes) -> None:
    """Read `saved-images-list.json`: only what is safe in a path, under names that read back as the same."""
    found = attempt(lambda: parse_list(data), ContentError)
    if found is None:
        return
    assert found.saved.isprintable()
    assert len({image.name for image in found.images}) == len(found.images)
    for image in found.images:
        reference = Reference.parse(image.name)
        assert reference.cache_name == image.name
        assert len({one.folder for one in image.platforms}) == len(image.platforms)
        platforms = tuple(ImagePlatform(_descriptor(one), one.folder) for one in image.platforms)
        if platforms:
            _check_saved(Image(reference, platforms[0].descriptor, platforms), found.saved)


def layout_index(data: bytes) -> None:
    """Read the `index.json` of a layout, and of a folder."""
    roots = attempt(lambda: parse_index(data), ContentError) or ()
    for root in roots:
        assert Reference.parse(root.reference.layout_name).cache_name == root.reference.cache_name
    assert len({root.reference.cache_name for root in roots}) == len(roots)
    if one := attempt(lambda: parse_folder(data, "f" * 64), ContentError):
        assert one.size >= 0


def error_body(data: bytes) -> None:
    """Read what stands beside an error's status: never more than a line."""
    for content_type in ("application/json", "text/html"):
        code, said = read_error_list(data, content_type)
        assert (code + said).isprintable()
        assert len(code + said) < 500
    for status in (401, 404, 429, 500):
        check_told(refused("registry.example", "blob x", status, {}, data))


def token(data: bytes) -> None:
    """Read the answer of a token server; what is wrong with it is told without what stands in it."""
    answer = attempt(lambda: parse_token_answer(data, "the token server a.example"), ContentError)
    assert answer is None or answer.expires_in is None or math.isfinite(answer.expires_in)


def layout_names(data: bytes) -> None:
    """Name the images of a layout of another program by its `index.json`: each name once, and it reads back."""
    roots = attempt(lambda: parse_layout_index(data), ContentError) or ()
    images = attempt(lambda: name_images(roots, "my layout", {}), ContentError) or ()
    names = [image.name for image in images if image.named]
    assert len(set(names)) == len(names)
    for image in images:
        assert Reference.parse(str(image.reference)) == image.reference


def commit_record(data: bytes) -> None:
    """Read the record of a commit: plain names of its archive alone, and it is written back as the same."""
    with tempfile.TemporaryDirectory() as directory:
        path, archive = Path(directory, ".a.tar.gz.1-ab.commit"), Path(directory, "a.tar.gz")
        path.write_bytes(data)
        record = _record(path, archive)
        if record is None:
            return
        for name in (*record.removals, *(one for rename in record.renames for one in (rename.source, rename.target))):
            assert Path(directory, name).parent == Path(directory)
        path.write_bytes(record.encode())
        assert _record(path, archive) == record


def _record(path: Path, archive: Path) -> CommitRecord | None:
    try:
        return CommitRecord.read(path, archive)
    except StorageError as error:
        # A path is shown as it is.
        check_told(ContentError(str(error).replace(str(path.parent), "")))
        return None


def credentials(data: bytes) -> None:
    """Read a credential file; what is wrong with it is told without what stands in it."""
    try:
        found = parse_credential_file(data, Path("config.json"))
        assert not [secret for secret in _secrets(data) if secret in repr(found)]
        for registry in ("docker.io", "registry.example:5000", "localhost"):
            assert all(found.helpers_for(registry))
            found.entry_for(registry, "team/app")
    except UsageError as error:
        chain = [error, error.__cause__, error.__context__]
        told = "\n".join(f"{one} {one!r} {getattr(one, 'args', '')}" for one in chain)
        assert not [secret for secret in _secrets(data) if secret in told]


def _check_manifest(document: Manifest) -> None:
    assert all(0 <= part.size <= 1 << 62 for part in (document.config, *document.layers))
    platform = ImagePlatform(replace(document.descriptor, platform=NO_PLATFORM), "f" * 64)
    _check_saved(Image(_REFERENCE, document.descriptor, (platform,)), "")


def _check_index(index: Index) -> None:
    again = parse_manifest(index.with_only(index.manifests).raw, limit=1 << 30)
    assert isinstance(again, Index)
    assert again.manifests == index.manifests
    assert again.media_type == index.media_type
    kept = tuple(entry for entry in index.manifests if entry.platform is None or entry.platform in _SELECTOR)
    part = index.with_only(kept)
    assert parse_manifest(part.raw, index.media_type).digest == part.digest == Digest.of(part.raw)
    joined = parse_manifest(join_index(index.manifests).raw, limit=1 << 30)
    assert isinstance(joined, Index)
    assert [entry.to_json() for entry in joined.manifests] == [entry.to_json() for entry in index.manifests]
    known = [(entry.digest, entry.platform or NO_PLATFORM) for entry in index.manifests]
    folders = folder_names(_REFERENCE, known)
    platforms = tuple(
        ImagePlatform(replace(entry, platform=platform), folder)
        for entry, (_, platform), folder in zip(index.manifests, known, folders, strict=True)
    )
    if len(set(folders)) == len(folders):
        _check_saved(Image(_REFERENCE, part.descriptor, platforms, original=index.digest), "")


def _check_saved(image: Image, created: str) -> None:
    """See that the index files of a cache with this image read back as what it is."""
    files = cache_files([image], newest([created]))
    listed = parse_list(files[LIST_NAME]).images
    assert [one.name for one in listed] == [image.reference.cache_name] * bool(image.platforms)
    assert [(one.descriptor.digest, one.platform, one.folder) for each in listed for one in each.platforms] == [
        (one.descriptor.digest, one.platform, one.folder) for one in image.platforms
    ]
    (root,) = parse_index(files[INDEX_NAME])
    assert (root.digest, root.original) == (image.digest, image.original)
    for platform in image.platforms:
        folder = parse_folder(folder_files(platform)[f"{platform.folder}/{INDEX_NAME}"], platform.folder)
        assert folder.to_json() == platform.descriptor.to_json()


def _descriptor(one: ImagePlatform) -> Descriptor:
    return replace(one.descriptor, media_type=media_types.OCI_MANIFEST)


def _secrets(data: bytes) -> set[str]:
    """The strings of a file that no one may see."""
    try:
        document = json.loads(data)
        entries = [entry for entry in document["auths"].values() if isinstance(entry, dict)]
    except (ValueError, RecursionError, LookupError, AttributeError, TypeError):
        return set()
    whole = json.dumps(document)
    found = [entry.get(key) for entry in entries for key in ("auth", "password", "identitytoken", "registrytoken")]
    # A short word may be one of our message, and what stands elsewhere too is not secret.
    texts = {text for text in found if isinstance(text, str) and len(text.strip()) >= _SHORTEST_SECRET}
    return {text for text in texts if whole.count(text) == 1}
