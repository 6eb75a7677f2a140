"""Makes the files of this directory: `python tests/golden/make.py CHECKOUT`, with a checkout of release 0.1.0.

Images are built and served by the embedded registry of that release, and saved by its command line, so that the files
are those that a user of 0.1.0 has. Run once; the files are committed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REGISTRY = "registry.example.com"
EPOCH = "1700000000"
#: The arguments of each output, behind those that all share.
OUTPUTS = {
    "whole.tar.gz": ("-a", "all", "-c", "gzip"),
    "whole.tar.zstd": ("-a", "all", "-c", "zstd"),
    "parts.tar.gz": ("-a", "all", "-c", "gzip", "--part", "--part-size", "2000"),
    "parts.tar.zstd": ("-a", "all", "-c", "zstd", "--part", "--part-size", "2000"),
    "partial.tar.gz": ("-a", "amd64", "-c", "gzip"),
    "cache": ("-a", "all", "-c", "dir"),
}


def _images() -> dict[str, Any]:
    build, layers, demo = (import_module(f"hangar_async.server.{name}") for name in ("build", "layers", "demo"))
    base = layers.layer({"etc/os-release": b"NAME=golden\n", "bin/sh": hashlib.shake_256(b"sh").digest(3000)})
    text = layers.layer({"usr/share/doc/words.txt": b"words and more words\n" * 200}, "none")
    packed = layers.layer({"opt/app": hashlib.shake_256(b"app").digest(5000)}, "zstd")
    amd64, arm64 = (build.image([base, layer], one) for layer, one in ((text, demo.AMD64), (packed, demo.ARM64)))
    tool = build.image([base], demo.AMD64, docker=True)
    windows = build.image([base], demo.WINDOWS)
    return {
        "golden/multi:1": build.index([amd64, arm64, build.attestation(amd64), build.attestation(arm64)]),
        "golden/docker:1": build.index([tool], docker=True),
        "golden/windows:1": windows,
        "golden/chart:1": build.artifact("application/vnd.example.config+json", b"a chart", "text/plain"),
    }


async def _make(checkout: Path) -> None:
    serving = import_module("hangar_async.server.app").serving
    content = import_module("hangar_async.server.routes").MemoryContent()
    images = _images()
    for name, built in images.items():
        content.add(name, built)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        (work / "images.txt").write_text("".join(f"{REGISTRY}/{name}\n" for name in images))
        async with serving(content) as address:
            for output, arguments in OUTPUTS.items():
                await asyncio.to_thread(_save, checkout, work, address, output, arguments)
        for path in sorted(work.glob("*.tar.*")):
            (HERE / path.name).write_bytes(path.read_bytes())
        _pack(work / "cache", HERE / "cache.tar", "cache")
        _pack_as_hangar(work / "cache", HERE / "hangar.tar.gz")
    expected = {
        f"{REGISTRY}/{name}": {"digest": str(built.digest), "blobs": sorted(map(str, built.blobs))}
        for name, built in images.items()
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def _save(checkout: Path, work: Path, address: str, output: str, arguments: tuple[str, ...]) -> None:
    program = [sys.executable, "-m", "hangar_async", "save", "-f", "images.txt", "-d", output, "-j", "4"]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "SOURCE_DATE_EPOCH": EPOCH}
    words = [*program, *arguments, "--mirror", f"{REGISTRY}={address}", "--quiet"]
    subprocess.run(words, cwd=work, env=environment, check=True)


def _pack(cache: Path, target: Path, name: str) -> None:
    """Pack a cache as a plain tar, for the empty directories and the link in it."""
    with tarfile.open(target, "w:") as tar:
        tar.add(cache, name, filter=_anonymous)


def _pack_as_hangar(cache: Path, target: Path) -> None:
    """Pack a cache as Hangar 1.6 does: without the files that it does not know."""
    with tarfile.open(target, "w:gz") as tar:
        for path in sorted(cache.iterdir(), key=lambda path: (path.name != "share", path.name)):
            if path.name not in ("index.json", "oci-layout", "blobs") and not path.name.startswith("."):
                tar.add(path, f"saved-image-cache/{path.name}", filter=_anonymous)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    sys.path.insert(0, str(Path(sys.argv[1]).resolve()))
    asyncio.run(_make(Path(sys.argv[1]).resolve()))
