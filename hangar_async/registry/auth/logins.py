"""Logins: kept where Docker keeps them, in its configuration or with the helper that this one names.

Source: Docker's command line, "Credential stores" and "Credential helpers".
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hangar_async.disk import Disk
from hangar_async.registry.auth.docker_config import CredentialFile, key_of, parse_credential_file, read_content
from hangar_async.registry.auth.helpers import erase_from_helper, program_of, tell_helper
from hangar_async.threads import in_thread

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class Logins:
    """The logins in the configuration of Docker at `path`; `limit` is how many seconds a helper may take.

    Whatever else is in the file stays as it is. It is written whole, readable for its owner alone. All calls raise
    UsageError for a file that cannot be read, StorageError, and HangarError for a helper that fails.
    """

    path: Path
    limit: float = 30.0
    disk: Disk = field(default_factory=Disk)

    async def keep(self, registry: str, username: str, password: str) -> str:
        """Keep a login for a registry, in place of an earlier one; returns the program or the file that has it."""
        document, known = await self._read()
        entry: dict[str, str] = {}
        place = str(self.path)
        if helpers := known.helpers_for(registry):
            await tell_helper(helpers[0], key_of(registry), username, password, self.limit)
            place = program_of(helpers[0])
        else:
            entry["auth"] = base64.b64encode(f"{username}:{password}".encode()).decode()
        auths = document.get("auths") or {}
        for other in known.keys_of(registry):
            # A second spelling of the registry might be found first.
            if other != key_of(registry):
                del auths[other]
        document["auths"] = {**auths, key_of(registry): entry}
        await self._write(document)
        return place

    async def drop(self, registry: str) -> bool:
        """Forget a registry, in the file and with the helpers for it; False where the file knows nothing of it."""
        document, known = await self._read()
        for name in known.helpers_for(registry):
            await erase_from_helper(name, key_of(registry), self.limit)
        keys = known.keys_of(registry)
        for key in keys:
            del document["auths"][key]
        if keys:
            await self._write(document)
        return bool(keys)

    async def _read(self) -> tuple[dict[str, Any], CredentialFile]:
        content = (await read_content(self.path)).strip() or b"{}"
        # What this reads is what is changed, so that all of it is right.
        known = parse_credential_file(content, self.path)
        return json.loads(content), known

    async def _write(self, document: dict[str, Any]) -> None:
        await in_thread(self._write_file, json.dumps(document, indent="\t", ensure_ascii=False).encode())

    def _write_file(self, content: bytes) -> None:
        # A link to the file stays one.
        path = self.path.resolve()
        self.disk.make_directory(path.parent, _PRIVATE_FOLDER)
        self.disk.write_file(path, content, sync=True, mode=_PRIVATE_FILE)
