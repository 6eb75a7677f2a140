"""A short way to run `load`, and to see what a registry has."""

from pathlib import Path
from typing import Any

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.events import Event
from hangar_async.engine.load import load
from hangar_async.engine.reports import ComparisonReport, LoadReport
from hangar_async.engine.validate import load_validate
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Manifest, parse_manifest
from hangar_async.oci.reference import Reference
from hangar_async.testing.images import Built
from hangar_async.testing.memory import MemoryContent
from tests.engine.forms import Saved
from tests.fakes.registry import FakeRegistry


def load_options(tmp_path: Path, source: Path, destination: str, **keywords: Any) -> LoadOptions:
    settings = RegistrySettings(retry=RetryPolicy(retries=2, first=0.0, longest=0.0), stall_timeout=20.0)
    values: dict[str, Any] = {
        "source": source,
        "destination": destination,
        "failed": tmp_path / "load-failed.txt",
        "jobs": 4,
        "spool": tmp_path,
        "environment": Environment(destinations=settings),
    }
    return LoadOptions(**{**values, **keywords})


async def run_load(
    tmp_path: Path, source: Path, registry: FakeRegistry | str, events: list[Event] | None = None, **keywords: Any
) -> LoadReport:
    address = registry if isinstance(registry, str) else registry.address
    sink = events if events is not None else []
    return await load(load_options(tmp_path, source, address, **keywords), sink.append)


async def run_validate(tmp_path: Path, source: Path, registry: FakeRegistry | str, **keywords: Any) -> ComparisonReport:
    address = registry if isinstance(registry, str) else registry.address
    return await load_validate(load_options(tmp_path, source, address, **keywords))


async def tagged(content: MemoryContent, name: str) -> Digest | None:
    """The digest that a name, REPOSITORY:TAG, stands for."""
    repository, _, tag = name.rpartition(":")
    found = await content.resolve(repository, tag)
    return None if found is None else found.digest


async def document(content: MemoryContent, repository: str, digest: Digest) -> bytes:
    """A manifest or index that a repository has."""
    found = await content.resolve(repository, digest)
    assert found is not None, f"{repository} has no manifest {digest}"
    return b"".join([bytes(piece) async for piece in content.read(digest, 0, min(found.size, MAX_DOCUMENT))])


async def manifests_below(content: MemoryContent, repository: str, digest: Digest) -> list[Digest]:
    """The manifests of images that a document names, itself where it is one; all of them have to be there."""
    parsed = parse_manifest(await document(content, repository, digest))
    if isinstance(parsed, Manifest):
        return [digest]
    below = [await manifests_below(content, repository, entry.digest) for entry in parsed.manifests]
    return [one for found in below for one in found]


def named_blobs(raw: bytes) -> list[Digest]:
    """The blobs that a manifest names."""
    parsed = parse_manifest(raw)
    assert isinstance(parsed, Manifest)
    return [one.digest for one in (parsed.config, *parsed.layers)]


def where(name: str) -> str:
    """The target of an image without a project: REPOSITORY:TAG."""
    reference = Reference.parse(name)
    return f"library/{reference.repository}:{reference.cache_tag}"


async def loaded(tmp_path: Path, source: Path, to: FakeRegistry, **keywords: Any) -> LoadReport:
    report = await run_load(tmp_path, source, to, **keywords)
    assert [str(outcome.error) for outcome in report.failed] == []
    return report


def named(saved: Saved, name: str) -> Built:
    return next(built for key, built in saved.built.items() if key.endswith(f"/{name}:1"))
