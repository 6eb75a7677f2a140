"""The exceptions of this package.

Each of them is one line of text for the user: the failure (`str(error)`) and the advice (`error.advice`). `reason` is a
short constant label for reports, `transient` tells whether trying again can help.
"""

from typing import Any, ClassVar, Literal, Self, TypeVar

from hangar_async.system import is_own_fault, machine_problem, system_advice, system_reason

_E = TypeVar("_E", bound=Exception)


class HangarError(Exception):
    """Base of all exceptions raised from this package's code."""

    reason: ClassVar[str] = "failed"
    default_advice: ClassVar[str] = ""
    #: True where no image of the same run could succeed.
    ends_run: ClassVar[bool] = False
    #: The most tries of an operation that raises this, whatever the policy allows.
    tries: int = 1_000
    #: None leaves the answer to the status of a RegistryError.
    _transient: bool | None = False

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = self.default_advice if advice is None else advice

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the constructor, which takes more than the message.
        return type(self).__new__, (type(self), *self.args), self.__dict__

    @property
    def transient(self) -> bool:
        """True when the same operation may succeed when it is tried again."""
        return bool(self._transient)

    @property
    def uses_try(self) -> bool:
        """True when it counts as one of the tries that are made in a row."""
        return True


class UsageError(HangarError):
    """Raised before any work has started, when a request of the caller is not possible."""

    reason = "usage"


class CredentialError(UsageError):
    """Raised when credentials are used that cannot be read, or that HTTP cannot carry."""

    reason = "credentials"
    default_advice = "correct the entry, or log in again with hangar-async login"


class TooManyParts(UsageError):
    """Raised when the archive would have more parts than are allowed."""

    reason = "parts"
    ends_run = True


class InvalidValue(HangarError, ValueError):
    """Raised when a text is not a valid digest, reference, platform, size or list line."""

    reason = "invalid value"


class Conflict(HangarError):
    """Raised when two lines of a list want different content under one name."""

    reason = "conflict"
    default_advice = "keep one of the two lines, or give one of them another tag"


class NetworkError(HangarError):
    """Raised when a host cannot be reached, or a connection breaks or stalls. `host` is HOST[:PORT]."""

    reason = "network"
    default_advice = "check the address, the proxy settings and the connection, then run the same command again"

    def __init__(
        self,
        message: str,
        *,
        host: str,
        transient: bool = True,
        advice: str | None = None,
        gained: int = 0,
        missing: Literal["", "connection", "answer"] = "",
        too_slow: bool = False,
    ) -> None:
        super().__init__(message, advice=advice)
        self.host = host
        #: True when bytes came, but too slowly.
        self.too_slow = too_slow
        #: The first step of the request that failed as a whole: no connection was made, or no answer came over it.
        self.missing = missing
        #: Bytes of a body that arrived before it broke.
        self.gained = gained
        self._transient = transient

    @property
    def uses_try(self) -> bool:
        """True when it counts as one of the tries that are made in a row: not where bytes were gained in time."""
        return self.too_slow or not self.gained


class RegistryError(HangarError):
    """Raised when a registry answers with an error status.

    `host` is HOST[:PORT], `status` the HTTP status, `code` the registry's own error code ("" without one),
    `retry_after` the seconds that the registry asks to wait, or None. `redirected` is True where not the registry
    itself refused but a server that it redirected to: the next try may get a new address from the registry. `said` is
    the text of the registry, which the message has too.
    """

    reason = "registry error"
    default_advice = "see the registry's log, or run the same command again later"
    _transient: bool | None = None
    TRANSIENT: ClassVar[frozenset[int]] = frozenset({408, 425, 429, 499, *range(500, 600)}) - {501, 505, 507}

    def __init__(
        self,
        message: str,
        *,
        host: str,
        status: int,
        code: str = "",
        retry_after: float | None = None,
        advice: str | None = None,
        redirected: bool = False,
        said: str = "",
    ) -> None:
        super().__init__(message, advice=advice)
        self.host, self.status, self.code, self.said = host, status, code, said
        self.retry_after, self.redirected = retry_after, redirected

    @property
    def transient(self) -> bool:
        """True when the same operation may succeed when it is tried again."""
        if self._transient is not None:
            return self._transient
        return self.status in self.TRANSIENT or (self.redirected and self.status in (400, 401, 403))


class RateLimited(RegistryError):
    """Raised when a registry takes no more requests for longer than we wait; `retry_after` is how long, in seconds."""

    reason = "rate limited"
    _transient = False


class NotFound(RegistryError):
    """Raised when a registry has no such repository, tag, manifest or blob."""

    reason = "not found"
    default_advice = "check name and tag; a private repository may look like this without credentials"


class Unauthorized(RegistryError):
    """Raised when a registry refuses the credentials, or wants some and none are known."""

    reason = "unauthorised"
    default_advice = "log in to the registry, or set SOURCE_USERNAME and SOURCE_PASSWORD (DEST_ where it is pushed to)"


class UploadLost(RegistryError):
    """Raised when a registry does not know or continue an upload that it had begun: the next try begins it again."""

    reason = "upload lost"
    default_advice = "run the same command again; several servers under one name must share their uploads"
    _transient = True


class Incomplete(RegistryError):
    """Raised when a registry refuses a manifest whose content it lacks, or one of its servers does not see yet."""

    reason = "incomplete"
    tries = 3
    _transient = True


class ContentError(HangarError):
    """Raised when content of a registry, cache or archive does not have its digest, size or type.

    `digest` is the text of the digest concerned, or "".
    """

    reason = "bad content"
    default_advice = "the registry serves broken content; tell its operator, or push the image there again"

    def __init__(self, message: str, *, digest: str = "", advice: str | None = None) -> None:
        super().__init__(message, advice=advice)
        self.digest = digest


class DigestMismatch(ContentError):
    """Raised when bytes do not have the expected digest or size; a second try follows."""

    reason = "wrong digest"
    tries = 2
    _transient = True

    def __init__(self, message: str, *, digest: str = "", advice: str | None = None, stale: bool = False) -> None:
        super().__init__(message, digest=digest, advice=advice)
        #: True when some of the bytes were of an earlier run.
        self.stale = stale

    @property
    def uses_try(self) -> bool:
        """True when it counts as one of the tries that are made in a row."""
        return not self.stale


class UnsupportedManifest(ContentError):
    """Raised for a manifest of a kind that cannot be kept byte for byte in an OCI layout."""

    reason = "unsupported manifest"
    default_advice = "push the image again with a current tool"


class Differs(ContentError):
    """Raised when a registry has other content of an image than the layout."""

    reason = "differs"


class NoPlatform(HangarError):
    """Raised when an image has none of the wanted platforms."""

    reason = "no such platform"
    default_advice = "choose other platforms with --arch and --os"


class NotAdmitted(HangarError):
    """Raised when a gate does not let an image have its tag, or the image lacks referrers that it must have."""

    reason = "not admitted"


class SourceError(HangarError):
    """Raised when a registry does not give the content that is sent to another one; `failure` is its own failure."""

    reason = "source"

    def __init__(self, message: str, *, failure: NetworkError | RegistryError) -> None:
        super().__init__(message, advice=failure.advice)
        self.failure = failure
        #: Bytes that the target has confirmed in this try.
        self.gained = 0

    @property
    def transient(self) -> bool:
        """True when the same operation may succeed when it is tried again."""
        return self.failure.transient

    @property
    def uses_try(self) -> bool:
        """True when it counts as one of the tries that are made in a row: not where bytes were gained."""
        return not self.gained


class MachineError(HangarError):
    """Raised when the system has no more threads, processes or memory for this process."""

    reason = "machine"
    ends_run = True
    default_advice = "raise the limit, or run fewer jobs (-j), then run the same command again"


class StorageError(HangarError):
    """Raised when a local file cannot be read or written. `path` names it."""

    reason = "disk"
    ends_run = True
    default_advice = "make room or correct the permissions, then run the same command again"

    def __init__(self, message: str, *, path: str, advice: str | None = None) -> None:
        super().__init__(message, advice=advice)
        self.path = path

    @classmethod
    def of(cls, error: OSError, path: object, action: str = "write") -> Self:
        """Make one from an OSError of an `action` on `path`."""
        return cls(f"cannot {action} {path}: {system_reason(error)}", path=str(path), advice=system_advice(error))


class ListenError(HangarError):
    """Raised when an address cannot be listened on."""

    reason = "cannot listen"
    default_advice = "choose another address or port with --listen, or end what listens there"


class ArchiveError(HangarError):
    """Raised when an archive is not complete or breaks its format; `path` names the file, `problems` has each one."""

    reason = "bad archive"
    default_advice = "copy the archive here again, and check it with: hangar-async verify NAME"

    def __init__(self, message: str, *, path: str, advice: str | None = None, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, advice=advice)
        self.path, self.problems = path, problems or (message,)


def the_error(error: BaseException) -> HangarError:
    """Return the first error of this package in an exception or a group of them; a StorageError comes first.

    An error of the system becomes one of this package; any other is a fault of the program, and raised as it is.
    """
    if isinstance(error, BaseExceptionGroup):
        others = error.split(lambda part: _own(part) is not None)[1]
        if others is None:
            storage_errors = error.subgroup(StorageError)
            return the_error((storage_errors or error).exceptions[0])
    elif own := _own(error):
        return own
    raise error


def copied(error: _E) -> _E:
    """Return a copy of an error of this package, to be raised by one of several that share it; others as they are.

    Each raise adds to the traceback of the exception, which would grow with the number of those that share it.
    """
    if not isinstance(error, HangarError):
        return error
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy.with_traceback(error.__traceback__)


def _own(error: BaseException) -> HangarError | None:
    """Return an error of this package for one of the system, or itself; None for a fault of the program."""
    if isinstance(error, HangarError):
        return error
    if problem := machine_problem(error):
        return MachineError(problem)
    if not isinstance(error, OSError) or is_own_fault(error):
        return None
    if error.filename is not None:
        return StorageError.of(error, error.filename, "use")
    return MachineError(f"the system refuses to go on: {system_reason(error)}", advice=system_advice(error))
