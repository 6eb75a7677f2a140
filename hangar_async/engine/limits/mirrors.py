"""The order in which an image's mirrors and its registry are asked."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from hangar_async.errors import HangarError, StorageError
from hangar_async.oci import Reference

_T = TypeVar("_T")


async def ask_mirrors_first(
    sources: Sequence[Reference], ask: Callable[[Reference, bool], Awaitable[_T | None]]
) -> _T | None:
    """Return the first result that is not None: of the mirrors, whose failures are passed over, then of the registry.

    `ask` gets a source, and whether it is a mirror. `sources` has the registry last, as `Mirrors.sources` returns them.
    """
    *mirrors, registry = sources
    for mirror in mirrors:
        try:
            result = await ask(mirror, True)
        except StorageError:
            raise
        except HangarError:
            continue
        if result is not None:
            return result
    return await ask(registry, False)
