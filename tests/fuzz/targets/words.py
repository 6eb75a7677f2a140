"""Texts of people: image lists, names, platforms, sizes, command lines."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from yarl import URL

from hangar_async import imagelist, mirrorlist
from hangar_async.cli.argv import GlobalFlags, Grammar, normalise
from hangar_async.cli.values import parse_size
from hangar_async.cli.view.text import flag_size
from hangar_async.config.naming import MirrorNames
from hangar_async.config.registries import read_registries_conf
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.layout.files import blob_name
from hangar_async.oci.digest import ALGORITHMS, Digest
from hangar_async.oci.platform import PlatformPattern
from hangar_async.oci.reference import Reference
from hangar_async.server.htpasswd import read_hashes
from tests.refusal import attempt, check_told

_T = TypeVar("_T")
_MIRROR_NAMES = MirrorNames.parse(template="reg.example:5000/{registry}/{repository}")
_OPPOSITES = {"--part": "--no-part", "--no-part": "--part"}
_FLAGS = {"--part": "--part", "--no-part": "--no-part", "-x": "--extra", "--extra": "--extra"}
_COMMANDS = {"save": Grammar(_FLAGS, _OPPOSITES, frozenset({"-f", "--file", "-j"}))}


def image_list(data: bytes) -> None:
    """Read a list from a file; each of its images has a name that reads back as the same, everywhere."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "list")
        path.write_bytes(data)
        found = attempt(lambda: imagelist.read(path), UsageError)
    if found is None:
        return
    for line in found.invalid:
        check_told(InvalidValue(str(line)))
    for entry in found.entries:
        check_reference(entry.reference)
        # What failed is written as it stood, for the next run.
        assert imagelist.parse([entry.text]).entries[0].reference == entry.reference
    assert len({entry.reference for entry in found.entries}) == len(found.entries)


def mirror_list(data: bytes) -> None:
    """Read a mirror list; each of its copies has names that read back as the same."""
    found = attempt(lambda: mirrorlist.parse(imagelist.decode(data), _MIRROR_NAMES), UsageError)
    if found is None:
        return
    for line in found.invalid:
        check_told(InvalidValue(str(line)))
    for entry in found.entries:
        check_reference(entry.source)
        check_reference(entry.target)
        [again] = mirrorlist.parse([entry.text], _MIRROR_NAMES).entries
        assert (again.source, again.target) == (entry.source, entry.target)


def mirrors(data: bytes) -> None:
    """Read a `registries.conf`; each image has sources that are images too."""
    found = _read(data, read_registries_conf)
    if found is None:
        return
    for name in ("nginx:1", "registry.example:5000/team/app:1", "a.b.example/c"):
        reference = Reference.parse(name)
        for source in attempt(partial(found.sources, reference), UsageError, InvalidValue) or ():
            check_reference(source)


def passwords(data: bytes) -> None:
    """Read a file of passwords: each name with a hash that is no dearer than may be."""
    for name, hash_text in (_read(data, read_hashes) or {}).items():
        assert name
        assert int(hash_text.split(b"$")[2]) <= 14


def _read(data: bytes, read: Callable[[Path], _T]) -> _T | None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "file")
        path.write_bytes(data)
        try:
            return read(path)
        except UsageError as error:
            check_told(UsageError(" ".join(str(error).split())))
            return None


def words(data: bytes) -> None:
    """Read one word, or a line of them, as everything that a person may write for it."""
    text = data.decode("utf-8", "replace")
    for check in _CHECKS:
        check(text)


def check_reference(reference: Reference) -> None:
    """See that all names of an image lead back to it, and that its registry can be asked."""
    assert Reference.parse(str(reference)) == reference
    for name in (reference.layout_name, reference.cache_name):
        assert Reference.parse(name).cache_name == reference.cache_name
    assert len(reference.cache_name) < 1000
    url = URL(f"https://{reference.registry}/")
    name, colon, port = reference.registry.rpartition(":")
    host, number = (name, int(port)) if colon and not port.endswith("]") else (reference.registry, 443)
    assert url.port == number
    assert url.host
    if ":" not in host:
        assert url.raw_host == host.lower()


def _reference(text: str) -> None:
    if reference := attempt(lambda: Reference.parse(text), InvalidValue):
        check_reference(reference)
        moved = reference.on("other.example:5000")
        assert (moved.repository, moved.tag, moved.digest) == (reference.repository, reference.tag, reference.digest)


def _digest(text: str) -> None:
    if digest := attempt(lambda: Digest.parse(text), InvalidValue):
        assert str(digest) == text
        assert blob_name(digest).split("/") == ["share", *text.split(":")]
        assert len(digest.hex) == ALGORITHMS[digest.algorithm]


def _platform(text: str) -> None:
    if pattern := attempt(lambda: PlatformPattern.parse(text), InvalidValue):
        assert PlatformPattern.parse(str(pattern)) == pattern


def _size(text: str) -> None:
    if size := attempt(lambda: parse_size(text), InvalidValue):
        assert parse_size(flag_size(size)) == size > 0


def _command_line(text: str) -> None:
    words = [word for word in text.split() if word not in ("true", "false")]
    if found := attempt(lambda: normalise(words, _COMMANDS), UsageError):
        _, line = found
        assert normalise(line, _COMMANDS) == (GlobalFlags(), line)


_CHECKS: tuple[Callable[[str], None], ...] = (_reference, _digest, _platform, _size, _command_line)
