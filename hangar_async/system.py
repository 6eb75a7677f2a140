"""Errors of the operating system, in words: the reason, and what to do."""

import errno
import resource
from typing import TypeGuard

#: What to do about errors of the system that permissions and room do not help.
_SYSTEM_ADVICE = {
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit with ulimit -n, or run fewer jobs (-j), then run the same command again",
    errno.ENFILE: "end other programs that hold files open, then run the same command again",
    errno.ELOOP: "make the links lead to a file or a directory, or choose another path",
    errno.EROFS: "choose a place that can be written",
    errno.EEXIST: "move away what has this name, or choose another one",
    errno.ENOTEMPTY: "empty the directory, or choose another name",
    errno.EISDIR: "choose the name of a file",
    errno.ENOTDIR: "choose another path: a part of this one is a file",
    errno.EPIPE: "see why the program that reads it has ended, then run the same command again",
    errno.EIO: "check the disk (dmesg), then run the same command again",
}
#: Errors of the system that only a fault of the program causes.
_OWN_FAULTS = frozenset({errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTSOCK})


def system_reason(error: OSError) -> str:
    """Return the system's text of an error; it names the limit of open files where that is reached."""
    reason = error.strerror or str(error)
    return (
        f"{reason} (ulimit -n is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})" if is_file_limit(error) else reason
    )


def is_file_limit(error: BaseException | None) -> TypeGuard[OSError]:
    """Tell whether an error says that this process has too many open files."""
    return isinstance(error, OSError) and error.errno == errno.EMFILE


def system_advice(error: OSError) -> str | None:
    """Return what to do about an error of the system; None for the usual advice."""
    return _SYSTEM_ADVICE.get(error.errno or 0)


def is_own_fault(error: OSError) -> bool:
    """Tell whether only a fault of the program causes this error."""
    return error.errno in _OWN_FAULTS


def machine_problem(error: BaseException) -> str | None:
    """Say that memory or threads are missing, where an error means that; None for any other."""
    if isinstance(error, MemoryError):
        return "there is not enough memory (ulimit -v, or the limit of the container)"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "the system starts no more threads (ulimit -u, the pids of the container, or ulimit -v)"
    return None
