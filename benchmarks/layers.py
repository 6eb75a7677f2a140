"""Layers made of the files of this machine: the same bytes each time, as long as these files stay the same."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import random
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from isal import igzip

from benchmarks.recipes import Layer

_PLACES = ("/usr/lib", "/usr/share", "/usr/bin", "/usr/local")
#: A file of more bytes would decide a layer's size alone.
_LARGEST_FILE = 48 << 20
#: The part that gzip leaves of the files of a Linux system, about.
_RATIO = 0.4
_LEVEL = 2
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Made:
    """A layer's blob: digest and size as it is stored, and the digest of the tar in it."""

    digest: str
    size: int
    diff_id: str


def source_files() -> list[tuple[str, int]]:
    """List this machine's files with their sizes, in an order that is always the same and mixes all places."""
    found: list[tuple[str, int]] = []
    for place in _PLACES:
        for directory, _, names in os.walk(place):
            for name in names:
                path = Path(directory, name)
                if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                    continue
                size = path.stat().st_size
                if 0 < size <= _LARGEST_FILE:
                    found.append((str(path), size))
    found.sort()
    random.Random(0).shuffle(found)
    return found


def deal(layers: Iterable[Layer], files: list[tuple[str, int]]) -> dict[str, list[str]]:
    """Give each layer its files: the next ones of the list, which begins again when it is used up."""
    hands: dict[str, list[str]] = {}
    deck = itertools.cycle(files)
    small = itertools.cycle([entry for entry in files if entry[1] <= 4096])
    for layer in layers:
        if layer.content == "noise":
            hands[layer.key] = []
            continue
        wanted = layer.size / _RATIO if layer.gzip else layer.size
        hand: list[str] = []
        held = 0
        for path, size in small if wanted < 1 << 20 else deck:
            if held + size > wanted * 1.2:
                if held > wanted * 0.8 or not hand:
                    break
                continue
            hand.append(path)
            held += size
            if held >= wanted:
                break
        hands[layer.key] = hand
    return hands


def make(layer: Layer, paths: Iterable[str], directory: Path) -> Made:
    """Write a layer's blob into the directory, under the hex of its digest."""
    temporary = directory / f".{hashlib.sha256(layer.key.encode()).hexdigest()}.tmp"
    with temporary.open("wb") as file:
        stored, diff = _Hashing(file), hashlib.sha256()
        with (
            _compressed(stored, layer.gzip) as target,
            tarfile.open(fileobj=_Tee(target, diff), mode="w|", format=tarfile.GNU_FORMAT, bufsize=_PIECE) as tar,
        ):
            # Two layers are never the same, even when the machine's files are used up and begin again.
            _add(tar, "layer", [f"{layer.key}\n".encode()])
            for path in paths:
                _add(tar, path.lstrip("/"), [Path(path).read_bytes()])
            if layer.content == "noise":
                _add(tar, "noise", _noise(layer))
    temporary.replace(directory / stored.hash.hexdigest())
    return Made(f"sha256:{stored.hash.hexdigest()}", stored.size, f"sha256:{diff.hexdigest()}")


class _Hashing:
    """A file that knows what went into it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class _Tee(io.RawIOBase):
    def __init__(self, target: BinaryIO, diff: hashlib._Hash) -> None:
        self._target = target
        self._diff = diff

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._diff.update(data)
        return self._target.write(data)


@contextmanager
def _compressed(target: _Hashing, gzip: bool) -> Iterator[BinaryIO]:
    if not gzip:
        yield cast("BinaryIO", target)
        return
    file: Any = igzip.IGzipFile
    with file(filename="", mode="wb", compresslevel=_LEVEL, fileobj=target, mtime=0) as opened:
        yield opened


def _noise(layer: Layer) -> list[bytes]:
    source = random.Random(layer.key)
    return [source.randbytes(min(_PIECE, layer.size - start)) for start in range(0, layer.size, _PIECE)]


def _add(tar: tarfile.TarFile, name: str, pieces: list[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = sum(map(len, pieces))
    entry.mode = 0o644
    tar.addfile(entry, io.BytesIO(b"".join(pieces)))
