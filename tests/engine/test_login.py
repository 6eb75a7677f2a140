from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import LoginOptions, LogoutOptions
from hangar_async.config.registries import RegistrySettings
from hangar_async.engine.login import Login, login, logout, registry_named
from hangar_async.errors import NetworkError, NotFound, Unauthorized, UsageError
from tests.fakes.auth import Auth, Basic, TokenServer
from tests.fakes.docker_registry import PASSWORD, USERNAME
from tests.fakes.faults import Status
from tests.fakes.registry import fake_registry

_NOTHING = Status(404)


def login_file(login_environment: Environment) -> Path:
    assert login_environment.login_file is not None
    return login_environment.login_file


@pytest.mark.parametrize("auth", [Basic({"me": "pass:word"}), TokenServer({"me": "pass:word"})], ids=["basic", "token"])
async def test_a_login_is_checked_and_kept(login_environment: Environment, auth: Auth) -> None:
    async with fake_registry(auth=auth) as registry:
        kept = await login(
            LoginOptions(f"http://{registry.address}/v2/", "me", "pass:word", environment=login_environment)
        )
        assert kept == Login(registry.address, str(login_environment.login_file), checked=True)
        assert list(json.loads(login_file(login_environment).read_text())["auths"]) == [registry.address]
        assert await logout(LogoutOptions(registry.address, environment=login_environment))
        assert not await logout(LogoutOptions(registry.address, environment=login_environment))


@pytest.mark.parametrize("auth", [Basic({"me": "other"}), TokenServer({"me": "other"})], ids=["basic", "token"])
async def test_a_wrong_password_is_not_kept(login_environment: Environment, auth: Auth) -> None:
    async with fake_registry(auth=auth) as registry:
        with pytest.raises(Unauthorized, match="does not take this user name and password") as caught:
            await login(LoginOptions(registry.address, "me", "pass:word", environment=login_environment))
    assert not login_file(login_environment).exists()
    assert "pass:word" not in f"{caught.value} {caught.value.advice} {caught.value!r}"


async def test_a_login_uses_the_given_password_alone(login_environment: Environment) -> None:
    """An earlier login, or the environment's own user, does not make a wrong one look right."""
    async with fake_registry(auth=Basic({"me": "right"})) as registry:
        await login(LoginOptions(registry.address, "me", "right", environment=login_environment))
        files = (login_file(login_environment),)
        settings = RegistrySettings(username="me", password="right", credential_files=files)
        with pytest.raises(Unauthorized):
            await login(
                LoginOptions(
                    registry.address, "me", "wrong", environment=replace(login_environment, destinations=settings)
                )
            )


async def test_a_registry_that_asks_nobody(login_environment: Environment) -> None:
    async with fake_registry() as registry:
        assert not (await login(LoginOptions(registry.address, "me", "x", environment=login_environment))).checked
    assert login_file(login_environment).exists()


async def test_a_host_without_a_registry_is_refused(login_environment: Environment) -> None:
    async with fake_registry() as registry:
        registry.fail("/v2/", _NOTHING, times=None)
        with pytest.raises(NotFound, match="is no registry"):
            await login(LoginOptions(registry.address, "me", "x", environment=login_environment))
    with pytest.raises(NetworkError):
        await login(LoginOptions(registry.address, "me", "x", environment=login_environment))
    assert not login_file(login_environment).exists()


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("me", ""), ("a:b", "x")])
async def test_an_impossible_user_or_password_is_refused(
    login_environment: Environment, username: str, password: str
) -> None:
    with pytest.raises(UsageError, match="missing, or not possible"):
        await login(LoginOptions("reg.io", username, password, environment=login_environment))


@pytest.mark.parametrize(("username", "password"), [("me\n", "x"), ("me", "x\r")])
async def test_a_user_or_password_that_cannot_be_sent_is_refused(
    login_environment: Environment, username: str, password: str
) -> None:
    with pytest.raises(UsageError, match="has a line end"):
        await login(LoginOptions("reg.io", username, password, environment=login_environment))


@pytest.mark.parametrize(
    ("text", "registry"),
    [("reg.io:5000", "reg.io:5000"), ("https://reg.io/", "reg.io"), ("https://index.docker.io/v1/", "docker.io"),
     ("docker.io", "docker.io"), ("http://[::1]:5000/v2", "[::1]:5000")],
)  # fmt: skip
def test_names_of_registries(text: str, registry: str) -> None:
    assert registry_named(text) == registry


@pytest.mark.parametrize("text", ["", "reg.io/team", "https://", "a b", "reg.io:99999"])
async def test_an_invalid_name_of_a_registry_is_refused(login_environment: Environment, text: str) -> None:
    with pytest.raises(UsageError, match="is not a registry"):
        await login(LoginOptions(text, "me", "x", environment=login_environment))
    with pytest.raises(UsageError, match="is not a registry"):
        await logout(LogoutOptions(text, environment=login_environment))


async def test_a_real_registry(login_environment: Environment, htpasswd_registry: str) -> None:
    with pytest.raises(Unauthorized):
        await login(LoginOptions(htpasswd_registry, USERNAME, "wrong", environment=login_environment))
    assert (await login(LoginOptions(htpasswd_registry, USERNAME, PASSWORD, environment=login_environment))).checked


async def test_without_a_file_for_logins_nothing_is_asked() -> None:
    for work in (login(LoginOptions("reg.io", "me", "x")), logout(LogoutOptions("reg.io"))):
        with pytest.raises(UsageError, match="no file for logins is known: set login_file"):
            await work
