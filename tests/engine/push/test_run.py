"""The images of a load, their names at the destination, and the projects that it makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings
from hangar_async.config.shard import Shard
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.events import Event, ImagePlanned
from hangar_async.engine.push.run import open_selection
from hangar_async.errors import NotFound, Unauthorized, UsageError
from tests.engine.forms import Saved
from tests.engine.loading import run_load, run_validate, tagged
from tests.engine.made import make_cache, make_layout
from tests.fakes.harbor import PASSWORD, Harbor
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry
from tests.layout.rig import REF


async def test_a_prefix_and_another_project(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    address = f"{pushable_registry.address}/mirror/of"
    await run_load(tmp_path, everything.at("dir"), address, images=["*/multi:1"])
    assert await tagged(pushable_registry.content, "mirror/of/multi:1") is not None
    await run_load(tmp_path, everything.at("dir"), pushable_registry, images=["multi"], default_project="other")
    assert await tagged(pushable_registry.content, "other/multi:1") is not None
    await run_load(tmp_path, everything.at("dir"), pushable_registry, images=["multi:*"], default_project="")
    assert await tagged(pushable_registry.content, "multi:1") is not None


def test_a_template_names_the_images(tmp_path: Path) -> None:
    """What two images of one name at two registries are with a prefix, a template tells apart."""
    names = ["docker.io/library/app:1", "quay.io/app:1", "quay.io:443/team/tool:2"]
    source = make_cache(tmp_path / "cache", {name: small(name) for name in names})

    def targets(template: str, **keywords: Any) -> list[str]:
        selection = open_selection(LoadOptions(source=source, template=template, **keywords), lambda: None)
        return [selection.registry, *(str(target) for _, target in selection.images)]

    names = ["docker.io/library/app:1", "quay.io/app:1", "quay.io-443/team/tool:2"]
    assert targets("reg.lan/m/{registry}/{repository}") == ["reg.lan", *(f"reg.lan/m/{name}" for name in names)]
    assert targets("reg.lan/{name}", images=["*/library/app"]) == ["reg.lan", "reg.lan/app:1"]
    with pytest.raises(UsageError, match=r"docker\.io/library/app:1 and quay\.io/app:1 would both be reg\.lan/app:1"):
        targets("reg.lan/{name}")
    several = (
        r"--to '{registry}/x/{name}' names two registries, docker\.io for docker\.io/library/app:1 and quay\.io for"
    )
    with pytest.raises(UsageError, match=several):
        targets("{registry}/x/{name}", images=["*app"])
    with pytest.raises(UsageError, match=r"quay\.io/app:1 has no \{2\}: write"):
        targets("reg.lan/{2}")


def test_a_list_may_name_an_image_by_its_digest(tmp_path: Path) -> None:
    """As the list of failed images does where it has no other name."""
    built = small("app")
    source = make_layout(tmp_path / "dir", [(built, {}), (small("other"), {REF: "other:1"})])
    options = LoadOptions(source=source, destination="reg.lan", image_list=[str(built.digest), "other:1"])
    assert [image.digest for image, _ in open_selection(options, lambda: None).images] == [
        built.digest,
        small("other").digest,
    ]
    with pytest.raises(UsageError, match="is not in"):
        open_selection(replace(options, image_list=[f"sha256:{'0' * 64}"]), lambda: None)


def test_an_image_without_a_name_goes_under_its_digest_unless_it_gets_one(tmp_path: Path) -> None:
    built = small("app")
    source = make_layout(tmp_path / "My.Dir", [(built, {REF: "Not A Name"})])

    def target(**keywords: Any) -> str:
        options = LoadOptions(source=source, destination="reg.lan", **keywords)
        ((_, target),) = open_selection(options, lambda: None).images
        return str(target)

    assert target() == f"reg.lan/library/my.dir:{built.digest.tag}"
    assert target(name="team/app:2") == "reg.lan/team/app:2"
    with pytest.raises(UsageError, match="--name: 'A B'"):
        target(name="A B")
    make_layout(source, [(built, {REF: "1.0+build.5"})])
    assert target() == "reg.lan/library/my.dir:1.0_build.5"
    make_layout(source, [(built, {}), (small("other"), {})])
    with pytest.raises(UsageError, match="is for one image, and these are selected"):
        target(name="a:1")
    make_layout(source, [(built, {}), (small("other"), {REF: "app:1"})])
    options = LoadOptions(source=source, destination="reg.lan", name="new:1")
    assert [str(target) for _, target in open_selection(options, lambda: None).images] == [
        "reg.lan/library/new:1",
        "reg.lan/library/app:1",
    ]


async def test_images_without_a_name_are_told(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    source = make_layout(
        tmp_path / "dir", [(small(f"app{number}"), {REF: "a b"} if number else {}) for number in range(7)]
    )
    report = await run_load(tmp_path, source, pushable_registry, dry_run=True)
    assert "has no name and goes to" in report.notices[0]
    assert "('a b' is no name of an image)" in report.notices[1]
    assert report.notices[-1] == "2 more images have no name"
    assert len(report.notices) == 6


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("nginx:1.27", True),
        ("nginx", True),
        ("docker.io/nginx:1.27", True),
        ("docker.io/library/nginx:1.27", True),
        ("library/nginx", True),
        ("ngin?:1.*", True),
        ("nginx:1.26", False),
        ("inx:1.27", False),
    ],
)
def test_a_name_of_docker_hub_is_matched_as_everywhere(tmp_path: Path, pattern: str, found: bool) -> None:
    source = make_cache(tmp_path / "cache", {"docker.io/library/nginx:1.27": small("a"), "quay.io/x:1": small("b")})
    options = LoadOptions(source=source, destination="reg.lan", images=[pattern])
    if found:
        assert len(open_selection(options, lambda: None).images) == 1
        return
    with pytest.raises(UsageError, match="matches"):
        open_selection(options, lambda: None)


async def test_a_template_wins_over_the_environment(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    source = make_cache(tmp_path / "cache", {"quay.io/team/app:1": small("app")})
    template = f"{pushable_registry.address}/{{registry}}/{{name}}"
    settings = Environment(destination_registry="reg.invalid")
    keywords: dict[str, Any] = {"template": template, "environment": settings}
    report = await run_load(tmp_path, source, "", **keywords)
    assert (report.status, report.destination) == (0, template)
    assert await tagged(pushable_registry.content, "quay.io/app:1") is not None
    assert (await run_validate(tmp_path, source, "", **keywords)).status == 0


async def test_a_selection_that_does_not_fit_the_source_is_refused(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"no image in .* matches 'none' .--image.; it has"):
        await run_load(tmp_path, everything.at("gzip"), pushable_registry, images=["none"])
    with pytest.raises(UsageError, match=r":2: quay\.local/x:1 is not in"):
        wanted = tmp_path / "list"
        wanted.write_text(f"{next(iter(everything.built))}\nquay.local/x:1\n")
        await run_load(tmp_path, everything.at("gzip"), pushable_registry, image_list=wanted)
    with pytest.raises(UsageError, match=r":1: 'quay\.local/x y' has white space"):
        wanted.write_text(f"quay.local/x y\n{next(iter(everything.built))}\n")
        await run_load(tmp_path, everything.at("gzip"), pushable_registry, image_list=wanted)
    with pytest.raises(UsageError, match="is gzip, not zstd"):
        await run_load(tmp_path, everything.at("gzip"), pushable_registry, format="zstd")
    with pytest.raises(UsageError, match="there is no"):
        await run_load(tmp_path, tmp_path / "missing.tar.gz", pushable_registry)
    assert pushable_registry.requests == []


async def test_the_failed_list_is_neither_the_source_nor_the_list(
    everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source = everything.copy("gzip", tmp_path)
    before = source.read_bytes()
    images = tmp_path / "list.txt"
    images.write_text(f"{next(iter(everything.built))}\n")
    for failed in (source, images):
        with pytest.raises(UsageError, match="would replace"):
            await run_load(tmp_path, source, pushable_registry, failed=failed, image_list=images)
    assert source.read_bytes() == before
    assert pushable_registry.requests == []


async def test_a_list_chooses_images(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    names = list(everything.built)[1:3]
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry, image_list=names)
    assert [outcome.image.name for outcome in report.outcomes] == names


async def test_a_dry_run_asks_for_nothing(everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    events: list[Event] = []
    report = await run_load(tmp_path, everything.at("gzip"), pushable_registry, events, dry_run=True)
    assert {outcome.state for outcome in report.outcomes} == {"planned"}
    assert report.status == 0
    assert pushable_registry.requests == []
    assert not (tmp_path / "load-failed.txt").exists()
    assert sum(isinstance(event, ImagePlanned) for event in events) == len(everything.built)


ADMIN = Environment(destinations=RegistrySettings(username="admin", password=PASSWORD))
OTHER = Environment(destinations=RegistrySettings(username="other", password="x"))


@pytest.mark.parametrize("public", [False, True])
async def test_projects_that_are_missing_are_made(
    harbor: Harbor, public: bool, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    where = f"{pushable_registry.address}/mirror"
    keywords: dict[str, Any] = {"harbor": True, "harbor_https": False, "harbor_public": public, "environment": ADMIN}
    report = await run_load(tmp_path, everything.at("gzip"), where, images=["multi", "oci:1"], **keywords)
    assert [str(outcome.error) for outcome in report.failed] == []
    assert harbor.projects["mirror"] == {"public": "true" if public else "false"}
    assert await tagged(pushable_registry.content, "mirror/multi:1") is not None
    assert len(pushable_registry.asked("/api/", "POST")) == 1
    # What is there is asked for, and not made again.
    await run_load(tmp_path, everything.at("gzip"), where, **keywords)
    assert len(pushable_registry.asked("/api/", "POST")) == 1


async def test_without_being_told_nothing_is_made(
    harbor: Harbor, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    where = f"{pushable_registry.address}/mirror"
    report = await run_load(tmp_path, everything.at("gzip"), where, images=["multi"], environment=ADMIN)
    assert isinstance(report.failed[0].error, NotFound)
    assert "make it there first" in report.failed[0].error.advice
    assert list(harbor.projects) == ["library"]


async def test_a_user_without_the_right_to_make_projects_is_refused(
    harbor: Harbor, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """No image can go there: the load ends before the first one; a project that is there is enough."""
    keywords: dict[str, Any] = {"harbor": True, "harbor_https": False, "environment": OTHER, "images": ["multi"]}
    with pytest.raises(Unauthorized, match="Only system admin"):
        await run_load(tmp_path, everything.at("gzip"), f"{pushable_registry.address}/mirror", **keywords)
    assert not pushable_registry.asked("/blobs/")
    assert (await run_load(tmp_path, everything.at("gzip"), pushable_registry, **keywords)).status == 0
    assert "mirror" not in harbor.projects


async def test_a_shard_has_the_repositories_of_the_target(pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    built = {f"quay.io/team/{name}:1": small(name) for name in "abc"}
    source, address = make_cache(tmp_path / "cache", built), pushable_registry.address
    reports = [await run_load(tmp_path, source, address, shard=f"{number}/40") for number in range(40)]
    assert {report.status for report in reports} == {0}
    loaded = [[outcome.target.name for outcome in report.outcomes] for report in reports]
    assert loaded == [[n for n in (f"{address}/team/{x}" for x in "abc") if n in Shard(i, 40)] for i in range(40)]
