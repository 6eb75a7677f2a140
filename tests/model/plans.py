"""Runs drawn at random: images that share content, registries on which something goes wrong, and the options."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from hypothesis import settings, strategies as st

from hangar_async.oci.digest import Digest
from hangar_async.oci.platform import Platform
from hangar_async.testing.images import Built, artifact, attestation, image, index, layer
from tests.fakes.images import AMD64, ARM64

#: The number of examples of all tests of whole runs; `make model` has more.
EXAMPLES = int(os.environ.get("MODEL", "500"))


#: The permits of runs.
JOBS = (1, 2, 3, 4)


def examples(share: int) -> settings:
    """Settings of a test that has so many hundredths of the examples."""
    return settings(deadline=None, max_examples=max(1, EXAMPLES * share // 100))


_S390X = Platform("linux", "s390x")
_LAYERS = [layer({f"{number}.txt": random.Random(number).randbytes(100 + 900 * number)}) for number in range(4)]
#: It is received into buffers of ours.
_BIG = layer({"big": random.Random(9).randbytes(600_000)}, "none")
_AMD64, _ARM64 = image(_LAYERS[:2], AMD64), image([_LAYERS[0], _LAYERS[2]], ARM64)
_OTHER = image([_LAYERS[0], _LAYERS[3]], _S390X)
#: They share layers, configs, manifests and entries of indexes. The last one has no platform that is chosen.
IMAGES: Sequence[Built] = (
    _AMD64,
    _ARM64,
    image(_LAYERS[:2], AMD64, docker=True),
    image([], AMD64),
    image([_BIG, _LAYERS[0]], AMD64),
    index([_AMD64, _ARM64]),
    index([_AMD64, _OTHER]),
    index([_AMD64, image([_LAYERS[3]], ARM64, labels={"name": "new"})], docker=True),
    index([index([_AMD64, _ARM64]), _OTHER]),
    index([_ARM64, attestation(_ARM64), attestation(_OTHER)]),
    artifact("application/vnd.example.config+json", b"data " * 50, "application/vnd.example.data"),
    index([_OTHER]),
)
#: The first ones are no indexes.
MANIFESTS = 5
NO_PLATFORM = len(IMAGES) - 1


@dataclass(frozen=True)
class Content:
    """Something that is asked for: the last two parts of the path."""

    kind: Literal["manifests", "blobs"]
    reference: str

    @property
    def is_document(self) -> bool:
        return self.kind == "manifests"


@dataclass(frozen=True)
class Parts:
    """Everything that a save of an image asks for but its root: `planning` before it is planned."""

    planning: Sequence[Content]
    blobs: Sequence[Content]
    #: Of the manifests that are chosen.
    digests: frozenset[Digest]
    #: The digests of attestations, and of what they name: an image is whole without them where they are gone.
    companions: frozenset[str] = frozenset()


def parts_of(built: Built) -> Parts:
    """Choose as a save of linux/amd64 and linux/arm64 does."""
    root = json.loads(built.raw)
    if "manifests" not in root:
        config, *layers = _blobs(root)
        is_image = "image" in root["config"]["mediaType"]
        planning, rest = ([config], layers) if is_image else ([], [config, *layers])
        return Parts(planning, rest, frozenset({built.digest}))
    documents, companions, chosen = [], [], dict(_chosen(built, root))
    for entry in _entries(built, root):
        subject = entry.get("annotations", {}).get("vnd.docker.reference.digest")
        if "index" in entry["mediaType"] or entry["digest"] in chosen or subject in chosen:
            documents.append(entry["digest"])
        if subject in chosen:
            companions += [entry["digest"], *(blob.reference for blob in _blobs(_document(built, entry["digest"])))]
    blobs = [blob for digest in documents for blob in _blobs(_document(built, digest))]
    return Parts(
        [Content("manifests", digest) for digest in dict.fromkeys(documents)],
        list(dict.fromkeys(blobs)),
        frozenset(map(Digest.parse, chosen)),
        frozenset(companions),
    )


def _document(built: Built, digest: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(built.documents[Digest.parse(digest)][1])
    return document


def _entries(built: Built, document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in document["manifests"]:
        yield entry
        if "index" in entry["mediaType"]:
            yield from _entries(built, _document(built, entry["digest"]))


def _chosen(built: Built, root: Mapping[str, Any]) -> Iterator[tuple[str, None]]:
    for entry in _entries(built, root):
        if entry.get("platform", {}).get("architecture") in ("amd64", "arm64"):
            yield entry["digest"], None


def _blobs(manifest: Mapping[str, Any]) -> list[Content]:
    named = [manifest["config"], *manifest["layers"]] if "config" in manifest else []
    return [Content("blobs", blob["digest"]) for blob in named]


PARTS = [parts_of(built) for built in IMAGES]
REPOSITORIES = ("a", "b/c")
#: Two registries, and a mirror of the first.
MIRROR = 2


@dataclass(frozen=True)
class Line:
    """A line of the list."""

    host: int
    repository: str
    image: int
    by: Literal["tag", "digest", "both"] = "tag"

    @property
    def tag(self) -> str:
        """Each image has a tag of its own."""
        return f"i{self.image}"

    @property
    def root(self) -> Content:
        by_tag = self.by == "tag"
        return Content("manifests", self.tag if by_tag else str(IMAGES[self.image].digest))

    @property
    def parts(self) -> Parts:
        return PARTS[self.image]

    @property
    def contents(self) -> list[Content]:
        return [self.root, *self.parts.planning, *self.parts.blobs]

    @property
    def digests(self) -> set[str]:
        """The digests of all contents, the root's too."""
        return {content.reference for content in self.contents} | {str(IMAGES[self.image].digest)}

    @property
    def name(self) -> str:
        """The name without the registry, as in the list."""
        tag = f":{self.tag}" if self.by != "digest" else ""
        return self.repository + tag + (f"@{IMAGES[self.image].digest}" if self.by != "tag" else "")

    @property
    def cache_name(self) -> tuple[int, str, str]:
        """Two lines of one such name are the same image."""
        return self.host, self.repository, self.tag if self.by != "digest" else self.root.reference


#: Faults of one path. For ever: the reason of the failure, None where it is none.
PERMANENT: Mapping[str, str | None] = {
    "missing": "not found",
    "denied": "unauthorised",
    "broken": "registry error",
    "busy": "registry error",
    "closed": "network",
    "reset": "network",
    "nothing": "network",
    "wrong": "wrong digest",
    "short": "wrong digest",
    "cut": None,
    "cut without ranges": "network",
    "no ranges": None,
}
#: For one or two tries: an image is saved all the same.
TEMPORARY = ("broken", "busy", "limited", "closed", "reset", "nothing", "cut", "cut without ranges")
#: For one try alone.
ONCE = ("wrong", "short")
#: No byte of an answer comes.
SILENT = frozenset({"closed", "reset"})


@dataclass(frozen=True)
class Trouble:
    """A fault of the path of one content of a line, which is given by numbers; at the mirror of its host, or there."""

    line: int
    content: int
    kind: str
    times: int | None = None
    at_mirror: bool = False


#: away: nothing listens; limited: 429 for hours; dying: it resets all connections after some requests.
HostState = Literal["well", "away", "limited", "dying"]


@dataclass(frozen=True)
class Plan:
    """The images of a run, and the faults that it meets; `seed` chooses delays, of the registries and of the disk."""

    lines: Sequence[Line]
    troubles: Sequence[Trouble] = ()
    hosts: Sequence[HostState] = ("well", "well", "well")
    #: The lines of the first host whose images the mirror has; None: there is no mirror.
    mirrored: frozenset[int] | None = None
    #: The lines that an earlier run has saved.
    earlier: frozenset[int] = frozenset()
    jobs: int = 1
    seed: int = 0
    slow_disk: bool = False
    format: str = "gzip"
    part_size: int | None = None
    #: After so many requests and events, and turns of the event loop.
    cancel: tuple[int, int] | None = None
    #: The operation of the disk that fails.
    disk_failure: int | None = None

    @property
    def earlier_lines(self) -> list[Line]:
        return [line for number, line in enumerate(self.lines) if number in self.earlier]

    @cached_property
    def entries(self) -> list[Line]:
        """The lines, each once."""
        return list(dict.fromkeys(self.lines))

    @cached_property
    def faults(self) -> dict[tuple[int, str, Content], Trouble]:
        """The troubles by host, repository and content: the first one of each."""
        found: dict[tuple[int, str, Content], Trouble] = {}
        for trouble in self.troubles:
            line = self.lines[trouble.line % len(self.lines)]
            host = MIRROR if trouble.at_mirror and line.host == 0 and self.mirrored is not None else line.host
            content = line.contents[trouble.content % len(line.contents)]
            found.setdefault((host, line.repository, content), trouble)
        return found

    @cached_property
    def at_mirror(self) -> list[Line]:
        mirrored = self.mirrored or ()
        return [line for number, line in enumerate(self.lines) if number in mirrored and line.host == 0]

    def reference(self, addresses: Sequence[str], line: Line) -> str:
        return f"{addresses[line.host]}/{line.name}"


LINES = st.builds(
    Line,
    host=st.sampled_from([0, 0, 1]),
    repository=st.sampled_from(REPOSITORIES),
    image=st.integers(0, len(IMAGES) - 1),
    by=st.sampled_from(["tag", "tag", "digest", "both"]),
)
_PLACE = {"line": st.integers(0, 7), "content": st.integers(0, 9), "at_mirror": st.booleans()}
TROUBLES = st.one_of(
    st.builds(Trouble, kind=st.sampled_from(list(PERMANENT)), times=st.none(), **_PLACE),
    st.builds(Trouble, kind=st.sampled_from(TEMPORARY), times=st.integers(1, 2), **_PLACE),
    st.builds(Trouble, kind=st.sampled_from(ONCE), times=st.just(1), **_PLACE),
)


def states(*other: HostState) -> st.SearchStrategy[tuple[HostState, ...]]:
    """Draw the states of the hosts: most of them are well."""
    well: list[HostState] = ["well"] * 16
    state = st.sampled_from([*well, *other])
    return st.tuples(state, state, state)


#: By keyword of a Plan.
PLANS: Mapping[str, st.SearchStrategy[Any]] = {
    "lines": st.lists(LINES, min_size=1, max_size=8),
    "troubles": st.lists(TROUBLES, max_size=6),
    "hosts": states("away", "limited", "dying"),
    "mirrored": st.one_of(st.none(), st.frozensets(st.integers(0, 7))),
    "jobs": st.sampled_from(JOBS),
    "seed": st.integers(0, 1 << 16),
    "slow_disk": st.booleans(),
    "format": st.sampled_from(["gzip", "zstd"]),
    "part_size": st.sampled_from([None, 200_000]),
}


def plans(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[Plan]:
    """Draw a plan."""
    return st.builds(Plan, **{**PLANS, **keywords})
