"""The settings in the environment of the process; the only module that reads it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hangar_async.config.registries import (
    NO_MIRRORS,
    Mirrors,
    Proxies,
    RegistrySettings,
    checked_secret,
    read_registries_conf,
)
from hangar_async.errors import UsageError

# The time field of a tar header has eleven octal digits.
_LAST_SECOND = 8**11 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Settings, as the environment of a process gives them.

    `registries` are the settings of registries to pull from, `destinations` those of registries to push to.
    `login_file` is the configuration of Docker that keeps logins; None where none is known. `variables` are all values,
    for the `${NAME}` of job files.
    """

    source_registry: str | None = None
    destination_registry: str | None = None
    source_date_epoch: int | None = None
    registries: RegistrySettings = field(default_factory=RegistrySettings)
    destinations: RegistrySettings = field(default_factory=RegistrySettings)
    login_file: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Environment:
        """Read the environment (the process's own by default); raises UsageError. Empty values count as unset."""
        values = {name: value for name, value in (os.environ if environ is None else environ).items() if value}
        named, default = _credential_files(values)
        environment = cls(
            source_registry=values.get("SOURCE_REGISTRY"),
            destination_registry=values.get("DEST_REGISTRY"),
            source_date_epoch=_epoch(values.get("SOURCE_DATE_EPOCH")),
            registries=RegistrySettings(
                username=_secret(values, "SOURCE_USERNAME"),
                password=_secret(values, "SOURCE_PASSWORD"),
                credential_files=(*named, *default),
                default_credential_files=frozenset(default).difference(named),
                proxies=_proxies(values),
                mirrors=_mirrors(values),
            ),
            login_file=_docker_config(values),
            variables=values,
        )
        username, password = _secret(values, "DEST_USERNAME"), _secret(values, "DEST_PASSWORD")
        destinations = replace(environment.registries, username=username, password=password)
        return replace(environment, destinations=destinations)

    def noted(self) -> Environment:
        """Return these settings with variables that note which of them were read, so that they can be hidden."""
        # Imported late: commands without a job file do not need it.
        from hangar_async.config.variables import NotedVariables

        if isinstance(self.variables, NotedVariables):
            return self
        return replace(self, variables=NotedVariables(self.variables))

    def hidden(self, text: str) -> str:
        """Return a text without the values of variables that were read, where these are noted."""
        from hangar_async.config.variables import NotedVariables

        return self.variables.hide(text) if isinstance(self.variables, NotedVariables) else text

    def with_credentials(self, path: Path | None) -> Environment:
        """Return these settings with a file of credentials before all others; None changes nothing."""
        if path is None:
            return self
        sides = [
            replace(one, credential_files=(path, *one.credential_files)) for one in (self.registries, self.destinations)
        ]
        return replace(self, registries=sides[0], destinations=sides[1])


#: Settings as they are without any environment.
NO_ENVIRONMENT = Environment()


def _epoch(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) > _LAST_SECOND:
        raise UsageError(f"SOURCE_DATE_EPOCH={text!r} is not a time: write whole seconds since 1970")
    return int(text)


def _secret(values: Mapping[str, str], name: str) -> str | None:
    return checked_secret(values[name], f"value of {name}") if name in values else None


def _docker_config(values: Mapping[str, str]) -> Path:
    folder = Path(values["DOCKER_CONFIG"]) if "DOCKER_CONFIG" in values else _home(values) / ".docker"
    return folder / "config.json"


def _credential_files(values: Mapping[str, str]) -> tuple[list[Path], list[Path]]:
    """Return the files that may hold credentials: those that the environment names, and the usual ones after them."""
    home = _home(values)
    named = [_docker_config(values)] if "DOCKER_CONFIG" in values else []
    if "REGISTRY_AUTH_FILE" in values:
        named.append(Path(values["REGISTRY_AUTH_FILE"]))
    usual = [] if "DOCKER_CONFIG" in values else [_docker_config(values)]
    if "XDG_RUNTIME_DIR" in values:
        usual.append(Path(values["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    settings = Path(values["XDG_CONFIG_HOME"]) if "XDG_CONFIG_HOME" in values else home / ".config"
    return named, [*usual, settings / "containers" / "auth.json"]


def _mirrors(values: Mapping[str, str]) -> Mirrors:
    path = values.get("CONTAINERS_REGISTRIES_CONF")
    return read_registries_conf(Path(path)) if path else NO_MIRRORS


def _home(values: Mapping[str, str]) -> Path:
    try:
        return Path(values["HOME"]) if "HOME" in values else Path.home()
    except RuntimeError:
        # A user that the system does not know, as in a container; its runtimes take the root for the home then.
        return Path("/")


def _proxies(values: Mapping[str, str]) -> Proxies:
    def either(name: str) -> str | None:
        # Lower case wins, as in curl; upper-case HTTP_PROXY can be forged by a CGI request, which we never serve.
        return values.get(name.lower()) or values.get(name.upper())

    everything = either("all_proxy")
    bypass = tuple(part.strip() for part in (either("no_proxy") or "").split(",") if part.strip())
    return Proxies(either("http_proxy") or everything, either("https_proxy") or everything, bypass)
