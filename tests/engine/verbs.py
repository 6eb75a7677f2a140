"""All verbs that read a source, one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.config.options import (
    CompressOptions,
    ExtractOptions,
    ListOptions,
    MergeOptions,
    ServeOptions,
    VerifyOptions,
)
from hangar_async.config.output import OutputSettings
from hangar_async.config.registries import RegistrySettings
from hangar_async.engine.compress import compress, merge
from hangar_async.engine.extract import extract
from hangar_async.engine.ls import ls
from hangar_async.engine.serve import serve, serving
from hangar_async.engine.verify import verify
from hangar_async.errors import UsageError
from hangar_async.oci import Digest, Image, Reference
from hangar_async.registry.client import RegistryClient
from tests.engine.loading import run_load, run_validate


async def through_every_verb(path: Path, registry: str, tmp_path: Path, name: str | None = None) -> Digest:
    """Let each verb read a source, whose images all go to a registry; return the digest of the first one there.

    The `name` is that of an image that has none. All verbs find the same images, whole.
    """
    listing = await ls(ListOptions(path))
    first = listing.images[0]
    given = None if first.named else name
    assert (await verify(VerifyOptions(path))).problems == ()
    report = await run_load(tmp_path, path, registry, name=given)
    assert [str(outcome.error) for outcome in report.failed] == []
    assert (await run_validate(tmp_path, path, registry, name=given)).status == 0
    target = report.outcomes[0].target
    async with RegistryClient(RegistrySettings()) as client:
        digest = (await client.get_manifest(target)).digest
    assert first.digest in (None, digest)

    await extract(ExtractOptions(source=path, image=first.name, destination=tmp_path / "extracted"))
    (extracted,) = (await ls(ListOptions(tmp_path / "extracted"))).images
    assert (extracted.digest, extracted.problems) == (digest, ())
    for archive in await _archives(path, tmp_path):
        images = (await ls(ListOptions(archive))).images
        # One without a name has that of its file here.
        names = [one.reference.cache_name for one in listing.images]
        assert [one.reference.cache_name for one in images] == names
        assert (images[0].digest, images[0].problems) == (digest, ())
        assert (await verify(VerifyOptions(archive))).problems == ()
    await _serve(path, first, digest, seekable=listing.indexed)
    return digest


async def _archives(path: Path, tmp_path: Path) -> list[Path]:
    compressed, merged = tmp_path / "compressed", tmp_path / "merged"
    output = OutputSettings(target=compressed, format="zstd", sync=False)
    assert (await compress(CompressOptions(cache=path, output=output))).status == 0
    output = OutputSettings(target=merged, sync=False)
    assert (await merge(MergeOptions(sources=[path, compressed], output=output))).status == 0
    return [compressed, merged]


async def _serve(path: Path, image: Image, digest: Digest, *, seekable: bool) -> None:
    """Serve the image, where its source can be read in any order."""
    options = ServeOptions(source=path, listen="127.0.0.1:0")
    if not seekable:
        with pytest.raises(UsageError, match="can only be read from its start"):
            await serve(options)
        return
    async with serving(options) as served, RegistryClient(RegistrySettings()) as client:
        name = image.reference.cache_name.partition("/")[2]
        reference = name if image.named else f"{image.reference.repository}@{digest}"
        target = Reference.parse(f"{served.address}/{reference}")
        assert (await client.get_manifest(target)).digest == digest
        for blob in image.blobs:
            async with client.open_blob(target, blob) as body:
                assert len(b"".join([bytes(piece) async for piece in body.pieces()])) == blob.size
