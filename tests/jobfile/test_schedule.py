"""The times of standing jobs: no clock is read, so that each is told by its arguments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from hangar_async.errors import InvalidValue
from hangar_async.jobfile.schedule import Cron, Every, Schedule, parse_interval, parse_zone

HOUR = 3600.0
LINES = st.sampled_from(["17 */6 * * *", "0 2 * * *", "*/5 * * * *", "0 0 1 * *", "30 4 * * mon-fri", "0 0 29 2 *"])
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
SCHEDULES = st.one_of(
    st.builds(lambda minutes: Schedule(Every(timedelta(minutes=minutes))), st.integers(1, 100_000)),
    st.builds(lambda line, zone: Schedule(Cron.parse(line, parse_zone(zone))), LINES, ZONES),
)
TIMES = st.floats(946_684_800, 4_102_444_800)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def shown(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="minutes").removesuffix("+00:00")


@given(SCHEDULES, TIMES, st.floats(0, 1e5))
@settings(max_examples=25)
def test_the_next_start_is_after_now_and_no_start_between_is_missed(
    schedule: Schedule, start: float, length: float
) -> None:
    now = start + length
    due, passed = schedule.following(start, now)
    assert due > now
    assert (passed == 0) == (schedule.times.after(start) > now)
    assert schedule.following(due, due) == (schedule.times.after(due), 0)


@given(SCHEDULES, TIMES, st.floats(0, 1e7))
@settings(max_examples=25)
def test_the_first_start_is_never_later_than_one_interval_from_now(schedule: Schedule, now: float, ago: float) -> None:
    longest = schedule.times.after(now)
    for last in (None, now - ago, now + ago):
        assert schedule.first(last, now) <= longest
    # What was due while the program did not run is due at once, but once.
    if schedule.times.after(now - ago) <= now:
        assert schedule.first(now - ago, now) <= now


@given(SCHEDULES, TIMES, st.floats(0, 1))
@settings(max_examples=25)
def test_jitter_is_a_twentieth_of_the_time_between_two_starts_and_half_an_hour_at_most(
    schedule: Schedule, now: float, share: float
) -> None:
    due = schedule.first(None, now)
    late = schedule.spread(due, share) - due
    assert -0.001 <= late <= min((schedule.times.after(due) - due) / 20, 1800) + 0.001


@given(LINES, TIMES)
@settings(max_examples=25)
def test_times_of_cron_are_whole_minutes_of_their_zone(line: str, now: float) -> None:
    zone = parse_zone("Asia/Kathmandu")
    time = datetime.fromtimestamp(Cron.parse(line, zone).after(now), zone)
    assert (time.second, time.microsecond) == (0, 0)
    if line == "0 2 * * *":
        assert (time.hour, time.minute) == (2, 0)


@pytest.mark.parametrize(
    ("line", "zone", "now", "expected"),
    [
        ("17 */6 * * *", "UTC", "2026-05-01T06:17:00+00:00", "2026-05-01T12:17"),
        ("17 */6 * * *", "UTC", "2026-05-01T06:16:59+00:00", "2026-05-01T06:17"),
        ("0 2 * * *", "Europe/Berlin", "2026-07-01T00:00:00+00:00", "2026-07-02T00:00"),
        # Clocks are put forward from 2 to 3: the time that is skipped comes at 3.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+00:00", "2026-03-29T01:00"),
        # Clocks are put back from 3 to 2: the time that comes twice has one start.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+00:00", "2026-10-25T00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00+00:00", "2026-10-26T01:30"),
        ("0 0 29 2 *", "UTC", "2026-05-01T00:00:00+00:00", "2028-02-29T00:00"),
    ],
)
def test_times_of_cron(line: str, zone: str, now: str, expected: str) -> None:
    assert shown(Cron.parse(line, parse_zone(zone)).after(at(now))) == expected


def test_a_job_that_is_late_is_passed_over_and_counted() -> None:
    schedule = Schedule(Every(timedelta(hours=6)))
    assert schedule.following(0, 5 * HOUR) == (6 * HOUR, 0)
    assert schedule.following(0, 13 * HOUR) == (18 * HOUR, 2)
    assert schedule.latest(0) == pytest.approx(6.3 * HOUR)
    # After years a count of all is of no use.
    due, passed = schedule.following(0, 90_000 * HOUR)
    assert (due > 90_000 * HOUR, passed) == (True, 1000)


def test_a_first_start() -> None:
    every, cron = Schedule(Every(timedelta(hours=6))), Schedule(Cron.parse("0 2 * * *"))
    now = at("2026-05-01T12:00:00+00:00")
    assert every.first(None, now) == now
    assert shown(cron.first(None, now)) == "2026-05-02T02:00"
    assert every.first(now - HOUR, now) == now + 5 * HOUR
    # The clock was put back since.
    assert every.first(now + 900 * HOUR, now) == now + 6 * HOUR


def test_jitter_that_is_named() -> None:
    assert Schedule(Every(timedelta(hours=6)), timedelta(minutes=10)).spread(0, 0.5) == 300
    assert Schedule(Every(timedelta(hours=6)), timedelta(0)).spread(0, 0.5) == 0
    assert Schedule(Every(timedelta(hours=6))).spread(0, 1) == 1080
    assert Schedule(Every(timedelta(days=7))).spread(0, 1) == 1800


@pytest.mark.parametrize(("text", "minutes"), [("90m", 90), ("6h", 360), ("1d", 1440), ("2w", 20160)])
def test_intervals(text: str, minutes: int) -> None:
    assert parse_interval(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "6", "0h", "6 h", "6s", "h", "1.5h", "-1h", "9999999h"])
def test_what_is_no_interval(text: str) -> None:
    with pytest.raises(InvalidValue, match="is no interval: write a number with m, h, d or w"):
        parse_interval(text)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "has not the five fields"),
        ("* * * *", "has not the five fields"),
        ("0 0 0 * * *", "has not the five fields"),
        ("61 * * * *", "is no line of cron: wrong minute"),
        ("0 0 31 2 *", "is no line of cron: wrong day-of-month"),
        ("x * * * *", "is no line of cron: wrong minute"),
    ],
)
def test_what_is_no_line_of_cron(line: str, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        Cron.parse(line)


@pytest.mark.parametrize("name", ["", "Europe", "Europe/Nowhere", "../passwd", "/etc/passwd", "a\0b"])
def test_what_is_no_time_zone(name: str) -> None:
    with pytest.raises(InvalidValue, match="is no time zone that this system knows"):
        parse_zone(name)
