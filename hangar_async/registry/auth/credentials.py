"""Credentials: what is known for a registry, and where it came from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import HangarError
from hangar_async.registry.auth.docker_config import Credential, CredentialFile, key_of, read_credential_file
from hangar_async.registry.auth.helpers import ask_helper


class Credentials:
    """Looks credentials up: those given for `username_for` first, then file by file.

    In a file a helper for the registry comes before the helper for all, and that before the entries; this is
    Docker's order. A helper is asked about a registry once, and one helper runs at a time. One that fails is told
    of by `notice`, and passed over.
    """

    def __init__(self, settings: RegistrySettings, username_for: str | None, notice: Callable[[str], None]) -> None:
        self._settings = settings
        self._username_for = username_for
        self._notice = notice
        self._files: list[CredentialFile] = []
        self._answers: dict[tuple[str, str], Credential | None] = {}
        self._asking = asyncio.Lock()

    async def load(self) -> None:
        """Read all files, before any is needed; raises UsageError for one that cannot be read."""
        files = [await read_credential_file(path) for path in dict.fromkeys(self._settings.credential_files)]
        self._files = [file for file in files if file]

    async def find(self, registry: str, repository: str) -> Credential | None:
        """Return what is known for a repository; `registry` is normalised. None where nothing is."""
        if registry == self._username_for and self._settings.username:
            return Credential("the settings of this run", self._settings.username, self._settings.password or "")
        for file in self._files:
            for name in file.helpers_for(registry):
                if known := await self._ask(name, registry):
                    return known
            if entry := file.entry_for(registry, repository):
                return entry
        return None

    async def _ask(self, name: str, registry: str) -> Credential | None:
        server = key_of(registry)
        async with self._asking:
            if (name, server) not in self._answers:
                try:
                    known = await ask_helper(name, server, self._settings.credential_helper_timeout)
                except HangarError as error:
                    self._notice(f"{error}; going on without it")
                    known = None
                self._answers[name, server] = known
            return self._answers[name, server]
