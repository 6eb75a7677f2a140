"""The verbs `login` and `logout`."""

from dataclasses import dataclass, replace

from hangar_async.config.environment import Environment
from hangar_async.engine.events import Notice, Observer, ignore
from hangar_async.errors import InvalidValue, Unauthorized, UsageError
from hangar_async.oci.reference import parse_registry
from hangar_async.registry.auth.credentials import Logins
from hangar_async.registry.client import RegistryClient

_VERSIONS = ("/v1", "/v2")


@dataclass(frozen=True, slots=True)
class Login:
    """A login that was kept: `place` is the file or the program that has it.

    `checked` says that the registry took it; one that asks for no credentials takes any.
    """

    registry: str
    place: str
    checked: bool


async def login(
    registry: str,
    username: str,
    password: str,
    *,
    environment: Environment | None = None,
    observe: Observer = ignore,
) -> Login:
    """Check a user name and password at a registry (HOST[:PORT]), and keep them in the configuration of Docker.

    Raises UsageError, Unauthorized where the registry does not take them, RegistryError, NetworkError, StorageError,
    and HangarError for a helper of Docker's that fails. Nothing is kept then.
    """
    chosen = environment or Environment.read()
    host = registry_named(registry)
    if not username or not password or ":" in username:
        what = "password" if username and not password else "user name"
        raise UsageError(f"{what} missing, or not possible: a user name is not empty and has no colon")
    settings = replace(chosen.destinations, username=username, password=password, credential_files=())
    async with RegistryClient(settings, username_for=host, notice=lambda text: observe(Notice(text))) as client:
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
    place = await Logins(chosen.login_file, settings.credential_helper_timeout).keep(host, username, password)
    return Login(host, place, checked)


async def logout(registry: str, *, environment: Environment | None = None) -> bool:
    """Forget what is kept for a registry in the configuration of Docker; False where nothing was.

    Raises UsageError, StorageError, and HangarError for a helper of Docker's that fails.
    """
    chosen = environment or Environment.read()
    limit = chosen.destinations.credential_helper_timeout
    return await Logins(chosen.login_file, limit).drop(registry_named(registry))


def registry_named(text: str) -> str:
    """Read the name of a registry, also as Docker has it, with a scheme and `/v1/`; raises UsageError."""
    name = text.rpartition("://")[2].rstrip("/")
    for version in _VERSIONS:
        name = name.removesuffix(version)
    try:
        return parse_registry(name)
    except InvalidValue as error:
        raise UsageError(str(error)) from error
