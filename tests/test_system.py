import errno
import resource

import pytest

from hangar_async.errors import StorageError
from hangar_async.system import is_file_limit, is_own_fault, system_reason


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "end other programs"),
        (errno.EROFS, "a place that can be written"),
        (errno.ENOSPC, "make room"),
        (errno.EEXIST, "another one"),
        (errno.ENOTEMPTY, "empty the directory"),
        (errno.EISDIR, "name of a file"),
        (errno.ENOTDIR, "choose another path"),
        (errno.EPIPE, "the program that reads it"),
        (errno.EIO, "check the disk"),
    ],
)
def test_the_advice_fits_the_error_of_the_system(number: int, advice: str) -> None:
    assert advice in StorageError.of(OSError(number, "x"), "y").advice


def test_too_many_open_files_name_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    error = OSError(errno.EMFILE, "Too many open files")
    assert is_file_limit(error)
    assert system_reason(error) == "Too many open files (ulimit -n is 64)"
    assert not is_file_limit(OSError(errno.ENFILE, "x"))
    assert system_reason(OSError("no number")) == "no number"


def test_faults_of_the_program_are_told_from_those_of_the_machine() -> None:
    assert is_own_fault(OSError(errno.EBADF, "x"))
    assert not is_own_fault(OSError(errno.ENOSPC, "x"))
