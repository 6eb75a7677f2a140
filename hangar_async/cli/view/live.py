"""The live view: a few lines at the bottom of the terminal, drawn some times a second."""

import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hangar_async.cli.view.plain import Line, line_of, note_lines
from hangar_async.cli.view.tally import Flight, Rate, Tally
from hangar_async.cli.view.text import PROGRAM, clock_text, cut_in_the_middle, one_line, size_text, text_lines
from hangar_async.engine.events import BlobProgress, Checked, Event

#: Drawings a second, by a thread of rich; an event only adds to the sums.
REFRESH = 8
_BAR, _LEAST_BAR = 28, 8
#: Columns for the words and numbers beside a bar.
_TEXT = 55
#: Columns of the digest, the bar and the numbers of a blob, and of the gaps; and the least of its image's name.
_DIGEST, _SMALL_BAR, _AMOUNT, _GAP, _LEAST_NAME = 12, 16, 22, 2, 24
#: Lines of the screen that are not for blobs.
_OTHER_LINES = 5
_WORD = 8
_STYLES = {"failed": "bold red", "warning": "yellow", "retry": "dim", "wait": "yellow", "note": ""}


class LiveView:
    """Shows images, bytes, the blobs that are fetched and the archive; problems stay as lines above."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._clock = clock
        self._tally = Tally(clock)
        self._rate = Rate()
        self._rate.per_second(clock(), 0)
        self._closed = False
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=REFRESH,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self._tally(event)
        line = None if type(event) in (BlobProgress, Checked) or self._closed else line_of(event)
        if line is not None and line.word in _STYLES:
            self._above(line)
        for note in note_lines(event) if self._verbose and not self._closed else ():
            self._above(note)

    def say(self, text: str) -> None:
        """Show a line that is no event."""
        self._print(Text(f"{PROGRAM}: {text}"))

    def close(self) -> None:
        """Remove the live lines and give the cursor back."""
        self._closed = True
        self._live.stop()

    def render(self) -> RenderableType:
        """Draw the current state."""
        tally = self._tally
        sums = Table.grid(padding=(0, 2))
        if not tally.images:
            if not tally.to_check and not tally.checked:
                return Text("reading")
            sums.add_row("bytes", self._bar(tally.checked, tally.to_check) if tally.to_check else "", self._checked())
            return sums
        sums.add_row("images", self._bar(tally.done + tally.failed, tally.images), self._images())
        if tally.jobs:
            sums.add_row("bytes", self._bar(tally.arrived_bytes, tally.expected_bytes), self._bytes())
        else:
            sums.add_row("bytes", "", self._checked())
        if tally.archive_bytes or tally.committing:
            sums.add_row("archive", "", self._archive())
        for label, text in self._hosts():
            sums.add_row(label, "", Text(text, "yellow" if label == "waiting" else ""))
        flights = tuple(tally.flights.values())[: max(1, min(tally.jobs, self._console.size.height - _OTHER_LINES))]
        # Room for the `^C` that a terminal echoes: if that wrapped, the lines could not be removed properly.
        return Group(sums, _flights(flights, self._console.size.width - 4)) if flights else sums

    def _bar(self, done: int, total: int) -> RenderableType:
        """Draw a part of a whole, where the terminal has the room for it."""
        width = min(_BAR, self._console.size.width - _TEXT)
        return ProgressBar(total=max(total, 1), completed=done, width=width) if width >= _LEAST_BAR else ""

    def _hosts(self) -> Iterator[tuple[str, str]]:
        """Make the lines about hosts that refuse requests, and about quotas."""
        now = self._clock()
        for host, opens in tuple(self._tally.closed.items()):
            if opens > now:
                yield "waiting", one_line(f"{host} takes no requests for {clock_text(opens - now)}")
        for host in sorted(self._tally.unreachable):
            yield "waiting", one_line(f"{host} gives no answer")
        for host, (remaining, limit) in tuple(self._tally.quotas.items()):
            yield "quota", one_line(f"{remaining:,} of {limit:,} requests are left at {host}")

    def _above(self, line: Line) -> None:
        first, *others = text_lines(line.text, self._console.width - _WORD - 1)
        texts = [Text.assemble((f"{line.word:<{_WORD}} ", _STYLES[line.word]), first)]
        texts += [Text(f"{'':<{_WORD}} {text}") for text in others]
        self._print(*texts)

    def _print(self, *lines: Text) -> None:
        # Without the lock, a drawing after the last one was removed would stay above these lines.
        with self._live._lock:
            self._console.print(*lines, sep="\n", soft_wrap=True)

    def _images(self) -> Text:
        text = Text(f"{self._tally.done + self._tally.failed} of {self._tally.images}")
        if self._tally.failed:
            text.append(f", {self._tally.failed} failed", "bold red")
        return text

    def _bytes(self) -> str:
        tally, here = self._tally, self._tally.arrived_bytes
        rate = self._rate.per_second(self._clock(), tally.fetched_bytes)
        text = f"{size_text(here)} of {'' if tally.all_planned else 'at least '}{size_text(tally.planned_bytes)}"
        if tally.all_ended:
            return text
        text += f", {size_text(int(rate))}/s"
        if tally.all_planned and rate >= 1 and here < tally.planned_bytes:
            text += f", {clock_text((tally.planned_bytes - here) / rate)} left"
        return text

    def _checked(self) -> str:
        tally = self._tally
        rate = self._rate.per_second(self._clock(), tally.checked)
        if not tally.to_check:
            return f"{size_text(tally.checked)} checked, {size_text(int(rate))}/s"
        text = f"{size_text(tally.checked)} of {size_text(tally.to_check)}, {size_text(int(rate))}/s"
        if rate >= 1 and tally.checked < tally.to_check:
            text += f", {clock_text((tally.to_check - tally.checked) / rate)} left"
        return text

    def _archive(self) -> str:
        if self._tally.committing:
            return "syncing, and putting it in place"
        part = f", part {self._tally.part + 1}" if self._tally.part else ""
        return f"{size_text(self._tally.archive_bytes)} written{part}"


def _flights(flights: Iterable[Flight], width: int) -> Table:
    """Draw the blobs that are fetched: what the terminal has no room for is left out, the digest last."""
    room = width - _LEAST_NAME - _GAP
    has_amount = room >= _DIGEST + _GAP + _AMOUNT
    has_digest = room >= _DIGEST + _GAP + len("100 %")
    has_bar = room >= _DIGEST + _SMALL_BAR + _AMOUNT + 2 * _GAP
    table = Table.grid(padding=(0, _GAP))
    table.width = max(width, 1)
    table.add_column(no_wrap=True, overflow="crop", ratio=1)
    taken = _GAP * 2 + (_DIGEST + _GAP) * has_digest + (_SMALL_BAR + _GAP) * has_bar
    taken += _AMOUNT if has_amount else len("100 %")
    for flight in flights:
        # A Text, since `[fe80::1]:5000/name` would read as markup.
        cells: list[RenderableType] = [Text(f"  {cut_in_the_middle(flight.image, max(1, width - taken))}")]
        cells += [flight.digest.short] if has_digest else []
        cells += [ProgressBar(max(flight.size, 1), flight.done, _SMALL_BAR)] if has_bar else []
        amount = f"{size_text(flight.done)} of {size_text(flight.size)}"
        cells.append(amount if has_amount else f"{flight.done * 100 // max(flight.size, 1)} %")
        while len(table.columns) < len(cells):
            table.add_column(no_wrap=True, justify="left")
        table.add_row(*cells)
    return table
