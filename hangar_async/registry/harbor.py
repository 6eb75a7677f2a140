"""Harbor's projects: an image can be pushed only into one that exists.

Source: Harbor API v2.0, "project" and "repository".
"""

from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from urllib.parse import quote

import msgspec
from yarl import URL

from hangar_async.errors import ContentError, NetworkError, NotFound, Unauthorized
from hangar_async.oci import decode_json
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http.addresses import places_of
from hangar_async.registry.http.proxies import basic
from hangar_async.registry.http.response import Response

_PROJECTS = "/api/v2.0/projects"
_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}
#: The words of OpenSSL for an answer that is not of TLS.
_PLAIN = "wrong version number"
_ASK_ADMIN = "have an administrator of Harbor make the project, or use an account that may do it"


#: The repositories that Harbor is asked for at once, its own limit, and the bytes of a page.
_PAGE = 100
_LARGEST = 4 << 20


class _RepositoryJson(msgspec.Struct):
    name: str


class HarborProjects:
    """The projects of a Harbor, over the session of a client, with the user name and password of the registry.

    `https` False uses plain HTTP. Harbor wants its own token against forged requests only with the cookie of a
    session, and no cookie is kept here. All calls raise RegistryErrors and NetworkError.
    """

    def __init__(self, client: RegistryClient, registry: str, *, https: bool = True) -> None:
        self._registry = registry
        self._transport = client.exchange.transport
        self._transport.named.update(places_of(registry))
        self._credentials = client.credentials
        self._url = URL(f"{'https' if https else 'http'}://{registry}").join(URL(_PROJECTS))

    async def exists(self, project: str) -> bool:
        """Tell whether a project of this name exists."""
        url = self._url.with_query({"project_name": project})
        async with self._ask("HEAD", url, f"project {project}", None, (200, 404)) as response:
            return response.status == 200

    async def create(self, project: str, *, public: bool = False) -> bool:
        """Make a project; False where one of this name exists already."""
        body = msgspec.json.encode({"project_name": project, "metadata": {"public": "true" if public else "false"}})
        try:
            async with self._ask("POST", self._url, f"project {project}", body, (201, 409)) as response:
                await response.drain()
                return response.status == 201
        except NotFound as error:
            message = f"{self._registry} is no Harbor: it has no {_PROJECTS}"
            raise NotFound(message, host=error.host, status=404, advice="leave out --repo-type harbor") from error
        except Unauthorized as error:
            error.advice = _ASK_ADMIN if error.status == 403 else error.advice
            raise

    async def repositories(self, project: str, page: int) -> list[str]:
        """List the names of the repositories of a project: a page of them, from 1 on; an empty one is behind the last.

        Raises ContentError for what is no such list.
        """
        subject = f"the repositories of project {project}"
        path = f"{_PROJECTS}/{quote(project, safe='')}/repositories"
        url = self._url.join(URL(path, encoded=True)).with_query({"page": page, "page_size": _PAGE})
        async with self._ask("GET", url, subject, None, (200,)) as response:
            raw = await response.read(subject, _LARGEST)
        return parse_repositories(raw, f"{subject} of {self._registry}")

    @asynccontextmanager
    async def _ask(
        self, method: str, url: URL, subject: str, body: bytes | None, accepted: Container[int]
    ) -> AsyncIterator[Response]:
        credential = await self._credentials.find(self._registry, "")
        login = basic(credential.username, credential.password) if credential and credential.username else None
        try:
            answer = await self._transport.send(
                url, self._registry, headers=_HEADERS, authorization=login, method=method, body=body
            )
        except NetworkError as error:
            # It is asked again for as long as a host that gives no answer, and this one has answered.
            if _PLAIN not in str(error):
                raise
            message = f"{self._registry} answers in plain HTTP, and Harbor's API was asked by HTTPS"
            advice = "--harbor-https=false asks it by HTTP"
            raise NetworkError(message, host=error.host, transient=False, advice=advice) from error
        async with answer as response:
            if response.status not in accepted:
                source = credential.source if credential and login else ""
                raise await response.refusal(subject, source, push=True)
            yield response


def parse_repositories(raw: bytes, subject: str) -> list[str]:
    """Return the names of a page of repositories; raises ContentError."""
    try:
        return [repository.name for repository in decode_json(raw, list[_RepositoryJson])]
    except ValueError as error:
        raise ContentError(f"{subject} are not what they should be: {error}") from error
