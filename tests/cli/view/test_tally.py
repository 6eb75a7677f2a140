from __future__ import annotations

from hangar_async.cli.view.tally import Rate, Tally
from hangar_async.engine.events import (
    ArchiveProgress,
    BlobEnded,
    BlobProgress,
    BlobReused,
    BlobStarted,
    Committing,
    Event,
    HostClosed,
    HostReached,
    HostUnreachable,
    ImageEnded,
    ImagePlanned,
    QuotaReported,
    RunStarted,
)
from hangar_async.errors import NoPlatform
from tests.cli.samples import MIB, Clock, digest, failed, saved

ONE, TWO = "docker.io/library/one:1", "docker.io/library/two:2"


def tally(*events: Event) -> Tally:
    sums = Tally()
    for event in events:
        sums(event)
    return sums


def test_bytes_of_blobs_on_their_way_and_whole_ones() -> None:
    sums = tally(
        RunStarted(2, 4),
        ImagePlanned(ONE, 2, 3, 600),
        BlobStarted(digest(1), 100, ONE),
        BlobProgress(digest(1), 60, 60),
        BlobProgress(digest(1), 40, 100),
        BlobEnded(digest(1), 100, True),
        BlobStarted(digest(2), 300, ONE, 50),
        BlobProgress(digest(2), 20, 70),
        BlobReused(digest(3), 200),
    )
    assert (sums.arrived_bytes, sums.planned_bytes) == (370, 600)
    assert (sums.fetched_bytes, sums.reused_bytes) == (120, 200)
    assert [(flight.digest, flight.done) for flight in sums.flights.values()] == [(digest(2), 70)]


def test_a_failed_try_counts_again_when_it_goes_on() -> None:
    sums = tally(
        RunStarted(1, 1),
        ImagePlanned(ONE, 1, 1, 100),
        BlobStarted(digest(1), 100, ONE),
        BlobProgress(digest(1), 60, 60),
        BlobEnded(digest(1), 100, False),
    )
    assert (sums.arrived_bytes, sums.fetched_bytes, dict(sums.flights)) == (0, 60, {})
    sums(BlobStarted(digest(1), 100, ONE, 60))
    assert sums.arrived_bytes == 60


def test_manifests_count_and_never_make_more_than_was_planned() -> None:
    sums = tally(RunStarted(1, 1), BlobProgress(digest(1), 500, 500), ImagePlanned(ONE, 1, 1, 300))
    assert (sums.arrived_bytes, sums.fetched_bytes) == (300, 500)


def test_the_total_is_known_when_every_image_is_planned_or_has_failed_before() -> None:
    sums = tally(RunStarted(3, 1), ImagePlanned(ONE, 1, 1, 10))
    assert not sums.all_planned
    sums(ImageEnded(failed("three", NoPlatform("none"))))
    assert not sums.all_planned
    sums(ImagePlanned(TWO, 1, 1, 10))
    assert sums.all_planned
    sums(ImageEnded(saved("one:1")))
    assert not sums.all_ended
    sums(ImageEnded(saved("two:2")))
    assert (sums.all_planned, sums.all_ended, sums.done, sums.failed) == (True, True, 2, 1)


def test_the_archive() -> None:
    sums = tally(ArchiveProgress(100, 0), ArchiveProgress(300, 2), Committing("a.tar.gz"))
    assert (sums.archive_bytes, sums.part, sums.committing) == (300, 2, True)


def test_until_when_hosts_are_left_alone() -> None:
    clock = Clock()
    sums = Tally(clock)
    sums(HostClosed("one.example", "busy", 30.0))
    clock.now += 10
    sums(HostClosed("two.example", "busy", 5.0))
    assert sums.closed == {"one.example": 1030.0, "two.example": 1015.0}
    # What it says last counts.
    sums(HostClosed("one.example", "busy", 60.0))
    assert sums.closed == {"one.example": 1070.0, "two.example": 1015.0}


def test_hosts_that_give_no_answer() -> None:
    sums = tally(HostUnreachable("one.example", "refused", 60.0), HostUnreachable("two.example", "refused", 60.0))
    assert sums.unreachable == {"one.example", "two.example"}
    sums(HostReached("one.example"))
    assert sums.unreachable == {"two.example"}


def test_the_quotas_of_registries_are_kept() -> None:
    told = (
        QuotaReported("one.example", 9, 10, 60),
        QuotaReported("two.example", 5, 5, 0),
        QuotaReported("one.example", 8, 10, 60),
    )
    assert tally(*told).quotas == {"one.example": (8, 10), "two.example": (5, 5)}


def test_rate_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate.per_second(0.0, 0) == 0.0
    assert rate.per_second(2.0, 100) == 50.0
    assert rate.per_second(10.0, 1000) == 100.0
    # What is older than the window no longer counts.
    assert rate.per_second(20.0, 1000) == 0.0
    assert rate.per_second(25.0, 1600) == 40.0


def test_rate_at_one_moment() -> None:
    rate = Rate()
    assert [rate.per_second(5.0, amount) for amount in (0, 10)] == [0.0, 0.0]


def test_the_bytes_of_all_images_are_reckoned_from_those_that_are_planned() -> None:
    tally = Tally(Clock())
    tally(RunStarted(4, 1))
    assert tally.expected_bytes == 0
    tally(ImagePlanned("one", 1, 1, 10 * MIB))
    assert tally.expected_bytes == 40 * MIB
    for name in ("two", "three", "four"):
        tally(ImagePlanned(name, 1, 1, MIB))
    assert tally.expected_bytes == 13 * MIB
