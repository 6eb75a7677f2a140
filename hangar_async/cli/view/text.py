"""Numbers, foreign text, rows and tables, written for people."""

import math
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

from hangar_async.errors import HangarError, StorageError

if TYPE_CHECKING:
    from hangar_async import Image, QuotaReported
    from hangar_async.engine.reports import ReferrerCounts

PROGRAM = "hangar-async"
#: Rows of a label ("" where it goes on) and a text that is safe on a terminal.
Rows: TypeAlias = Iterator[tuple[str, str]]
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size: int) -> str:
    """Write a number of bytes in the powers of 1024 that the flags mean by K, M and G: `1.5 GiB`."""
    amount, unit = float(size), 0
    while unit < len(_UNITS) - 1 and round(amount, 1) >= 1024:
        amount, unit = amount / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def flag_size(size: int) -> str:
    """Write a number of bytes as a flag takes it, without rounding: `2G`."""
    for unit, power in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size % power == 0:
            return f"{size // power}{unit}"
    return str(size)


def time_text(seconds: float) -> str:
    """Write a length of time: `4.2 s`, `3 min 07 s`, `2 h 05 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def clock_text(seconds: float) -> str:
    """Write a time to wait as a clock does, rounded up: `0:01:23`."""
    whole = math.ceil(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def quota_text(quota: "QuotaReported") -> str:
    """Write a quota: `docker.io: 76 of 100 requests within 6 h 00 min are left`."""
    within = f" within {time_text(quota.window)}" if quota.window else ""
    return one_line(f"{quota.host}: {quota.remaining:,} of {quota.limit:,} requests{within} are left")


def count_text(number: int, noun: str) -> str:
    """Write `1 image`, `2 images`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def images_text(images: "Iterable[Image]", total: int | None = None) -> str:
    """Write the number of images, of `total` where that is larger, and of their platforms; referrers are none."""
    found = platforms = 0
    for image in images:
        found += image.attachment is None
        platforms += len(image.platforms)
    total = found if total is None else total
    number = count_text(total, "image") if found == total else f"{found} of {count_text(total, 'image')}"
    return f"{number}, {count_text(platforms, 'platform')}"


def referrers_text(counts: "ReferrerCounts") -> str:
    """Write the numbers of referrers by their kinds; "" for none."""
    parts = [
        count_text(number, noun)
        for number, noun in (
            (counts.signatures, "signature"),
            (counts.attestations, "attestation"),
            (counts.others, "other referrer"),
        )
        if number
    ]
    return ", ".join(parts)


def cut_in_the_middle(text: str, width: int) -> str:
    """Cut a name to a width; its end is what tells it apart, so more of that is kept than of its begin."""
    if len(text) <= width:
        return text
    begin = max(0, width - 1) // 3
    return f"{text[:begin]}…{text[len(text) - (width - 1 - begin) :]}" if width > 1 else "…"[:width]


def place_text(path: Path, size: int) -> str:
    """Write the whole path of an output, and its size."""
    return f"{one_line(str(path.absolute()))}, {size_text(size)}"


def source_text(path: Path, *, absolute: bool = False) -> str:
    """Write the path of a source, or that it is standard input."""
    if path == Path("-"):
        return "standard input"
    return one_line(str(path.absolute() if absolute else path))


def one_line(text: str) -> str:
    """Make text of any origin harmless on a terminal: one line of printable characters."""
    return printable(re.sub(r"\s+", " ", text).strip())


def printable(text: str) -> str:
    """Make characters visible that would move the cursor, change colours or reorder the text."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def error_text(error: HangarError) -> str:
    """Write an error and its advice as one line."""
    return one_line(f"{error}; {error.advice}" if error.advice else str(error))


class Pasted(str):
    """A text of a row that people paste, such as a command: a terminal shows it as one line."""

    __slots__ = ()


def command_text(words: Iterable[str]) -> Pasted:
    """Write a command that can be pasted into a shell, on one line of printable characters."""
    return Pasted(" ".join(map(quoted, words)))


def quoted(word: str) -> str:
    """Write a word of a command: as `$'...'` where it has bytes that are not UTF-8, or characters such as a newline."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_escaped, word))}'"


def quoted_path(path: Path) -> str:
    """Write a path in a command, so that no program takes it for a flag, or tar for a file of another host."""
    text = str(path)
    is_plain = not text.startswith("-") and ":" not in text.partition("/")[0]
    return quoted(text if is_plain else f"./{text}")


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return f"\\{letter}" if letter in "'\\" else letter
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(letter))


_WIDTH = 10
#: Columns into which the first and the last cell of a table may be folded; a version of Windows has 17.
_LEAST_NAME, _LEAST_LAST = 28, 17
_WRONG = frozenset({"failed", "wrong", "incomplete"})
#: Columns into which the text of a row may be folded.
_LEAST_TEXT = 20
_DIGEST = re.compile("(?<![@/:\\w])(sha256:[0-9a-f]{12})[0-9a-f]{52}")


def text_lines(text: str, width: int) -> list[str]:
    """Fold the text of a row between its words, with digests cut that are no part of a name.

    A longer word stays whole, so that names and paths can be copied.
    """
    if isinstance(text, Pasted) or width < _LEAST_TEXT or len(text) <= width:
        return [text]
    from textwrap import wrap

    return wrap(_DIGEST.sub(r"\1…", text), width, break_long_words=False, break_on_hyphens=False)


def message_lines(text: str, stream: TextIO) -> str:
    """Fold a message for a terminal; elsewhere it is one line."""
    if not stream.isatty():
        return text
    from shutil import get_terminal_size

    return "\n".join(text_lines(text, get_terminal_size().columns))


def write_rows(rows: Iterable[tuple[str, str]], stream: TextIO, *, is_work: bool = False) -> None:
    """Write the rows, each on one line; on a terminal the labels are bold, and texts are folded beside them.

    The work is done: a stream that cannot be written, such as a file on a full disk, is a warning, and one that its
    reader has closed, as in `| head`, is nothing at all. Rows that are the work itself raise StorageError.
    """
    try:
        with writing(stream):
            _write(rows, stream)
    except StorageError as error:
        if is_work:
            raise
        sys.stderr.write(f"{PROGRAM}: warning: {one_line(str(error))}\n")


def write_table(heads: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    """Write a table: fitted to a terminal, in aligned columns with nothing wrapped elsewhere; raises StorageError."""
    with writing(stream):
        _draw(heads, rows, stream)


def write_document(text: str, stream: TextIO) -> None:
    """Write a text for another program, and a line end; raises StorageError."""
    with writing(stream):
        stream.write(f"{text}\n")
        stream.flush()


@contextmanager
def writing(stream: TextIO) -> Iterator[None]:
    """Turn a failed write of the block into a StorageError; a reader that has closed the stream is no error."""
    try:
        yield
    except BrokenPipeError:
        abandon(stream)
    except OSError as error:
        abandon(stream)
        raise StorageError.of(error, "standard output") from error


def abandon(stream: TextIO) -> None:
    """Discard the rest of a stream that cannot be written, so that its last flush does not fail."""
    null = null_device()
    os.dup2(null, stream.fileno())
    os.close(null)


def null_device() -> int:
    """Open the device that takes all and gives nothing, or an empty file in memory where a container has none."""
    try:
        return os.open(os.devnull, os.O_RDWR)
    except OSError:
        return os.memfd_create("null")


def _write(rows: Iterable[tuple[str, str]], stream: TextIO) -> None:
    if stream.isatty():
        from rich.console import Console
        from rich.text import Text

        console = Console(file=stream, highlight=False)
        for label, text in rows:
            style = "bold red" if label in _WRONG else "bold"
            first, *others = text_lines(text, console.width - _WIDTH - 1)
            console.print(Text.assemble((f"{label:<{_WIDTH}} ", style), first), soft_wrap=True)
            for line in others:
                console.print(Text(f"{'':<{_WIDTH}} {line}"), soft_wrap=True)
        return
    for label, text in rows:
        stream.write(f"{label:<{_WIDTH}} {text}\n" if label or text else "\n")
    stream.flush()


def _draw(heads: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    if stream.isatty():
        from rich.console import Console
        from rich.text import Text

        console = Console(file=stream, highlight=False)
        fitted = _fitted(widths, console.width)
        for number, row in enumerate((heads, *rows) if fitted else rows):
            lines = _table_lines(row, fitted) if fitted else [row[0], *_below(row[1:], console.width)]
            for line in lines:
                is_bold = line is lines[0] if not fitted else number == 0
                console.print(Text(line.rstrip(), "bold" if is_bold else ""), soft_wrap=True)
        return
    for row in (heads, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        stream.write(f"{'  '.join(cells).rstrip()}\n")
    stream.flush()


def _fitted(widths: Sequence[int], columns: int) -> list[int]:
    """Fit the first and the last column of a table into a terminal; others cannot be folded. Empty for no room."""
    first, *others, last = widths
    room = columns - sum(others) - 2 * (len(widths) - 1)
    if room < min(first, _LEAST_NAME) + min(last, _LEAST_LAST):
        return []
    first = min(first, max(room - last, room * 2 // 3, min(first, _LEAST_NAME)), room - min(last, _LEAST_LAST))
    return [first, *others, min(last, room - first)]


def _table_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
    height = max(map(len, cells))
    filled = [cell + [""] * (height - len(cell)) for cell in cells]
    return [
        "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True))
        for line in zip(*filled, strict=True)
    ]


def _below(cells: Sequence[str], columns: int) -> list[str]:
    """Make the lines below the first cell of a row, where a terminal has no room for columns."""
    return [f"  {line}" for line in text_lines("  ".join(cells), columns - 2)]


def _pieces(word: str, width: int) -> Iterator[str]:
    """Cut a long word, behind a slash or colon where one is not far from the end of the line."""
    while len(word) > width:
        end = 1 + max(word.rfind(sign, width // 2, width) for sign in "/:") or width
        yield word[:end]
        word = word[end:]
    yield word


def _folded(text: str, width: int) -> list[str]:
    """Fold a text between its words, and within those that are longer than a line."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if len(joined) <= width:
            lines[-1] = joined
            continue
        pieces = list(_pieces(word, width))
        lines = [*lines, *pieces] if lines[-1] else pieces if len(lines) == 1 else [*lines[:-1], *pieces]
    return lines
