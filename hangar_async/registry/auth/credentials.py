"""The credentials of registries, credential helpers, and the logins in the configuration of Docker.

Source: Docker's command line, "Credential stores" and "Credential helpers"; the protocol of docker-credential-helpers:
the name of a server or JSON on stdin, JSON or an error on stdout.
"""

import asyncio
import base64
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hangar_async.config.registries import RegistrySettings
from hangar_async.disk import Disk
from hangar_async.errors import HangarError, UsageError
from hangar_async.filesystem import make_directory, real_path
from hangar_async.oci import decode_json
from hangar_async.processes import run_program
from hangar_async.registry.auth.docker_config import TOKEN_USER, Credential, CredentialFile, key_of, read_credentials
from hangar_async.temporary import write_output
from hangar_async.threads import in_thread

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOTHING_KNOWN = "credentials not found in native keychain"
#: The seconds after which a credential that is refused again is looked up again.
_RENEWAL = 30.0


class _LoginJson(msgspec.Struct):
    Username: str = ""
    Secret: str = ""


async def ask_helper(name: str, server: str, limit: float) -> Credential | None:
    """Ask `docker-credential-NAME` for the credential for a server; None where it knows none.

    After `limit` seconds it is killed. Raises HangarError for a helper that cannot be run, fails or has wrong output.
    """
    program = program_of(name)
    output = await _call(program, "get", server, server.encode(), limit)
    if output is None:
        return None
    try:
        login = decode_json(output, _LoginJson)
    except ValueError:
        raise HangarError(f"the credential helper {program} gave no credential for {server} that can be read") from None
    if not login.Secret:
        return None
    if login.Username == TOKEN_USER:
        return Credential(program, identity_token=login.Secret)
    return Credential(program, login.Username, login.Secret)


async def store_in_helper(name: str, server: str, username: str, secret: str, limit: float) -> None:
    """Have `docker-credential-NAME` keep a user name and password for a server; see ask_helper."""
    login = msgspec.json.encode({"ServerURL": server, "Username": username, "Secret": secret})
    await _call(program_of(name), "store", server, login, limit, secret)


async def erase_from_helper(name: str, server: str, limit: float) -> None:
    """Have `docker-credential-NAME` forget a server, which it may not know; see ask_helper."""
    await _call(program_of(name), "erase", server, server.encode(), limit)


def program_of(name: str) -> str:
    """Return the program of a helper; raises HangarError for a wrong name."""
    program = f"docker-credential-{name}"
    if not _NAME.fullmatch(name):
        raise HangarError(f"{program[:80]!r} is no name of a credential helper")
    return program


async def _call(program: str, action: str, server: str, request: bytes, limit: float, secret: str = "") -> bytes | None:
    """Run an action of a helper, and return its output; None where it does not know the server."""
    status, output = await _run(program, action, request, limit)
    if status == 0:
        return output
    message = output.decode(errors="replace").strip()
    if message.startswith(_NOTHING_KNOWN):
        return None
    # Errors come on stdout too; one that may contain a secret is not repeated.
    silent = "{" in message or not message.isprintable() or (secret and secret in message)
    raise HangarError(
        f"the credential helper {program} failed for {server}{'' if silent or not message else f': {message[:200]}'}"
    )


async def _run(program: str, action: str, request: bytes, limit: float) -> tuple[int | None, bytes]:
    """Run a helper to its end."""
    try:
        return await run_program([program, action], limit, request + b"\n")
    except TimeoutError:
        raise HangarError(f"the credential helper {program} did not answer within {limit:g} seconds") from None
    except OSError as error:
        raise HangarError(f"the credential helper {program} cannot be run: {error.strerror}") from error


_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


class Credentials:
    """The credentials of a run: those of the settings for `username_for` first, then file by file.

    In a file a helper for the registry comes before the helper for all, and that before the entries; this is
    Docker's order. A helper is asked about a registry once, and one helper runs at a time. One that fails is skipped,
    with a `notice`. What a registry has refused is read and asked for again, by `clock` each half minute at most.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        username_for: str | None,
        notice: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        #: The times from which on each registry may be looked up again.
        self._renewable: dict[str, float] = {}
        self._renewing = asyncio.Lock()
        self._settings = settings
        self._username_for = username_for
        self._notice = notice
        self._files: list[CredentialFile] = []
        self._from_helpers: dict[tuple[str, str], Credential | None] = {}
        self._asking = asyncio.Lock()

    async def load(self) -> None:
        """Read all files; raises UsageError for one that cannot be read, and passes over a default one that may not."""
        self._files = await self._read()

    async def _read(self) -> list[CredentialFile]:
        files = []
        for path in dict.fromkeys(self._settings.credential_files):
            try:
                files.append(await read_credentials(path))
            except UsageError as error:
                may_be_forbidden = path in self._settings.default_credential_files
                if not (may_be_forbidden and isinstance(error.__cause__, PermissionError)):
                    raise
                self._notice(f"{error}; going on without it")
        return files

    async def renew(self, registry: str, repository: str, refused: Credential | None) -> Credential | None:
        """Return the credential for a repository after the one that is known was refused: it may be another one by now.

        The files are read again, and the helpers for the registry asked again, but for what another request has done
        just now. A file that is wrong now stays as it was read last.
        """
        async with self._renewing:
            known = await self.find(registry, repository)
            if known != refused or self._clock() < self._renewable.get(registry, -math.inf):
                return known
            self._renewable[registry] = self._clock() + _RENEWAL
            try:
                self._files = await self._read()
            except UsageError as error:
                self._notice(f"{error}; its last reading stays in use")
            server = key_of(registry)
            for key in [key for key in self._from_helpers if key[1] == server]:
                del self._from_helpers[key]
            return await self.find(registry, repository)

    async def find(self, registry: str, repository: str) -> Credential | None:
        """Return the credential for a repository, None where none is known; `registry` is normalised."""
        if registry == self._username_for and self._settings.username:
            return Credential("the settings of this run", self._settings.username, self._settings.password or "")
        for file in self._files:
            for name in file.helpers_for(registry):
                if credential := await self._ask(name, registry):
                    return credential
            if entry := file.entry_for(registry, repository):
                return entry
        return None

    async def _ask(self, name: str, registry: str) -> Credential | None:
        server = key_of(registry)
        async with self._asking:
            if (name, server) not in self._from_helpers:
                credential = None
                try:
                    credential = await ask_helper(name, server, self._settings.credential_helper_timeout)
                except HangarError as error:
                    self._notice(f"{error}; going on without it")
                self._from_helpers[name, server] = credential
            return self._from_helpers[name, server]


@dataclass(frozen=True, slots=True)
class Logins:
    """The logins in the configuration of Docker at `path`; `limit` is how many seconds a helper may take.

    All else in the file stays as it is. It is written whole, readable for its owner alone. All calls raise
    UsageError for a file that cannot be read, StorageError, and HangarError for a helper that fails.
    """

    path: Path
    limit: float = 30.0
    disk: Disk = field(default_factory=Disk)

    async def keep(self, registry: str, username: str, password: str) -> str:
        """Keep a login for a registry, in place of an earlier one; return the program or the file that has it."""
        document, file = await self._read()
        entry: dict[str, str] = {}
        keeper = str(self.path)
        if helpers := file.helpers_for(registry):
            await store_in_helper(helpers[0], key_of(registry), username, password, self.limit)
            keeper = program_of(helpers[0])
        else:
            entry["auth"] = base64.b64encode(f"{username}:{password}".encode()).decode()
        auths = document.get("auths") or {}
        for key in file.keys_of(registry):
            # Another spelling of the registry could come first.
            if key != key_of(registry):
                del auths[key]
        document["auths"] = {**auths, key_of(registry): entry}
        await self._write(document)
        return keeper

    async def drop(self, registry: str) -> bool:
        """Forget a registry, in the file and with the helpers for it; False where the file has no entry for it."""
        document, file = await self._read()
        for name in file.helpers_for(registry):
            await erase_from_helper(name, key_of(registry), self.limit)
        keys = file.keys_of(registry)
        for key in keys:
            del document["auths"][key]
        if keys:
            await self._write(document)
        return bool(keys)

    async def _read(self) -> tuple[dict[str, Any], CredentialFile]:
        file = await read_credentials(self.path)
        # The file was read as one of credentials before, so its JSON is right.
        return json.loads(file.content), file

    async def _write(self, document: dict[str, Any]) -> None:
        await in_thread(self._write_file, json.dumps(document, indent="\t", ensure_ascii=False).encode())

    def _write_file(self, content: bytes) -> None:
        # A link to the file stays one.
        path = real_path(self.path)
        make_directory(path.parent, self.disk, _PRIVATE_FOLDER)
        write_output(path, content, self.disk, mode=_PRIVATE_FILE)
