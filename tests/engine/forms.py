"""The same images in every form that can be read: archives of ours, parts, the directory, archives as Hangar's."""

import asyncio
import gzip
import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import zstandard

from hangar_async.engine.save import save
from hangar_async.oci.reference import Reference
from hangar_async.testing.images import Built
from tests.engine.rig import options
from tests.fakes.registry import fake_registry

#: Name, format, number of parts.
OURS = {
    "gzip": ("gzip", 1),
    "zstd": ("zstd", 1),
    "gzip-3": ("gzip", 3),
    "gzip-12": ("gzip", 12),
    "zstd-3": ("zstd", 3),
    "zstd-12": ("zstd", 12),
}
HANGARS = ("hangar-gzip", "hangar-gzip-list-last", "hangar-zstd")
ARCHIVES = (*OURS, *HANGARS)
FORMS = (*ARCHIVES, "dir")
#: What Hangar's caches have not.
_OUR_OWN = {"index.json", "oci-layout", "blobs"}


@dataclass(frozen=True)
class Saved:
    """Images as they were served, and where they lie in each form; tests that change something make a copy."""

    root: Path
    built: Mapping[str, Built]

    def at(self, form: str) -> Path:
        """The archive or directory of a form."""
        return self.root / form / ("saved-image-cache" if form == "dir" else "all.tar")

    def copy(self, form: str, target: Path) -> Path:
        """Copy a form into a directory, to be changed."""
        shutil.copytree(self.root / form, target / form, symlinks=True)
        return target / form / self.at(form).name


def parts(path: Path) -> list[Path]:
    """The files of an archive, in order."""
    return [path] if path.exists() else sorted(path.parent.glob(f"{path.name}.part*"))


def tree(root: Path) -> dict[str, bytes | str]:
    """All that a directory holds but for names with a dot: files, links, and directories."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith("."):
            continue
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = "directory" if path.is_dir() else path.read_bytes()
    return found


def pack_as_hangar(cache: Path, target: Path, *, kind: str = "gzip", list_last: bool = False) -> None:
    """Pack a cache as Hangar 1.6 does: no index files of ours, no link, none of our restart points."""
    names = sorted(name for name in os.listdir(cache) if name not in _OUR_OWN and not name.startswith("."))
    names.sort(key=lambda name: (name != "share", list_last and name.endswith(".json")))
    plain = target.with_suffix(".plain")
    with tarfile.open(plain, "w:") as tar:
        tar.add(cache, "saved-image-cache", recursive=False)
        for name in names:
            tar.add(cache / name, f"saved-image-cache/{name}")
    if kind == "gzip":
        target.write_bytes(gzip.compress(plain.read_bytes(), 6))
    else:
        target.write_bytes(zstandard.ZstdCompressor().compress(plain.read_bytes()))
    plain.unlink()


async def _save_all(root: Path, images: Mapping[str, Built], architectures: list[str]) -> dict[str, Built]:
    async with fake_registry() as served:
        names = {}
        for name, built in images.items():
            served.add(f"{name}:1", built)
            names[f"{served.address}/{name}:1"] = built
        first = next(iter(images.values()))
        names[f"{served.address}/{next(iter(images))}@{first.digest}"] = first
        keywords = {"architectures": architectures, "cache": root / "cache", "sync": False}
        sizes: dict[str, int] = {}
        for form, (kind, count) in OURS.items():
            (root / form).mkdir()
            part_size = -(-sizes[kind] // count) if count > 1 else None
            target = root / form / "all.tar"
            made = options(root, *names, format=kind, destination=target, part_size=part_size, **keywords)
            report = await save(made)
            assert report.status == 0, [str(outcome.error) for outcome in report.failed]
            assert report.output is not None
            assert len(report.output.files) == count
            sizes[kind] = report.output.size
        (root / "dir").mkdir()
        await save(options(root, *names, destination=root / "dir" / "saved-image-cache", **keywords))
    return {Reference.parse(name).cache_name: built for name, built in names.items()}


def make(root: Path, images: Mapping[str, Built], architectures: list[str]) -> Saved:
    """Save images in every form below a directory."""
    saved = Saved(root, asyncio.run(_save_all(root, images, architectures)))
    for form in HANGARS:
        (root / form).mkdir()
        kind = "zstd" if "zstd" in form else "gzip"
        pack_as_hangar(saved.at("dir"), saved.at(form), kind=kind, list_last=form.endswith("last"))
    return saved


def flip(path: Path, offset: int, bit: int = 4) -> None:
    """Change a bit of an archive, whichever part it is in."""
    for part in parts(path):
        size = part.stat().st_size
        if offset < size:
            with part.open("r+b") as file:
                file.seek(offset)
                byte = file.read(1)[0]
                file.seek(offset)
                file.write(bytes([byte ^ bit]))
            return
        offset -= size
    raise AssertionError("behind the end")
