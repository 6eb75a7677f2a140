"""One image out of every form: byte for byte what the registry served, or nothing."""

import asyncio
import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from hangar_async.archive.read.archive import open_archive
from hangar_async.config.options import TARGETS, ExtractOptions, ListOptions, VerifyOptions
from hangar_async.engine.events import Checked, CheckStarted, Event, Notice
from hangar_async.engine.extract import extract
from hangar_async.engine.ls import ls
from hangar_async.engine.verify import verify
from hangar_async.errors import ArchiveError, ContentError, NoPlatform, UsageError
from hangar_async.layout.files import blob_name
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built
from hangar_async.threads import in_thread
from tests.engine.forms import FORMS, HANGARS, Saved, flip, tree
from tests.engine.rig import Countdown
from tests.layout.rig import Made, read


def named(saved: Saved, name: str) -> tuple[str, Built]:
    return next((full, built) for full, built in saved.built.items() if f"/{name}:1" in full)


def options(source: Path, image: str, target: Path, **keywords: Any) -> ExtractOptions:
    return ExtractOptions(source=source, image=image, destination=target, **keywords)


def blobs(root: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in (root / "blobs" / "sha256").iterdir()}
    assert all(Digest.of(data).hex == name for name, data in found.items())
    return found


def root_of(layout: Path) -> dict[str, Any]:
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    found: dict[str, Any] = entry
    return found


def held(built: Built) -> dict[str, bytes]:
    everything = {**built.blobs, **{digest: raw for digest, (_, raw) in built.documents.items()}}
    return {digest.hex: data for digest, data in everything.items()}


@pytest.mark.parametrize("form", FORMS)
async def test_each_image_is_what_the_registry_served(everything: Saved, tmp_path: Path, form: str) -> None:
    for number, (name, built) in enumerate(everything.built.items()):
        target = tmp_path / str(number)
        events: list[Event] = []
        output = await extract(options(everything.at(form), name, target, sync=False), events.append)
        entry = root_of(target)
        found = blobs(target)
        if form in HANGARS:
            # Nothing names the index there: what the platforms have is all the same.
            manifests = [digest.hex for digest, (kind, _) in built.documents.items() if "manifest.v" in kind]
            assert found.items() >= {digest: held(built)[digest] for digest in manifests if digest in found}.items()
            assert set(manifests) & found.keys()
        else:
            assert found == held(built)
            assert entry["digest"] == str(built.digest)
            assert entry["mediaType"] == built.media_type
            assert entry["annotations"]["org.opencontainers.image.ref.name"].startswith(name.split(":sha256-")[0])
        assert output.files == (target,)
        size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        assert output.size == size
        (started,) = [event.size for event in events if isinstance(event, CheckStarted)]
        assert sum(event.gained for event in events if isinstance(event, Checked)) == started
    assert sorted(os.listdir(tmp_path), key=int) == [str(number) for number in range(len(everything.built))]


@pytest.mark.parametrize("form", FORMS)
async def test_each_platform_is_what_the_registry_served(everything: Saved, tmp_path: Path, form: str) -> None:
    name, built = named(everything, "multi")
    entries = json.loads(built.raw)["manifests"]
    for entry, platform in zip(entries, ("amd64", "linux/arm64/v8", "arm/v7"), strict=True):
        target = tmp_path / platform.replace("/", "-")
        await extract(options(everything.at(form), name, target, platform=platform))
        root = root_of(target)
        assert {key: root[key] for key in entry} == entry
        found = blobs(target)
        manifest = json.loads(found[entry["digest"].removeprefix("sha256:")])
        wanted = [entry, manifest["config"], *manifest["layers"]]
        assert found == {one["digest"][7:]: held(built)[one["digest"][7:]] for one in wanted}


@pytest.mark.parametrize("form", HANGARS)
async def test_several_platforms_without_an_index_get_one(everything: Saved, tmp_path: Path, form: str) -> None:
    name, built = named(everything, "multi")
    await extract(options(everything.at(form), name, tmp_path / "x"))
    root = root_of(tmp_path / "x")
    index = json.loads(blobs(tmp_path / "x")[root["digest"][7:]])
    assert index["manifests"] == json.loads(built.raw)["manifests"]
    assert root["mediaType"] == "application/vnd.oci.image.index.v1+json"


@pytest.mark.parametrize("form", FORMS)
async def test_a_partial_image_is_a_whole_layout(partial: Saved, tmp_path: Path, form: str) -> None:
    """Every blob in it is reached from its one root, and every one that is named is there."""
    for name in ("multi", "docker-list", "attested", "nested", "windows"):
        full, built = named(partial, name)
        target = tmp_path / name
        await extract(options(partial.at(form), full, target))
        found = blobs(target)
        reached: set[str] = set()
        waiting = [root_of(target)]
        while waiting:
            one = waiting.pop()
            digest = one["digest"].removeprefix("sha256:")
            assert len(found[digest]) == one["size"]
            if "manifest" in one["mediaType"] or "index" in one["mediaType"]:
                document = json.loads(found[digest])
                waiting += document.get("manifests", [])
                waiting += [document["config"], *document["layers"]] if "config" in document else []
            reached.add(digest)
        assert reached == found.keys()
        assert len(reached - held(built).keys()) <= 1  # the partial index


@pytest.mark.parametrize("form", FORMS)
async def test_a_docker_archive_is_what_the_registry_served(everything: Saved, tmp_path: Path, form: str) -> None:
    for image, platform in (("oci", None), ("multi", "arm64"), ("docker", "amd64"), ("empty", None), ("zstd", None)):
        name, built = named(everything, image)
        target = tmp_path / f"{image}.tar"
        made = options(everything.at(form), name, target, format="docker-archive", platform=platform)
        output = await extract(made)
        assert output.size == target.stat().st_size
        with tarfile.open(target, "r:") as tar:
            files = {member.name: tar.extractfile(member) for member in tar}
            contents = {member: file.read() for member, file in files.items() if file is not None}
        (listed,) = json.loads(contents.pop("manifest.json"))
        assert listed["RepoTags"] == [name]
        assert contents.keys() == {listed["Config"], *listed["Layers"]}
        for member, data in contents.items():
            assert data == held(built)[member.partition(".")[0]]
    assert not [path for path in os.listdir(tmp_path) if path.startswith(".")]


async def test_an_image_by_digest_has_no_name_for_docker(everything: Saved, tmp_path: Path) -> None:
    name = next(name for name in everything.built if ":sha256-" in name)
    await extract(options(everything.at("gzip"), name, tmp_path / "x.tar", format="docker-archive"))
    with tarfile.open(tmp_path / "x.tar") as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        assert json.load(file)[0]["RepoTags"] == []


async def test_an_image_is_found_by_name_and_digest(everything: Saved, tmp_path: Path) -> None:
    source = everything.at("zstd")
    name, built = named(everything, "multi")
    first = json.loads(built.raw)["manifests"][0]["digest"]
    await extract(options(source, f"{name}@{built.digest}", tmp_path / "whole"))
    await extract(options(source, f"{name}@{first}", tmp_path / "platform"))
    with pytest.raises(UsageError, match=rf"is not sha256:0000.* but {built.digest}"):
        await extract(options(source, f"{name}@sha256:{'0' * 64}", tmp_path / "other"))
    alone = named(everything, "oci")
    await extract(options(source, f"{alone[0].removesuffix(':1')}@{alone[1].digest}", tmp_path / "alone"))
    assert sorted(os.listdir(tmp_path)) == ["alone", "platform", "whole"]


@pytest.mark.parametrize("format_", ["oci", "docker-archive"])
@pytest.mark.parametrize("form", FORMS)
async def test_an_impossible_extract_is_refused_and_leaves_nothing(
    everything: Saved, tmp_path: Path, form: str, format_: str
) -> None:
    source = everything.at(form)
    name = named(everything, "multi")[0]

    async def refused(error: type[Exception], match: str, image: str, **keywords: Any) -> None:
        with pytest.raises(error, match=match):
            await extract(options(source, image, tmp_path / "x", format=format_, **keywords))

    await refused(UsageError, "no image docker.io/library/none:1 in it; it has .* and 9 more", "none:1")
    await refused(UsageError, "is not an image", "")
    await refused(UsageError, "--platform", name, platform="a b")
    await refused(NoPlatform, r"no none in .*; it has linux/amd64, linux/arm64/v8, linux/arm/v7", name, platform="none")
    await refused(NoPlatform, r"no linux/s390x in", name, platform="linux/s390x")
    if format_ == "docker-archive":
        await refused(UsageError, "a docker-archive holds one", name)
        await refused(UsageError, "is an artifact", named(everything, "artifact")[0])
        await refused(UsageError, "has the foreign layer sha256:", named(everything, "foreign")[0])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("format_", ["oci", "docker-archive"])
@pytest.mark.parametrize("form", ["gzip", "zstd-12", "dir"])
@pytest.mark.parametrize("last", [False, True])
async def test_a_damaged_blob_leaves_nothing(
    everything: Saved, tmp_path: Path, form: str, format_: str, last: bool
) -> None:
    path = everything.copy(form, tmp_path)
    name, _ = named(everything, "zstd")
    image = next(one for one in (await in_thread(read, path)).images if one.name == name)
    largest = max(image.contents, key=lambda one: one.size)
    damaged = image.contents[-1] if last else largest
    if form == "dir":
        data = (path / blob_name(damaged.digest)).read_bytes()
        (path / blob_name(damaged.digest)).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        archive = await in_thread(open_archive, path)
        entry = archive.entries[f"saved-image-cache/{blob_name(damaged.digest)}"]
        flip(path, entry.offset + entry.length // 2)
    (tmp_path / "made").mkdir()
    with pytest.raises((ContentError, ArchiveError), match=damaged.digest.hex if form == "dir" else "damaged|has"):
        await extract(options(path, name, tmp_path / "made" / "x", format=format_, platform="amd64"))
    assert os.listdir(tmp_path / "made") == []


async def test_an_incomplete_image_is_refused(everything: Saved, tmp_path: Path) -> None:
    path = everything.copy("dir", tmp_path)
    name, built = named(everything, "multi")
    (path / blob_name(next(iter(built.blobs)))).unlink()
    with pytest.raises(ContentError, match=f"{name} is not whole: blob sha256:.* is missing"):
        await extract(options(path, name, tmp_path / "x"))
    await extract(options(path, named(everything, "plain")[0], tmp_path / "other"))


async def test_a_folder_that_names_an_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    made = Made(tmp_path / "cache")
    index = made.index(made.manifest(0))
    made.image("odd", index, index)
    await in_thread(made.read)
    for format_ in ("oci", "docker-archive"):
        with pytest.raises(ContentError, match="names an index and no manifest"):
            await extract(options(tmp_path / "cache", "r.io/odd:1", tmp_path / "x", format=format_))


async def test_the_archive_is_not_replaced_by_its_image(everything: Saved, tmp_path: Path) -> None:
    path = everything.copy("gzip", tmp_path)
    before = path.read_bytes()
    name, _ = named(everything, "oci")
    for output in (path, path.with_name(f"{path.name}.sha256")):
        with pytest.raises(UsageError, match="would replace"):
            await extract(ExtractOptions(source=path, image=name, destination=output, format="docker-archive"))
    assert path.read_bytes() == before


async def test_the_destination_is_checked_first(everything: Saved, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    source, name = everything.at("gzip"), named(everything, "oci")[0]
    for target in (tmp_path / "full", tmp_path / "full" / "x", tmp_path / "none" / "x", Path()):
        with pytest.raises(UsageError):
            await extract(options(source, name, target))
    with pytest.raises(UsageError, match="is a directory"):
        await extract(options(source, name, tmp_path / "full", format="docker-archive"))
    with pytest.raises(UsageError, match="unknown format"):
        options(source, name, tmp_path / "x", format="tar")
    (tmp_path / "empty").mkdir()
    await extract(options(source, name, tmp_path / "empty"))
    assert tree(tmp_path / "full") == {"x": b""}


async def test_an_earlier_docker_archive_stays_until_the_new_one_is_whole(everything: Saved, tmp_path: Path) -> None:
    path = everything.copy("dir", tmp_path)
    name, built = named(everything, "oci")
    await extract(options(path, name, tmp_path / "x.tar", format="docker-archive"))
    before = (tmp_path / "x.tar").read_bytes()
    layer = path / "share" / "sha256" / max(built.blobs.items(), key=lambda item: len(item[1]))[0].hex
    layer.write_bytes(layer.read_bytes()[:-1] + b"?")
    with pytest.raises(ContentError, match="damaged"):
        await extract(options(path, name, tmp_path / "x.tar", format="docker-archive"))
    assert (tmp_path / "x.tar").read_bytes() == before


@pytest.mark.parametrize("format_", ["oci", "docker-archive"])
async def test_it_can_be_cancelled(everything: Saved, tmp_path: Path, format_: str) -> None:
    name = named(everything, "zstd")[0]
    for number in (1, 2, 3):
        countdown = Countdown(number)
        made = options(everything.at("gzip"), name, tmp_path / "x", format=format_)
        task = asyncio.create_task(extract(made, countdown))
        countdown.watched = task
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [name for name in os.listdir(tmp_path) if name != "x"] == []


@pytest.mark.parametrize("format_", ["oci", "oci-archive", "docker-archive"])
@pytest.mark.parametrize("form", ["gzip", "hangar-zstd"])
async def test_several_images_are_written_at_once_each_digest_once(
    everything: Saved, tmp_path: Path, form: str, format_: str
) -> None:
    images = [named(everything, name) for name in ("oci", "zstd", "multi")]
    names = [name for name, _ in images]
    wanted = ExtractOptions(
        source=everything.at(form),
        image=[*names, names[0]],
        destination=tmp_path / "x",
        format=format_,
        platform="amd64",
    )
    output = await extract(wanted)
    listing = await ls(ListOptions(tmp_path / "x"))
    assert [image.name for image in listing.images] == names
    assert [image.problems for image in listing.images] == [(), (), ()]
    shared = listing.content_size
    assert shared < sum(image.size for image in listing.images)
    assert (await verify(VerifyOptions(tmp_path / "x"))).problems == ()
    if format_ != "oci":
        assert output.size == (tmp_path / "x").stat().st_size


@pytest.mark.parametrize("target", TARGETS)
async def test_a_tar_for_an_importer_has_its_lists_first(everything: Saved, tmp_path: Path, target: str) -> None:
    (oci, built), (multi, _) = named(everything, "oci"), named(everything, "multi")
    compressed = target in ("k3s", "rke2")
    path = tmp_path / ("x.tar.zst" if compressed else "x.tar")
    wanted = ExtractOptions(
        source=everything.at("gzip"), image=[oci, multi], destination=path, platform="amd64", target=target
    )
    await extract(wanted)
    data = path.read_bytes()
    if compressed:
        data = zstandard.ZstdDecompressor().stream_reader(data).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        files = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    assert names[:3] == ["index.json", "manifest.json", "oci-layout"]
    assert len(names) == len(set(names))
    entries = json.loads(files["index.json"])["manifests"]
    assert [entry["annotations"]["io.containerd.image.name"] for entry in entries] == [oci, multi]
    assert entries[0]["digest"] == str(built.digest)
    for listed in json.loads(files["manifest.json"]):
        assert {listed["Config"], *listed["Layers"]} <= files.keys()
    # Everything that it names is there.
    listing = await ls(ListOptions(path))
    assert [image.problems for image in listing.images] == [(), ()]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["x.tar", "x.tar.zst", "x.tzst", "x"])
async def test_the_name_of_a_tar_tells_its_importer_the_compression(
    everything: Saved, tmp_path: Path, target: str, name: str
) -> None:
    """K3s and RKE2 read a tar by the ending of its name, and pass over others."""
    image, _ = named(everything, "oci")
    wanted = ExtractOptions(
        source=everything.at("gzip"), image=image, destination=tmp_path / name, target=target, sync=False
    )
    events: list[object] = []
    await extract(wanted, events.append)
    by_name = target in ("k3s", "rke2")
    assert (tmp_path / name).read_bytes().startswith(b"\x28\xb5\x2f\xfd") == (by_name and name != "x.tar")
    told = [event.text for event in events if isinstance(event, Notice)]
    passed_over = f"{target} passes over x: give it a name that ends in .tar.zst, or .tar"
    assert told == ([passed_over] if by_name and name == "x" else [])


async def test_an_older_docker_takes_one_platform(everything: Saved, tmp_path: Path) -> None:
    name, _ = named(everything, "multi")
    wanted = ExtractOptions(source=everything.at("gzip"), image=name, destination=tmp_path / "x", target="docker")
    with pytest.raises(UsageError, match="choose it with --platform"):
        await extract(wanted)
    await extract(replace(wanted, target="containerd"))
    (image,) = (await ls(ListOptions(tmp_path / "x"))).images
    assert len(image.platforms) == 3


@pytest.mark.parametrize("values", [{"target": "podman"}, {"format": "tar"}, {"image": []}])
def test_words_that_extract_does_not_know_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ExtractOptions(**{"source": Path("a"), "image": "a", "destination": Path("b"), **values})
