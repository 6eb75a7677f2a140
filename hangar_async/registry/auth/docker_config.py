"""Credential files: Docker's config.json and containers' auth.json, read alike."""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiofiles
import msgspec

from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci.reference import DOCKER_HUB, parse_registry

#: How Docker's own files and helpers call Docker Hub.
HUB_KEY = "https://index.docker.io/v1/"
_LARGEST = 16 << 20


def key_of(registry: str) -> str:
    """The key under which Docker keeps a registry, in its file and with its helpers."""
    return HUB_KEY if registry == DOCKER_HUB else registry


@dataclass(frozen=True, slots=True)
class Credential:
    """A way to log in, and `source`, where it stands; nothing else of it may ever be shown."""

    source: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


class _Auth(msgspec.Struct):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


class _File(msgspec.Struct):
    auths: dict[str, _Auth | None] | None = None
    credsStore: str | None = None  # noqa: N815 - Docker's name
    credHelpers: dict[str, str] | None = None  # noqa: N815


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """What one file says: entries by their key as written, and the programs that hold others."""

    path: Path
    auths: dict[str, Credential] = field(repr=False)
    store: str = ""
    helpers: dict[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    def helpers_for(self, registry: str) -> tuple[str, ...]:
        """Name the helpers to ask about a registry, the one that is for it alone first."""
        own = [name for key, name in self.helpers.items() if _place(key) == registry]
        return tuple(dict.fromkeys(name for name in (*own[:1], self.store) if name))

    def keys_of(self, registry: str) -> tuple[str, ...]:
        """All the keys that stand for a registry as a whole, of entries that are empty too."""
        return tuple(key for key in self.keys if _place(key) == registry)

    def entry_for(self, registry: str, repository: str) -> Credential | None:
        """Find the entry whose key is the longest that names the repository or what it lies in.

        Source: containers-auth.json(5), "FORMAT".
        """
        wanted = f"{registry}/{repository}"
        found = [key for key in self.auths if f"{wanted}/".startswith(f"{_place(key)}/")]
        return self.auths[max(found, key=lambda key: len(_place(key)))] if found else None


async def read_credential_file(path: Path) -> CredentialFile | None:
    """Read a file; None where there is none. Raises UsageError naming the file for one that cannot be read."""
    content = await read_content(path)
    return parse_credential_file(content, path) if content.strip() else None


async def read_content(path: Path) -> bytes:
    """Read the bytes of a file, none where there is none; raises UsageError naming the file."""
    try:
        async with aiofiles.open(path, "rb") as file:
            return await file.read(_LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise UsageError(f"cannot read the credentials in {path}: {error.strerror}") from error


def parse_credential_file(content: bytes, path: Path) -> CredentialFile:
    """Read a file's content; raises UsageError naming the file, and never what is in it."""
    document, why = None, "it is not JSON"
    # Errors of a decoder hold what they could not decode: ours does not follow from one.
    try:
        document = msgspec.json.decode(content, type=_File)
    except msgspec.ValidationError as error:
        why = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    if document is None:
        raise UsageError(f"cannot read the credentials in {path}: {why}")
    auths = {}
    for key, entry in (document.auths or {}).items():
        if entry is not None and (credential := _credential(entry, key, path)):
            auths[key] = credential
    keys = tuple(document.auths or ())
    return CredentialFile(path, auths, document.credsStore or "", document.credHelpers or {}, keys)


def _credential(entry: _Auth, key: str, path: Path) -> Credential | None:
    """Make a credential of an entry; None for an empty one, as Docker leaves it for what a helper holds."""
    username, password = entry.username or "", entry.password or ""
    if entry.auth:
        login = _login(entry.auth)
        if login is None:
            why = f"the auth of {key[:100]!r} is not USER:PASSWORD in base64"
            raise UsageError(f"cannot read the credentials in {path}: {why}")
        username, password = login
    if not (username or password or entry.identitytoken or entry.registrytoken):
        return None
    return Credential(str(path), username, password, entry.identitytoken or "", entry.registrytoken or "")


def _login(auth: str) -> tuple[str, str] | None:
    try:
        text = base64.b64decode(auth, validate=True).decode()
    except ValueError:
        return None
    username, colon, password = text.partition(":")
    return (username, password.rstrip("\0")) if colon else None


def _place(key: str) -> str:
    """Read a key, `[SCHEME://]HOST[:PORT][/PATH]`, as what it is for: a registry, or a part of one."""
    scheme, _, place = key.rpartition("://")
    host, _, path = place.strip("/").partition("/")
    with suppress(InvalidValue):
        host = parse_registry(host)
    # An address with its API version, as Docker writes it, means the registry as a whole.
    return host if scheme or not path or path in ("v1", "v2") else f"{host}/{path}"
