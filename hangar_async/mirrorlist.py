"""Mirror lists: lines `SOURCE DEST TAG`, or of one image, to pairs of names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hangar_async.config.naming import Destination, MirrorNames, in_project
from hangar_async.config.shard import Shard
from hangar_async.errors import Conflict, InvalidValue, UsageError
from hangar_async.imagelist import (
    MAX_LINES,
    InvalidLine,
    check_names_images,
    check_text,
    explained,
    list_name,
    parse_line,
    read_lines,
    split_comment,
)
from hangar_async.oci import Digest, Reference, parse_registry, split_registry

#: The characters of a wrong text that a message shows.
_LONGEST = 140
_FORMAT = "write SOURCE DEST TAG, or one image"


@dataclass(frozen=True, slots=True)
class MirrorEntry:
    """One copy of a mirror list: the first line that asks for it (`text` as written, without comment), and its names.

    The target has the tag of the source, or its digest where it has none.
    """

    line: int
    text: str
    source: Reference
    target: Reference


@dataclass(frozen=True, slots=True)
class MirrorList:
    """A mirror list: entries in order, each copy once; invalid lines; the number of lines that repeat a copy."""

    name: str
    entries: tuple[MirrorEntry, ...]
    invalid: tuple[InvalidLine, ...] = ()
    duplicates: int = 0

    def part(self, shard: Shard | None) -> MirrorList:
        """Return the part of a shard; lines without an image, and repeated ones, count for the first one."""
        if shard is None:
            return self
        entries = tuple(entry for entry in self.entries if entry.target.name in shard)
        is_first = shard.number == 0
        return MirrorList(self.name, entries, self.invalid if is_first else (), self.duplicates if is_first else 0)

    @property
    def shared_targets(self) -> tuple[tuple[MirrorEntry, ...], ...]:
        """The entries that share a target with others, in groups."""
        groups: dict[Reference, list[MirrorEntry]] = {}
        for entry in self.entries:
            groups.setdefault(entry.target, []).append(entry)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

    def conflicts(self, digests: Mapping[Reference, Digest]) -> Iterator[Conflict]:
        """Name each two lines that want different content under one name, by the digests that the sources have.

        Entries of one target and one digest are one image. A source without a digest is left out.
        """
        for group in self.shared_targets:
            first: tuple[MirrorEntry, Digest] | None = None
            for entry in group:
                digest = entry.source.digest or digests.get(entry.source)
                if first is None and digest is not None:
                    first = entry, digest
                elif first is not None and digest not in (None, first[1]):
                    yield self._conflict(first[0], entry)

    def _conflict(self, one: MirrorEntry, other: MirrorEntry) -> Conflict:
        return Conflict(
            f"{self.name}:{one.line} and {self.name}:{other.line} would both be {one.target}, and {one.source} and "
            f"{other.source} differ"
        )


def read(images: Path | Sequence[str], names: MirrorNames, name: str = "", shard: Shard | None = None) -> MirrorList:
    """Read a list, or a shard of it, from a file or from its lines.

    Raises UsageError when it cannot be read or names no image.
    """
    lines = read_lines(images)
    mirror_list = parse(lines, names, name or list_name(images))
    check_names_images(mirror_list.name, mirror_list.entries, mirror_list.invalid, lines)
    return mirror_list.part(shard)


def parse(lines: Iterable[str], names: MirrorNames, name: str = "image list") -> MirrorList:
    """Read a list; blank lines and comments are skipped as in an image list.

    A line that is wrong becomes an InvalidLine. Raises UsageError for an image that the template of `names` makes no
    name of, and for more lines than any list has.
    """
    entries: dict[tuple[Reference, Reference], MirrorEntry] = {}
    invalid: list[InvalidLine] = []
    duplicates = 0
    for number, line in enumerate(lines, 1):
        text, _ = split_comment(line)
        if not text:
            continue
        if len(entries) + len(invalid) == MAX_LINES:
            raise UsageError(f"{name}:{number}: a list may name {MAX_LINES:,} images; split it")
        try:
            pair = read_line(text, names)
        except InvalidValue as error:
            invalid.append(InvalidLine(name, number, str(error)))
            continue
        except UsageError as error:
            raise UsageError(f"{name}:{number}: {error}") from error
        if pair in entries:
            duplicates += 1
        else:
            entries[pair] = MirrorEntry(number, text, *pair)
    return MirrorList(name, tuple(entries.values()), tuple(invalid), duplicates)


def read_line(text: str, names: MirrorNames) -> tuple[Reference, Reference]:
    """Read a line without its comment: the source, and the target.

    `SOURCE DEST TAG` are separated by spaces or tabs. SOURCE and DEST are names without tag, on `docker.io` where they
    name no registry. TAG is what the grammar of references allows after a name: a tag, a digest, or `TAG@DIGEST`, which
    copies the digest under the tag; Hangar 1.6 reads a tag alone. A template names no target of such a line. The target
    of any other line, one image, is what `names` makes of it. Raises InvalidValue with the right form, and UsageError
    for an image that a template makes no name of.
    """
    check_text(text)
    fields = text.split()
    if len(fields) == 1:
        source = parse_line(text, names.source)
        target = names.target(source)
        if target is None:
            raise InvalidValue(
                f"{text[:_LONGEST]!r} has no destination: write SOURCE DEST TAG, or name one with --destination or --to"
            )
        return source, target
    try:
        return _pair(text, fields, names)
    except InvalidValue as error:
        raise explained(text, error) from None


def has_three_fields(text: str) -> bool:
    """Tell whether a line without its comment has the form `SOURCE DEST TAG`."""
    return len(text.split()) == 3


def _pair(text: str, fields: Sequence[str], names: MirrorNames) -> tuple[Reference, Reference]:
    if len(fields) != 3:
        raise InvalidValue(f"{text[:_LONGEST]!r} has {len(fields)} fields: {_FORMAT}")
    source_name, target_name, version = fields
    tag, digest = _tag_and_digest(version)
    source = Reference(*_registry_and_path("SOURCE", source_name), tag, digest)
    # Not as a reference has it: `library/` is no project that somebody wrote.
    registry, path = _registry_and_path("DEST", target_name)
    if isinstance(names.naming, Destination):
        parse_registry(registry)
        registry, path = names.naming.registry, names.naming.path(path)
    target = Reference(registry, in_project(path, names.default_project), tag, None if tag else digest)
    return source.on(names.source) if names.source else source, target


def _registry_and_path(field: str, name: str) -> tuple[str, str]:
    """Split a name that has neither a tag nor a digest; raises InvalidValue."""
    if "://" in name:
        Reference.parse(name)  # raises InvalidValue
    if "@" in name or ":" in name.rpartition("/")[2]:
        raise InvalidValue(
            f"{name[:_LONGEST]!r} ({field}) is more than a name: write [REGISTRY/]NAME, and the tag as third field"
        )
    return split_registry(name)


def _tag_and_digest(text: str) -> tuple[str | None, Digest | None]:
    if "@" not in text and ":" in text:
        return None, Digest.parse(text)
    tag, at, digest = text.partition("@")
    if not tag or (at and not digest):
        raise InvalidValue(f"{text[:_LONGEST]!r} is no third field: write TAG, DIGEST or TAG@DIGEST")
    return tag, Digest.parse(digest) if at else None
