"""`load-validate` as a person runs it."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.cli.shelf import Shelf
from tests.cli.site import Done, call
from tests.failed_list import names_in
from tests.fakes.registry import FakeRegistry


async def test_the_next_step_pushes_the_different_images(
    shelf: Shelf, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source, address = str(shelf.home / "plain.tar.gz"), pushable_registry.address
    await call(tmp_path, "load", "-s", source, "-d", address, "--image", "team/one")
    done = await call(tmp_path, "load-validate", "-s", source, "-d", address)
    rows = done.rows()
    assert rows["failed"] == [f"{shelf.images[1]}: differs", "it is not there; bring it there again"]
    assert names_in(tmp_path / "load-validate-failed.txt") == [shelf.images[1]]
    await call(tmp_path, *rows["next"][1].split()[1:])
    assert (await call(tmp_path, "load-validate", "-s", source, "-d", address)).status == 0
    assert not (tmp_path / "load-validate-failed.txt").exists()


async def test_equal_images_have_status_0_and_no_next_step(
    shelf: Shelf, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    flags = ("-s", str(shelf.home / "plain.tar.gz"), "-d", pushable_registry.address)
    await call(tmp_path, "load", *flags)
    done = await call(tmp_path, "load-validate", *flags)
    assert (done.status, list(done.rows())) == (0, ["registry", "time", "same"])
    assert await call(tmp_path, "load-validate", *flags, "--quiet") == Done(0, "", "")


async def test_nothing_is_sent(shelf: Shelf, pushable_registry: FakeRegistry, tmp_path: Path) -> None:
    flags = ("-s", str(shelf.home / "plain.tar.gz"), "-d", pushable_registry.address)
    assert (await call(tmp_path, "load-validate", *flags)).status == 1
    assert {request.method for request in pushable_registry.requests} <= {"GET", "HEAD"}


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("-d", "reg.local"), r"missing option '-s' / '--source'"),
        (("-s", "x"), r"no registry is named to load into: write --destination or --to, or set DEST_REGISTRY"),
        (("-s", "x", "-d", "reg.local", "--dry-run"), r"no such option: --dry-run"),
    ],
)
def test_a_wrong_command_line_is_an_error(program: Program, flags: tuple[str, ...], line: str) -> None:
    done = program("load-validate", *flags)
    assert (done.status, done.out) == (2, "")
    assert re.search(line, done.err)
