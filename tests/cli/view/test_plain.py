from __future__ import annotations

import io
import time

from hangar_async.cli.view.plain import INTERVAL, PlainView
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
    JobEnded,
    JobScheduled,
    JobStarted,
    Notice,
    QuotaReported,
    Retrying,
    RunEnded,
    RunStarted,
)
from hangar_async.errors import NotFound
from tests.cli.samples import MIB, Clock, digest, entry, failed, report, saved

NOON = time.struct_time((2024, 1, 2, 12, 3, 4, 1, 2, 0))
MISSING = NotFound("manifest of gone:1 is not there", host="r.example", status=404, advice="check name and tag")


def view(clock: Clock | None = None, *, quiet: bool = False, verbose: bool = False) -> tuple[PlainView, io.StringIO]:
    stream = io.StringIO()
    return PlainView(stream, quiet=quiet, verbose=verbose, clock=clock or Clock(), wall=lambda: NOON), stream


def test_lines_for_what_begins_and_ends() -> None:
    show, stream = view()
    for event in (
        RunStarted(3, 4),
        Notice("images.txt:7: 'x y' has white space"),
        ImagePlanned("docker.io/library/one:1", 2, 14, 3 * MIB),
        ImagePlanned("docker.io/library/two:2", 1, 0, 0),
        Retrying("blob 0123 of one:1", "connection reset", 0.5, 1),
        ImageEnded(saved("one:1")),
        ImageEnded(saved("two:2")),
        ImageEnded(failed("gone:1", MISSING)),
        Committing("out.tar.gz"),
        RunEnded(report()),
    ):
        show(event)
    assert stream.getvalue().splitlines() == [
        "12:03:04 start    3 images, 4 requests at once",
        "12:03:04 warning  images.txt:7: 'x y' has white space",
        "12:03:04 planned  docker.io/library/one:1: 2 platforms, 14 blobs, 3.0 MiB",
        "12:03:04 planned  docker.io/library/two:2: 1 platform, nothing new",
        "12:03:04 retry    blob 0123 of one:1 in 0.5 s, try 1 failed: connection reset",
        "12:03:04 done     docker.io/library/one:1",
        "12:03:04 done     docker.io/library/two:2",
        "12:03:04 failed   docker.io/library/gone:1: not found: manifest of gone:1 is not there",
        "12:03:04 finish   syncing out.tar.gz and putting it in place",
    ]


def test_the_end_of_standard_output_is_no_file() -> None:
    show, stream = view()
    show(Committing("-"))
    assert stream.getvalue() == "12:03:04 finish   writing the end\n"


def test_lines_of_standing_jobs() -> None:
    clock = Clock()
    show, stream = view(clock)
    start = time.mktime((2024, 1, 2, 18, 0, 0, 0, 0, -1))
    for event in (
        JobStarted("bases"),
        RunStarted(1, 4),
        ImageEnded(saved("one:1")),
        JobEnded("bases", 0),
        JobScheduled("bases", start, 2),
        JobEnded("more", 2, "the state is in use"),
        JobStarted("more"),
        RunStarted(9, 4),
    ):
        show(event)
    clock.now += INTERVAL
    show(JobScheduled("more", start))
    assert stream.getvalue().splitlines() == [
        "12:03:04 job      bases begins",
        "12:03:04 start    1 image, 4 requests at once",
        "12:03:04 done     docker.io/library/one:1",
        "12:03:04 job      bases has ended with status 0",
        "12:03:04 next     job bases at 2024-01-02 18:00:00; 2 starts passed over",
        "12:03:04 failed   job more: status 2: the state is in use",
        "12:03:04 job      more begins",
        "12:03:04 start    9 images, 4 requests at once",
        "12:03:04 next     job more at 2024-01-02 18:00:00",
        # The sums are those of this job.
        "12:03:04 progress 0/9 images, 0 B of at least 0 B, 0 B/s",
    ]


def test_an_image_that_is_an_earlier_one() -> None:
    show, stream = view()
    outcome = saved("one:1", 9)
    show(ImageEnded(type(outcome)(outcome.entry, same_as=entry("docker.io/one:1", 4))))
    assert stream.getvalue() == "12:03:04 done     docker.io/library/one:1: the same image as line 4\n"


def test_progress_comes_every_interval_at_most() -> None:
    clock = Clock()
    show, stream = view(clock)
    show(RunStarted(2, 1))
    show(ImagePlanned("docker.io/library/one:1", 1, 1, 40 * MIB))
    show(BlobStarted(digest(1), 40 * MIB, "docker.io/library/one:1"))
    stream.truncate(stream.seek(0))
    for second in range(1, 26):
        clock.now = 1000.0 + second
        show(BlobProgress(digest(1), MIB, second * MIB))
    show(ImagePlanned("docker.io/library/two:2", 1, 0, 0))
    show(ArchiveProgress(7 * MIB, 0))
    clock.now += INTERVAL
    show(BlobEnded(digest(1), 40 * MIB, True))
    assert [line for line in stream.getvalue().splitlines() if "progress" in line] == [
        "12:03:04 progress 0/2 images, 10.0 MiB of at least 40.0 MiB, 1.0 MiB/s",
        "12:03:04 progress 0/2 images, 20.0 MiB of at least 40.0 MiB, 1.0 MiB/s",
        "12:03:04 progress 0/2 images, 40.0 MiB of 40.0 MiB, 341.3 KiB/s, archive 7.0 MiB",
    ]


def test_read_bytes_are_shown_of_the_whole() -> None:
    clock = Clock()
    show, stream = view(clock)
    show(CheckStarted(40 * MIB))
    for second in range(1, 16):
        clock.now = 1000.0 + second
        show(Checked(2 * MIB))
    assert stream.getvalue().splitlines() == [
        "12:03:04 start    40.0 MiB to be read and checked",
        "12:03:04 progress 20.0 MiB of 40.0 MiB, 2.0 MiB/s",
    ]


def test_read_bytes_without_a_known_end_are_shown() -> None:
    clock = Clock()
    show, stream = view(clock)
    clock.now += INTERVAL
    show(Checked(20 * MIB))
    assert stream.getvalue() == "12:03:04 progress 20.0 MiB checked, 2.0 MiB/s\n"


def test_a_run_without_requests() -> None:
    clock = Clock()
    show, stream = view(clock)
    show(RunStarted(2, 0))
    show(ArchiveProgress(7 * MIB, 0))
    clock.now += INTERVAL
    show(Checked(10 * MIB))
    assert stream.getvalue().splitlines() == [
        "12:03:04 start    2 images",
        "12:03:04 progress 0/2 images, 10.0 MiB checked, 1.0 MiB/s, archive 7.0 MiB",
    ]


def test_a_registry_that_makes_the_run_wait() -> None:
    show, stream = view()
    show(HostClosed("r.example:5000", "too many requests\n(429)", 61.2))
    show(HostClosed("docker.io", "toomanyrequests: \x1b[1mslow down", 4000.0))
    assert stream.getvalue().splitlines() == [
        "12:03:04 wait     r.example:5000: asked again in 0:01:02: too many requests (429)",
        r"12:03:04 wait     docker.io: asked again in 1:06:40: toomanyrequests: \x1b[1mslow down",
    ]


def test_a_registry_that_gives_no_answer_is_told_once() -> None:
    show, stream = view()
    show(HostUnreachable("r.example:5000", "the connection failed\n(refused)", 3600.0))
    show(HostReached("r.example:5000"))
    text = "r.example:5000 gives no answer, and is asked again for up to 1:00:00: the connection failed (refused)"
    assert stream.getvalue() == f"12:03:04 wait     {text}\n"


def test_a_quota_is_told_when_it_is_news() -> None:
    """The first time, when a tenth is left, and when there is more again; of each registry by itself."""
    show, stream = view()
    for left in (76, 75, 11, 10, 9, 0, 100, 99):
        show(QuotaReported("docker.io", left, 100, 21600))
    show(QuotaReported("r.example", 1, 5000, 0))
    show(QuotaReported("r.example", 0, 5000, 0))
    show(QuotaReported("other.example", 4999, 5000, 90))
    assert stream.getvalue().splitlines() == [
        "12:03:04 quota    docker.io: 76 of 100 requests within 6 h 00 min are left",
        "12:03:04 quota    docker.io: 10 of 100 requests within 6 h 00 min are left",
        "12:03:04 quota    docker.io: 100 of 100 requests within 6 h 00 min are left",
        "12:03:04 quota    r.example: 1 of 5,000 requests are left",
        "12:03:04 quota    other.example: 4,999 of 5,000 requests within 1 min 30 s are left",
    ]


def test_quiet_shows_what_is_wrong_alone() -> None:
    clock = Clock()
    show, stream = view(clock, quiet=True)
    for event in (
        RunStarted(2, 1),
        Notice("--jobs 0 is outside of 1 to 20: 1 is used"),
        Retrying("blob", "reset", 0.5, 1),
        HostClosed("r.example", "too many requests", 60.0),
        QuotaReported("r.example", 0, 100, 60),
        ImageEnded(saved("one:1")),
        ImageEnded(failed("gone:1", MISSING)),
    ):
        clock.now += 60
        show(event)
    assert stream.getvalue().splitlines() == [
        "warning  --jobs 0 is outside of 1 to 20: 1 is used",
        "failed   docker.io/library/gone:1: not found: manifest of gone:1 is not there; check name and tag",
    ]


def test_hostile_text_stays_one_harmless_line() -> None:
    show, stream = view()
    show(Notice("a\x1b[2J\r\nb"))
    show(ImageEnded(failed("gone:1", NotFound("x\n\x07y", host="h", status=404))))
    assert stream.getvalue().splitlines() == [
        r"12:03:04 warning  a\x1b[2J b",
        r"12:03:04 failed   docker.io/library/gone:1: not found: x \x07y",
    ]


def test_after_closing_only_what_is_said_is_shown() -> None:
    show, stream = view()
    show.close()
    show(RunStarted(2, 1))
    show.say("interrupted")
    show.close()
    assert stream.getvalue() == "hangar-async: interrupted\n"


def test_a_closed_output_ends_the_lines_and_not_the_run() -> None:
    class Broken(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            raise BrokenPipeError

    stream = Broken()
    show = PlainView(stream)
    for _ in range(3):
        show(RunStarted(2, 1))
    assert stream.writes == 1


def test_verbose_shows_each_note_of_an_image() -> None:
    for verbose in (False, True):
        show, stream = view(verbose=verbose)
        show(ImageEnded(saved("one:1", notes=("left out\n2 entries",))))
        note = ["12:03:04 note     docker.io/library/one:1: left out 2 entries"]
        assert stream.getvalue().splitlines()[1:] == (note if verbose else [])


def test_a_try_that_gained_bytes_has_no_number() -> None:
    show, stream = view()
    show(Retrying("blob", "reset", 0.5, 0))
    assert stream.getvalue() == "12:03:04 retry    blob in 0.5 s, it broke off on its way: reset\n"
