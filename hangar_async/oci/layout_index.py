"""The `index.json` of an OCI image layout that any program may have made, read: the names that its images have."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hangar_async.errors import ContentError, InvalidValue
from hangar_async.oci import media_types
from hangar_async.oci.catalog import MAX_INDEX
from hangar_async.oci.layout import INDEX_NAME
from hangar_async.oci.manifest import REF_NAME, Descriptor, Index, parse_manifest
from hangar_async.oci.reference import Reference

#: The full name, as containerd, BuildKit and `docker save` write it.
_FULL_NAME = "io.containerd.image.name"
#: The registry of images that have no other.
_NO_REGISTRY = "localhost"
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_NOT_OF_A_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 100
_KINDS = media_types.MANIFESTS | media_types.INDEXES | {""}


@dataclass(frozen=True, slots=True)
class LayoutEntry:
    """One image of a layout; without a name (`named` False) its reference is made of the directory and the digest."""

    reference: Reference
    root: Descriptor
    named: bool


def parse_layout_index(raw: bytes, directory: str) -> tuple[LayoutEntry, ...]:
    """Read the `index.json` of the layout in a directory of this name; raises ContentError.

    An image's name is its annotation `io.containerd.image.name`, else `org.opencontainers.image.ref.name` where that
    is a reference; where that is a tag alone, the directory's name is the repository, on `localhost`. Of several
    images with one name the first has it. Entries that are neither manifest nor index are passed over.
    """
    try:
        index = parse_manifest(raw, media_types.OCI_INDEX, limit=MAX_INDEX)
    except ContentError as error:
        raise ContentError(f"{INDEX_NAME}: {error}") from error
    assert isinstance(index, Index)  # noqa: S101 - of its Content-Type, or refused
    entries: dict[str, LayoutEntry] = {}
    for root in index.manifests:
        if root.media_type not in _KINDS:
            continue
        reference = _name(root, repository_of(directory))
        named = reference is not None and reference.cache_name not in entries
        if reference is None or not named:
            reference = Reference(_NO_REGISTRY, repository_of(directory), None, root.digest)
        entries.setdefault(reference.cache_name, LayoutEntry(reference, root, named))
    return tuple(entries.values())


def repository_of(directory: str) -> str:
    """Make a repository's name of that of a directory."""
    name = directory.lower()[:_LONGEST_NAME]
    try:
        return Reference(_NO_REGISTRY, name).repository
    except InvalidValue:
        return _NOT_OF_A_NAME.sub("-", name).strip("-") or "layout"


def _name(root: Descriptor, repository: str) -> Reference | None:
    short = root.annotations.get(REF_NAME, "")
    if _TAG.fullmatch(short):
        short = f"{_NO_REGISTRY}/{repository}:{short}"
    for name in (root.annotations.get(_FULL_NAME, ""), short):
        try:
            return Reference.parse(name)
        except InvalidValue:
            continue
    return None
