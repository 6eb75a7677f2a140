"""Whether what is planned has room where it goes: told before the disk is full, not after."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hangar_async.config.output import OutputSettings
from hangar_async.errors import StorageError
from hangar_async.filesystem import _MIB, device, fitting_part, free_bytes, largest_file
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.threads import in_thread

#: What files take is counted in these units, bytes.
_BLOCK = 4096
#: For what is not reckoned: index files, layouts, the file system's own records.
_RESERVE = 4 << 20


class SpaceCheck:
    """Holds what a run will write, as it is planned, against what is free in the cache and at the output.

    `output` is None where the cache is all that is written. `fetched` and `archived` tell how many bytes of both were
    written so far. What others write meanwhile counts too, since the free space is looked up each time.
    """

    def __init__(
        self, cache: Path, output: OutputSettings | None, fetched: Callable[[], int], archived: Callable[[], int]
    ) -> None:
        self._cache = cache
        self._output = None if output is None or output.format == "dir" else output
        self._fetched = fetched
        self._archived = archived
        self._to_fetch = 0
        self._to_archive = 0
        self._seen: set[Digest] = set()

    async def plan(self, contents: Iterable[Descriptor], missing: Callable[[Descriptor], int]) -> None:
        """Add what an image consists of; `missing` says how many bytes of a blob are still to be fetched.

        Raises StorageError when all that is planned has no room.
        """
        new = [one for one in contents if one.digest not in self._seen]
        self._seen.update(one.digest for one in new)
        self._to_fetch += sum(_blocks(missing(one)) for one in new)
        self._to_archive += sum(_archived(one.size) for one in new)
        await in_thread(self._check)

    def _check(self) -> None:
        fetch = self._to_fetch - self._fetched()
        archive = max(0, self._to_archive - self._archived()) if self._output else 0
        if self._output is None or device(self._output.target.parent) == device(self._cache):
            self._compare(self._cache, fetch + archive)
        else:
            self._compare(self._cache, fetch)
            self._compare(self._output.target.parent, archive)
        if self._output is not None and self._output.part_size is None:
            self._check_length(self._output)

    def _compare(self, place: Path, needed: int) -> None:
        free = free_bytes(place)
        if needed + _RESERVE > free:
            raise StorageError(
                f"there is not enough room at {place.absolute()}: {_mib(needed)} more are needed at least, and "
                f"{_mib(free)} are free",
                path=str(place),
                advice="make room, or save fewer images or architectures at once; what was fetched is kept",
            )

    def _check_length(self, output: OutputSettings) -> None:
        largest = largest_file(output.target.parent)
        if largest is not None and self._to_archive > largest:
            raise StorageError(
                f"the archive would be larger than a file at {output.target.parent.absolute()} may be, "
                f"{largest:,} bytes",
                path=str(output.target),
                advice=f"split it: --part --part-size {fitting_part(largest)}",
            )


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _archived(size: int) -> int:
    """How many bytes a blob takes in an archive at most: its header, its padding, the headers of stored blocks."""
    return size + size // 8192 + 2048


def _mib(size: int) -> str:
    return f"{-(-size // _MIB):,} MiB"
