"""Credential files, and the credentials that are found in them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from hypothesis import strategies as st

from hangar_async.config.registries import RegistrySettings
from hangar_async.registry.auth.credentials import Credentials
from hangar_async.registry.auth.docker_config import Credential

HUB = "https://index.docker.io/v1/"


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def texts(min_size: int = 0) -> st.SearchStrategy[str]:
    """Texts that HTTP can carry as a user name or password."""
    return st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=min_size)


def write(path: Path, **content: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


async def find(settings: RegistrySettings, registry: str, repository: str = "team/app") -> Credential | None:
    credentials = Credentials(settings, None, lambda _: None)
    await credentials.load()
    return await credentials.find(registry, repository)
