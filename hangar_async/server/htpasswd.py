"""Users of the server: names and passwords, as `htpasswd -B` writes them, for Basic authentication (RFC 7617)."""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import bcrypt

from hangar_async.errors import UsageError
from hangar_async.filesystem import read_bounded
from hangar_async.threads import in_thread

_BCRYPT = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
#: Each more doubles the time of a check; with this one it takes about a second.
_DEAREST = 14
_CHEAPEST = 4
_SALT = b"$2b$%02d$abcdefghijklmnopqrstuu"
#: The most bytes of a file of passwords.
_MAX_FILE = 4 << 20
#: bcrypt takes so many bytes of a password; htpasswd cuts there.
_LONGEST = 72
#: The number of right and of wrong passwords that are kept, each.
_MAX_RESULTS = 1024
#: The checks of one address that wait, and the addresses whose checks wait.
MOST_WAITING = 16
_MOST_ADDRESSES = 64


class TooManyChecks(Exception):
    """Raised for a password that is not checked, since later ones have taken its place."""


class CheckQueue:
    """A queue for one check at a time: addresses take turns, and the newest check of an address goes first.

    So a right password waits for few of a flood of wrong ones. Beyond the limits the oldest check gives up its place.
    """

    def __init__(self) -> None:
        self._is_busy = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn, which is the block; raises TooManyChecks."""
        if self._is_busy:
            await self._wait(address)
        self._is_busy = True
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, address: str) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append(future)
        if len(self._waiting[address]) > MOST_WAITING:
            _give_up(self._waiting[address].popleft())
        if len(self._waiting) > _MOST_ADDRESSES:
            for oldest in self._waiting.popitem(last=False)[1]:
                _give_up(oldest)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        while self._waiting:
            address, futures = self._waiting.popitem(last=False)
            future = futures.pop()
            if futures:
                self._waiting[address] = futures
            if not future.done():
                future.set_result(None)
                return
        self._is_busy = False


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TooManyChecks())


class _Accounts:
    """The hashes of one reading of the file, and the results of checks against them."""

    def __init__(self, hashes: Mapping[str, bytes]) -> None:
        self.hashes = hashes
        self.dearest = max(map(_cost, hashes.values()))
        self.results: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}

    def result(self, key: bytes) -> bool | None:
        """Return the result of an earlier check."""
        for result, keys in self.results.items():
            if key in keys:
                keys.move_to_end(key)
                return result
        return None

    def remember(self, key: bytes, result: bool) -> None:
        """Keep the result of a check."""
        self.results[result][key] = None
        if len(self.results[result]) > _MAX_RESULTS:
            self.results[result].popitem(last=False)


class Users:
    """Names and the bcrypt hashes of their passwords. Made of those that `read_hashes` returns.

    A check is slow by design, so its result is kept, under a key that only this process can compute; wrong passwords
    never push out right ones.
    """

    def __init__(self, hashes: Mapping[str, bytes]) -> None:
        self._accounts = _Accounts(hashes)
        self._secret = secrets.token_bytes(32)
        # The same password meanwhile finds the result; the threads stay free for content.
        self._checking: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._queue = CheckQueue()

    async def know(self, authorization: str, address: str = "") -> bool:
        """Tell whether an Authorization header, sent from an address, has the name and the password of a user.

        Raises TooManyChecks for one of too many at once that were not checked before.
        """
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        key = hmac.digest(self._secret, authorization.encode(errors="replace"), hashlib.sha256)
        accounts = self._accounts
        result = accounts.result(key)
        if result is None:
            async with self._checking.setdefault(key, asyncio.Lock()):
                result = accounts.result(key)
                if result is None:
                    async with self._queue.turn(address):
                        result = await in_thread(self._check, accounts, *credentials)
                    accounts.remember(key, result)
        return result

    def replace(self, hashes: Mapping[str, bytes]) -> None:
        """Know these users from now on, and no others; for any thread."""
        self._accounts = _Accounts(hashes)

    def _check(self, accounts: _Accounts, name: str, password: bytes) -> bool:
        known_hash = accounts.hashes.get(name)
        try:
            if known_hash is not None and bcrypt.checkpw(password[:_LONGEST], known_hash):
                return True
            # Every wrong password costs as much as the dearest hash, so that no name shows by the time: one of cost N,
            # and one of each cost from N on, are as much as one of the last cost and one more.
            costs = [accounts.dearest] if known_hash is None else range(_cost(known_hash), accounts.dearest)
            for cost in costs:
                bcrypt.hashpw(password[:_LONGEST], _SALT % cost)
        except ValueError:
            pass  # bcrypt cannot use the password or the hash
        return False


def _cost(hash_text: bytes) -> int:
    return int(hash_text[4:6])


def read_hashes(path: Path) -> Mapping[str, bytes]:
    """Read the hashes of names from a file of lines `NAME:HASH`; synchronous, for a thread.

    Raises UsageError for a file that cannot be read or has no names, for every other kind of hash than bcrypt, and
    for one whose check takes too long.
    """
    try:
        data = read_bounded(path, _MAX_FILE)
    except OSError as error:
        raise UsageError(f"cannot read {path} (--htpasswd): {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} (--htpasswd) is too large for a file of passwords: {error}") from error
    hashes: dict[str, bytes] = {}
    for number, line in enumerate(map(bytes.strip, data.splitlines()), 1):
        if not line or line.startswith(b"#"):
            continue
        name, colon, hash_text = line.partition(b":")
        match = _BCRYPT.fullmatch(hash_text)
        # Neither name nor hash is shown: a line may be a password that was put into the wrong file.
        if not colon or not name or not match or int(match[1]) < _CHEAPEST:
            raise UsageError(
                f"{path}:{number} (--htpasswd): not a name with a bcrypt hash, the only kind taken",
                advice=f"write it with: htpasswd -B {path} NAME",
            )
        if int(match[1]) > _DEAREST:
            raise UsageError(
                f"{path}:{number} (--htpasswd): a hash of cost {int(match[1])}, whose check takes too long",
                advice=f"write it with a cost up to {_DEAREST}: htpasswd -B -C 10 {path} NAME",
            )
        hashes.setdefault(name.decode(errors="surrogateescape"), hash_text)
    if not hashes:
        raise UsageError(f"{path} (--htpasswd) has no names", advice=f"write it with: htpasswd -B {path} NAME")
    return hashes


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
