"""Jobs: how many images are transferred at once, and with how many requests."""

from dataclasses import dataclass

from hangar_async.config.shard import Shard
from hangar_async.errors import UsageError
from hangar_async.filesystem import most_transfers

#: The most images at once, the most blobs of one image at once, and the most requests at once in all.
MAX_JOBS = 20
MAX_BLOBS = 12
MAX_REQUESTS = 60
BLOBS = 6


@dataclass(frozen=True, slots=True)
class JobLimits:
    """The images that are transferred at once, the blobs of each at once, and the requests in all.

    An image that has fewer blobs leaves its requests to the next ones in the list.
    """

    jobs: int
    blobs: int = BLOBS
    requests: int = MAX_REQUESTS

    @classmethod
    def chosen(cls, jobs: int, blobs: int, requests: int) -> "JobLimits":
        """Make the limits out of what was asked for; jobs outside of 1..20 become the nearest bound.

        Raises UsageError for other numbers that are out of their bounds.
        """
        for name, value, most in (("blobs-per-image", blobs, MAX_BLOBS), ("requests", requests, MAX_REQUESTS)):
            if not 1 <= value <= most:
                raise UsageError(f"--{name} is {value}: write a number from 1 to {most}")
        jobs = min(max(jobs, 1), MAX_JOBS)
        return cls(jobs, blobs, min(jobs * blobs, requests, most_transfers()))

    @property
    def is_narrowed(self) -> bool:
        """True when there are fewer requests than the jobs would make."""
        return self.requests < min(self.jobs * self.blobs, MAX_REQUESTS)

    def note(self, jobs: int) -> str | None:
        """Say that another number of jobs is used than was asked for, or of requests, and why; None for neither."""
        if self.jobs != jobs:
            return f"--jobs {jobs} is outside of 1 to {MAX_JOBS}: {self.jobs} is used"
        if self.requests == most_transfers() < self.jobs * self.blobs:
            return f"{self.requests} requests at once, since ulimit -n allows no more open files"
        return None


class JobOptions:
    """Options that say how much is done at once, and which part of a list; `shard` is I/N, None for all of it."""

    __slots__ = ()
    jobs: int
    blobs_per_image: int
    requests: int
    shard: str | None

    @property
    def chosen_shard(self) -> Shard | None:
        """The part of the list that is worked on, None for all of it."""
        return None if self.shard is None else Shard.parse(self.shard)

    @property
    def limits(self) -> JobLimits:
        """The numbers of images, blobs and requests at the same time."""
        return JobLimits.chosen(self.jobs, self.blobs_per_image, self.requests)
