"""The settings of registries in a job file: what is made there, and the limits of requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from hangar_async.config.creation import Creation, account_and_region
from hangar_async.config.jobs import MAX_REQUESTS
from hangar_async.config.registries import HostLimits
from hangar_async.jobfile.document import Node, Place, at, parsed
from hangar_async.oci import parse_registry


def read_registries(registries: Node, directory: Path) -> tuple[Mapping[str, Creation], Mapping[str, HostLimits]]:
    """Read what is made at registries, and their limits, by their normalised names; raises UsageError.

    Paths are below the directory of the job file.
    """
    found = dict(_settings(registries))
    creations = {name: made for name, node in found.items() if (made := _creation(name, node, directory))}
    return creations, {name: _limits(node) for name, node in found.items()}


def _settings(registries: Node) -> Iterator[tuple[str, Node]]:
    """Return the settings of each registry, by its normalised name; raises UsageError where two are of one."""
    seen: dict[str, Place] = {}
    for name, settings in registries.fields.items():
        place = registries.keys[name]
        with at(Node(name, place)):
            registry = parse_registry(name)
        if registry in seen:
            place.refuse(f"{name} is {registry}, which stands in line {seen[registry].line}: write one of them")
        seen[registry] = place
        yield registry, settings


def _limits(settings: Node) -> HostLimits:
    kept, requests = (settings.fields.get(name) for name in ("keep-quota", "requests"))
    if requests is not None and int(requests.plain) > MAX_REQUESTS:
        requests.refuse(f"`requests` is {requests.plain}: write a number from 1 to {MAX_REQUESTS}")
    return HostLimits(None if kept is None else kept.plain, None if requests is None else requests.plain)


#: The fields of a registry that have a meaning for one kind of creation alone.
_OF_A_KIND = {"public": "harbor", "immutable-tags": "ecr", "lifecycle": "ecr"}


def _creation(registry: str, settings: Node, directory: Path) -> Creation | None:
    fields = settings.fields
    values = {name: node.plain for name, node in fields.items()}
    kind = values.get("create", "none")
    for name, wanted in _OF_A_KIND.items():
        if name in fields and kind != wanted:
            settings.keys[name].refuse(f"`{name}` has a meaning beside `create: {wanted}` alone")
    if kind == "none":
        return None
    with at(fields["create"], "create"):
        if kind == "ecr":
            account_and_region(registry)
        creation = Creation(
            kind, public=values.get("public", False), immutable_tags=values.get("immutable-tags", False)
        )
    with_policy = parsed(fields, "lifecycle", lambda node: replace(creation, lifecycle=directory / str(node.value)))
    return with_policy or creation
