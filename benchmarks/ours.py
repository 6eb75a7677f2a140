"""Our commands, as a person types them, and our programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.checks import Check, blobs_in, file_of, held_by, size_of
from benchmarks.process import Command
from benchmarks.stage import Corpus

_ENDINGS = {"gzip": ".tar.gz", "zstd": ".tar.zstd"}


def save(images: Path, corpus: Corpus, kind: str, jobs: int, *, whole: bool = True) -> Command:
    """`save` of a list; `whole` when the list names all of the corpus."""
    argv = (sys.executable, "-m", "hangar_async", "save", "-f", str(images), "-c", kind, "-d", "saved", "-j", str(jobs))
    return Command(f"save -c {kind} -j {jobs}", argv, check=_saved(corpus, kind, whole))


def save_unsynced(images: Path, corpus: Corpus, kind: str, jobs: int) -> Command:
    """`save` through the library, without any sync."""
    argv = (sys.executable, "-m", "benchmarks.programs.save", str(images), "saved", kind, str(jobs))
    return Command(f"save {kind}, no sync", argv, check=_saved(corpus, kind, True))


def archive(corpus: Corpus, kind: str, checksum: str = "sha256") -> Command:
    """The archive stage alone, with or without the SHA-256 of the archive for the file beside it."""
    words = (str(corpus.directory / "corpus.json"), "saved.tar", "seconds", kind, checksum)
    name = f"archive {kind}" if checksum == "sha256" else f"archive {kind} --checksum {checksum}"
    argv = (sys.executable, "-m", "benchmarks.programs.archive", *words)
    return Command(name, argv, check=file_of("saved.tar", 1), measures=_size_and_inner)


def verify(archive: Path) -> Command:
    """All of an archive checked; `inner` are its seconds without Python's start."""
    argv = (sys.executable, "-m", "benchmarks.programs.verify", str(archive), "seconds")
    return Command(f"verify {archive.name}", argv, check=file_of("seconds", 1), measures=_inner)


def copy(corpus: Corpus, *, hashed: bool = False) -> Command:
    """A read/write loop over the same files and an fsync, with or without a SHA-256 beside it."""
    told = str(corpus.directory / "corpus.json")
    argv = (sys.executable, "-m", "benchmarks.programs.copy", told, "copied", "seconds", *(["hash"] if hashed else []))
    name = "read/write/hash loop, fsync" if hashed else "read/write loop, fsync"
    return Command(name, argv, check=file_of("copied", 1), measures=_inner)


def pull(corpus: Corpus, registry: str, *, keep: bool) -> Command:
    """Download and verification alone, to a store or to nothing; `inner` are its seconds without Python's start."""
    told = str(corpus.directory / "corpus.json")
    argv = (sys.executable, "-m", "benchmarks.programs.pull", told, registry, "seconds", *(["store"] if keep else []))
    check = blobs_in("store/share/sha256", corpus.blobs) if keep else file_of("seconds", 1)
    name = "pull into a store" if keep else "pull"
    return Command(name, argv, check=check, measures=_inner)


def read(corpus: Corpus, registry: str, connections: int) -> Command:
    """The bytes of all blobs over so many connections, not kept; `inner` are its seconds without Python's start."""
    told = str(corpus.directory / "corpus.json")
    argv = (sys.executable, "-m", "benchmarks.programs.read", told, registry, str(connections), "seconds")
    return Command(f"read, {connections} connections", argv, check=file_of("seconds", 1), measures=_inner)


def upload(corpus: Corpus, registry: str) -> Command:
    """Uploads alone; `inner` are its seconds without Python's start."""
    told = str(corpus.directory / "corpus.json")
    argv = (sys.executable, "-m", "benchmarks.programs.upload", told, registry, "uploads/ours", "seconds")
    return Command("upload", argv, check=held_by(registry, "uploads/ours", corpus.blobs), measures=_inner)


def load(archive: Path, registry: Path, jobs: int, check: Check, name: str = "load") -> Command:
    """`load` of an archive into the registry whose address is in a file."""
    script = 'exec "$0" -m hangar_async load -s "$1" -d "$(cat "$2")" -j "$3"'
    argv = ("sh", "-c", script, sys.executable, str(archive), str(registry), str(jobs))
    return Command(f"{name} -j {jobs}", argv, check=check)


def load_inside(archive: Path, registry: Path, jobs: int, check: Check, name: str) -> Command:
    """The same through the library; `inner` are its seconds without Python's start."""
    argv = (sys.executable, "-m", "benchmarks.programs.load", str(archive), str(registry), str(jobs), "seconds")
    return Command(f"{name} -j {jobs}", argv, check=check, measures=_inner)


def mirror(images: Path, registry: Path, jobs: int, check: Check, name: str = "mirror") -> Command:
    """`mirror` of a list, all of each image, to the registry whose address is in a file."""
    script = 'exec "$0" -m hangar_async mirror -f "$1" -d "$(cat "$2")" -a all --os all -j "$3"'
    argv = ("sh", "-c", script, sys.executable, str(images), str(registry), str(jobs))
    return Command(f"{name} -j {jobs}", argv, check=check)


def mirror_on(images: Path, registry: Path, flags: str, check: Check, name: str) -> Command:
    """`mirror` as above with further flags; it tells the seconds of its report."""
    script = 'exec "$0" -m hangar_async mirror -f "$1" -d "$(cat "$2")" -a all --os all --report report.json $3'
    argv = ("sh", "-c", script, sys.executable, str(images), str(registry), flags)
    return Command(name, argv, check=check, measures=_reported)


def _reported(directory: Path) -> dict[str, float]:
    return {"inner": float(json.loads((directory / "work" / "report.json").read_text())["seconds"])}


def _saved(corpus: Corpus, kind: str, whole: bool) -> Check:
    if kind == "dir":
        return blobs_in("saved/share/sha256", corpus.layers if whole else ())
    return file_of(f"saved{_ENDINGS[kind]}", sum(layer["size"] for layer in corpus.layers) if whole else 1)


def _size_and_inner(directory: Path) -> dict[str, float]:
    return {**size_of("saved.tar")(directory), **_inner(directory)}


def _inner(directory: Path) -> dict[str, float]:
    return {"inner": float((directory / "work" / "seconds").read_text())}
