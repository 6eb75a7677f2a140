"""The files of TLS and of users, read at the start and again when they have changed."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hangar_async.errors import UsageError

if TYPE_CHECKING:
    from hangar_async.server.htpasswd import Users


class _Encrypted(Exception):
    """Raised when a key needs a passphrase."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Read a certificate (with those above it) and its key, in PEM; synchronous, for a thread.

    Raises UsageError for files that cannot be read, or do not fit.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # The system may allow older versions by default.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client of TLS 1.2 could have handshake after handshake on one connection; OpenSSL 1.1 allows it by default.
    context.options |= ssl.OP_NO_RENEGOTIATION
    for path, flag in ((certificate, "--tls-cert"), (key, "--tls-key")):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"cannot read {path} ({flag}): {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, key, password=_refuse)
    except _Encrypted as error:
        raise UsageError(
            f"the key in {key} (--tls-key) is encrypted",
            advice="write it without a passphrase: openssl pkey -in KEY -out NEW",
        ) from error
    except (ssl.SSLError, OSError) as error:
        reason = "they do not belong together" if "MISMATCH" in str(error) else "it is not PEM, or damaged"
        raise UsageError(f"cannot use {certificate} (--tls-cert) with {key} (--tls-key): {reason}") from error
    return context


def _refuse() -> str:
    raise _Encrypted


class _NewestContext(ssl.SSLContext):
    """Begins each connection with the context in `newest`, and is for that alone.

    With `sni_callback` a name of a client that is not ASCII would be a traceback of Python.
    """

    newest: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **settings: Any) -> ssl.SSLObject:
        """Begin a connection."""
        return self.newest.wrap_bio(*arguments, **settings)


class Security:
    """The certificate and the users of a server, each None without its files.

    It is made, and read again, in a thread. Raises UsageError when it is made of files that cannot be used.
    """

    def __init__(self, certificate: Path | None = None, key: Path | None = None, htpasswd: Path | None = None) -> None:
        self.tls: _NewestContext | None = None
        self.users: Users | None = None
        self._files: list[_Files] = []
        if certificate is not None and key is not None:
            self._add("the certificate and its key", [certificate, key], lambda: self._use_tls(certificate, key))
        if htpasswd is not None:
            self._add("the users", [htpasswd], lambda: self._use_users(htpasswd))

    def read_again(self, *, changed: bool = True) -> list[tuple[str, UsageError | None]]:
        """Read the files again, only those that have changed or all; return what they are, each with its error.

        After an error what was read before stays in use. Files count as changed when they are the same as at the last
        call again: one of a pair may still be missing, or a file half written.
        """
        return [(files.name, files.read_again()) for files in self._files if files.have_changed() or not changed]

    def _add(self, name: str, paths: list[Path], use: Callable[[], None]) -> None:
        files = _Files(name, paths, use)
        self._files.append(files)
        if error := files.read():
            raise error

    def _use_tls(self, certificate: Path, key: Path) -> None:
        context = server_context(certificate, key)
        if self.tls is None:
            self.tls = _NewestContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.newest = context

    def _use_users(self, htpasswd: Path) -> None:
        from hangar_async.server.htpasswd import Users, read_hashes

        hashes = read_hashes(htpasswd)
        if self.users is None:
            self.users = Users(hashes)
        else:
            self.users.replace(hashes)


class _Files:
    """Files that are used together; `use` reads them."""

    def __init__(self, name: str, paths: list[Path], use: Callable[[], None]) -> None:
        self.name = name
        self._paths = paths
        self._use = use
        self._seen = self._used = self._identities()

    def have_changed(self) -> bool:
        """Tell whether they are others than those that were read, and the same as at the last call."""
        before, self._seen = self._seen, self._identities()
        return before == self._seen != self._used

    def read(self) -> UsageError | None:
        """Read and use the files, and return the error of files that cannot be used."""
        self._used = self._identities()
        try:
            self._use()
        except UsageError as error:
            return error
        return None

    def read_again(self) -> UsageError | None:
        """Read them as `read` does, regular files alone: a pipe may have no end."""
        for path in self._paths:
            if _is_irregular(path):
                self._used = self._identities()
                return UsageError(f"{path} is no regular file")
        return self.read()

    def _identities(self) -> list[tuple[int, ...] | None]:
        return [_identity(path) for path in self._paths]


def _is_irregular(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
