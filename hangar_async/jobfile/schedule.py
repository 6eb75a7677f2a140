"""The times at which a standing job begins: at intervals, or at the times of a line of cron. No clock is read here.

Times are in seconds since 1970, as the clock of a run tells them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from hangar_async.errors import InvalidValue

_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
#: A longer one leads to dates that no calendar of Python has.
_LONGEST = timedelta(days=36_525)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
#: The part of the time between two starts by which a start may be later, and the most seconds of it.
_SPREAD, _MOST_SPREAD = 0.05, 1800.0
#: The starts that are counted one by one.
_MOST_COUNTED = 1_000


class Times(Protocol):
    """The times of the starts of a job."""

    def after(self, time: float) -> float:
        """Return the first start after a time, which is a start itself or not."""
        ...

    @property
    def begins_at_once(self) -> bool:
        """True when a job that has never begun begins now."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """A start in each interval, reckoned from the last one."""

    interval: timedelta

    @classmethod
    def parse(cls, text: str) -> Every:
        """Read an interval such as 6h; raises InvalidValue."""
        return cls(parse_interval(text))

    def after(self, time: float) -> float:
        """Return the first start after a start."""
        return time + self.interval.total_seconds()

    @property
    def begins_at_once(self) -> bool:
        """True: it is due where no start is known."""
        return True


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule: a line of cron, read in a time zone.

    Where clocks are put forward or back, a time of day that is skipped or comes twice has one start, as in Debian's
    cron.
    """

    line: str
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, line: str, zone: tzinfo = UTC) -> Cron:
        """Read the five fields of cron; raises InvalidValue for a wrong line, and one whose time never comes."""
        from cronsim import CronSim, CronSimError  # few runs need it

        if len(line.split()) != 5:
            raise InvalidValue(f"{line[:100]!r} has not the five fields of cron: minute, hour, day, month, weekday")
        try:
            next(CronSim(line, datetime(2000, 1, 1, tzinfo=zone)))
        except CronSimError as error:
            reason = str(error).replace("Bad", "wrong")
            raise InvalidValue(f"{line[:100]!r} is no line of cron: {reason}") from error
        except StopIteration:
            raise InvalidValue(f"{line[:100]!r} is no line of cron: its time never comes") from None
        return cls(" ".join(line.split()), zone)

    def after(self, time: float) -> float:
        """Return the first start after a time."""
        from cronsim import CronSim

        return next(CronSim(self.line, datetime.fromtimestamp(int(time), self.zone))).timestamp()

    @property
    def begins_at_once(self) -> bool:
        """False: it waits for its time."""
        return False


@dataclass(frozen=True, slots=True)
class Schedule:
    """The starts of a job, later by up to `jitter`: without it a twentieth of the time between two, at most 30 min."""

    times: Times
    jitter: timedelta | None = None

    def first(self, last: float | None, now: float) -> float:
        """Return the first start of a run of the program, which may be over; `last` is the last start, if it is known.

        One of a time to come, as after the clock was put back, counts as one of now.
        """
        if last is None:
            return now if self.times.begins_at_once else self.times.after(now)
        return self.times.after(min(last, now))

    def following(self, start: float, now: float) -> tuple[float, int]:
        """Return the first start after `now`, and how many since `start` were passed over, as a job was under way."""
        due, passed = self.times.after(start), 0
        while due <= now and passed < _MOST_COUNTED:
            due, passed = self.times.after(due), passed + 1
        return (due if due > now else self.times.after(now)), passed

    def latest(self, now: float) -> float:
        """Return the latest time that the next start can have: a later one is of a clock that was put back."""
        return self.spread(self.times.after(now), 1.0)

    def spread(self, due: float, share: float) -> float:
        """Return a start that is later by a share, 0 to 1, of the jitter."""
        if self.jitter is not None:
            return due + share * self.jitter.total_seconds()
        return due + share * min(_SPREAD * (self.times.after(due) - due), _MOST_SPREAD)


def parse_interval(text: str) -> timedelta:
    """Read an interval such as 90m, 6h, 1d or 2w; raises InvalidValue."""
    return parse_duration(text, "mhdw", "interval", "6h")


def parse_duration(text: str, units: str, noun: str, example: str) -> timedelta:
    """Read a number with one of these units; raises InvalidValue, with the noun and an example."""
    match = _DURATION.fullmatch(text)
    if match is None or match[2] not in units:
        wanted = f"{', '.join(units[:-1])} or {units[-1]}"
        raise InvalidValue(f"{text[:100]!r} is no {noun}: write a number with {wanted}, such as {example}")
    duration = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    if duration > _LONGEST:
        raise InvalidValue(f"{text!r} is longer than a hundred years: write a shorter {noun}, such as {example}")
    return duration


def parse_zone(name: str) -> tzinfo:
    """Read the name of a time zone; raises InvalidValue."""
    from zoneinfo import ZoneInfo

    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidValue(
            f"{name[:100]!r} is no time zone that this system knows: write one such as Europe/Berlin, or UTC"
        ) from error
