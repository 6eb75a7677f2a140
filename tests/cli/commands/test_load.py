"""`load` as a person runs it, and `load-validate` after it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import pytest

from hangar_async.testing.images import artifact
from tests.cli.conftest import Program
from tests.cli.programs import command, environment
from tests.cli.shelf import Shelf
from tests.cli.site import Done, call
from tests.engine.loading import tagged
from tests.engine.made import make_layout
from tests.fakes.auth import Basic
from tests.fakes.faults import Hold, Status
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

FORMS = ["plain.tar.gz", "plain.tar.zstd", "split.tar.gz.part1", "split.tar.gz", "foreign.tar.gz", "saved-image-cache"]


@pytest.mark.parametrize("form", FORMS)
async def test_load_and_compare(form: str, shelf: Shelf, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    flags = ["-s", str(shelf.home / form), "-d", f"{pushable_registry.address}/mirror", "-j", "4"]
    before = await call(tmp_path, "load-validate", *flags)
    assert before.status == 1
    assert before.rows()["same"] == ["0 of 2 images, 0 platforms; 2 failed"]
    done = await call(tmp_path, "load", *flags)
    assert done.status == 0, done
    rows = done.rows()
    assert rows["loaded"] == ["2 images, 3 platforms"]
    assert rows["sent"][0].startswith("7 blobs, ")
    assert rows["registry"] == [f"{pushable_registry.address}/mirror"]
    assert "next" not in rows
    assert await pushable_registry.content.tags("mirror/team/one") == ["1"]
    assert await pushable_registry.content.tags("mirror/two") == ["2"]
    again = await call(tmp_path, "load", *flags)
    assert again.rows()["unchanged"] == ["2 images, there already"]
    assert again.rows()["sent"] == ["0 blobs, 0 B"]
    after = await call(tmp_path, "load-validate", *flags)
    assert (after.status, after.rows()["same"]) == (0, ["2 images, 3 platforms"])
    assert list(tmp_path.glob("*.txt")) == []
    assert list(tmp_path.glob(".load*")) == []


@pytest.mark.parametrize("source", ["plain.tar.gz", "foreign.tar.gz"])
def test_at_a_real_registry(source: str, shelf: Shelf, program: Program, docker_registry: str) -> None:
    place = f"{docker_registry}/{source.partition('.')[0]}"
    flags = ("-s", str(shelf.home / source), "-d", place)
    before = program("load-validate", *flags)
    assert (before.status, before.rows()["same"]) == (1, ["0 of 2 images, 0 platforms; 2 failed"])
    assert before.rows()["next"][1] == f"hangar-async load -s {flags[1]} -d {place} -f load-validate-failed.txt"
    assert (program("load", *flags).status, program("load-validate", *flags, "--quiet")) == (0, Done(0, "", ""))
    after = program("load-validate", *flags)
    assert (after.status, after.rows()["same"]) == (0, ["2 images, 3 platforms"])


@pytest.mark.parametrize(
    ("spool", "problem"), [("file", "is no directory"), ("none", "does not exist"), ("closed", "cannot be written")]
)
def test_a_spool_that_cannot_be_used_is_refused_before_any_request(
    spool: str, problem: str, shelf: Shelf, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No registry listens there, which is not asked for."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "closed").mkdir()
    access = os.access
    # The system refuses nothing to root.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and access(path, mode))
    source, place = str(shelf.home / "foreign.tar.gz"), str(tmp_path / spool)
    done = program("load", "-s", source, "-d", "127.0.0.1:1", "--spool", place, "--quiet")
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(rf".*{re.escape(place)} {problem} \(--spool\): .*\n", done.err)
    assert sorted(os.listdir(tmp_path)) == ["closed", "file"]


@pytest.mark.parametrize("told", [True, False])
async def test_the_tag_of_an_image_and_its_signature_is_the_image(
    told: bool, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """A layout names both alike, the signature first; an annotation tells it, or its document alone."""
    name = {"io.containerd.image.name": "r.io/team/app:v1"}
    app = small("app")
    signature = artifact("application/vnd.oci.image.config.v1+json", b"signature", "text/plain")
    kinds = [{"kind": f"dev.cosignproject.cosign/{kind}"} if told else {} for kind in ("sigs", "image")]
    layout = make_layout(tmp_path / "layout", [(signature, {**name, **kinds[0]}), (app, {**name, **kinds[1]})])
    done = await call(tmp_path, "load", "-s", str(layout), "-d", pushable_registry.address)
    assert done.status == 0, done
    assert await tagged(pushable_registry.content, "team/app:v1") == app.digest
    place = f"team/app:sha256-{app.digest.hex}.sig" if told else f"library/layout:{signature.digest.tag}"
    assert await tagged(pushable_registry.content, place) == signature.digest


async def test_the_next_step_pushes_the_failed_images(
    shelf: Shelf, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    pushable_registry.fail("/two/manifests/2$", Status(403), method="PUT")
    source, address = str(shelf.home / "plain.tar.gz"), pushable_registry.address
    done = await call(tmp_path, "load", "-s", source, "-d", address, "--platform-tags", "--retries=2")
    assert done.status == 1
    rows = done.rows()
    assert rows["loaded"] == ["1 of 2 images, 2 platforms; 1 failed"]
    [reason, advice] = rows["failed"]
    assert reason == f"{shelf.images[1]}: unauthorised"
    assert "hangar-async login" in advice
    told, line = rows["next"]
    assert told == "the failed images are in load-failed.txt; to push these images:"
    assert line == (
        f"hangar-async load -s {source} -d {address} -f load-failed.txt "
        "-o load-failed-2.txt --platform-tags --retries 2"
    )
    again = await call(tmp_path, *line.split()[1:])
    assert (again.status, again.rows()["loaded"]) == (0, ["1 image, 1 platform"])
    assert not (tmp_path / "load-failed-2.txt").exists()


async def test_the_environment_names_registry_and_user(
    shelf: Shelf, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    pushable_registry.auth = Basic({"me": "pass:word"})
    env = {"DEST_REGISTRY": pushable_registry.address, "DEST_USERNAME": "me", "DEST_PASSWORD": "pass:word"}
    for name in ("load", "load-validate"):
        done = await call(tmp_path, name, "-s", str(shelf.home / "plain.tar.gz"), **env)
        assert done.status == 0, done
    done = await call(tmp_path, "load", "-s", str(shelf.home / "plain.tar.gz"), **{**env, "DEST_PASSWORD": "other"})
    assert done.status == 3
    assert "pass:word" not in done.err
    assert re.fullmatch(r"hangar-async: .* denies access to .*\n", done.err.splitlines(keepends=True)[-1])


def test_a_dry_run(shelf: Shelf, program: Program) -> None:
    """Nothing is there to be asked."""
    done = program("load", "-s", str(shelf.home / "split.tar.gz"), "-d", "reg.invalid/mirror", "--dry-run")
    assert done.status == 0
    assert done.rows()["would load"] == ["2 images, 3 platforms"]
    assert done.rows()["image"][0] == f"{shelf.images[0]} -> reg.invalid/mirror/team/one:1"
    one = program("load", "-s", str(shelf.home / "split.tar.gz"), "-d", "reg.invalid", "--dry-run", "--image=*/two:*")
    assert one.rows()["image"] == [f"{shelf.images[1]} -> reg.invalid/library/two:2"]


def test_two_images_of_one_name(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    """Found before anything is asked: the registry of a name is dropped."""
    copy = shelf.copy("saved-image-cache", tmp_path) / "saved-image-cache"
    index = json.loads((copy / "index.json").read_text())
    listed = json.loads((copy / "saved-images-list.json").read_text())
    twin = json.loads(json.dumps(index["manifests"][1]).replace(shelf.address, "other.example.com"))
    item = json.loads(json.dumps(listed["List"][1]).replace(shelf.address, "other.example.com"))
    index["manifests"].append(twin)
    listed["List"].append(item)
    (copy / "index.json").write_text(json.dumps(index))
    (copy / "saved-images-list.json").write_text(json.dumps(listed))
    done = program("load", "-s", str(copy), "-d", "reg.invalid")
    assert done.status == 2
    assert f"{shelf.images[1]} and other.example.com/two:2 would both be reg.invalid/library/two:2" in done.err


async def test_quiet(shelf: Shelf, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    flags = ["--quiet", "-s", str(shelf.home / "plain.tar.gz"), "-d", pushable_registry.address]
    assert await call(tmp_path, "load", *flags) == Done(0, "", "")
    assert await call(tmp_path, "load-validate", *flags) == Done(0, "", "")


async def test_an_interrupt(shelf: Shelf, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    reached = asyncio.Event()
    pushable_registry.fail("/blobs/uploads/", Hold(asyncio.Event(), reached), method="PUT", times=None)
    words = command("load", "-s", str(shelf.home / "foreign.tar.gz"), "-d", pushable_registry.address)
    process = await asyncio.create_subprocess_exec(
        *words, cwd=tmp_path, env=environment(tmp_path), stdin=-1, stdout=-1, stderr=-1
    )
    await reached.wait()
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert "what was pushed stays at the registry" in err.decode()
    assert list(tmp_path.iterdir()) == []
