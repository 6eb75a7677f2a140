"""Users of the server: names and passwords, as `htpasswd -B` writes them, for Basic authentication (RFC 7617)."""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import bcrypt

from hangar_async.errors import UsageError
from hangar_async.threads import in_thread

#: With a cost from 4 to 17, as htpasswd takes it: each more doubles the time that a check takes.
_BCRYPT = re.compile(rb"\$2[aby]\$(?:0[4-9]|1[0-7])\$[./A-Za-z0-9]{53}")
#: The most bytes of a file of passwords.
_MAX_FILE = 4 << 20
#: bcrypt takes so many bytes of a password; htpasswd cuts there.
_LONGEST = 72
#: The number of checks whose results are kept, right or wrong.
_MAX_RESULTS = 1024


class Users:
    """Names and the bcrypt hashes of their passwords. Made by `read_users`.

    A check is slow by design, so its result is kept, under a key that only this process can compute.
    """

    def __init__(self, hashes: Mapping[str, bytes]) -> None:
        self._hashes = hashes
        # The check of an unknown name takes as long as that of a known one.
        self._any_hash = next(iter(hashes.values()))
        self._secret = secrets.token_bytes(32)
        self._results: OrderedDict[bytes, bool] = OrderedDict()
        # One check at a time: the same request meanwhile finds its result, and the threads stay free for content.
        self._checking = asyncio.Lock()

    async def know(self, authorization: str) -> bool:
        """Tell whether an Authorization header has the name and the password of a user."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        key = hmac.digest(self._secret, authorization.encode(errors="replace"), hashlib.sha256)
        if key not in self._results:
            async with self._checking:
                if key not in self._results:
                    self._remember(key, await in_thread(self._check, *credentials))
        self._results.move_to_end(key)
        return self._results[key]

    def _check(self, name: str, password: bytes) -> bool:
        known_hash = self._hashes.get(name)
        try:
            return bcrypt.checkpw(password[:_LONGEST], known_hash or self._any_hash) and known_hash is not None
        except ValueError:
            return False  # bcrypt cannot use the password or the hash

    def _remember(self, key: bytes, right: bool) -> None:
        self._results[key] = right
        while len(self._results) > _MAX_RESULTS:
            self._results.popitem(last=False)


def read_users(path: Path) -> Users:
    """Read a file of lines `NAME:HASH`; synchronous, for a thread.

    Raises UsageError for a file that cannot be read or has no names, and for every other kind of hash than bcrypt.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path} (--htpasswd): {error.strerror}") from error
    if len(data) > _MAX_FILE:
        raise UsageError(f"{path} (--htpasswd) is too large for a file of passwords")
    hashes: dict[str, bytes] = {}
    for number, line in enumerate(map(bytes.strip, data.splitlines()), 1):
        if not line or line.startswith(b"#"):
            continue
        name, colon, hash_text = line.partition(b":")
        # Neither name nor hash is shown: a line may be a password that was put into the wrong file.
        if not colon or not name or not _BCRYPT.fullmatch(hash_text):
            raise UsageError(
                f"{path}:{number} (--htpasswd): not a name with a bcrypt hash of a cost up to 17, the only kind taken",
                advice=f"write it with: htpasswd -B {path} NAME",
            )
        hashes.setdefault(name.decode(errors="surrogateescape"), hash_text)
    if not hashes:
        raise UsageError(f"{path} (--htpasswd) has no names", advice=f"write it with: htpasswd -B {path} NAME")
    return Users(hashes)


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """Read a header of the scheme Basic: name and password; None for any other."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except ValueError:
        return None
    return (name.decode(errors="surrogateescape"), password) if colon else None
