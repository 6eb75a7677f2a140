"""Shards: parts of a list of images, each for a run of its own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from hangar_async.errors import UsageError

#: The most shards of a list.
_MOST = 100_000
#: The variable by which an Indexed Job of Kubernetes tells a pod its number.
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
_FORM = "write I/N, the number of this shard, from 0 on, and of all, such as 0/4"


@dataclass(frozen=True, slots=True)
class Shard:
    """The part `number`, from 0 on, of `count` parts of a list; each repository is in one of them.

    A repository is in the shard that the first 8 bytes of the SHA-256 of its name, as a big-endian number, have as the
    rest of a division by `count`: any program can tell. Raises UsageError when made with wrong numbers.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= _MOST:
            raise UsageError(f"{self.count} shards (--shard): write a number from 1 to {_MOST:,}")
        if not 0 <= self.number < self.count:
            raise UsageError(f"there is no shard {self.number} of {self.count} (--shard): {_FORM}")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `I/N`; raises UsageError."""
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if match is None:
            raise UsageError(f"{text!r} is no shard (--shard): {_FORM}")
        return cls(int(match[1]), int(match[2]))

    def __contains__(self, repository: str) -> bool:
        """Tell whether a repository, `REGISTRY/REPOSITORY`, is in this shard."""
        return int.from_bytes(sha256(repository.encode()).digest()[:8], "big") % self.count == self.number


def shard_of_flags(shard: str | None, shards: int | None, variables: Mapping[str, str]) -> str | None:
    """Return the shard that is asked for: `shard`, or that of an Indexed Job with so many `shards`; None for none.

    Raises UsageError.
    """
    if shards is None:
        return shard
    if shard is not None:
        raise UsageError("--shard names the number of shards too: leave out --shards")
    if (index := variables.get(INDEX_VARIABLE)) is None:
        raise UsageError(f"--shards needs {INDEX_VARIABLE}, which an Indexed Job sets: write --shard I/{shards}")
    return f"{index}/{shards}"
