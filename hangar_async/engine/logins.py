"""The registry that a user name and password of the environment are for."""

from collections.abc import Callable, Iterable

from hangar_async.config.registries import RegistrySettings


def registry_of_login(
    settings: RegistrySettings,
    registries: Iterable[str],
    chosen: str | None,
    variable: str,
    flag: str,
    notice: Callable[[str], None],
) -> str | None:
    """Return the one registry that gets the user name of the settings, which come from `variable`; None for none.

    It is the one that is `chosen` by `flag`, or the only one of the run; several are told.
    """
    if settings.username is None:
        return None
    names = sorted(set(registries))
    if chosen or len(names) == 1:
        return chosen or names[0]
    notice(
        f"{variable} is not used: the list names {len(names)} registries ({', '.join(names[:3])}); "
        f"say which one it is for with {flag}, or log in to each"
    )
    return None
