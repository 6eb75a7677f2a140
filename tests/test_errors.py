import errno
import traceback
from resource import RLIMIT_NOFILE, getrlimit

import pytest

from hangar_async.errors import (
    DigestMismatch,
    HangarError,
    MachineError,
    NetworkError,
    NotFound,
    RegistryError,
    StorageError,
    copied,
    the_error,
)


def test_network_errors_and_some_statuses_can_recover() -> None:
    assert NetworkError("x", host="h").transient
    assert not NetworkError("x", host="h", transient=False).transient
    assert [RegistryError("x", host="h", status=status).transient for status in (400, 403, 429, 500, 503)] == [
        False, False, True, True, True,
    ]  # fmt: skip
    assert not NotFound("x", host="h", status=404).transient
    assert DigestMismatch("x").tries == 2
    assert not HangarError("x").transient


@pytest.mark.parametrize("status", [408, 425, 429, 499, 500, 502, 503, 504, 508, 520, 521, 525, 529, 530, 599])
def test_a_status_that_may_pass_is_transient(status: int) -> None:
    assert RegistryError("x", host="h", status=status).transient


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 416, 418, 451, 498, 501, 505, 507])
def test_a_status_of_the_request_itself_is_final(status: int) -> None:
    assert not RegistryError("x", host="h", status=status).transient


def test_storage_errors_name_the_path() -> None:
    error = StorageError.of(OSError(errno.ENOSPC, "No space left on device"), "/cache/x")
    assert str(error) == "cannot write /cache/x: No space left on device"
    assert error.path == "/cache/x"
    assert error.advice


def test_the_error_of_a_group() -> None:
    ours = NotFound("x", host="h", status=404)
    assert the_error(ours) is ours
    assert the_error(ExceptionGroup("g", [ExceptionGroup("h", [ours])])) is ours


def test_a_fault_of_the_program_is_not_hidden() -> None:
    group = ExceptionGroup("g", [HangarError("x"), KeyError("y")])
    with pytest.raises(ExceptionGroup):
        the_error(group)
    with pytest.raises(KeyError):
        the_error(KeyError("y"))


def test_a_copy_of_an_error_has_all_of_it_and_a_traceback_of_its_own() -> None:
    def fail(error: Exception) -> Exception:
        with pytest.raises(type(error)) as caught:
            raise error
        return caught.value

    def depth(error: Exception) -> int:
        return sum(1 for _ in traceback.walk_tb(error.__traceback__))

    first = NetworkError("cut", host="h", advice="wait", gained=3)
    first.__cause__ = OSError(errno.ECONNREFUSED, "refused")
    fail(first)
    before = depth(first)
    copies = [fail(copied(first)) for _ in range(50)]
    assert depth(first) == before
    assert len({depth(copy) for copy in copies}) == 1
    for copy in copies:
        assert isinstance(copy, NetworkError)
        assert (str(copy), copy.__dict__, copy.__cause__) == ("cut", first.__dict__, first.__cause__)
    other = KeyError("k")
    assert copied(other) is other


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), StorageError, "cannot use x: File name too long"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), MachineError, "temporarily unavailable"),
        (OSError(errno.EMFILE, "Too many open files"), MachineError, f"ulimit -n is {getrlimit(RLIMIT_NOFILE)[0]}"),
        (MemoryError(), MachineError, "not enough memory"),
        (RuntimeError("can't start new thread"), MachineError, "no more threads"),
        (ExceptionGroup("", [RuntimeError("can't start new thread"), MemoryError()]), MachineError, "no more threads"),
    ],
)
def test_an_error_of_the_machine_is_one_of_ours(error: Exception, kind: type[HangarError], words: str) -> None:
    known = the_error(error)
    assert isinstance(known, kind)
    assert words in str(known)
    assert known.advice


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "Bad file descriptor"), RuntimeError("x"), KeyError("k")])
def test_a_fault_of_the_program_stays_one(error: Exception) -> None:
    for raised in (error, ExceptionGroup("", [error, MemoryError()])):
        with pytest.raises(type(raised)):
            the_error(raised)
