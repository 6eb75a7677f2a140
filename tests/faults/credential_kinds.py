"""The kinds of registries, and which secret each of their hosts gets: the rows of the table."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trustme
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.config.registries import Mirror, Mirrors, Proxies, RegistrySettings, Route
from tests.fakes.auth import Basic, TokenServer, token_serving
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry, fake_registry
from tests.faults.rig import GOOD
from tests.registry.rig import Proxy

#: Users and their passwords; none of these words stands anywhere else.
USERS = {"alice": "hush-alice", "bob": "hush-bob", "carol": "hush-carol"}
SIGNATURE = "hush-signature"
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie")


def encoded(user: str) -> str:
    return base64.b64encode(f"{user}:{USERS[user]}".encode()).decode()


_NAMES = {f"Basic {encoded(user)}": f"{user}'s password" for user in USERS}


@dataclass
class Ground:
    """The servers of a kind: the name of the image, the settings, and what each host got, by its name in the table."""

    place: Path
    authority: trustme.CA
    image: str = ""
    settings: RegistrySettings = field(default_factory=RegistrySettings)
    hosts: dict[str, Callable[[], list[Mapping[str, str]]]] = field(default_factory=dict)
    tokens: list[TokenServer] = field(default_factory=list)
    certificates: dict[str, set[str]] = field(default_factory=dict)
    refuse: Callable[[], object] = lambda: None

    def watch(self, name: str, registry: FakeRegistry) -> FakeRegistry:
        """Note what a server gets."""
        self.hosts[name] = lambda: [request.headers for request in registry.requests]
        return registry

    def logins(self, **hosts: str) -> RegistrySettings:
        """Make settings with a login for each of some hosts: user -> HOST:PORT."""
        path = self.place / "config.json"
        path.write_text(json.dumps({"auths": {host: {"auth": encoded(user)} for user, host in hosts.items()}}))
        return replace(self.settings, credential_files=(path,))

    def got(self) -> dict[str, set[str]]:
        """Return the secrets that each host got, in words."""
        found = {name: {_word(value) for value in _values(heads())} for name, heads in self.hosts.items()}
        return {name: words | self.certificates.get(name, set()) for name, words in found.items()}

    def secrets(self) -> set[str]:
        """Return all texts that may stand nowhere: passwords, as they are and encoded, tokens, and a signature."""
        passwords = {text for user in USERS for text in (USERS[user], encoded(user))}
        return {SIGNATURE, *passwords, *(token for server in self.tokens for token in server.issued)}


def _values(heads: list[Mapping[str, str]]) -> list[str]:
    return [value for head in heads for name, value in head.items() if name.lower() in _SECRET_HEADERS]


def _word(value: str) -> str:
    return _NAMES.get(value) or ("a token" if value.startswith("Bearer ") else value)


Open = Callable[[Ground], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Kind:
    """A row: the servers, and the secrets that each of them gets."""

    name: str
    open: Open
    got: Mapping[str, set[str]]


def _refusing(*registries: FakeRegistry) -> Callable[[], None]:
    """Let registries refuse all content, after they know who asks."""

    def refuse() -> None:
        for registry in registries:
            registry.faults.rules.clear()
            registry.fail("/(manifests|blobs)/", Status(403, body=b"no"), times=None)

    return refuse


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[None]:
    async with fake_registry() as registry:
        registry.add("good:1", GOOD)
        ground.watch("registry", registry)
        ground.settings = ground.logins(alice=registry.address)
        ground.image, ground.refuse = f"{registry.address}/good:1", _refusing(registry)
        yield


@asynccontextmanager
async def _token_elsewhere(ground: Ground) -> AsyncIterator[None]:
    tokens = TokenServer(USERS, frozenset({"good"}))
    ground.tokens.append(tokens)
    async with token_serving(tokens), fake_registry(auth=tokens) as registry:
        registry.add("good:1", GOOD)
        ground.watch("registry", registry)
        ground.hosts["tokens"] = lambda: [request.headers for request in tokens.requests]
        ground.settings = ground.logins(alice=registry.address)
        ground.image, ground.refuse = f"{registry.address}/good:1", _refusing(registry)
        yield


@dataclass(frozen=True)
class _LeadsTo:
    """Sends a client to the same path of another server."""

    other: FakeRegistry
    query: str = ""

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        location = f"{self.other.scheme}://{self.other.address}{request.path}{self.query}"
        return web.Response(status=307, headers={"Location": location})


@dataclass(frozen=True)
class _Certificates:
    """Notes whether clients show a certificate; blobs are elsewhere."""

    seen: set[str]
    blobs: _LeadsTo | None

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.get_extra_info("peercert"):
            self.seen.add("alice's certificate")
        return await (self.blobs(request, handler) if self.blobs and "/blobs/" in request.path else handler(request))


@asynccontextmanager
async def _storage(ground: Ground) -> AsyncIterator[None]:
    async with fake_registry(auth=Basic(USERS)) as registry, fake_registry() as storage:
        for server in (registry, storage):
            server.add("good:1", GOOD)
        registry.fail("/blobs/", _LeadsTo(storage, f"?signature={SIGNATURE}"), times=None)
        ground.watch("registry", registry)
        ground.watch("storage", storage)
        # The storage may be known for itself: that is no reason to send it anything.
        ground.settings = ground.logins(alice=registry.address, bob=storage.address)
        ground.image, ground.refuse = f"{registry.address}/good:1", _refusing(storage)
        yield


@asynccontextmanager
async def _other_registry(ground: Ground) -> AsyncIterator[None]:
    tokens = TokenServer(USERS)
    ground.tokens.append(tokens)
    async with (
        token_serving(tokens),
        fake_registry(auth=Basic(USERS)) as registry,
        fake_registry(auth=tokens) as other,
    ):
        for server in (registry, other):
            server.add("good:1", GOOD)
        registry.fail("/blobs/", _LeadsTo(other), times=None)
        ground.watch("registry", registry)
        ground.watch("other", other)
        ground.hosts["other's tokens"] = lambda: [request.headers for request in tokens.requests]
        ground.settings = ground.logins(alice=registry.address, bob=other.address)
        ground.image, ground.refuse = f"{registry.address}/good:1", _refusing(other)
        yield


@asynccontextmanager
async def _proxy(ground: Ground) -> AsyncIterator[None]:
    async with (
        fake_registry(auth=Basic(USERS)) as registry,
        Proxy({"registry.test:80": registry.address}).running() as proxy,
    ):
        registry.add("good:1", GOOD)
        ground.watch("registry", registry)
        ground.hosts["proxy"] = lambda: [_to_the_proxy(head) for head in proxy.headers]
        address = proxy.url.replace("http://", f"http://carol:{USERS['carol']}@")
        settings = ground.logins(alice="registry.test")
        ground.settings = replace(settings, tls_verify=False, proxies=Proxies(address, address))
        ground.image, ground.refuse = "registry.test/good:1", proxy.routes.clear
        yield


def _to_the_proxy(head: Mapping[str, str]) -> Mapping[str, str]:
    """Leave out the headers that a proxy passes on."""
    return {name: value for name, value in head.items() if name.startswith("proxy-")}


@asynccontextmanager
async def _mirror(ground: Ground) -> AsyncIterator[None]:
    async with fake_registry(auth=Basic(USERS)) as registry, fake_registry(auth=Basic(USERS)) as mirror:
        registry.add("good:1", GOOD)
        mirror.fail("/blobs/", Status(404), times=None)
        mirror.add("hub/good:1", GOOD)
        ground.watch("registry", registry)
        ground.watch("mirror", mirror)
        route = Route(registry.address, (Mirror(f"{mirror.address}/hub"),))
        settings = ground.logins(alice=registry.address, bob=mirror.address)
        ground.settings = replace(settings, mirrors=Mirrors((route,)))
        ground.image, ground.refuse = f"{registry.address}/good:1", _refusing(registry, mirror)
        yield


@asynccontextmanager
async def _client_certificate(ground: Ground) -> AsyncIterator[None]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ground.authority.issue_cert("127.0.0.1").configure_cert(context)
    ground.authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    async with fake_registry(tls=context) as registry, fake_registry(tls=context) as storage:
        for name, server in (("registry", registry), ("storage", storage)):
            server.add("good:1", GOOD)
            ground.watch(name, server)
            seen = ground.certificates.setdefault(name, set())
            server.fail("", _Certificates(seen, _LeadsTo(storage) if server is registry else None), times=None)
            folder = ground.place / "certs.d" / server.address
            folder.mkdir(parents=True)
            ground.authority.cert_pem.write_to_path(folder / "ca.crt")
        mine = ground.authority.issue_cert("alice@example.test")
        folder = ground.place / "certs.d" / registry.address
        mine.private_key_pem.write_to_path(folder / "client.key")
        mine.cert_chain_pems[0].write_to_path(folder / "client.cert")
        ground.settings = replace(ground.settings, certificates=(ground.place / "certs.d",))
        ground.image, ground.refuse = f"{registry.address}/good:1", _refusing(registry, storage)
        yield


KINDS = (
    Kind("open for reading", _open, {"registry": set()}),
    Kind("token at another host", _token_elsewhere, {"registry": {"a token"}, "tokens": {"alice's password"}}),
    Kind("redirect to storage", _storage, {"registry": {"alice's password"}, "storage": set()}),
    Kind(
        "redirect to another registry",
        _other_registry,
        {"registry": {"alice's password"}, "other": {"a token"}, "other's tokens": set()},
    ),
    Kind("proxy with a password", _proxy, {"registry": {"alice's password"}, "proxy": {"carol's password"}}),
    Kind("mirror", _mirror, {"registry": {"alice's password"}, "mirror": {"bob's password"}}),
    Kind("client certificate", _client_certificate, {"registry": {"alice's certificate"}, "storage": set()}),
)
