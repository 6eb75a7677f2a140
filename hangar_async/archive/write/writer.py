"""The writer of archives."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hangar_async.archive import tar_header
from hangar_async.archive.commit_record import Rename, unfinished_commit
from hangar_async.archive.entries import ArchiveEntry
from hangar_async.archive.index import Footer, IndexEncoder
from hangar_async.archive.names import ARCHIVE_INDEX, checksums_path, encode_checksums, part_paths
from hangar_async.archive.write.codec import GzipCodec, Input, ZstdCodec, bytes_input, open_input
from hangar_async.archive.write.commit import Commit
from hangar_async.archive.write.content import SpooledContent
from hangar_async.archive.write.parts import PartWriter
from hangar_async.config.output import LEVELS
from hangar_async.disk import Disk
from hangar_async.errors import InvalidValue, StorageError
from hangar_async.oci import Digest
from hangar_async.packed import PackedNames
from hangar_async.temporary import TemporaryFiles

#: Headers without a file between them are written at this number of bytes.
_MAX_PENDING = 1 << 16
_READS_A_REPORT = 2


@dataclass(frozen=True, slots=True)
class Written:
    """An archive in place: its parts in order (or the one file), their size in bytes, the library that compressed."""

    files: tuple[Path, ...]
    size: int
    compressor: str


class ArchiveWriter:
    """Writes one archive, `target`, or its parts of `part_size` bytes; the files get their names at `commit`.

    `format` is `gzip` or `zstd`; `level` 0 to 9 or 1 to 19, None for the default; `mtime` is the time of every entry,
    in seconds. The same calls make the same bytes with any number of `workers`. With `checksum` none instead of sha256
    the bytes are not hashed, and there is no `NAME.sha256`.

    With a `stream`, the descriptor of an open file or pipe, all goes there and nothing gets a name: `target` is then
    only a place for temporary names, `part_size` None and `checksum` none.

    `progress` is called in the caller's thread, after every file and a few MiB, with the compressed bytes so far
    and the number of the part, from 0; its exceptions end the work, as those of `check` do while it begins.
    `notice` is told about what a person should know, in the same thread. For one thread at a time. Raises
    InvalidValue for a format or level that does not exist, or a name that is used already, StorageError for the
    rest; after any exception only `discard` may be called. The end of the `with` block without a commit discards.
    """

    def __init__(
        self,
        target: Path,
        format: str,  # noqa: A002 - the word of the command line
        *,
        part_size: int | None = None,
        mtime: int = 0,
        sync: bool = True,
        progress: Callable[[int, int], None] = lambda *_: None,
        notice: Callable[[str], None] = lambda _: None,
        level: int | None = None,
        checksum: str = "sha256",
        workers: int | None = None,
        disk: Disk | None = None,
        check: Callable[[], None] = lambda: None,
        stream: int | None = None,
    ) -> None:
        self._target = target
        self._stream = stream
        self._part_size = part_size
        self._mtime = mtime
        self._sync = sync
        self._progress = progress
        self._notice = notice
        self._disk = disk or Disk()
        self._names = PackedNames()
        self._pending = bytearray()
        self._size = 0
        self._headers = 0
        self._reads = 0
        _check_level(format, level)
        self._state = "open"
        self._temporary = temporary_files(target, self._disk, notice, check)
        self._index_content = SpooledContent(self._disk, self._temporary.new)
        self._index = IndexEncoder(format, self._index_content.append)
        try:
            self._commit = Commit(target, self._temporary, self._disk, notice, self._report)
            self._parts = PartWriter(
                self._temporary, self._disk, part_size, sync, hashed=checksum != "none", stream=stream
            )
            self._codec = (GzipCodec if format == GzipCodec.format else ZstdCodec)(self._parts, level, workers)
        except BaseException:
            self._temporary.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @property
    def size(self) -> int:
        """The number of compressed bytes so far."""
        return self._parts.position

    def add_directory(self, name: str) -> None:
        """Append a directory, after the ones that it is in; one that was added already is left out."""
        if name not in self._names:
            with self._working(name):
                self._header(tar_header.DIRECTORY, name)

    def add_link(self, name: str, target: str) -> None:
        """Append a symbolic link with a relative target."""
        with self._working(name):
            self._header(tar_header.LINK, name, target=target)

    def add_bytes(self, name: str, data: bytes) -> None:
        """Append a small file."""
        with self._working(name):
            self._add_entry(name, bytes_input(data), Digest.of(data), compressed=False)
        self._report()

    def add_pieces(self, name: str, pieces: Iterable[bytes]) -> None:
        """Append a file of these bytes, whose number is not known before."""
        content = SpooledContent(self._disk, self._temporary.new, pieces)
        with closing(content), content.opened() as opened, self._working(name):
            self._add_entry(name, opened, content.digest, compressed=False)
        self._report()

    def add_file(self, name: str, source: Path, size: int, *, digest: Digest, compressed: bool) -> None:
        """Append a file of `size` bytes; `compressed` is True where its type is a compressed one.

        The digest is not checked; a file of another size is a StorageError.
        """
        with self._working(name), open_input(source, size, self._after_read) as opened:
            self._add_entry(name, opened, digest, compressed=compressed)
        self._report()

    def lock(self) -> None:
        """Wait until no other process puts an archive in place in the directory, as long as `progress` does not raise.

        `commit` waits too.
        """
        if self._stream is None:
            self._commit.lock()

    def commit(self, target: Path | None = None) -> Written:
        """End the archive, sync it and give it its name, or that of `target` beside it, in place of an earlier one."""
        with self._working(ARCHIVE_INDEX):
            self._index.end()
            with self._index_content.opened() as content:
                last = self._add(ARCHIVE_INDEX, content, self._index_content.digest, compressed=False)
            self._pending += tar_header.end(self._size)
            self._flush_headers()
            self._codec.finish(Footer(last.offset, last.length))
            paths = self._place(target or self._target)
        written = Written(paths, self._parts.position, self._codec.compressor)
        self._state = "committed"
        self._close()
        return written

    def discard(self) -> None:
        """Remove everything that was written, unless it was committed; may be called again."""
        if self._state in ("open", "broken"):
            self._state = "discarded"
            self._close()

    def _place(self, target: Path) -> tuple[Path, ...]:
        parts = self._parts.finish()
        if self._stream is not None:
            return (target,)
        if target != self._target:
            self._retarget(target)
        paths = (target,) if self._part_size is None else part_paths(target, len(parts))
        renames = [
            Rename(part.path.name, path.name, part.size, part.digest) for part, path in zip(parts, paths, strict=True)
        ]
        if digests := [part.digest for part in parts if part.digest is not None]:
            checksums, text = self._temporary.new(), encode_checksums(paths, digests)
            self._disk.write_new(checksums, text, sync=self._sync)
            renames.append(Rename(checksums.name, checksums_path(target).name, len(text), Digest.of(text).hex))
        self._commit.run(renames, sync=self._sync)
        return paths

    def _retarget(self, target: Path) -> None:
        """Give the parts, which are written, temporary names of another target."""
        earlier, self._temporary = self._temporary, temporary_files(target, self._disk, self._notice)
        self._commit.retarget(target, self._temporary)
        try:
            for part in self._parts.parts:
                path = self._temporary.new()
                self._disk.rename(part.path, path)
                part.path = path
        finally:
            earlier.close()

    def _add_entry(self, name: str, source: Input, digest: Digest, *, compressed: bool) -> None:
        self._index.add(self._add(name, source, digest, compressed=compressed))
        size = self._parts.position
        if not self._index.fits(size) or self._headers >= tar_header.most_headers(size):
            raise StorageError(
                f"the archive {self._target} would hold more files than can be read: {name} is one too many",
                path=str(self._target),
                advice="split the list of images",
            )

    def _add(self, name: str, source: Input, digest: Digest, *, compressed: bool) -> ArchiveEntry:
        self._header(tar_header.FILE, name, size=source.size)
        self._flush_headers()
        start = self._parts.position
        encoding, pieces = self._codec.add(source, compressed=compressed)
        length = self._parts.position - start
        padding = tar_header.padding(source.size)
        self._pending += padding
        self._size += source.size + len(padding)
        return ArchiveEntry(name, digest, source.size, start, length, encoding, pieces)

    def _header(self, kind: bytes, name: str, *, size: int = 0, target: str = "") -> None:
        block = tar_header.header(kind, name, size=size, target=target, mtime=self._mtime)
        self._pending += block
        self._size += len(block)
        # A long name has a header of its own.
        self._headers += 1 + (len(block) > tar_header.BLOCK)
        self._names.add(name)
        if len(self._pending) >= _MAX_PENDING:
            self._flush_headers()

    def _flush_headers(self) -> None:
        self._codec.write(bytes(self._pending))
        self._pending.clear()

    @contextmanager
    def _working(self, name: str) -> Iterator[None]:
        if self._state != "open":
            raise StorageError(f"the archive {self._target} is {self._state}", path=str(self._target))
        if name in self._names:
            raise InvalidValue(f"{name} is in the archive already")
        self._state = "broken"
        yield
        self._state = "open"

    def _after_read(self) -> None:
        """Count a reading of about 2 MiB, and report some of them."""
        self._reads = (self._reads + 1) % _READS_A_REPORT
        if not self._reads:
            self._report()

    def _report(self) -> None:
        self._progress(self._parts.position, self._parts.number)

    def _close(self) -> None:
        try:
            self._index_content.close()
            self._codec.close()
            self._parts.abandon()
        finally:
            self._commit.close()
            self._temporary.close()


def temporary_files(
    target: Path,
    disk: Disk,
    notice: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> TemporaryFiles:
    """Return temporary names for a target, after an earlier commit of this name is finished; `check` may end that."""
    unfinished_commit(target, disk, check)
    return TemporaryFiles(target, disk, notice)


def _check_level(name: str, level: int | None) -> None:
    """Raise InvalidValue for a format, or a level of it, that does not exist."""
    if name not in LEVELS:
        raise InvalidValue(f"{name!r} is no archive format: write gzip or zstd")
    lowest, highest = LEVELS[name]
    if level is not None and not lowest <= level <= highest:
        raise InvalidValue(f"{name} has no compression level {level}: write a number from {lowest} to {highest}")
