"""Credential files, the credentials that are found in them, and a registry with a token server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from hypothesis import strategies as st

from hangar_async.config.registries import RegistrySettings
from hangar_async.oci.reference import Reference
from hangar_async.registry.auth.credentials import Credentials
from hangar_async.registry.auth.docker_config import Credential
from hangar_async.registry.client import RegistryClient
from tests.registry.rig import MANIFEST, describe

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


LAYER = b"x" * 100_000
LAYER_BLOB = describe(LAYER)


@dataclass
class BearerRegistry:
    """A registry and its token server in one: each token is good for one scope, until it is `revoked`."""

    answer: dict[str, object] = field(default_factory=dict)
    token_name: str = "token"
    login: str | None = None
    refresh: str | None = None
    realm: str = "http://{host}/token"
    issued: list[str] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    gate: asyncio.Event | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    forms: list[Mapping[str, object]] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path == "/token":
            return await self.token(request)
        parts = request.path.split("/")
        scope = f"repository:{'/'.join(parts[2:-2])}:pull"
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if bearer not in self.issued or bearer in self.revoked or not bearer.startswith(f"{scope}#"):
            realm = self.realm.replace("{host}", request.host)
            challenge = f'Bearer realm="{realm}",service="reg.io",scope="{scope}"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return web.Response(body=LAYER if "/blobs/" in request.path else MANIFEST)

    async def token(self, request: web.Request) -> web.Response:
        self.asked.set()
        if self.gate:
            await self.gate.wait()
        form = await request.post()
        self.forms.append(form)
        if self.refresh is not None and (form.get("refresh_token"), form.get("grant_type")) != (
            self.refresh,
            "refresh_token",
        ):
            return web.json_response({"details": "bad refresh token"}, status=401)
        if self.login is not None and request.headers.get("Authorization") != f"Basic {self.login}":
            return web.json_response({"details": "incorrect username or password"}, status=401)
        scope = str(form.get("scope") or request.query["scope"])
        self.issued.append(f"{scope}#{len(self.issued)}")
        return web.json_response({self.token_name: self.issued[-1], **self.answer})


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config(path: Path, host: str, **entry: str) -> RegistrySettings:
    path = path / "config.json"
    path.write_text(json.dumps({"auths": {host: entry}}))
    return RegistrySettings(credential_files=(path,))


async def get_raw(client: RegistryClient, name: str) -> bytes:
    return (await client.get_manifest(Reference.parse(name))).raw
