"""Credential files: Docker's config.json and containers' auth.json, read alike."""

import base64
import codecs
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiofiles
import msgspec

from hangar_async.config.registries import checked_secret
from hangar_async.errors import CredentialError, InvalidValue, UsageError
from hangar_async.oci import DOCKER_HUB, parse_registry
from hangar_async.oci.manifest import MOST_VALUES

#: The name of Docker Hub in Docker's own files and helpers.
HUB_KEY = "https://index.docker.io/v1/"
#: The ends of the keys under which Docker Desktop keeps tokens for its own use.
_HUB_TOKENS = ("/access-token", "/refresh-token")
#: The user name that says that the password is an identity token.
TOKEN_USER = "<token>"  # noqa: S105
_LARGEST = 16 << 20
_T = TypeVar("_T")


def key_of(registry: str) -> str:
    """Return the key under which Docker keeps a registry, in its file and with its helpers."""
    return HUB_KEY if registry == DOCKER_HUB else registry


@dataclass(frozen=True, slots=True)
class Credential:
    """A way to log in, and its `source`, a file or a program; nothing else of it is ever shown.

    Raises CredentialError where HTTP cannot carry it.
    """

    source: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        checked_secret(self.username, f"user name from {self.source}")
        checked_secret(self.password, f"password from {self.source}")
        checked_secret(self.identity_token, f"identity token from {self.source}")
        token = checked_secret(self.registry_token, f"registry token from {self.source}")
        if " " in token or not token.isascii():
            raise CredentialError(f"the registry token from {self.source} has a character that no header can have")


class _AuthJson(msgspec.Struct):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


class _ConfigFileJson(msgspec.Struct):
    auths: dict[str, Any] | None = None
    credsStore: str | None = None  # noqa: N815 - Docker's name
    credHelpers: dict[str, Any] | None = None  # noqa: N815


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """One file: its entries by their key as written, and the helpers that have others; each is judged when it is used.

    A wrong one raises CredentialError, with the name of the file and the key, and never its content.
    """

    path: Path
    content: bytes = field(repr=False)
    auths: Mapping[str, Any] = field(repr=False)
    store: str = ""
    helpers: Mapping[str, Any] = field(default_factory=dict)

    def helpers_for(self, registry: str) -> tuple[str, ...]:
        """Name the helpers for a registry, its own first."""
        own = _ranked((key for key in self.helpers if _normalised(key) == registry), registry)[:1]
        names = [_converted(self.helpers[key], str, f"the helper of {key[:100]!r}", self.path) for key in own]
        return tuple(dict.fromkeys(name for name in (*names, self.store) if name))

    def keys_of(self, registry: str) -> tuple[str, ...]:
        """Return all keys that stand for a registry as a whole, also those of empty entries."""
        return tuple(key for key in self.auths if _normalised(key) == registry)

    def entry_for(self, registry: str, repository: str) -> Credential | None:
        """Return the entry with the longest key that names the repository, or a path that it is in.

        Source: containers-auth.json(5), "FORMAT".
        """
        path = f"{registry}/{repository}/"
        keys = _ranked((key for key in self.auths if path.startswith(f"{_normalised(key)}/")), registry)
        return next(filter(None, (_credential(self.auths[key], key, self.path) for key in keys)), None)


async def read_credentials(path: Path) -> CredentialFile:
    """Read a file, empty where it does not exist; raises UsageError with the name of one that cannot be read."""
    content = b""
    try:
        async with aiofiles.open(path, "rb") as file:
            content = await file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise UsageError(f"cannot read the credentials in {path}: {error.strerror}") from error
    return parse_credential_file(content, path)


def parse_credential_file(content: bytes, path: Path) -> CredentialFile:
    """Read a file's content; raises UsageError with the name of the file, and never its content."""
    if problem := _excess(content):
        raise UsageError(f"cannot read the credentials in {path}: {problem}")
    content = content.removeprefix(codecs.BOM_UTF8).strip() or b"{}"
    document, reason = None, "it is not JSON"
    # Errors of a decoder have the bytes that they could not decode, so ours is raised outside.
    try:
        document = msgspec.json.decode(content, type=_ConfigFileJson)
    except msgspec.ValidationError as error:
        reason = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    if document is None:
        raise UsageError(f"cannot read the credentials in {path}: {reason}")
    return CredentialFile(path, content, document.auths or {}, document.credsStore or "", document.credHelpers or {})


def _excess(content: bytes) -> str:
    """Return what a file has too much of, "" for nothing."""
    if len(content) > _LARGEST:
        return f"it has more than {_LARGEST:,} bytes"
    return f"it has more than {MOST_VALUES:,} values" if content.count(b",") >= MOST_VALUES else ""


def _converted(value: object, kind: type[_T], subject: str, path: Path) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise CredentialError(f"cannot read the credentials in {path}: {subject}: {error}") from None


def _credential(value: object, key: str, path: Path) -> Credential | None:
    """Make a credential of an entry; None for an empty one, as Docker leaves it for a credential of a helper."""
    entry = _converted(value or {}, _AuthJson, f"the entry {key[:100]!r}", path)
    username, password = entry.username or "", entry.password or ""
    if entry.auth:
        login = _login(entry.auth)
        if login is None:
            reason = f"the auth of {key[:100]!r} is not USER:PASSWORD in base64"
            raise CredentialError(f"cannot read the credentials in {path}: {reason}")
        username, password = login
    if not (username or password or entry.identitytoken or entry.registrytoken):
        return None
    try:
        return Credential(str(path), username, password, entry.identitytoken or "", entry.registrytoken or "")
    except CredentialError as error:
        raise CredentialError(f"cannot use the entry {key[:100]!r}: {error}") from None


def _login(auth: str) -> tuple[str, str] | None:
    try:
        # Line ends are ignored, as by Docker.
        text = base64.b64decode(auth.translate({10: None, 13: None}), validate=True).decode()
    except ValueError:
        return None
    username, colon, password = text.partition(":")
    return (username, password.rstrip("\0")) if colon else None


def _ranked(keys: Iterable[str], registry: str) -> list[str]:
    """Sort keys: the longest path first; of those without one Docker's own, then the plainest."""

    def rank(key: str) -> tuple[int, bool, bool, bool, int, str]:
        spelling = key != key_of(registry), "http://" in key, "://" in key
        return (-len(_normalised(key)), *spelling, len(key), key)

    return sorted(keys, key=rank)


def _normalised(key: str) -> str:
    """Read a key, `[SCHEME://]HOST[:PORT][/PATH]`, as the registry, or the part of one, that it is for; "" for none."""
    scheme, _, address = key.rpartition("://")
    host, _, path = address.strip("/").partition("/")
    with suppress(InvalidValue):
        host = parse_registry(host)
    if scheme and host == DOCKER_HUB and path.endswith(_HUB_TOKENS):
        return ""
    # An address with its API version, as Docker writes it, means the registry as a whole.
    return host if scheme or not path or path in ("v1", "v2") else f"{host}/{path}"
