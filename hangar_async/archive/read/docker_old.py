"""The images of a `docker save` before Docker 1.10: a directory for each layer, with its JSON, its parent and its tar.

Sources: moby's image/spec v1.0, "Combined Image JSON + Filesystem Changeset Format"; moby, image/v1, the config that
Docker 1.10 made of such JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hangar_async import oci
from hangar_async.errors import ContentError
from hangar_async.layout.files import Layout

_REPOSITORIES = "repositories"
_JSON, _TAR = "/json", "/layer.tar"
_JSON_NAME = re.compile(r"[0-9a-f]{64}/json")
#: The bytes of the JSON of all layers.
_MAX_JSON = 16 << 20
#: The fields of a layer that are none of an image.
_OF_A_LAYER = frozenset({"id", "parent", "parent_id", "layer_id", "Size", "throwaway"})
_ADVICE = "get the archive again: save the image once more, and copy it here"


@dataclass(frozen=True, slots=True)
class OldImage:
    """An image: its names, the names of its tars, and the JSON of its layers, the lowest first."""

    tags: tuple[str, ...]
    layers: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]

    def config(self, diff_ids: Sequence[str | None]) -> bytes:
        """Make the config of the image; `diff_ids` are the digests of its tars."""
        top = {name: value for name, value in self.history[-1].items() if name not in _OF_A_LAYER}
        rootfs = {"type": "layers", "diff_ids": diff_ids}
        return msgspec.json.encode({**top, "rootfs": rootfs, "history": [_step(layer) for layer in self.history]})


def old_images(base: Layout) -> list[OldImage]:
    """Read the images, those with names first; none where it is another form. Raises ContentError for a wrong one."""
    sizes = base.sizes()
    names = [name for name in sizes if _JSON_NAME.fullmatch(name) and name.replace(_JSON, _TAR) in sizes]
    if not names:
        return []
    wanted = [name for name in (*names, _REPOSITORIES) if name in sizes]
    if sum(sizes[name] for name in wanted) > _MAX_JSON:
        raise ContentError(f"the JSON of its layers has more than {_MAX_JSON} bytes", advice=_ADVICE)
    documents = {file.name: _document(file.name, file.pieces) for file in base.files(wanted)}
    tags: dict[str, list[str]] = {}
    for top, tag in _tags(documents.pop(_REPOSITORIES, {})):
        tags.setdefault(top, []).append(tag)
    layers = {name.removesuffix(_JSON): document for name, document in documents.items()}
    parents = {str(layer.get("parent")) for layer in layers.values()}
    tops = dict.fromkeys((*tags, *(name for name in layers if name not in parents)))
    budget = oci.EntryBudget()
    return [_image(top, tags.get(top, ()), layers, budget) for top in tops]


def _document(name: str, pieces: oci.Pieces) -> dict[str, Any]:
    try:
        return oci.decode_json(b"".join(map(bytes, pieces)), dict[str, Any])
    except ValueError as error:
        raise ContentError(f"{name} cannot be read: {error}", advice=_ADVICE) from error


def _tags(repositories: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the top layer of each name, and the name."""
    for repository, tags in repositories.items():
        for tag, top in tags.items() if isinstance(tags, dict) else ():
            yield str(top), f"{repository}:{tag}"


def _image(top: str, tags: Iterable[str], layers: Mapping[str, Mapping[str, Any]], budget: oci.EntryBudget) -> OldImage:
    chain: dict[str, Mapping[str, Any]] = {}
    name: object = top
    while name:
        budget.spend(1)
        if not isinstance(name, str) or name not in layers or name in chain:
            raise ContentError(f"the layer {str(name)[:80]!r}, which its JSON names, is not there", advice=_ADVICE)
        chain[name] = layers[name]
        name = layers[name].get("parent")
    lowest_first = list(reversed(chain))
    return OldImage(
        tuple(tags), tuple(f"{one}{_TAR}" for one in lowest_first), tuple(chain[one] for one in lowest_first)
    )


def _step(layer: Mapping[str, Any]) -> dict[str, object]:
    """Say how a layer was made."""
    container = layer.get("container_config")
    command = container.get("Cmd") if isinstance(container, dict) else None
    words = [str(word) for word in command] if isinstance(command, list) else []
    fields = {name: layer.get(name) for name in ("created", "author", "comment")}
    return {name: value for name, value in {**fields, "created_by": " ".join(words)}.items() if value}
