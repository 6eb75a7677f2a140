from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from hangar_async.cli.view.access import AccessLines
from hangar_async.engine.events import Answered
from hangar_async.errors import StorageError

NOON = time.struct_time((2024, 1, 2, 12, 3, 4, 1, 2, 0))
EVENT = Answered("127.0.0.1", "GET", "/v2/app/manifests/1", 200, 42, 0.0123, 'agent "x"\x1b[2J')
LINE = (
    '127.0.0.1 - - [02/Jan/2024:12:03:04 +0000] "GET /v2/app/manifests/1 HTTP/1.1" 200 42 "-" '
    '"agent \\"x\\"\\x1b[2J" 0.012\n'
)


def test_a_request_is_one_line_of_printable_characters() -> None:
    stream = io.StringIO()
    AccessLines(stream, lambda: NOON).write(EVENT)
    assert stream.getvalue() == LINE


def test_a_file_is_added_to_and_opened_again_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    log = AccessLines(path, lambda: NOON)
    log.write(EVENT)
    path.rename(tmp_path / "old")
    log.reopen()
    log.write(EVENT)
    log.close()
    assert (tmp_path / "old").read_text().startswith("before\n127.0.0.1 ")
    assert path.read_text().count("\n") == 1


def test_a_full_disk_ends_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    AccessLines(stream).write(EVENT)


def test_lines_that_a_full_disk_has_not_taken_end_nothing() -> None:
    log = AccessLines(Path("/dev/full"))
    log.write(EVENT)
    log.reopen()
    log.write(EVENT)
    log.close()


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        AccessLines(tmp_path / "none" / "log")
    log = AccessLines(tmp_path / "log")
    (tmp_path / "log").unlink()
    (tmp_path / "log").mkdir()
    log.reopen()
    log.write(EVENT)
    log.close()
