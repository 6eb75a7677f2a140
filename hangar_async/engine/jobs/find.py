"""The repositories of a registry: by its catalog, else by the API of Harbor."""

from __future__ import annotations

from functools import partial

from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.queue import Ticket, planning_rank
from hangar_async.errors import ContentError, HangarError, NetworkError, RegistryError, Unauthorized
from hangar_async.jobfile.jobs import Source
from hangar_async.oci import is_repository
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.harbor import HarborProjects

#: The most repositories that are listed.
_MOST = 200_000


class RepositoryFinder:
    """Lists the repositories of registries; a catalog is listed once. `https` is for the API of Harbor."""

    def __init__(self, client: LimitedClient, registry_client: RegistryClient, *, https: bool) -> None:
        self._client = client
        self._registry_client = registry_client
        self._https = https
        self._catalogs: dict[str, list[str]] = {}

    async def find(self, source: Source, registry: str) -> list[str]:
        """List the names of repositories at a registry, among them all that a pattern matches; raises HangarError.

        Harbor lists its repositories to administrators alone, but those of a project to its members.
        """
        try:
            return await self._catalog(registry)
        except RegistryError as error:
            if error.transient:
                raise
            project, slash, _ = source.repository.partition("/")
            if slash and "*" not in project:
                try:
                    return await self._harbor(registry, project)
                except Unauthorized:
                    raise
                except (RegistryError, ContentError, NetworkError):
                    pass
            raise _explained(error, registry) from error

    async def _catalog(self, registry: str) -> list[str]:
        if registry in self._catalogs:
            return self._catalogs[registry]
        names: list[str] = []
        pages, page = 0, None
        while pages == 0 or page is not None:
            found = await self._client.list_repositories(registry, Ticket(planning_rank(0), ahead=True), page)
            pages, page = pages + 1, found.next
            names += found.names
            _check_count(len(names) + pages, registry)
        self._catalogs[registry] = names
        return names

    async def _harbor(self, registry: str, project: str) -> list[str]:
        harbor = HarborProjects(self._registry_client, registry, https=self._https)
        names: list[str] = []
        number = 1
        subject = f"the repositories of project {project} of {registry}"
        while found := await self._client.call(subject, registry, partial(harbor.repositories, project, number)):
            names += filter(is_repository, found)
            number += 1
            _check_count(len(names) + number, registry)
        return names


def _check_count(count: int, registry: str) -> None:
    """Raise ContentError for too many names and pages: some may be empty."""
    if count > _MOST:
        message = f"{registry} lists more than {_MOST:,} repositories"
        raise ContentError(message, advice="name the repositories one by one in the job file")


def _explained(error: RegistryError, registry: str) -> HangarError:
    """Say for an error of a catalog that the repositories must be named."""
    error.advice = f"{registry} may list no repositories at all: name them one by one in the job file, or log in"
    return error
