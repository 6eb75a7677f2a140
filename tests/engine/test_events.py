"""Events reach their observer in the event loop, from any thread."""

import asyncio
import threading

import pytest

from hangar_async.engine.events import Checked, CheckStarted, Event, Served, report_checked, threadsafe


async def test_events_of_a_thread_reach_the_observer_in_the_loop_in_their_order() -> None:
    threads: set[int] = set()
    events: list[Event] = []

    def observe(event: Event) -> None:
        threads.add(threading.get_ident())
        events.append(event)

    safe = threadsafe(observe)
    await asyncio.to_thread(lambda: [safe(Checked(number)) for number in range(100)])
    await asyncio.sleep(0)
    assert threads == {threading.get_ident()}
    assert events == [Checked(number) for number in range(100)]


def test_an_observer_for_threads_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError):
        threadsafe(lambda event: None)


def test_work_that_was_interrupted_ends_before_its_bytes_are_reported() -> None:
    events: list[Event] = [CheckStarted(20)]

    def interrupted() -> None:
        if len(events) == 3:
            raise InterruptedError

    report = report_checked(interrupted, events.append)
    report(7)
    report(13)
    with pytest.raises(InterruptedError):
        report(1)
    assert events == [CheckStarted(20), Checked(7), Checked(13)]


@pytest.mark.parametrize(
    ("url", "host"), [("http://127.0.0.1:5000", "127.0.0.1:5000"), ("https://reg.example.com:80", "reg.example.com:80")]
)
def test_images_are_pulled_by_the_host_of_the_url(url: str, host: str) -> None:
    assert Served(":5000", url, ()).host == host
