"""A user name of the environment goes to one registry, or to none."""

from __future__ import annotations

import pytest

from hangar_async.config.registries import RegistrySettings
from hangar_async.engine.logins import registry_of_login

LOGIN = RegistrySettings(username="me", password="x")


@pytest.mark.parametrize(
    ("settings", "registries", "chosen", "found"),
    [
        (RegistrySettings(), ["a"], None, None),
        (LOGIN, ["a"], None, "a"),
        (LOGIN, ["a", "a"], None, "a"),
        (LOGIN, ["a", "b"], "c", "c"),
        (LOGIN, ["a", "b"], None, None),
    ],
)
def test_the_registry_of_a_login(
    settings: RegistrySettings, registries: list[str], chosen: str | None, found: str | None
) -> None:
    notices: list[str] = []
    assert registry_of_login(settings, registries, chosen, "X_USERNAME", "--source", notices.append) == found
    if settings.username and found is None:
        [notice] = notices
        assert notice.startswith("X_USERNAME is not used: the list names 2 registries (a, b); say which one it is for")
    else:
        assert notices == []
