"""What other programs write goes through every verb: skopeo, podman, buildah, umoci, ctr and Docker."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.options import ExtractOptions, ListOptions
from hangar_async.engine.extract import extract
from hangar_async.engine.ls import ls
from hangar_async.oci import Digest, Reference
from hangar_async.testing.images import Built, image, index, layer
from tests.engine.made import make_layout
from tests.engine.verbs import through_every_verb
from tests.fakes.engines import Containerd, Docker
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.programs import run
from tests.fakes.skopeo import Skopeo
from tests.layout.rig import REF

NAME = "registry.example.com/team/app:1"
APP = image([layer({"a": b"text" * 9000}), layer({"b": bytes(200_000)})], AMD64)
PAIR = index([APP, small("arm", platform=ARM64)])


async def loaded(source: Path, registry: str, skopeo: Skopeo, tmp_path: Path, name: str | None = None) -> bytes:
    """Let every verb read a source, and return the manifest at the registry, as skopeo sees it."""
    digest = await through_every_verb(source, registry, tmp_path, name)
    first = (await ls(ListOptions(source))).images[0]
    reference = first.reference if first.named or name is None else Reference.parse(name)
    target = f"{registry}/{reference.repository}@{digest}"
    # It reads every layer, and compares each with the digest in the config.
    await skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{target}", f"dir:{tmp_path / 'copied'}")
    return (await skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}")).encode()


def layout_of(tmp_path: Path, built: Built) -> str:
    return f"oci:{make_layout(tmp_path / 'made', [(built, {REF: 'v1'})])}:v1"


def packed(layout: Path) -> Path:
    """Make a tar of a layout."""
    path = layout.with_suffix(".tar")
    with tarfile.open(path, "w") as made:
        for name in ("oci-layout", "index.json", "blobs"):
            made.add(layout / name, name)
    return path


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
async def test_several_images_that_podman_saves(
    docker_registry: str, skopeo: Skopeo, client: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    for name, built in (("a", APP), ("b", small("b"))):
        made = make_layout(tmp_path / name, [(built, {REF: "v1"})])
        identity = (await client("podman", "pull", "-q", f"oci:{made}:v1")).strip()
        await client("podman", "tag", identity, f"registry.example.com/{name}:1")
    names = ["registry.example.com/a:1", "registry.example.com/b:1"]
    await client("podman", "save", "-q", "-m", "-o", str(tmp_path / "source"), *names)
    listing = await ls(ListOptions(tmp_path / "source"))
    assert sorted(one.name for one in listing.images) == names
    await loaded(tmp_path / "source", f"{docker_registry}/podman/several", skopeo, tmp_path)


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
@pytest.mark.parametrize("platforms", [["--all-platforms"], ["--platform", "linux/arm64"]])
async def test_what_ctr_exports(
    platforms: list[str], docker_registry: str, skopeo: Skopeo, ctr: Containerd, tmp_path: Path
) -> None:
    """All of an index, or one platform of it, which leaves the index as it was."""
    made = make_layout(tmp_path / "made", [(PAIR, {"io.containerd.image.name": NAME})])
    await ctr.run("images", "import", "--all-platforms", str(packed(made)))
    await ctr.run("images", "export", *platforms, str(tmp_path / "source"), NAME)
    raw = await loaded(tmp_path / "source", f"{docker_registry}/ctr/{platforms[0][2:]}", skopeo, tmp_path)
    digests = [entry["digest"] for entry in json.loads(raw)["manifests"]]
    arm = str(small("arm", platform=ARM64).digest)
    assert digests == [str(APP.digest), arm] if len(platforms) == 1 else digests == [arm]


@pytest.mark.clients
async def test_what_docker_saves(docker_registry: str, skopeo: Skopeo, docker: Docker, tmp_path: Path) -> None:
    """Two images, one built on the other, which Docker before 25 writes with links between their layers."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "file").write_bytes(b"content")
    names = [f"registry.example.com/team/{name}:1" for name in ("base", "app")]
    for name, start in zip(names, ("scratch", names[0]), strict=True):
        (tmp_path / "context" / "Dockerfile").write_text(f"FROM {start}\nCOPY file /{name[-5:-2]}\nCOPY file /b\n")
        await docker.run("build", "-q", "-t", name, str(tmp_path / "context"))
    await docker.run("save", "-o", str(tmp_path / "source"), *names)
    assert [one.name for one in (await ls(ListOptions(tmp_path / "source"))).images] == names
    await loaded(tmp_path / "source", f"{docker_registry}/docker", skopeo, tmp_path)
    (identity,) = (await docker.run("images", "-q", names[1])).split()
    await docker.run("save", "-o", str(tmp_path / "nameless"), identity)
    (nameless,) = (await ls(ListOptions(tmp_path / "nameless"))).images
    assert not nameless.named


@pytest.mark.clients
@pytest.mark.parametrize("values", [{"format": "docker-archive"}, {"target": "docker"}])
async def test_docker_takes_what_extract_writes(values: dict[str, Any], docker: Docker, tmp_path: Path) -> None:
    source = make_layout(tmp_path / "made", [(APP, {REF: NAME})])
    await extract(ExtractOptions(source=source, image=NAME, destination=tmp_path / "x", **values))
    assert NAME in await docker.run("load", "-i", str(tmp_path / "x"))


@pytest.mark.clients
async def test_containerd_takes_what_extract_writes(ctr: Containerd, tmp_path: Path) -> None:
    source = make_layout(tmp_path / "made", [(PAIR, {REF: NAME})])
    for target in ("containerd", "k3s"):
        wanted = ExtractOptions(source=source, image=NAME, destination=tmp_path / target, target=target)
        await extract(wanted)
        if target == "k3s":
            # It imports what it has decompressed.
            await run("zstd", "-q", "-d", str(tmp_path / target), "-o", str(tmp_path / "k3s.tar"))
        await ctr.run("images", "import", "--all-platforms", str(tmp_path / ("k3s.tar" if target == "k3s" else target)))
        assert NAME in await ctr.run("images", "ls", "-q")
        await ctr.run("images", "rm", NAME)


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
