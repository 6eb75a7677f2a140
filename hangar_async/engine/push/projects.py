"""The projects of a Harbor that the images of a run need."""

from collections.abc import Iterable
from functools import partial

from hangar_async.engine.limits.client import LimitedClient
from hangar_async.oci import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.harbor import HarborProjects


async def make_projects(
    registry_client: RegistryClient, client: LimitedClient, targets: Iterable[Reference], *, https: bool, public: bool
) -> None:
    """Make the projects of the targets that are missing; a name in Harbor is PROJECT/NAME. Raises HangarError."""
    projects = dict.fromkeys((target.registry, target.repository.partition("/")[0]) for target in targets)
    for registry, project in projects:
        harbor = HarborProjects(registry_client, registry, https=https)
        subject = f"project {project} of {registry}"
        if not await client.call(subject, registry, partial(harbor.exists, project)):
            await client.call(subject, registry, partial(harbor.create, project, public=public))
