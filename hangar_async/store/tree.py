"""A new directory, made whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hangar_async.disk import Disk
from hangar_async.errors import DigestMismatch
from hangar_async.oci.holdings import HeldFile
from hangar_async.store.handover import sync_files


@dataclass(frozen=True, slots=True)
class NewTree:
    """Makes the directory `target` (which is not there, or empty) out of files that are checked as they are written.

    Synchronous, for a thread; `goes_on` is told the number of bytes of each piece, and raises to end the work early.
    """

    target: Path
    disk: Disk
    goes_on: Callable[[int], None]
    sync: bool = True

    def write(
        self,
        files: Iterable[tuple[str, HeldFile]],
        documents: Mapping[str, bytes],
        directories: Iterable[str] = (),
        links: Mapping[str, str] | None = None,
    ) -> int:
        """Write files under new names, and the rest; return the size in bytes.

        The directories are asked for when all files are written. Raises DigestMismatch for a file that has not its
        digest or size, StorageError; nothing is left then.
        """
        temporary = self.target.with_name(f".{self.target.name}.{os.getpid()}.tmp")
        self.disk.remove(temporary)
        names: set[str] = set()
        try:
            size = 0
            for name, file in files:
                names.add(name)
                size += self._copy(file, temporary / name)
            for name, data in documents.items():
                names.add(name)
                self.disk.make_directory((temporary / name).parent)
                self.disk.write_file(temporary / name, data)
                size += len(data)
            for directory in directories:
                self.disk.make_directory(temporary / directory)
            for name, link in (links or {}).items():
                self.disk.link(temporary / name, link)
            if self.sync:
                sync_files(self.disk, temporary, names, lambda: self.goes_on(0))
            self.disk.rename(temporary, self.target)
            temporary = self.target
            if self.sync:
                self.disk.sync(self.target.parent)
        except BaseException:
            self.disk.remove(temporary)
            raise
        return size

    def _copy(self, file: HeldFile, path: Path) -> int:
        self.disk.make_directory(path.parent)
        digest = file.digest
        hasher = digest.hasher() if digest else None
        got = 0
        descriptor = self.disk.create(path)
        try:
            for piece in file.pieces:
                got += len(piece)
                self.goes_on(len(piece))
                if got > file.size:
                    raise DigestMismatch(f"{file.name} is larger than the {file.size} bytes declared")
                self.disk.write(descriptor, piece, path)
                if hasher is not None:
                    hasher.update(piece)
        finally:
            self.disk.close(descriptor, path)
        if got != file.size:
            raise DigestMismatch(f"{file.name} has {got} bytes instead of {file.size}")
        if hasher is not None and digest is not None and hasher.hexdigest() != digest.hex:
            raise DigestMismatch(f"{file.name} is damaged", digest=str(digest), advice="get the archive anew")
        return got
