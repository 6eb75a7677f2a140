"""The check that the plan of a run fits on the disk, before the disk is full."""

from collections.abc import Callable, Iterable
from pathlib import Path

from hangar_async.config.output import OutputSettings
from hangar_async.errors import StorageError, TooManyParts
from hangar_async.filesystem import MIB, device, fitting_part, free_bytes, largest_file
from hangar_async.oci import Descriptor
from hangar_async.packed import PackedNames
from hangar_async.threads import in_thread

#: Files take whole units of this many bytes.
_BLOCK = 4096
#: For index files, layouts, and the file system's own records, in bytes.
_RESERVE = 4 << 20
#: The most bytes that are planned without another look at the disk.
_MOST_UNSEEN = 1 << 20


class SpaceCheck:
    """Compares the planned bytes of a run with the free space in the cache and at the output.

    `output` is None where only the cache is written. `fetched` and `archived` return how many bytes of both were
    written so far. The free space is looked up with each MiB that is planned, so that other programs count too, and
    more often where less is left. `notice` is told once when the plan makes many parts.
    """

    def __init__(
        self,
        cache: Path,
        output: OutputSettings | None,
        fetched: Callable[[], int],
        archived: Callable[[], int],
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._cache = cache
        # A stream takes no room here.
        self._output = None if output is not None and output.is_stream else output
        self._fetched = fetched
        self._archived = archived
        self._parts = PartCheck(self._output, notice)
        self._to_fetch = 0
        self._to_output = 0
        self._longest = 0
        #: The planned bytes, of cache and output, up to which all is known to fit.
        self._fits = -1
        self._seen = PackedNames()

    async def plan(self, contents: Iterable[Descriptor], missing: Callable[[Descriptor], int]) -> None:
        """Add the contents of an image; `missing` returns how many bytes of a blob are still to be fetched.

        Raises StorageError when the plan does not fit, TooManyParts when it makes too many parts.
        """
        new = [content for content in contents if self._seen.add(content.digest.hex)]
        self._to_fetch += sum(_blocks(missing(content)) for content in new)
        output_size = _blocks if self._is_directory else archived_size
        self._to_output += sum(output_size(content.size) for content in new)
        self._longest = max([self._longest, *(content.size for content in new)])
        self._parts.check(self._to_output)
        if (planned := self._to_fetch + self._to_output) > self._fits:
            self._fits = planned + await in_thread(self._check)

    @property
    def _is_directory(self) -> bool:
        return self._output is not None and self._output.format == "dir"

    def _check(self) -> int:
        """Return how many more bytes may be planned without another look."""
        fetch = self._to_fetch - self._fetched()
        if self._output is None:
            return self._compare(self._cache, fetch)
        place, rest = self._output.target.parent, max(0, self._to_output - self._archived())
        if device(place) != device(self._cache):
            left = min(self._compare(self._cache, fetch), self._compare(place, 0, rest))
        else:
            # On one file system the cache becomes the directory; from another one it is copied.
            left = self._compare(self._cache, fetch, 0 if self._is_directory else rest)
        if self._is_directory:
            self._check_longest(place)
        elif self._output.part_size is None:
            left = min(left, self._check_length(self._output))
        return left

    def _compare(self, directory: Path, fetch: int, output: int = 0) -> int:
        """Compare the bytes of blobs, and of the output, that are still to be written with the free space."""
        free = free_bytes(directory)
        needed = fetch + output
        if needed + _RESERVE > free:
            kinds = {"blobs": fetch, "the output": output}
            of = " and ".join(f"{_mib(size)} for {kind}" for kind, size in kinds.items() if size)
            raise StorageError(
                f"there is not enough room at {directory.absolute()}: at least {_mib(needed + _RESERVE)} are needed, "
                f"and {_mib(free, up=False)} are free ({of}; {_mib(_RESERVE)} are kept back for indexes)",
                path=str(directory),
                advice="make room, or save fewer images or architectures at once; what was fetched is kept",
            )
        return min(_MOST_UNSEEN, free - needed - _RESERVE)

    def _check_longest(self, place: Path) -> None:
        largest = largest_file(place)
        if largest is not None and self._longest > largest:
            raise StorageError(
                f"a blob has {self._longest:,} bytes, and a file at {place.absolute()} may have {largest:,}",
                path=str(place),
                advice="save into an archive in parts (--part), or onto another file system",
            )

    def _check_length(self, output: OutputSettings) -> int:
        largest = largest_file(output.target.parent)
        if largest is None:
            return _MOST_UNSEEN
        if self._to_output > largest:
            raise StorageError(
                f"the archive would be larger than a file at {output.target.parent.absolute()} may be, "
                f"{largest:,} bytes",
                path=str(output.target),
                advice=f"split it: --part --part-size {fitting_part(largest)}",
            )
        return largest - self._to_output


#: More parts than this are a warning, and than that an error.
_MANY_PARTS, _MOST_PARTS = 1_000, 100_000


class PartCheck:
    """Compares the planned bytes of an archive with the size of its parts."""

    def __init__(self, output: OutputSettings | None, notice: Callable[[str], None]) -> None:
        self._part_size = None if output is None else output.part_size
        self._notice = notice
        self._told = False

    def plan(self, contents: Iterable[Descriptor]) -> None:
        """Check an archive of these contents; raises TooManyParts."""
        sizes = {content.digest: content.size for content in contents}
        self.check(sum(map(archived_size, sizes.values())))

    def check(self, size: int) -> None:
        """Check an archive of so many bytes, or of more; raises TooManyParts."""
        number = 0 if self._part_size is None else -(-size // self._part_size)
        if number > _MOST_PARTS:
            raise TooManyParts(
                f"parts of {self._part_size:,} bytes are too small: the archive would have {number:,} of them, and "
                f"{_MOST_PARTS:,} are the most; {_fewer(size)}"
            )
        if number > _MANY_PARTS and not self._told:
            self._told = True
            self._notice(f"the archive will have {number:,} parts or more; {_fewer(size)}")


def _fewer(size: int) -> str:
    return f"--part-size {max(1, -(-size // (100 * MIB)))}M makes fewer"


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def archived_size(size: int) -> int:
    """Return the most bytes that a blob takes in an archive: header, padding, headers of stored blocks."""
    return size + size // 8192 + 2048


def _mib(size: int, *, up: bool = True) -> str:
    """Write a number of bytes in MiB: of what is needed rounded up, else down, so that the two can be compared."""
    return f"{-(-size // MIB) if up else size // MIB:,} MiB"
