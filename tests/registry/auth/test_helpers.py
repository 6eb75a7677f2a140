from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hangar_async.config.registries import RegistrySettings
from hangar_async.registry.auth.credentials import Credentials
from hangar_async.registry.auth.docker_config import Credential
from tests.fakes.credential_helpers import Helpers, says
from tests.registry.auth.rig import auth, find, write


async def test_an_identity_token_of_a_helper_is_read(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("id", says("<token>", "it"))
    path = write(tmp_path / "config.json", credsStore="id")
    assert await find(RegistrySettings(credential_files=(path,)), "a.io") == Credential(
        "docker-credential-id", identity_token="it"
    )


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'keychain is locked'; exit 1", "keychain is locked"),
        ("""echo '{"Secret":"hidden"}'; exit 2""", "failed"),
        ("echo 'hidden, but no JSON'", "no credential"),
        ("exit 0", "no credential"),
        ("""printf '{"x":'; head -c 200000 /dev/zero | tr '\\0' '['""", "no credential"),
        ("exec sleep 600", "did not answer"),
        ("sleep 600", "did not answer"),
        ("head -c 3000000 /dev/zero", "no credential"),
    ],
)
async def test_a_failing_helper_is_passed_over_with_a_notice(
    tmp_path: Path, helpers: Helpers, script: str, why: str
) -> None:
    helpers.add("bad", script)
    path = write(tmp_path / "config.json", credsStore="bad", auths={"a.io": auth("file", "x")})
    notices: list[str] = []
    settings = RegistrySettings(credential_files=(path,), credential_helper_timeout=0.5)
    credentials = Credentials(settings, None, notices.append)
    await credentials.load()
    for _ in range(2):
        assert await credentials.find("a.io", "app") == Credential(str(path), "file", "x")
    assert len(notices) == 1
    assert why in notices[0]
    assert "hidden" not in notices[0]


@pytest.mark.parametrize("name", ["missing", "../../bin/sh", "a b", "-x"])
async def test_an_impossible_helper_is_passed_over(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "config.json", credsStore=name)
    notices: list[str] = []
    credentials = Credentials(RegistrySettings(credential_files=(path,)), None, notices.append)
    await credentials.load()
    assert await credentials.find("a.io", "app") is None
    assert len(notices) == 1


async def test_a_helper_without_a_secret_knows_nothing(tmp_path: Path, helpers: Helpers) -> None:
    helpers.add("empty", says("me", ""))
    path = write(tmp_path / "config.json", credsStore="empty")
    assert await find(RegistrySettings(credential_files=(path,)), "a.io") is None


@pytest.mark.parametrize("by", ["cancellation", "time"])
async def test_a_helper_is_ended_with_all_that_it_started(tmp_path: Path, helpers: Helpers, by: str) -> None:
    os.mkfifo(tmp_path / "held")
    # The helper and its child hold the pipe open for as long as they live.
    helpers.add("slow", f"exec 3> {tmp_path}/held; echo started >&3; sleep 600; echo over")
    path = write(tmp_path / "config.json", credsStore="slow")
    limit = 600 if by == "cancellation" else 0.5
    credentials = Credentials(
        RegistrySettings(credential_files=(path,), credential_helper_timeout=limit), None, lambda _: None
    )
    await credentials.load()
    task = asyncio.ensure_future(credentials.find("a.io", "app"))
    held = await asyncio.to_thread((tmp_path / "held").open)
    with held:
        assert await asyncio.to_thread(held.readline) == "started\n"
        if by == "cancellation":
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() is (by == "cancellation")
        assert await asyncio.to_thread(held.read) == ""
