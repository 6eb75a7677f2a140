from __future__ import annotations

from pathlib import Path

from hangar_async.cli.view.groups import failure_rows, note_rows, some_rows
from hangar_async.errors import Conflict, DigestMismatch, HangarError, NetworkError, NotFound, UsageError
from tests.cli.samples import digest

LIST = Path("save-failed.txt")


def gone(number: int, host: str = "h") -> tuple[str, HangarError]:
    return f"line {number}: gone:{number}", NotFound(f"no gone:{number}", host=host, status=404, advice="check it")


def test_a_failure_has_its_name_reason_message_and_advice() -> None:
    wrong = ("line 7: bad:1", DigestMismatch("other bytes\x1b[2J came", advice="tell its operator"))
    assert list(failure_rows([gone(4), wrong], LIST)) == [
        ("failed", "line 4: gone:4: not found"),
        ("", "no gone:4; check it"),
        ("failed", "line 7: bad:1: wrong digest"),
        ("", r"other bytes\x1b[2J came; tell its operator"),
    ]


def test_failures_of_one_reason_are_a_number_ten_names_and_an_example() -> None:
    assert list(failure_rows([gone(number) for number in range(300)], LIST)) == [
        ("failed", "300 images: not found (h)"),
        *(("", f"line {number}: gone:{number}") for number in range(10)),
        ("", "290 more in save-failed.txt"),
        ("", "such as: no gone:0; check it"),
    ]


def test_a_message_that_all_share_is_no_example() -> None:
    error = NetworkError("h gives no answer", host="h:5000", advice="check the address")
    assert list(failure_rows([("one", error), ("two", error)], None)) == [
        ("failed", "2 images: network (h:5000)"),
        ("", "one"),
        ("", "two"),
        ("", "h gives no answer; check the address"),
    ]


def test_hosts_are_told_apart_and_the_largest_group_comes_first() -> None:
    found = list(failure_rows([gone(1, "a"), gone(2, "b"), gone(3, "b")], None))
    assert [text for label, text in found if label] == ["2 images: not found (b)", "line 1: gone:1: not found"]


def test_reasons_that_do_not_fit_are_counted() -> None:
    several: list[tuple[str, HangarError]] = [
        *(gone(number, f"host{number % 6}") for number in range(60)),
        ("x", Conflict("two lines")),
        ("y", UsageError("no")),
    ]
    found = list(failure_rows(several, LIST))
    assert len(found) <= 17
    assert found[-1] == ("failed", "22 more for other reasons in save-failed.txt")


def test_a_note_that_images_share_is_told_once() -> None:
    notes = [(f"one:{number}", f"one:{number} is a part of {digest(number)}") for number in range(300)]
    assert list(note_rows([("two:1", "left out 2 entries"), *notes])) == [
        ("note", "300 images: NAME is a part of sha256:..."),
        ("note", "two:1: left out 2 entries"),
        ("", "--verbose shows each note"),
    ]
    assert list(note_rows([("two:1", "left out 2 entries")])) == [("note", "two:1: left out 2 entries")]


def test_of_many_texts_some_are_shown() -> None:
    assert list(some_rows("invalid", [f"line {number}\n" for number in range(9)])) == [
        ("invalid", "line 0"),
        ("invalid", "line 1"),
        ("invalid", "line 2"),
        ("invalid", "and 6 more"),
    ]
