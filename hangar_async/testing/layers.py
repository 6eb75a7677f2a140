"""Layers made on the spot: trees of files as tars, compressed or not, the same bytes for the same files."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import zstandard

from hangar_async.oci.digest import Digest

Compression = Literal["gzip", "zstd", "none"]
_OCI = "application/vnd.oci.image.layer.v1.tar"
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_BINARIES = frozenset({"bin", "sbin"})


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its bytes, its type, and the digest of its tar before it was compressed.

    One with `urls` is foreign: a manifest names it, and a registry does not hold it.
    """

    data: bytes = field(repr=False)
    media_type: str
    diff_id: Digest
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> Digest:
        """The digest of its bytes."""
        return Digest.of(self.data)

    @property
    def fields(self) -> dict[str, Any]:
        """Its descriptor as it stands in a manifest."""
        fields: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": len(self.data),
        }
        if self.urls:
            fields["urls"] = list(self.urls)
        if self.annotations:
            fields["annotations"] = dict(self.annotations)
        return fields


def layer(
    files: Mapping[str, bytes],
    compression: Compression = "gzip",
    *,
    docker: bool = False,
    urls: Sequence[str] = (),
) -> Layer:
    """Make a layer of these files, with OCI's media type or Docker's; with `urls` it is a foreign one."""
    tar = tar_of(files)
    kind = (_DOCKER_FOREIGN if urls else _DOCKER) if docker else (_OCI_FOREIGN if urls else _OCI)
    if compression == "none":
        return Layer(tar, kind, Digest.of(tar), tuple(urls))
    data = _gzip(tar) if compression == "gzip" else zstandard.ZstdCompressor(level=3).compress(tar)
    return Layer(data, f"{kind}{'.' if docker else '+'}{compression}", Digest.of(tar), tuple(urls))


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Make a tar of these files, each after the directories that it is in, in the order of their names.

    A name that ends in a slash is an empty directory. Owner and times are 0; what lies in a bin is executable.
    """
    stream = io.BytesIO()
    made: set[str] = set()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(files.items()):
            path = PurePosixPath(name)
            above = [str(one) for one in reversed(path.parents) if str(one) != "."]
            for directory in [*above, str(path)] if name.endswith("/") else above:
                if directory not in made:
                    made.add(directory)
                    entry = tarfile.TarInfo(directory)
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            if not name.endswith("/"):
                entry = tarfile.TarInfo(str(path))
                entry.size, entry.mode = len(data), 0o755 if path.parent.name in _BINARIES else 0o644
                tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def files_below(directory: Path, prefix: str = "") -> dict[str, bytes]:
    """Read the regular files below a directory, by their names relative to it, behind `prefix`; links are left out."""
    return {
        f"{prefix}{path.relative_to(directory).as_posix()}": path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _gzip(data: bytes) -> bytes:
    # Not the gzip module: what its header says of the system differs between versions of Python.
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(data) + deflate.flush()
    end = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + body + end
