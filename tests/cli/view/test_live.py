from __future__ import annotations

import io
import re
import threading

import pytest
from rich.console import Console

from hangar_async.cli.view.live import LiveView
from hangar_async.engine.events import (
    ArchiveProgress,
    BlobEnded,
    BlobProgress,
    BlobStarted,
    Checked,
    CheckStarted,
    Committing,
    HostClosed,
    HostReached,
    HostUnreachable,
    ImageEnded,
    ImagePlanned,
    Notice,
    QuotaReported,
    Retrying,
    RunStarted,
)
from hangar_async.errors import DigestMismatch
from hangar_async.oci.digest import Digest
from tests.cli.samples import MIB, Clock, digest, failed, saved
from tests.cli.view.rig import Terminal

ONE = "registry.example.com:5000/team/a-rather-long-name/with-components-without-end/application:v1.2.3"


def test_before_anything_is_known(terminal: Terminal) -> None:
    assert terminal.drawn() == ["reading"]


def test_read_bytes_are_shown_of_the_whole(terminal: Terminal) -> None:
    terminal.feed(CheckStarted(40 * MIB), Checked(10 * MIB))
    terminal.clock.now += 5
    assert terminal.drawn() == ["bytes  10.0 MiB of 40.0 MiB, 2.0 MiB/s, 0:00:15 left"]
    terminal.feed(Checked(30 * MIB))
    assert terminal.drawn() == ["bytes  40.0 MiB of 40.0 MiB, 8.0 MiB/s"]


def test_read_bytes_without_a_known_end_are_shown(terminal: Terminal) -> None:
    terminal.feed(Checked(10 * MIB))
    terminal.clock.now += 5
    assert terminal.drawn() == ["bytes  10.0 MiB checked, 2.0 MiB/s"]


def test_a_run_without_requests(terminal: Terminal) -> None:
    terminal.feed(RunStarted(2, 0), Checked(10 * MIB), ArchiveProgress(7 * MIB, 1))
    terminal.clock.now += 5
    assert terminal.drawn() == [
        "images  0 of 2",
        "bytes  10.0 MiB checked, 2.0 MiB/s",
        "archive  7.0 MiB written, part 2",
    ]


def test_images_bytes_and_blobs(terminal: Terminal) -> None:
    terminal.feed(
        RunStarted(2, 2),
        ImagePlanned("docker.io/library/one:1", 2, 14, 60 * MIB),
        BlobStarted(digest(0xABC), 40 * MIB, "docker.io/library/one:1"),
        BlobProgress(digest(0xABC), 10 * MIB, 10 * MIB),
    )
    terminal.clock.now += 5
    assert terminal.drawn() == [
        "images  0 of 2",
        "bytes  10.0 MiB of at least 60.0 MiB, 2.0 MiB/s",
        "  docker.io/library/one:1  000000000000  10.0 MiB of 40.0 MiB",
    ]


def test_names_are_not_markup(terminal: Terminal) -> None:
    terminal.feed(RunStarted(1, 1), BlobStarted(digest(1), MIB, "[fe80::1]:5000/one:1"))
    assert terminal.drawn()[2].startswith("  [fe80::1]:5000/one:1  ")


def test_time_left_is_told_once_everything_is_planned(terminal: Terminal) -> None:
    terminal.feed(RunStarted(1, 2), ImagePlanned("docker.io/library/one:1", 2, 14, 60 * MIB))
    assert terminal.drawn()[1] == "bytes  0 B of 60.0 MiB, 0 B/s"
    terminal.feed(BlobStarted(digest(1), 40 * MIB, ONE), BlobProgress(digest(1), 10 * MIB, 10 * MIB))
    terminal.clock.now += 5
    assert terminal.drawn()[1] == "bytes  10.0 MiB of 60.0 MiB, 2.0 MiB/s, 0:00:25 left"


def test_no_more_blobs_than_jobs_or_lines_of_the_screen(terminal: Terminal) -> None:
    terminal.feed(RunStarted(30, 20))
    for number in range(30):
        terminal.feed(BlobStarted(digest(number), MIB, ONE))
    assert len(terminal.drawn()) == 2 + 7
    terminal.feed(RunStarted(30, 3))
    assert len(terminal.drawn()) == 2 + 3


def test_the_archive_and_the_end(terminal: Terminal) -> None:
    terminal.feed(
        RunStarted(2, 1),
        ImagePlanned("docker.io/library/one:1", 1, 1, MIB),
        BlobStarted(digest(1), MIB, ONE),
        BlobEnded(digest(1), MIB, True),
        ImageEnded(saved("one:1")),
        ArchiveProgress(3 * MIB, 0),
    )
    assert terminal.drawn()[2] == "archive  3.0 MiB written"
    terminal.feed(ImageEnded(failed("bad:1", DigestMismatch("other bytes"))), ArchiveProgress(5 * MIB, 2))
    assert terminal.drawn() == [
        "images  2 of 2, 1 failed",
        "bytes  1.0 MiB of 1.0 MiB",
        "archive  5.0 MiB written, part 3",
    ]
    terminal.feed(Committing("out.tar.gz"))
    assert terminal.drawn()[2] == "archive  syncing, and putting it in place"


def test_a_registry_that_makes_the_run_wait(terminal: Terminal) -> None:
    terminal.feed(RunStarted(2, 1), HostClosed("[fe80::1]:5000", "too many\x1b[2J requests", 61.2))
    assert terminal.drawn()[2:] == ["waiting  [fe80::1]:5000 takes no requests for 0:01:02"]
    terminal.clock.now += 60
    assert terminal.drawn()[2:] == ["waiting  [fe80::1]:5000 takes no requests for 0:00:02"]
    terminal.feed(HostClosed("two.example", "overloaded", 5.0))
    assert terminal.drawn()[2:] == [
        "waiting  [fe80::1]:5000 takes no requests for 0:00:02",
        "waiting  two.example takes no requests for 0:00:05",
    ]
    terminal.clock.now += 2
    assert terminal.drawn()[2:] == ["waiting  two.example takes no requests for 0:00:03"]
    terminal.clock.now += 3
    assert terminal.drawn()[2:] == []
    # Why stays above, as a line.
    shown = terminal.stream.getvalue()
    assert r"wait     [fe80::1]:5000: asked again in 0:01:02: too many\x1b[2J requests" in shown
    assert "wait     two.example: asked again in 0:00:05: overloaded" in shown


def test_a_registry_that_gives_no_answer(terminal: Terminal) -> None:
    terminal.feed(RunStarted(2, 1), HostUnreachable("r.example", "refused", 3600.0))
    assert terminal.drawn()[2:] == ["waiting  r.example gives no answer"]
    terminal.feed(HostReached("r.example"))
    assert terminal.drawn()[2:] == []
    assert (
        "wait     r.example gives no answer, and is asked again for up to 1:00:00: refused"
        in terminal.stream.getvalue()
    )


def test_remaining_quotas_are_shown_below(terminal: Terminal) -> None:
    terminal.feed(
        RunStarted(2, 1), QuotaReported("docker.io", 76, 100, 21600), QuotaReported("r.example", 4000, 5000, 0)
    )
    terminal.feed(QuotaReported("docker.io", 75, 100, 21600))
    assert terminal.drawn()[2:] == [
        "quota  75 of 100 requests are left at docker.io",
        "quota  4,000 of 5,000 requests are left at r.example",
    ]
    terminal.feed(HostClosed("docker.io", "toomanyrequests", 900.0))
    assert [line.partition(" ")[0] for line in terminal.drawn()[2:]] == ["waiting", "quota", "quota"]
    # It is told too often for lines.
    terminal.view.close()
    assert "quota    docker.io" not in terminal.stream.getvalue()


def test_problems_stay_above(terminal: Terminal) -> None:
    terminal.feed(
        RunStarted(2, 1),
        Notice("careful\x1b[2J"),
        Retrying("blob", "reset [bold]", 0.5, 1),
        ImageEnded(saved("one:1")),
        ImageEnded(failed("bad:1", DigestMismatch("other bytes"))),
    )
    terminal.view.close()
    terminal.view.say("interrupted")
    terminal.feed(Notice("too late"))
    shown = terminal.stream.getvalue()
    assert r"warning  careful\x1b[2J" in shown
    assert "retry    blob in 0.5 s, try 1 failed: reset [bold]" in shown
    assert "failed   docker.io/library/bad:1: wrong digest: other bytes" in shown
    assert shown.endswith("hangar-async: interrupted\n")
    assert "done" not in shown
    assert "too late" not in shown


def test_a_long_line_above_is_folded_between_its_words(terminal: Terminal) -> None:
    terminal.feed(RunStarted(2, 1), Notice("word " * 30))
    terminal.view.close()
    lines = [line for line in terminal.stream.getvalue().splitlines() if "word" in line]
    assert [line[line.index("word") - 9 :] for line in lines] == [
        "warning  " + ("word " * 18).rstrip(),
        " " * 9 + ("word " * 12).rstrip(),
    ]


def test_nothing_is_drawn_while_a_line_is_written(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawings are made by a thread, which has the lock meanwhile."""
    lock, taken = terminal.view._live._lock, list[bool]()

    def write(*_: object, **__: object) -> None:
        thread = threading.Thread(target=lambda: taken.append(lock.acquire(blocking=False)))
        thread.start()
        thread.join()

    monkeypatch.setattr(terminal.view._console, "print", write)
    terminal.feed(Notice("careful"))
    terminal.view.say("interrupted")
    monkeypatch.undo()
    terminal.view.close()
    assert taken == [False, False]


def test_the_cursor_is_given_back(terminal: Terminal) -> None:
    terminal.feed(RunStarted(2, 1))
    terminal.view.close()
    terminal.view.close()
    shown = terminal.stream.getvalue()
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1


def test_progress_draws_nothing_by_itself() -> None:
    looks = 0

    def counted() -> float:
        nonlocal looks
        looks += 1
        return 1000.0

    view = LiveView(Console(force_terminal=True, file=io.StringIO(), width=100, height=12), counted)
    try:
        for event in (RunStarted(1, 1), BlobStarted(digest(1), 10_000, ONE)):
            view(event)
        for number in range(10_000):
            view(BlobProgress(digest(1), 1, number))
        # Every drawing looks at the clock; the thread that draws may have done so a few times.
        assert looks < 1000
    finally:
        view.close()


def test_verbose_shows_each_note_above() -> None:
    stream = io.StringIO()
    view = LiveView(Console(force_terminal=True, file=stream, width=100, color_system=None), verbose=True)
    view(ImageEnded(saved("one:1", notes=("left out 2 entries",))))
    view.close()
    assert "note     docker.io/library/one:1: left out 2 entries" in stream.getvalue()


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (40, "  registry…application:v1.2.3   40 %"),
        (60, "  registry.e…end/application:v1.2.3   000000000001  40 %"),
        (80, "  registry.ex…t-end/application:v1.2.3    000000000001  20.0 MiB of 50.0 MiB"),
        (
            120,
            "  registry.example.co…ponents-without-end/application:v1.2.3    000000000001  BAR  20.0 MiB of 50.0 MiB",
        ),
    ],
)
def test_a_name_keeps_its_end_on_any_terminal(width: int, line: str) -> None:
    console = Console(force_terminal=True, file=io.StringIO(), width=width, height=12, color_system=None)
    view = LiveView(console, Clock())
    one = Digest("sha256", f"{1:012x}{'0' * 52}")
    for event in (RunStarted(1, 1), BlobStarted(one, 50 * MIB, ONE), BlobProgress(one, 20 * MIB, 20 * MIB)):
        view(event)
    paper = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    paper.print(view.render())
    view.close()
    assert isinstance(paper.file, io.StringIO)
    drawn = paper.file.getvalue().splitlines()
    assert all(len(one) <= width for one in drawn)
    assert re.sub("[━╸╺]+ *", "BAR  ", drawn[-1].rstrip()) == line
