"""A thread that does jobs in their order, beside the one that asks for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Background:
    """Runs jobs one after the other in a thread of its own; what fails is raised by `check` or `join`.

    The queue has no bound of its own: the jobs hold something that is bounded.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def put(self, job: Callable[[], None]) -> None:
        """Add a job."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    @property
    def failed(self) -> bool:
        """Whether a job has failed."""
        return self._error is not None

    def check(self) -> None:
        """Raise the first error of a job."""
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        """Wait for all jobs, end the thread, and raise the first error of a job."""
        self.stop()
        self.check()

    def stop(self) -> None:
        """Wait for all jobs and end the thread, whatever failed."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:
                self._error = self._error or error
