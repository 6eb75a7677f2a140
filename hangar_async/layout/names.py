"""The names of images in layouts: those that other programs gave, and the search for one."""

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from hangar_async import oci
from hangar_async.errors import InvalidValue, UsageError

#: The full name, as containerd, BuildKit and `docker save` write it.
_FULL_NAME = "io.containerd.image.name"
#: The registry of images that have no other.
_NO_REGISTRY = "localhost"
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_NOT_OF_A_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST_DIRECTORY = 100
#: The characters of a wrong name that a note shows.
_LONGEST_SAID = 140
#: The role of an entry, as cosign and hauler write it; a digest may follow.
_KIND = re.compile(r"dev\.(?:cosignproject\.cosign|hauler)/(\w+)(?:/(?:sha256[-:]?)?([0-9a-f]{64}))?")
#: The ends of the tags of what belongs to an image. Source: cosign, SIGNATURE_SPEC.md, "Tag-based Discovery".
_ENDS = {"sigs": ".sig", "atts": ".att", "sboms": ".sbom"}
#: The digest of the image that an entry belongs to, as hauler writes it.
_SUBJECT = "hauler.dev/subject-digest"
_LAYERS = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")


def name_images(roots: Sequence[oci.Descriptor], directory: str, documents: oci.Documents) -> tuple[oci.Image, ...]:
    """Name the entries of the `index.json` of a layout in a directory of this name, in their order.

    The name of an image is its annotation `io.containerd.image.name`, else `org.opencontainers.image.ref.name` where
    that is a reference. With a tag alone in the annotation, the name of the directory is the repository, on
    `localhost`. Of several entries with one name the first image has it, by its `kind` and its document, else the first
    entry. Signatures, attestations and lists of parts get the tag by which cosign finds them.
    """
    names = _Names(repository_of(directory), documents)
    images = {}
    for number, root in sorted(enumerate(roots), key=lambda numbered: not names.is_image(numbered[1])):
        image = names.name(root)
        if image is not None:
            images[number] = image
    return tuple(image for _, image in sorted(images.items()))


def repository_of(directory: str) -> str:
    """Make the name of a repository from the name of a directory."""
    name = directory.lower()[:_LONGEST_DIRECTORY]
    try:
        return oci.Reference(_NO_REGISTRY, name).repository
    except InvalidValue:
        return _NOT_OF_A_NAME.sub("-", name).strip("-") or "layout"


def matches(image: oci.Image, pattern: str) -> bool:
    """Tell whether a pattern matches the name, with or without its registry, with or without its tag.

    A name of Docker Hub may leave out `docker.io` and `library`, as everywhere.
    """
    return any(
        fnmatchcase(name, pattern) for reference in {image.reference, image.wanted} for name in _names_of(reference)
    )


def _names_of(reference: oci.Reference) -> Iterator[str]:
    repositories = [reference.repository, reference.name]
    if reference.registry == oci.DOCKER_HUB:
        short = reference.repository.removeprefix("library/")
        repositories += [short, f"{oci.DOCKER_HUB}/{short}"]
    for repository in repositories:
        yield from (repository, f"{repository}:{reference.cache_tag}")


def find_image(images: Iterable[oci.Image], name: str, pattern: str | None = None) -> oci.Image:
    """Return the image of this name, or the only one that a pattern matches; raises UsageError that names others."""
    by_name = {image.name: image for image in images}
    if name in by_name:
        return by_name[name]
    matching = [image for image in by_name.values() if matches(image, pattern or name)]
    names = [image.name for image in matching] or list(by_name)
    some = ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
    if not matching:
        raise UsageError(f"there is no image {name} in it; it has {some or 'none'}")
    if len(matching) > 1:
        raise UsageError(f"{pattern or name} may be each of {len(matching)} images: {some}")
    return matching[0]


class _Names:
    """The names that are given so far; images come first."""

    def __init__(self, repository: str, documents: oci.Documents) -> None:
        self._repository = repository
        self._documents = documents
        self._images: dict[str, oci.Image] = {}
        # The first images; of more than one none is the only one.
        self._first: list[oci.Image] = []

    def name(self, root: oci.Descriptor) -> oci.Image | None:
        """Name an entry; None for one that is there already under its name, or under its digest."""
        reference = _annotated_reference(root, self._repository)
        kind = _kind(root)[0]
        if kind in _ENDS:
            reference = self._reference_of_part(root, reference, _ENDS[kind])
        elif kind == "referrers" and reference is not None:
            # Its subject is in it: it needs no tag, but the repository.
            reference = oci.Reference(reference.registry, reference.repository, None, root.digest)
        notes = _notes(root) if reference is None else ()
        other = self._images.get(reference.cache_name) if reference is not None else None
        if other is not None and other.digest == root.digest:
            return None
        named = reference is not None and other is None
        if other is not None:
            notes = (f"{other.name} is the name of {other.digest} in it",)
        if reference is None or not named:
            reference = oci.Reference(_NO_REGISTRY, self._repository, None, root.digest)
        image = oci.Image(reference, root, (), named=named, notes=notes)
        if self._images.setdefault(reference.cache_name, image) is not image:
            return None
        if len(self._first) < 2 and self.is_image(root):
            self._first.append(image)
        return image

    def is_image(self, root: oci.Descriptor) -> bool:
        """Tell whether an entry is an image by its `kind`, else by its document; True where neither tells."""
        kind, document = _kind(root)[0], self._documents.get(root.digest)
        if kind or not isinstance(document, oci.Manifest):
            return kind in ("", "image", "imageIndex")
        # A signature may have the config of an image.
        is_layered = not document.layers or any(layer.media_type.startswith(_LAYERS) for layer in document.layers)
        return document.is_image and is_layered

    def _reference_of_part(
        self, root: oci.Descriptor, reference: oci.Reference | None, end: str
    ) -> oci.Reference | None:
        """Name what belongs to an image: by its own tag, else by the digest that it says, else by the image's."""
        only = self._first[0] if len(self._first) == 1 else None
        image = self._images.get(reference.cache_name) if reference is not None else only
        place = reference or (image.reference if image is not None else None)
        if place is None:
            return None
        tag = root.annotations.get(oci.REF_NAME, "").rpartition(":")[2]
        if not oci.cosign_type(tag):
            subject = _subject(root) or (image.digest if image is not None else None)
            if subject is None:
                return None
            tag = f"{subject.tag}{end}"
        return oci.Reference(place.registry, place.repository, tag)


def _notes(root: oci.Descriptor) -> tuple[str, ...]:
    """Say that the name of an entry can name no image."""
    name = root.annotations.get(_FULL_NAME) or root.annotations.get(oci.REF_NAME) or ""
    return (f"{name[:_LONGEST_SAID]!r} is no name of an image",) if name else ()


def _kind(root: oci.Descriptor) -> tuple[str, str]:
    """Read the role of an entry, and the digits of the digest after it; "" for none."""
    match = _KIND.fullmatch(root.annotations.get("kind", ""))
    return (match[1], match[2] or "") if match else ("", "")


def _subject(root: oci.Descriptor) -> oci.Digest | None:
    digits = _kind(root)[1]
    try:
        return oci.Digest.parse(root.annotations.get(_SUBJECT) or f"sha256:{digits}")
    except InvalidValue:
        return None


def _annotated_reference(root: oci.Descriptor, repository: str) -> oci.Reference | None:
    # Helm writes the versions of charts, which may have a "+", with "_" in its place.
    short = root.annotations.get(oci.REF_NAME, "").replace("+", "_")
    if _TAG.fullmatch(short):
        short = f"{_NO_REGISTRY}/{repository}:{short}"
    for name in (root.annotations.get(_FULL_NAME, ""), short):
        try:
            return oci.Reference.parse(name)
        except InvalidValue:
            continue
    return None
