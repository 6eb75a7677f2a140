"""The line that explains the length of a run."""

from __future__ import annotations

from collections.abc import Iterator

from hangar_async.cli.view.text import Rows, count_text, one_line, size_text, time_text
from hangar_async.effort import Effort

#: A wait or some work of fewer seconds explains nothing.
_LEAST = 1.0
#: Hosts that are told, those of most bytes first.
_MOST_HOSTS = 3


def why_rows(effort: Effort) -> Rows:
    """Make the line about waits, requests and the work of threads; hosts with their speeds."""
    yield "why", one_line("; ".join(_texts(effort)))


def _texts(effort: Effort) -> Iterator[str]:
    yield f"{count_text(effort.most, 'request')} at once at most"
    if effort.permits >= _LEAST:
        yield f"waited {time_text(effort.permits)} for permits (-j, --requests)"
    for host, seconds in effort.closed.items():
        if seconds >= _LEAST:
            yield f"waited {time_text(seconds)} for {host}, which took no requests"
    if effort.repeats:
        yield f"{count_text(effort.repeats, 'request')} made again after a break"
    hosts = sorted(effort.moved.items(), key=lambda item: -item[1][0])
    for host, (count, seconds) in hosts[:_MOST_HOSTS]:
        if seconds > 0:
            yield f"{host} {size_text(int(count / seconds))}/s in {time_text(seconds)}"
    kinds = {"disk": effort.disk, "hashing": effort.hashing, "compressing": effort.compressing}
    work = ", ".join(f"{kind} {time_text(seconds)}" for kind, seconds in kinds.items() if seconds >= _LEAST)
    if work:
        yield f"threads: {work}"
