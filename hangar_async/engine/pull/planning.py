"""The images that are planned at the same time: which of them may still name a repository for content."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")


class Planning:
    """The images under way that have not named all their content yet, each by its number in the list.

    `images` of them have begun, and `later` ones will.

    Content that no known repository gives is waited for as long as an image may name another repository. Images that
    wait for each other would do so for ever. So when all that are left wait, the first of them gets no more: it is
    planned to its end without waiting, and then the next. The outcome is the same in whatever order answers come.
    """

    def __init__(self, images: int, later: int = 0) -> None:
        self._unplanned = images
        #: The number of images that have not begun: nothing is known of them, and nobody waits for them.
        self._later = later
        self._working: Counter[int] = Counter()
        #: What the images wait for; set when it is there.
        self._waiting: defaultdict[int, list[asyncio.Event]] = defaultdict(list)
        #: Earlier images that others wait for, to compare them.
        self._earlier: dict[int, asyncio.Future[Any]] = {}
        #: The image that gets no more.
        self._last: int | None = None

    @property
    def has_later(self) -> bool:
        """True when some images have not begun."""
        return self._later > 0

    @property
    def is_complete(self) -> bool:
        """True when all images that have begun have named all their content, or never will."""
        return self._unplanned == 0

    def begin(self) -> None:
        """Note that one of the later images begins, or one again that has ended."""
        self._later = max(0, self._later - 1)
        self._unplanned += 1

    def is_last(self, number: int) -> bool:
        """Tell whether no other image will name anything before the planning of this one ends."""
        return self._last == number

    @contextmanager
    def working(self, number: int) -> Iterator[None]:
        """Note that an image gets content during the block, but for its waits."""
        self._working[number] += 1
        try:
            yield
        finally:
            self._working[number] -= 1
            self._changed()

    async def wait(self, number: int, event: asyncio.Event) -> None:
        """Wait, within `working`, until an event is set, by others or because this image gets no more."""
        with self._wait(number, event):
            await event.wait()

    async def follow(self, number: int, earlier: asyncio.Future[_T]) -> _T:
        """Wait, outside of `working`, for an earlier image, and return what is known of it then."""
        self._earlier[number] = earlier
        try:
            with self.working(number), self._wait(number, asyncio.Event()):
                await asyncio.wait([earlier])
        finally:
            del self._earlier[number]
        return earlier.result()

    async def get_last(self, number: int) -> None:
        """Wait, within `working`, until no other image will name anything."""
        while not self.is_last(number):
            await self.wait(number, asyncio.Event())

    def end(self, number: int) -> None:
        """Note that an image has named all its content, or never will."""
        self._unplanned -= 1
        if self._last == number:
            self._last = None
        self._changed()

    @contextmanager
    def _wait(self, number: int, event: asyncio.Event) -> Iterator[None]:
        self._working[number] -= 1
        self._waiting[number].append(event)
        self._changed()
        try:
            yield
        finally:
            self._working[number] += 1
            self._waiting[number].remove(event)
            if not self._waiting[number]:
                del self._waiting[number]

    def _changed(self) -> None:
        if self._last is None and len(self._waiting) >= self._unplanned:
            # An image that has just begun or ended one thing may be about to do the next.
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        """Let the first image get no more, where all that are not planned wait."""
        if self._last is not None or not self._unplanned or len(self._waiting) < self._unplanned:
            return
        if all(self._is_stuck(number) for number in self._waiting):
            self._last = min(number for number in self._waiting if number not in self._earlier)
            for event in self._waiting[self._last]:
                event.set()

    def _is_stuck(self, number: int) -> bool:
        if number in self._earlier:
            return not self._earlier[number].done()
        return not self._working[number] and not any(event.is_set() for event in self._waiting[number])
