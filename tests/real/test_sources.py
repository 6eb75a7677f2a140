"""What other programs write is loaded: made by skopeo, and by podman, buildah and umoci where these are installed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.options import ExtractOptions, ListOptions, VerifyOptions
from hangar_async.engine.extract import extract
from hangar_async.engine.ls import ls
from hangar_async.engine.verify import verify
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built, image, index, layer
from tests.engine.loading import run_load, run_validate
from tests.engine.made import make_layout
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.programs import run
from tests.fakes.skopeo import Skopeo
from tests.layout.rig import REF

NAME = "registry.example.com/team/app:1"
APP = image([layer({"a": b"text" * 9000}), layer({"b": bytes(200_000)})], AMD64)
PAIR = index([APP, small("arm", platform=ARM64)])


async def loaded(source: Path, registry: str, skopeo: Skopeo, tmp_path: Path, name: str | None = None) -> bytes:
    """Check a source, load it into a registry, and return the manifest that is there, as skopeo sees it."""
    assert (await verify(VerifyOptions(source))).problems == ()
    report = await run_load(tmp_path, source, registry, name=name)
    assert [str(outcome.error) for outcome in report.failed] == []
    assert (await run_validate(tmp_path, source, registry, name=name)).status == 0
    where = str(report.outcomes[0].target)
    # It reads every layer, and compares each with the digest in the config.
    await skopeo("copy", "--src-tls-verify=false", f"docker://{where}", f"dir:{tmp_path / 'copied'}")
    return (await skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{where}")).encode()


def layout_of(tmp_path: Path, built: Built) -> str:
    return f"oci:{make_layout(tmp_path / 'made', [(built, {REF: 'v1'})])}:v1"


FORMS = {
    "oci": "oci:{}:v2",
    "oci-archive": "oci-archive:{}:v2",
    "dir": "dir:{}",
    "docker": f"docker-archive:{{}}:{NAME}",
}
PACKED = [(form, program) for form in ("oci-archive", "docker") for program in ("gzip", "zstd", "xz", "bzip2")]


@pytest.mark.parametrize(("form", "program"), [*((form, "") for form in FORMS), *PACKED])
async def test_what_skopeo_writes(
    form: str, program: str, docker_registry: str, skopeo: Skopeo, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    await skopeo("copy", layout_of(tmp_path, APP), FORMS[form].format(source))
    if program:
        await run(program, *(["-q", "--rm"] if program == "zstd" else ["-1"]), str(source))
        (source,) = tmp_path.glob("source.*")
    raw = await loaded(source, f"{docker_registry}/{tmp_path.name.replace('_', '-').lower()}", skopeo, tmp_path, NAME)
    assert (raw == APP.raw) == (form != "docker")
    config = json.loads(raw)["config"]["digest"]
    assert config == json.loads(APP.raw)["config"]["digest"]


async def test_a_directory_of_all_platforms(docker_registry: str, skopeo: Skopeo, tmp_path: Path) -> None:
    await skopeo("copy", "--all", layout_of(tmp_path, PAIR), f"dir:{tmp_path / 'source'}")
    raw = await loaded(tmp_path / "source", f"{docker_registry}/all", skopeo, tmp_path)
    assert raw == PAIR.raw


@pytest.mark.clients
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "docker-dir", "oci-dir"])
async def test_what_podman_saves(
    form: str, docker_registry: str, skopeo: Skopeo, client: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    await client("podman", "pull", "-q", layout_of(tmp_path, APP))
    (listed,) = json.loads(await client("podman", "images", "--format", "json"))
    await client("podman", "tag", listed["Id"], NAME)
    await client("podman", "save", "-q", "--format", form, "-o", str(tmp_path / "source"), NAME)
    raw = await loaded(tmp_path / "source", f"{docker_registry}/podman/{form}", skopeo, tmp_path, NAME)
    assert json.loads(raw)["config"]["digest"] == json.loads(APP.raw)["config"]["digest"]


@pytest.mark.clients
async def test_several_images_that_podman_saves(client: Callable[..., Awaitable[str]], tmp_path: Path) -> None:
    for name, built in (("a", APP), ("b", small("b"))):
        made = make_layout(tmp_path / name, [(built, {REF: "v1"})])
        identity = (await client("podman", "pull", "-q", f"oci:{made}:v1")).strip()
        await client("podman", "tag", identity, f"registry.example.com/{name}:1")
    names = ["registry.example.com/a:1", "registry.example.com/b:1"]
    await client("podman", "save", "-q", "-m", "-o", str(tmp_path / "source"), *names)
    listing = await ls(ListOptions(tmp_path / "source"))
    assert sorted(one.name for one in listing.images) == names
    assert (await verify(VerifyOptions(tmp_path / "source"))).problems == ()


@pytest.mark.clients
async def test_what_buildah_and_umoci_make(
    docker_registry: str, skopeo: Skopeo, client: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    identity = (await client("buildah", "from", "scratch")).strip()
    (tmp_path / "file").write_bytes(b"content")
    await client("buildah", "copy", identity, str(tmp_path / "file"), "/file")
    await client("buildah", "commit", "-q", identity, f"oci-archive:{tmp_path / 'built'}:registry.example.com/built:1")
    await loaded(tmp_path / "built", f"{docker_registry}/buildah", skopeo, tmp_path)
    layout = tmp_path / "umoci"
    await client("umoci", "init", "--layout", str(layout))
    await client("umoci", "new", "--image", f"{layout}:empty")
    (one,) = (await ls(ListOptions(layout))).images
    assert (one.name, one.problems) == ("localhost/umoci:empty", ())
    assert isinstance(one.digest, Digest)


@pytest.mark.clients
@pytest.mark.parametrize("values", [{"format": "docker-archive"}, {"target": "docker"}])
async def test_podman_takes_what_extract_writes(
    values: dict[str, Any], client: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    names = ["registry.example.com/a:1", "registry.example.com/b:1"]
    source = make_layout(tmp_path / "made", [(APP, {REF: names[0]}), (small("b"), {REF: names[1]})])
    wanted = ExtractOptions(
        source=source, image=names[:1] if "target" in values else names, destination=tmp_path / "x", **values
    )
    await extract(wanted)
    await client("podman", "load", "-q", "-i", str(tmp_path / "x"))
    listed = json.loads(await client("podman", "images", "--format", "json"))
    assert sorted(name for image in listed for name in image["Names"]) == list(wanted.names)
