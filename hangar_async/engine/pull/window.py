"""The window of a list: the images that are fetched at the same time."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

from hangar_async.engine.pull.planning import Planning
from hangar_async.tasks import ahead

_E = TypeVar("_E")
_R = TypeVar("_R")
#: The images that are fetched at the same time, or wait until the earlier ones of the list are taken.
WINDOW = 500


async def fetch_in_order(
    entries: Sequence[_E],
    planning: Planning,
    fetch: Callable[[int, _E], Awaitable[_R | None]],
    take: Callable[[int, _R], Awaitable[None]],
) -> None:
    """Fetch the images of a list, a window of them at the same time, and take the results in their order.

    An image whose result is None is fetched again after all others, and taken then. Raises as a TaskGroup does.
    """
    late: list[tuple[int, _E]] = []

    async def work(item: tuple[int, _E]) -> _R | None:
        return await fetch(*item)

    numbered = enumerate(entries)
    # The first ones have begun from the start.
    begun = chain(islice(numbered, WINDOW), _beginning(numbered, planning))
    for items in (begun, _beginning(late, planning)):
        async with ahead(items, work, WINDOW) as results:
            async for item, result in results:
                if result is not None:
                    await take(item[0], result)
                elif items is begun:
                    late.append(item)


def _beginning(items: Iterable[tuple[int, _E]], planning: Planning) -> Iterator[tuple[int, _E]]:
    for item in items:
        planning.begin()
        yield item
