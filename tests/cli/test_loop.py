"""Real signals to a real process; each waits for a line of the other."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hangar_async.cli.loop import open_view, run_until_done
from hangar_async.cli.view.live import LiveView
from hangar_async.cli.view.plain import PlainView, line_of
from hangar_async.engine.events import ArchiveProgress, BlobProgress, RunStarted
from tests.cli.samples import digest

SCRIPT = """
import asyncio, signal, sys
if sys.argv[1] == "asyncio":
    sys.modules["uvloop"] = None
from hangar_async.cli.loop import run_until_done

def tell(text):
    print("told", text, flush=True)

async def waits():
    print("ready", type(asyncio.get_running_loop()).__module__.split(".")[0], flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("unwound", flush=True)

async def hangs():
    try:
        await waits()
    except asyncio.CancelledError:
        await asyncio.Event().wait()

async def breaks():
    try:
        await waits()
    except asyncio.CancelledError:
        raise OSError("on the way out") from None

async def stands():
    import os
    print("ready", type(asyncio.get_running_loop()).__module__.split(".")[0], flush=True)
    pipe = os.pipe()
    os.read(pipe[0], 1)

async def finishes():
    try:
        await waits()
    except asyncio.CancelledError:
        return "finished"

if "ignored" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
regular = {signal.SIGTERM} if "regular" in sys.argv else ()
reload = (lambda: print("reload", flush=True)) if "reload" in sys.argv else None
patience = 0.01 if "patience" in sys.argv else None
work = globals()[sys.argv[2]]
print("result", run_until_done(work, tell, "the rest stays", regular=regular, reload=reload, patience=patience))
"""
LOOPS = ["asyncio", "uvloop"]


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs one of the coroutines; it is at its wait when the block begins."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        try:
            assert one.stdout is not None
            assert one.stdout.readline() == f"ready {arguments[0]}\n"
            yield one
        finally:
            one.kill()


@pytest.mark.parametrize(("threads", "loop"), [(7, "asyncio"), (8, "uvloop")])
def test_a_loop_whose_threads_cannot_be_started_is_not_used(
    monkeypatch: pytest.MonkeyPatch, threads: int, loop: str
) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_few(thread: threading.Thread) -> None:
        if len(started) == threads:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    async def loop_in_use() -> str:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    monkeypatch.setattr(threading.Thread, "start", start_few)
    assert run_until_done(loop_in_use, print, "") == loop
    assert not any(thread.is_alive() for thread in started)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_end_without_a_thread_for_it_keeps_the_result(monkeypatch: pytest.MonkeyPatch, loop: str) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def work() -> int:
        await asyncio.get_running_loop().run_in_executor(None, int)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        return 7

    if loop == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run_until_done(work, print, "") == 7


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "hung up")],
)
@pytest.mark.parametrize("work", ["waits", "breaks"])
def test_a_signal_cancels_and_says_so(loop: str, number: signal.Signals, status: int, word: str, work: str) -> None:
    with process(loop, work) as one:
        one.send_signal(number)
        out, err = one.communicate()
    assert out.splitlines() == [
        f"told {word}: the rest stays (once more ends at once)",
        "unwound",
    ]
    assert (one.returncode, err) == (status, "")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_second_signal_ends_at_once(loop: str, number: signal.Signals, status: int) -> None:
    with process(loop, "hangs") as one:
        assert one.stdout is not None
        one.send_signal(signal.SIGINT)
        assert one.stdout.readline().startswith("told interrupted")
        assert one.stdout.readline() == "unwound\n"
        one.send_signal(number)
        out, err = one.communicate()
    assert (one.returncode, out, err) == (status, "", "")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_signal_ends_a_loop_that_stands_still(loop: str) -> None:
    with process(loop, "stands") as one:
        while one.poll() is None:
            # Two of one kind may arrive as one.
            one.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        out, err = one.communicate()
    assert (one.returncode, out, err) == (143, "", "")


@pytest.mark.parametrize("loop", LOOPS)
def test_work_that_is_done_in_spite_of_a_signal_counts(loop: str) -> None:
    with process(loop, "finishes") as one:
        one.send_signal(signal.SIGTERM)
        out, _ = one.communicate()
    assert (one.returncode, out.splitlines()[-1]) == (0, "result finished")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("work", "number", "status"),
    [("waits", signal.SIGTERM, 0), ("waits", signal.SIGINT, 130), ("breaks", signal.SIGTERM, 143)],
)
def test_a_signal_that_is_the_regular_end(loop: str, work: str, number: signal.Signals, status: int) -> None:
    with process(loop, work, "regular") as one:
        one.send_signal(number)
        assert one.wait() == status


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("work", ["hangs", "stands"])
def test_a_cleanup_that_takes_too_long_ends_with_the_patience(loop: str, work: str) -> None:
    with process(loop, work, "patience", "regular") as one:
        one.send_signal(signal.SIGTERM)
        assert one.wait() == 143


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("inherited", ["", "ignored"])
def test_sighup_is_a_reload(loop: str, inherited: str) -> None:
    with process(loop, "waits", "reload", inherited) as one:
        assert one.stdout is not None
        for _ in range(2):
            one.send_signal(signal.SIGHUP)
            assert one.stdout.readline() == "reload\n"
        one.send_signal(signal.SIGTERM)
        assert one.wait() == 143


@pytest.mark.parametrize("loop", LOOPS)
def test_an_ignored_signal_stays_ignored(loop: str) -> None:
    with process(loop, "waits", "ignored") as one:
        one.send_signal(signal.SIGINT)
        one.send_signal(signal.SIGHUP)
        one.send_signal(signal.SIGTERM)
        out, _ = one.communicate()
    assert one.returncode == 143
    assert out.startswith("told terminated")


def test_in_another_thread_it_runs_without_signals() -> None:
    async def fine() -> int:
        return 7

    with ThreadPoolExecutor() as threads:
        assert threads.submit(run_until_done, fine, print, "").result() == 7


def test_results_and_errors_come_through() -> None:
    async def fine() -> int:
        return 7

    async def wrong() -> int:
        raise KeyError("k")

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert run_until_done(fine, print, "") == 7
    with pytest.raises(KeyError):
        run_until_done(wrong, print, "")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with open_view() as view:
        assert isinstance(view, PlainView)
        view(RunStarted(1, 1))
    view(RunStarted(1, 1))
    assert stream.getvalue().count("\n") == 1


def test_live_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    with open_view() as view:
        assert isinstance(view, LiveView)


@pytest.mark.parametrize(("term", "quiet"), [("dumb", False), ("xterm-256color", True)])
def test_lines_on_a_dumb_terminal_and_when_quiet(monkeypatch: pytest.MonkeyPatch, term: str, quiet: bool) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", term)
    with open_view(quiet) as view:
        assert isinstance(view, PlainView)


def test_frequent_events_have_no_line() -> None:
    assert line_of(BlobProgress(digest(1), 1, 1)) is None
    assert line_of(ArchiveProgress(1, 0)) is None
