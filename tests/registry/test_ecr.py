"""Repositories of Amazon ECR are made with what they should have, and those that are there stay as they are."""

from __future__ import annotations

from typing import Any

import pytest

from hangar_async.errors import NetworkError, RegistryError, Unauthorized, UsageError
from hangar_async.registry.ecr import EcrRepositories
from tests.fakes.ecr import ECR, POLICY


async def test_a_repository_is_made_once(ecr_api: str) -> None:
    ecr = await EcrRepositories.opened(ECR)
    assert await ecr.names() == frozenset()
    assert await ecr.create("team/app", immutable_tags=True, policy=POLICY)
    assert not await ecr.create("team/app")
    assert await ecr.create("other")
    assert await ecr.names() == frozenset({"team/app", "other"})
    described = ecr._client.describe_repositories(registryId="123456789012")["repositories"]
    made = {one["repositoryName"]: one["imageTagMutability"] for one in described}
    assert made == {"team/app": "IMMUTABLE", "other": "MUTABLE"}
    policy = ecr._client.get_lifecycle_policy(repositoryName="team/app")["lifecyclePolicyText"]
    assert policy == POLICY
    assert all(":eu-central-1:" in one["repositoryArn"] for one in described)


async def test_a_registry_that_is_no_ecr() -> None:
    with pytest.raises(UsageError, match=r"harbor\.local is no registry of Amazon ECR"):
        await EcrRepositories.opened("harbor.local")


async def test_an_api_that_does_not_answer(ecr_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:1")
    with pytest.raises(NetworkError, match="ecr:DescribeRepositories failed: Could not connect") as caught:
        await (await EcrRepositories.opened(ECR)).names()
    assert caught.value.host == ECR
    assert caught.value.transient


async def test_no_credentials(ecr_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(Unauthorized, match="Unable to locate credentials") as caught:
        await (await EcrRepositories.opened(ECR)).create("team/app")
    assert "may ecr:CreateRepository" in caught.value.advice


@pytest.mark.parametrize(
    ("code", "status", "kind", "transient"),
    [
        ("ThrottlingException", 400, RegistryError, True),
        ("ServerException", 500, RegistryError, True),
        ("LimitExceededException", 400, RegistryError, False),
        ("ExpiredTokenException", 400, Unauthorized, False),
        ("UnrecognizedClientException", 403, Unauthorized, False),
    ],
)
async def test_refusals(ecr_api: str, code: str, status: int, kind: type[RegistryError], transient: bool) -> None:
    ecr = EcrRepositories(ECR, Refusing(code, status))
    for call in (ecr.create("team/app"), ecr.names()):
        with pytest.raises(kind, match=code) as caught:
            await call
        assert (caught.value.code, caught.value.transient) == (code, transient)


async def test_a_login_that_may_not_list_may_make(ecr_api: str) -> None:
    assert await EcrRepositories(ECR, Refusing("AccessDeniedException", 400)).names() is None


class Refusing:
    """A client whose calls are all refused."""

    def __init__(self, code: str, status: int) -> None:
        self.answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}

    def create_repository(self, **keywords: Any) -> None:
        from botocore.exceptions import ClientError

        raise ClientError(self.answer, "Operation")

    def get_paginator(self, name: str) -> Refusing:
        return self

    paginate = create_repository
