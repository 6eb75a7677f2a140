"""Fixtures of all rooms. No test reads the settings of the machine, blocks the event loop, or leaves loopback."""

from __future__ import annotations

import os
import resource
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import trustme
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

from hangar_async.archive import formats
from hangar_async.testing.images import Built
from tests.fakes import docker_registry as real, skopeo as client
from tests.fakes.ecr import LOGIN, ecr_server, forget_repositories
from tests.fakes.images import library
from tests.fakes.registry import FakeRegistry, fake_registry

# How long an example takes says something about the machine alone.
# The fuzzers try more.
settings.register_profile("tests", deadline=None, max_examples=40)
settings.load_profile("tests")

_SETTINGS = ("SOURCE_", "DEST_", "XDG_", "DOCKER_", "REGISTRY_AUTH", "SSL_CERT", "AWS_")
#: Rooms whose tests repeat at many moments the runs of other rooms, where blocking calls are looked for.
_REPEATED = ("tests/faults/", "tests/model/")
_REAL_FIXTURES = {"docker_registry", "htpasswd_registry", "tls_registry", "skopeo"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the real parts."""
    for item in items:
        if _REAL_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("real")


@pytest.fixture(autouse=True)
def _own_settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide what the machine's user has set up: credentials, proxies, certificates."""
    if not request.node.nodeid.startswith("tests/cli/"):
        # To measure the coverage of a process makes its start half as long again.
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    for name in list(os.environ):
        if name.startswith(_SETTINGS) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def blockbuster(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Fail a test whose code of ours blocks the event loop."""
    if request.node.nodeid.startswith(_REPEATED):
        yield None
        return
    with blockbuster_ctx("hangar_async") as found:
        # The test's own observer, called by our code, breaks the disk.
        found.functions["os.mkdir"].can_block_in("tests/engine/test_pack.py", "vanish")
        # The measurement of coverage locks data that its threads share.
        found.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
        yield found


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """An authority for certificates that the system does not trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_certificate(ca: trustme.CA) -> trustme.LeafCert:
    """A certificate for loopback names."""
    return ca.issue_cert("127.0.0.1", "localhost", "::1")


@pytest.fixture(scope="session")
def server_tls(server_certificate: trustme.LeafCert) -> ssl.SSLContext:
    """The TLS settings of a server on loopback."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_certificate.configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(ca: trustme.CA) -> ssl.SSLContext:
    """The TLS settings of a client that trusts it."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture(scope="session")
def images() -> Mapping[str, Built]:
    """One image of every kind."""
    return library()


@pytest.fixture(name="fake_registry")
async def _fake_registry() -> AsyncIterator[FakeRegistry]:
    """A fake registry without TLS and credentials."""
    async with fake_registry() as registry:
        yield registry


@pytest.fixture
async def pushable_registry() -> AsyncIterator[FakeRegistry]:
    """A fake registry that takes pushes, without TLS and credentials."""
    async with fake_registry(pushable=True) as registry:
        yield registry


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry, shared by all tests: its HOST:PORT. Use repositories of your own."""
    _need(real.BINARY)
    with real.docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def htpasswd_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry that wants `real.USERNAME` and `real.PASSWORD`: its HOST:PORT."""
    _need(real.BINARY)
    with real.docker_registry(tmp_path_factory.mktemp("htpasswd"), htpasswd=True) as address:
        yield address


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory, server_certificate: trustme.LeafCert) -> Iterator[str]:
    """A real registry behind TLS, with a certificate of `ca`: its HOST:PORT."""
    _need(real.BINARY)
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "server.pem", directory / "server.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in server_certificate.cert_chain_pems))
    server_certificate.private_key_pem.write_to_path(key)
    with real.docker_registry(directory, certificate=certificate, key=key) as address:
        yield address


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes file systems of so many bytes; skipped where that is not allowed."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if not sys.platform.startswith("linux") or subprocess.run(argv, capture_output=True, check=False).returncode:
            pytest.skip("file systems cannot be mounted here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Limits the length of files for the test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the pieces of layers that are compressed on their way."""
    sizes: list[int] = []
    deflate = formats.deflate

    def counting(data: bytes | memoryview, level: int) -> bytes:
        sizes.append(len(data))
        return deflate(data, level)

    monkeypatch.setattr(formats, "deflate", counting)
    return sizes


@pytest.fixture
def skopeo(tmp_path: Path) -> client.Skopeo:
    """Runs skopeo: `await skopeo("inspect", ...)`."""
    _need(client.BINARY)
    home = tmp_path / "skopeo"
    home.mkdir()
    return client.Skopeo(home)


def _need(binary: str) -> None:
    if shutil.which(binary) is None:
        missing = f"{binary} is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture(scope="session")
def ecr_address() -> Iterator[str]:
    """The address of an API of Amazon ECR."""
    with ecr_server() as address:
        yield address


@pytest.fixture
def ecr_api(ecr_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An API of Amazon ECR without repositories, which botocore asks."""
    for name, value in {**LOGIN, "AWS_ENDPOINT_URL_ECR": ecr_address}.items():
        monkeypatch.setenv(name, value)
    forget_repositories(ecr_address)
    return ecr_address
