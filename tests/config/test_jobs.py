"""The numbers of images, blobs and requests at the same time have bounds."""

from __future__ import annotations

import pytest

from hangar_async.config import jobs
from hangar_async.config.jobs import MAX_REQUESTS, JobLimits
from hangar_async.errors import UsageError


def chosen(asked: int, blobs: int = 6, requests: int = MAX_REQUESTS) -> JobLimits:
    return JobLimits.chosen(asked, blobs, requests)


@pytest.mark.parametrize(
    ("asked", "images", "requests"),
    [(-3, 1, 6), (0, 1, 6), (1, 1, 6), (4, 4, 24), (10, 10, 60), (20, 20, 60), (100, 20, 60)],
)
def test_jobs_have_bounds(asked: int, images: int, requests: int) -> None:
    assert chosen(asked) == JobLimits(images, 6, requests)


def test_the_blobs_of_an_image_and_all_requests_are_narrowed() -> None:
    assert chosen(4, 1) == JobLimits(4, 1, 4)
    assert chosen(4, 12) == JobLimits(4, 12, 48)
    assert chosen(4, 6, 5) == JobLimits(4, 6, 5)
    assert [chosen(4).is_narrowed, chosen(20).is_narrowed, chosen(20, 6, 59).is_narrowed] == [False, False, True]


@pytest.mark.parametrize(
    ("blobs", "requests", "message"),
    [
        (0, 1, "--blobs-per-image is 0: write a number from 1 to 12"),
        (13, 1, "--blobs-per-image is 13: write a number from 1 to 12"),
        (1, 0, "--requests is 0: write a number from 1 to 60"),
        (1, 61, "--requests is 61: write a number from 1 to 60"),
    ],
)
def test_other_numbers_are_refused(blobs: int, requests: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(1, blobs, requests)
    assert str(caught.value) == message


def test_a_note_says_what_was_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(5).note(5) is None
    assert chosen(0).note(0) == "--jobs 0 is outside of 1 to 20: 1 is used"
    assert chosen(21).note(21) == "--jobs 21 is outside of 1 to 20: 20 is used"
    monkeypatch.setattr(jobs, "most_transfers", lambda: 12)
    assert chosen(2).note(2) is None
    assert chosen(5).note(5) == "12 requests at once, since ulimit -n allows no more open files"
