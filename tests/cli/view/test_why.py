from hangar_async.cli.view.why import why_rows
from hangar_async.effort import Effort


def test_a_slow_run_is_explained_in_one_line() -> None:
    effort = Effort(
        permits=42.0,
        closed={"reg.io": 130.0, "short.io": 0.2},
        most=12,
        repeats=3,
        moved={"reg.io": (5 << 20, 2.0), "cdn.io": (300 << 20, 10.0), "c": (1, 1.0), "d": (1, 1.0), "none": (0, 0.0)},
        disk=0.4,
        hashing=2.0,
        compressing=7.0,
    )
    text = (
        "12 requests at once at most; waited 42.0 s for permits (-j, --requests); "
        "waited 2 min 10 s for reg.io, which took no requests; 3 requests made again after a break; "
        "cdn.io 30.0 MiB/s in 10.0 s; reg.io 2.5 MiB/s in 2.0 s; c 1 B/s in 1.0 s; "
        "threads: hashing 2.0 s, compressing 7.0 s"
    )
    assert list(why_rows(effort)) == [("why", text)]


def test_what_took_no_time_is_not_told() -> None:
    assert list(why_rows(Effort(most=1))) == [("why", "1 request at once at most")]
