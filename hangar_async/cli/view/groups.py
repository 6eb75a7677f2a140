"""Lines for what many images share: failures by their reason, notes by their text, so that a summary fits a screen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hangar_async.cli.view.text import Rows, error_text, one_line
from hangar_async.errors import HangarError

#: Names of failed images that are shown of each reason, by the number of reasons that are shown.
_NAMES = {1: 10, 2: 4, 3: 2, 4: 1}
#: Texts of one label that are shown.
_SHOWN = 3
_DIGEST = re.compile("sha256:[0-9a-f]{64}")


def some_rows(label: str, texts: Sequence[str]) -> Rows:
    """Make a line of each text, up to a number that fits a screen."""
    for text in texts[:_SHOWN]:
        yield label, one_line(text)
    if len(texts) > _SHOWN:
        yield label, f"and {len(texts) - _SHOWN:,} more"


def note_rows(notes: Iterable[tuple[str, str]]) -> Rows:
    """Make a line of each text of the notes, which are pairs of an image's name and a text.

    A text that several images share is told once, with their number; the digests in it do not count as differences.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, text in notes:
        groups.setdefault(_DIGEST.sub("sha256:...", text.replace(name, "NAME")), []).append((name, text))
    largest = sorted(groups.items(), key=lambda item: -len(item[1]))
    texts = [": ".join(own[0]) if len(own) == 1 else f"{len(own):,} images: {key}" for key, own in largest]
    yield from some_rows("note", texts)
    if len(groups) > _SHOWN or any(len(own) > 1 for own in groups.values()):
        yield "", "--verbose shows each note"


def failure_rows(failures: Iterable[tuple[str, HangarError]], failed_list: Path | None) -> Rows:
    """Make the lines of failed images, which are pairs of a name and an error, grouped by reason and host.

    A reason of one image is told with its name; one of several with their number, some names, and an example of the
    message. `failed_list` is the file that has the others.
    """
    groups: dict[tuple[str, str], list[tuple[str, HangarError]]] = {}
    for name, error in failures:
        groups.setdefault((error.reason, getattr(error, "host", "")), []).append((name, error))
    by_size = sorted(groups.items(), key=lambda item: -len(item[1]))
    largest, others = by_size[: len(_NAMES)], by_size[len(_NAMES) :]
    where = "" if failed_list is None else f" in {one_line(str(failed_list))}"
    for (reason, host), group in largest:
        if len(group) == 1:
            yield "failed", one_line(f"{group[0][0]}: {reason}")
            yield "", error_text(group[0][1])
        else:
            yield "failed", one_line(f"{len(group):,} images: {reason}{f' ({host})' if host else ''}")
            yield from _group_rows(group, _NAMES[len(largest)], where)
    if others:
        yield "failed", f"{sum(len(group) for _, group in others):,} more for other reasons{where}"


def _group_rows(group: Sequence[tuple[str, HangarError]], names: int, where: str) -> Rows:
    for name, _ in group[:names]:
        yield "", one_line(name)
    if len(group) > names:
        yield "", f"{len(group) - names:,} more{where}"
    messages = {error_text(error) for _, error in group}
    yield "", error_text(group[0][1]) if len(messages) == 1 else f"such as: {error_text(group[0][1])}"
