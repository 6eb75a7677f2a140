"""Repositories of Amazon ECR: an image can be pushed only into one that exists.

Source: Amazon ECR API, DescribeRepositories, CreateRepository, PutLifecyclePolicy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

from hangar_async.config.creation import account_and_region
from hangar_async.errors import HangarError, NetworkError, RegistryError, Unauthorized
from hangar_async.threads import in_thread

_T = TypeVar("_T")
_THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"})
_LOG_IN = "give botocore credentials that may {action}: in its variables, a profile, or the role of this machine or pod"
#: The repositories that are asked for at once.
_PAGE = 1_000


class EcrRepositories:
    """The repositories of an Amazon ECR, by a client of botocore.

    Its credentials are those that botocore finds: variables of the process, profiles, roles. All calls raise
    RegistryErrors, Unauthorized for a login that may not do it, and NetworkError.
    """

    def __init__(self, registry: str, client: Any) -> None:
        self._registry = registry
        self._account, _ = account_and_region(registry)
        self._client = client

    @classmethod
    async def opened(cls, registry: str, *, tls_verify: bool = True) -> EcrRepositories:
        """Open the API of a registry; raises UsageError for one that is no ECR."""
        _, region = account_and_region(registry)
        return cls(registry, await in_thread(_client, region, tls_verify))

    async def names(self) -> frozenset[str] | None:
        """List the names of all repositories; None where the login may not."""
        try:
            return frozenset(await self._call(self._names, "ecr:DescribeRepositories"))
        except Unauthorized as error:
            if error.status != 403:
                raise
            return None

    def _names(self) -> list[str]:
        pages = self._client.get_paginator("describe_repositories").paginate(
            registryId=self._account, PaginationConfig={"PageSize": _PAGE}
        )
        return [repository["repositoryName"] for page in pages for repository in page["repositories"]]

    async def create(self, name: str, *, immutable_tags: bool = False, policy: str = "") -> bool:
        """Make a repository, with a lifecycle policy; False where one of this name exists already, and stays."""
        mutability = "IMMUTABLE" if immutable_tags else "MUTABLE"
        keywords = {"registryId": self._account, "repositoryName": name}
        make = partial(self._client.create_repository, **keywords, imageTagMutability=mutability)
        try:
            await self._call(make, "ecr:CreateRepository", name)
        except RegistryError as error:
            if error.code == "RepositoryAlreadyExistsException":
                return False
            raise
        if policy:
            put = partial(self._client.put_lifecycle_policy, **keywords, lifecyclePolicyText=policy)
            await self._call(put, "ecr:PutLifecyclePolicy", name)
        return True

    async def _call(self, call: Callable[[], _T], action: str, name: str = "") -> _T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return await in_thread(call)
        except (BotoCoreError, ClientError) as error:
            self._refuse(error, action, f"{self._registry}/{name}" if name else self._registry)

    def _refuse(self, error: Any, action: str, subject: str) -> NoReturn:
        """Raise the error of this project for one of botocore."""
        from botocore import exceptions

        why = " ".join(str(error).split())
        message, advice = f"{subject}: {action} failed: {why}", _LOG_IN.format(action=action)
        if isinstance(error, exceptions.ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
            if status in (401, 403) or code.startswith("AccessDenied") or code.endswith("TokenException"):
                denied = 403 if code.startswith("AccessDenied") else 401
                raise Unauthorized(message, host=self._registry, status=denied, code=code, advice=advice) from error
            status = 429 if code in _THROTTLED else status
            raise RegistryError(message, host=self._registry, status=status, code=code) from error
        if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
            raise Unauthorized(message, host=self._registry, status=401, advice=advice) from error
        if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
            raise NetworkError(message, host=self._registry) from error
        raise HangarError(message) from error


def _client(region: str, tls_verify: bool) -> Any:
    # Imported late: it is an extra, and slow to load.
    from botocore.config import Config
    from botocore.session import get_session

    # Requests are repeated by the one who asks.
    config = Config(connect_timeout=30, read_timeout=60, retries={"total_max_attempts": 1})
    return get_session().create_client("ecr", region_name=region, config=config, verify=None if tls_verify else False)
