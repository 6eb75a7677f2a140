"""Sparse indexes, which name manifests that their registry lacks: the registries that take them, and the choice."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangar_async import oci
from hangar_async.errors import Incomplete, RegistryError
from hangar_async.state.hints import State

if TYPE_CHECKING:
    from hangar_async.config.target_options import IndexMode

#: The quirk of a registry that refuses them, in the state.
_QUIRK = "no sparse index"


class SparseIndexes:
    """The registries that take sparse indexes, and those that do not, as they said now or in an earlier run."""

    def __init__(self, mode: IndexMode, state: State) -> None:
        self._mode = mode
        self._state = state
        self._accepting: set[str] = set()
        self._refusing: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def refuses(self, registry: str) -> bool:
        """Tell whether a registry takes none, and gets partial indexes instead."""
        is_known = self._mode == "auto" and self._state.has_quirk(registry, _QUIRK)
        return is_known or registry in self._refusing

    def may_refuse(self, registry: str) -> bool:
        """Tell whether a registry is to be tried."""
        return self._mode == "auto" and not self.refuses(registry)

    async def push(self, registry: str, put: Callable[[], Awaitable[None]]) -> bool:
        """Push a sparse index by `put`; False where the registry does not take it. The first answer is for all."""
        async with nullcontext() if registry in self._accepting else self._locks[registry]:
            if registry in self._refusing:
                return False
            try:
                await put()
            except RegistryError as error:
                if not _may_be_about_manifests(error):
                    raise
                self._refusing.add(registry)
                return False
            # Only a hint: all of that index may have been there.
            self._accepting.add(registry)
            return True

    async def confirm(self, registry: str) -> None:
        """Note for later runs that a registry which refused a sparse index has taken a partial one."""
        await self._state.note_quirk(registry, _QUIRK)

    def forget(self, registry: str) -> None:
        """Forget a refusal: the registry refused the partial index too, so it was perhaps about the tag."""
        self._refusing.discard(registry)


def _may_be_about_manifests(error: RegistryError) -> bool:
    """Tell whether a refusal may be about the manifests that are not there; some have no code."""
    of_names = error.code in ("NAME_INVALID", "NAME_UNKNOWN", "TAG_INVALID")
    return isinstance(error, Incomplete) or (error.status in (400, 404) and not of_names)


@dataclass(frozen=True, slots=True)
class TagIndex:
    """The index that a tag should name, a note about it, and the descriptor of another image that it replaces."""

    index: oci.Index
    note: str
    replaced: oci.Descriptor | None


def original_of(
    image: oci.Image, original: oci.Index, existing: oci.Descriptor | None, *, sparse: bool
) -> TagIndex | None:
    """Return the original index of an image of which a part is held, where the tag names it, or may; else None."""
    if existing is not None and existing.digest == original.digest:
        return TagIndex(original, "", None)
    return TagIndex(original, f"{_part(image, original)}, and the tag names all of it", existing) if sparse else None


def partial_of(
    image: oci.Image,
    original: oci.Index,
    root: oci.Index,
    existing: oci.Descriptor | None,
    other: oci.Index | None,
) -> TagIndex:
    """Join the part of an index that is held, `root`, with the part that the tag names, `other`."""
    joined = None if other is None else oci.joined_index(original, (other, root), image.documents)
    if joined is None:
        return TagIndex(root, f"{_part(image, original)}: the tag names {root.digest}", existing)
    if joined is original:
        note = f"with what was there it is complete: the tag names {original.digest}, as at the source"
        return TagIndex(original, note, None)
    note = f"{_part(image, original)}, joined with what was there: the tag names {joined.digest}"
    return TagIndex(joined, note, None)


def _part(image: oci.Image, original: oci.Index) -> str:
    platforms = ", ".join(str(platform.platform) for platform in image.platforms) or "none"
    return f"only a part of {original.digest} is held ({platforms})"
