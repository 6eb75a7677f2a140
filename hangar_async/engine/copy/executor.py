"""The execution of planned copies: the interface, and the one in this process."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.limits.queue import planning_rank
from hangar_async.engine.pull.plan import Plan
from hangar_async.engine.push.image import Admission
from hangar_async.engine.reports import LoadOutcome
from hangar_async.errors import HangarError, the_error
from hangar_async.oci import Descriptor, Image, Reference


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """An image that its source has: its plan, its place in the list, and the descriptor that its target has now.

    `referrers` are None where they were not looked for.
    """

    source: Reference
    target: Reference
    number: int
    plan: Plan
    existing: Descriptor | None = None
    referrers: tuple[Image, ...] | None = None
    #: The judgement before its tag is put, by the process that has the list.
    admission: Admission | None = field(default=None, repr=False, compare=False)

    @property
    def images(self) -> tuple[Image, ...]:
        """The image and its referrers."""
        return (self.plan.image, *(self.referrers or ()))

    @property
    def is_within(self) -> bool:
        """True where source and target are of one registry: nothing is sent then."""
        return self.source.registry == self.target.registry


class Executor(Protocol):
    """An execution of planned copies, here or on other machines."""

    @property
    def images_at_once(self) -> int:
        """The images that are worked on at the same time."""
        ...

    async def copy(self, work: PlannedCopy) -> LoadOutcome:
        """Bring an image to its target; the outcome has its size. Raises HangarError."""
        ...


class LocalExecutor:
    """Copies in this process, each in the task of its caller."""

    def __init__(self, sides: Sides, requests: int) -> None:
        self._sides = sides
        # More than the permits, so that none is idle while an image waits for its last request.
        self.images_at_once = 2 * requests

    async def copy(self, work: PlannedCopy) -> LoadOutcome:
        """Bring an image to its target; raises HangarError."""
        return await copy_planned(self._sides, work)


def offer(sides: Sides, source: Reference, target: Reference, image: Image) -> None:
    """Offer the source of an image for its blobs, and note it at its target."""
    pushers = sides.targets[target.registry]
    sides.blobs.offer(image.blobs, source)
    if source.registry == target.registry:
        pushers.blobs.holds(source.repository, image.blobs)
    pushers.images.expect(image, target)


async def copy_planned(sides: Sides, work: PlannedCopy) -> LoadOutcome:
    """Push an image that its source has, and its referrers; raises HangarError.

    What only accompanies the image, and is gone, is left out of the plan.
    """
    plan, target, number = work.plan, work.target, work.number
    pushers = sides.targets[target.registry]
    for image in work.images:
        offer(sides, work.source, target, image)
    pushers.images.found(number, work.existing)
    if work.existing is None:
        await pushers.blobs.look(target, planning_rank(number))
    push = partial(
        pushers.images.push, target=target, number=number, referrers=work.referrers, admission=work.admission
    )
    try:
        outcome = await push(plan.image)
    except (HangarError, ExceptionGroup) as group:
        gone = sides.blobs.gone(plan.image.blobs)
        if gone and plan.needed().isdisjoint(gone):
            plan.leave_out(gone)
        elif not pushers.images.doubts(plan.image, target, number, the_error(group)):
            raise
        outcome = await push(plan.image)
    return replace(outcome, size=plan.image.size)
