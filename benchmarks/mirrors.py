"""The commands of the questions of mirrors: ours and `skopeo sync`, and the images that each leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import ours, peers
from benchmarks.checks import Check, copied_to
from benchmarks.process import Command
from benchmarks.stage import Corpus

#: Makes the check of a run out of one of a registry.
MakeCheck = Callable[[Callable[[str], None]], Check]


def pair(
    corpus: Corpus,
    source: str,
    target: Path,
    jobs: Sequence[int],
    check: MakeCheck,
    *,
    count: int | None = None,
    registry: str = "",
) -> list[Command]:
    """Return our mirrors with so many jobs, and `skopeo sync`, of all images of a corpus or the first `count`.

    `registry` is the source where it is asked for the digests, if another address than `source`.
    """
    images = corpus.images[:count]
    same, last = ({name: name for name in images}, {name: name.rpartition("/")[2] for name in images})
    place = registry or source
    listed, sync = corpus.list_file(source, count), corpus.yaml_file(source, count)
    mirrors = [ours.mirror(listed, target, one, check(lambda host: copied_to(place, host, same))) for one in jobs]
    return [*mirrors, peers.skopeo_sync(sync, target, check(lambda host: copied_to(place, host, last)))]
