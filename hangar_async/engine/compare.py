"""Comparing by digests what is held of an image with what a registry has of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from hangar_async.engine.catalog import HeldImage, root_of
from hangar_async.engine.governor import Governor
from hangar_async.engine.permits import Rank, Turn, planning_rank
from hangar_async.errors import ContentError, Differs, HangarError
from hangar_async.mirrors import NO_MIRRORS, Mirrors
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor, Index, Manifest, parse_manifest
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient

_T = TypeVar("_T")
Documents = Mapping[Digest, Manifest | Index]


class Comparer:
    """Asks a registry, or its mirrors first, for the manifests of images; no blob is asked for.

    Equal manifests name equal blobs, and a registry takes no manifest whose blobs it lacks.
    """

    def __init__(
        self, client: RegistryClient, governor: Governor, documents: Documents, mirrors: Mirrors = NO_MIRRORS
    ) -> None:
        self._client = client
        self._governor = governor
        self._documents = documents
        self._mirrors = mirrors

    async def compare(self, image: HeldImage, where: Reference, number: int) -> None:
        """Compare an image with what its name stands for there: raises Differs, or what keeps it from being known."""
        if image.problems:
            raise ContentError(image.problems[0], advice="get the archive anew; verify names all that is damaged")
        root, rank = root_of(image, self._documents), planning_rank(number)
        entries = list(_below(root, self._documents)) if isinstance(root, Index) else []
        async with asyncio.TaskGroup() as group:
            named = group.create_task(self._name(image, root, where, rank))
            asked = [(entry, group.create_task(self._head(where, entry.digest, rank))) for entry in entries]
        lacking = [f"{_called(entry)} is not there" for entry, task in asked if task.result() is None]
        if problems := [*named.result(), *lacking]:
            raise Differs("; ".join(problems), advice="bring it there again")

    async def _name(self, image: HeldImage, root: Manifest | Index, where: Reference, rank: Rank) -> list[str]:
        """Say what is wrong with what the name stands for: one index may hold more platforms than this one."""
        there = await self._head(where, None, rank)
        if there is None:
            return ["it is not there"]
        if there.digest in (root.digest, image.original):
            return []
        if isinstance(root, Index):
            other = await self._index(where, rank)
            if other is not None and _digests(root) <= _digests(other):
                return []
        return [f"there it is {there.digest}, here {image.original or root.digest}"]

    async def _head(self, where: Reference, digest: Digest | None, rank: Rank) -> Descriptor | None:
        what = f"manifest {digest.short if digest else where.tag} of {where.name}"
        return await self._first(where, what, rank, lambda source: self._client.head_manifest(source, digest))

    async def _index(self, where: Reference, rank: Rank) -> Index | None:
        served = await self._first(where, f"manifest {where.tag} of {where.name}", rank, self._client.get_manifest)
        with suppress(ContentError):
            document = None if served is None else parse_manifest(served.raw, served.content_type)
            return document if isinstance(document, Index) else None
        return None

    async def _first(
        self, where: Reference, what: str, rank: Rank, ask: Callable[[Reference], Awaitable[_T | None]]
    ) -> _T | None:
        """Return what the first of all sources has, None where none has it; raises the registry's HangarError."""
        *mirrors, registry = self._mirrors.sources(where)
        for mirror in mirrors:
            with suppress(HangarError):
                found = await self._governor.run(what, mirror.registry, Turn(rank), partial(ask, mirror), others=True)
                if found is not None:
                    return found
        return await self._governor.run(what, registry.registry, Turn(rank), partial(ask, registry))


def _below(index: Index, documents: Documents, depth: int = 0) -> Iterator[Descriptor]:
    for entry in index.manifests:
        yield entry
        below = documents.get(entry.digest)
        if isinstance(below, Index) and depth < 10:
            yield from _below(below, documents, depth + 1)


def _digests(index: Index) -> set[Digest]:
    return {entry.digest for entry in index.manifests}


def _called(entry: Descriptor) -> str:
    return f"{entry.platform}, manifest {entry.digest}," if entry.platform else f"manifest {entry.digest}"
