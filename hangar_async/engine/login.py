"""The verbs `login` and `logout`."""

from dataclasses import dataclass, replace
from pathlib import Path

from hangar_async.config.environment import Environment
from hangar_async.config.options import LoginOptions, LogoutOptions
from hangar_async.config.registries import checked_secret
from hangar_async.engine.events import Notice, Observer, ignore
from hangar_async.engine.outputs import check_file, told_disk
from hangar_async.errors import InvalidValue, Unauthorized, UsageError
from hangar_async.oci import parse_registry
from hangar_async.registry.auth.credentials import Logins
from hangar_async.registry.client import RegistryClient
from hangar_async.threads import in_thread

_VERSIONS = ("/v1", "/v2")


@dataclass(frozen=True, slots=True)
class Login:
    """A login that was kept: `place` is the file or the program that has it.

    `checked` says that the registry took it; one that asks for no credentials takes any.
    """

    registry: str
    place: str
    checked: bool


async def login(options: LoginOptions, observer: Observer = ignore) -> Login:
    """Check a user name and password at a registry, and keep them in the configuration of Docker.

    Raises UsageError, Unauthorized where the registry does not take them, RegistryError, NetworkError, StorageError,
    and HangarError for a helper of Docker that fails. Nothing is kept then.
    """
    username, password, destinations = options.username, options.password, options.environment.destinations
    host, path = registry_named(options.registry), await _login_file(options.environment)
    if not username or not password or ":" in username:
        missing = "password" if username and not password else "user name"
        raise UsageError(f"{missing} missing, or not possible: a user name is not empty and has no colon")
    checked_secret(username, "given user name")
    checked_secret(password, "given password")
    settings = replace(destinations, username=username, password=password, credential_files=())
    async with RegistryClient(settings, username_for=host, notice=lambda text: observer(Notice(text))) as client:
        try:
            checked = await client.ping(host)
        except Unauthorized as error:
            raise Unauthorized(
                f"{host} does not take this user name and password{f': {error.said}' if error.said else ''}",
                host=error.host,
                status=error.status,
                code=error.code,
                said=error.said,
                advice="check both; some registries want a token in place of the password",
            ) from error
    with told_disk(lambda text: observer(Notice(text))) as disk:
        logins = Logins(path, options.environment.destinations.credential_helper_timeout, disk)
        place = await logins.keep(host, username, password)
    return Login(host, place, checked)


async def logout(options: LogoutOptions, observer: Observer = ignore) -> bool:
    """Remove the login of a registry from the configuration of Docker; False where none was kept.

    Raises UsageError, StorageError, and HangarError for a helper of Docker that fails.
    """
    path = await _login_file(options.environment)
    with told_disk(lambda text: observer(Notice(text))) as disk:
        logins = Logins(path, options.environment.destinations.credential_helper_timeout, disk)
        return await logins.drop(registry_named(options.registry))


async def _login_file(environment: Environment) -> Path:
    if environment.login_file is None:
        raise UsageError("no file for logins is known: set login_file of the environment, or use Environment.read()")
    await in_thread(check_file, environment.login_file, "the file of logins")
    return environment.login_file


def registry_named(text: str) -> str:
    """Read the name of a registry, also as Docker has it, with a scheme and `/v1/`; raises UsageError."""
    name = text.rpartition("://")[2].rstrip("/")
    for version in _VERSIONS:
        name = name.removesuffix(version)
    try:
        return parse_registry(name)
    except InvalidValue as error:
        raise UsageError(str(error)) from error
