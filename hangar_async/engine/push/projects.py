"""The projects of a Harbor, and the repositories of an Amazon ECR, that the images of a run need."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

from hangar_async.config.creation import Creation, CreationOptions
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.oci import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.ecr import EcrRepositories
from hangar_async.registry.harbor import HarborProjects
from hangar_async.tasks import each
from hangar_async.threads import in_thread

#: The repositories of an ECR that are made at once.
_AT_ONCE = 4


async def make_projects(
    options: CreationOptions, registry_client: RegistryClient, client: LimitedClient, targets: Iterable[Reference]
) -> None:
    """Make what the targets need, and what is missing at their registries, as the options say.

    Raises HangarError: UsageError for a registry that is no ECR.
    """
    repositories: dict[str, dict[str, None]] = {}
    for target in targets:
        repositories.setdefault(target.registry, {})[target.repository] = None
    for registry, names in repositories.items():
        creation = options.creation(registry)
        if creation is None:
            continue
        if creation.kind == "ecr":
            ecr = await EcrRepositories.opened(registry, tls_verify=options.environment.destinations.verifies(registry))
            await _make_repositories(ecr, client, registry, names, creation)
        else:
            await _make_projects(registry_client, client, registry, names, creation)


async def _make_projects(
    registry_client: RegistryClient, client: LimitedClient, registry: str, names: Iterable[str], creation: Creation
) -> None:
    harbor = HarborProjects(registry_client, registry, https=creation.https)
    # A name in Harbor is PROJECT/NAME.
    for project in dict.fromkeys(name.partition("/")[0] for name in names):
        subject = f"project {project} of {registry}"
        if not await client.call(subject, registry, partial(harbor.exists, project)):
            await client.call(subject, registry, partial(harbor.create, project, public=creation.public))


async def _make_repositories(
    ecr: EcrRepositories, client: LimitedClient, registry: str, names: Collection[str], creation: Creation
) -> None:
    known = await client.call(f"the repositories of {registry}", registry, ecr.names) or frozenset()
    policy = await in_thread(lambda: creation.policy)

    async def make(name: str) -> None:
        create = partial(ecr.create, name, immutable_tags=creation.immutable_tags, policy=policy)
        await client.call(f"repository {name} of {registry}", registry, create)

    await each([name for name in names if name not in known], make, _AT_ONCE)
