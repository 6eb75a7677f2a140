"""Loads drawn at random into a registry on which something goes wrong, and what they lead to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st

from hangar_async.config.environment import Environment
from hangar_async.config.options import CompressOptions
from hangar_async.config.output import OutputSettings
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.compress import compress
from hangar_async.engine.load import load
from hangar_async.engine.reports import LoadReport
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built
from hangar_async.threads import in_thread
from tests.engine.forms import pack_as_hangar
from tests.engine.made import make_cache
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Close, CutBody, Fault, Lost, Script, Status
from tests.fakes.registry import FakeRegistry, fake_registry
from tests.model.expected import Answer, Expected, all_of
from tests.model.plans import IMAGES, JOBS, MANIFESTS, HostState
from tests.model.rig import ANSWERS, SETTINGS, Late, Scene

TEAMS = ("team/a", "team/b", "c")
#: The target of a name without a project gets the default one.
TARGETS = {"team/a": "team/a", "team/b": "team/b", "c": "library/c"}
_DIGEST_INVALID = b'{"errors": [{"code": "DIGEST_INVALID", "message": "as the script says"}]}'
#: The faults of any request. For ever: the reason of the failure.
PERMANENT: Mapping[str, str] = {
    "denied": "unauthorised",
    "broken": "registry error",
    "busy": "registry error",
    "closed": "network",
    "reset": "network",
}
#: Those of the POST and PUT of an upload, and their reasons.
UPLOAD: Mapping[str, set[str]] = {
    "missing": {"not found", "upload lost"},
    "wrong": {"wrong digest", "registry error"},
    "closed": {"network", "upload lost"},
    "reset": {"network", "upload lost"},
}
#: For one or two tries: an image is loaded all the same.
TEMPORARY = ("broken", "busy", "limited", "closed", "reset")
TEMPORARY_OF_PUT = (*TEMPORARY, "lost", "cut")
FAULTS: Mapping[str, Fault] = {
    **ANSWERS,
    "wrong": Status(400, {"Content-Type": "application/json"}, _DIGEST_INVALID),
    "lost": Lost(),
    "cut": CutBody(50),
}
#: A request of an image: the tag, another document, a blob; the opening of an upload, and its end.
What = Literal["tag", "document", "blob", "open", "finish"]


@dataclass(frozen=True)
class Named:
    """An image of the source."""

    repository: str
    image: int

    @property
    def built(self) -> Built:
        return IMAGES[self.image]

    @property
    def target(self) -> str:
        return TARGETS[self.repository]

    @property
    def name(self) -> str:
        return f"source.example.com/{self.repository}:i{self.image}"

    @property
    def documents(self) -> list[Digest]:
        """The documents below the root."""
        return [digest for digest in self.built.documents if digest != self.built.digest]


@dataclass(frozen=True)
class PushTrouble:
    """A fault of the requests of one kind, of an image that is given by its number."""

    image: int
    what: What
    number: int
    method: Literal["HEAD", "PUT"]
    kind: str
    times: int | None


@dataclass(frozen=True)
class LoadPlan:
    """The images of the source, those that the target has before, and what goes wrong there."""

    images: Sequence[Named]
    present: frozenset[int] = frozenset()
    troubles: Sequence[PushTrouble] = ()
    state: HostState = "well"
    form: Literal["dir", "gzip", "stream"] = "dir"
    jobs: int = 1
    seed: int = 0
    mounts: bool = True
    cancel: tuple[int, int] | None = None

    @cached_property
    def selected(self) -> list[Named]:
        """The images of the source; an archive without index tells nothing of indexes, and has none here."""
        if self.form != "stream":
            return list(self.images)
        return list(dict.fromkeys(replace(image, image=image.image % MANIFESTS) for image in self.images))

    @cached_property
    def faults(self) -> dict[tuple[str, str], PushTrouble]:
        """The troubles by method and pattern of the path: the first one of each."""
        found: dict[tuple[str, str], PushTrouble] = {}
        for trouble in self.troubles:
            method, path = self.request(trouble)
            # One of all requests of an upload: they are repeated together.
            if not (path.endswith("/uploads/") and any(path == other for _, other in found)):
                found.setdefault((method, path), trouble)
        return found

    def request(self, trouble: PushTrouble) -> tuple[str, str]:
        image = self.selected[trouble.image % len(self.selected)]
        base = f"/v2/{image.target}"
        blobs = list(image.built.blobs)
        if trouble.what == "document" and image.documents:
            return trouble.method, f"{base}/manifests/{image.documents[trouble.number % len(image.documents)]}"
        if trouble.what == "blob":
            return "HEAD", f"{base}/blobs/{blobs[trouble.number % len(blobs)]}"
        if trouble.what in ("open", "finish"):
            return "POST" if trouble.what == "open" else "PUT", f"{base}/blobs/uploads/"
        return trouble.method, f"{base}/manifests/i{image.image}"

    @cached_property
    def present_images(self) -> list[Named]:
        return [image for number, image in enumerate(self.selected) if number in self.present]


class LoadModel:
    """The outcomes that a plan leads to, image by image."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.there = {
            (image.target, digest)
            for image in plan.present_images
            for digest in (*image.built.documents, *image.built.blobs)
        }

    def outcomes(self) -> list[Expected]:
        return [self.outcome(image) for image in self.plan.selected]

    def outcome(self, image: Named) -> Expected:
        found = all_of(self.requests(image))
        if self.plan.state == "dying":
            return Expected(min(found.answer, Answer.MAYBE), found.reasons | {"network", "upload lost"})
        return found

    def requests(self, image: Named) -> list[Expected]:
        """The answers to all requests for an image, as far as each is made."""
        tag = f"manifests/i{image.image}"
        asked = [self.at("HEAD", image, tag)]
        if image in self.plan.present_images and not self.is_hidden(image, tag):
            return asked
        for digest, (kind, _) in image.built.documents.items():
            if digest != image.built.digest:
                asked.append(self.at("HEAD", image, f"manifests/{digest}"))
                if (image.target, digest) in self.there and not self.is_hidden(image, f"manifests/{digest}"):
                    continue
                asked.append(self.at("PUT", image, f"manifests/{digest}"))
            if "index" not in kind and "list" not in kind:
                asked += [
                    self.blob(image, blob) for blob in image.built.blobs if str(blob) in self.named(image, digest)
                ]
        return [*asked, self.at("PUT", image, tag)]

    def named(self, image: Named, digest: Digest) -> str:
        return image.built.documents[digest][1].decode()

    def blob(self, image: Named, digest: Digest) -> Expected:
        head = self.at("HEAD", image, f"blobs/{digest}")
        opened, finished = (self.at(method, image, "blobs/uploads/") for method in ("POST", "PUT"))
        is_elsewhere = any(other.target != image.target and digest in other.built.blobs for other in self.plan.selected)
        if self.plan.mounts and is_elsewhere:
            # It may be mounted, and no question comes before that.
            head, finished = head.perhaps(), finished.perhaps()
        if (image.target, digest) not in self.there:
            return all_of([head, opened, finished])
        return all_of([head, opened.perhaps()]) if is_elsewhere else head

    def is_hidden(self, image: Named, path: str) -> bool:
        """Tell whether the target does not tell if it has a manifest, so that the push decides."""
        trouble = self.plan.faults.get(("HEAD", f"/v2/{image.target}/{path}"))
        return trouble is not None and trouble.kind == "denied" and path.startswith("manifests/")

    def at(self, method: str, image: Named, path: str) -> Expected:
        trouble = self.plan.faults.get((method, f"/v2/{image.target}/{path}"))
        if method == "HEAD" and self.is_hidden(image, path) and self.plan.state != "limited":
            return Expected(Answer.YES)
        if self.plan.state == "limited":
            return Expected(Answer.NO, frozenset({"rate limited"}))
        if trouble is None or trouble.times is not None:
            return Expected(Answer.YES)
        reasons = {PERMANENT[trouble.kind]} if trouble.kind in PERMANENT else set()
        if "uploads" in path:
            reasons |= UPLOAD.get(trouble.kind, set())
        return Expected(Answer.NO, frozenset(reasons))


@dataclass(kw_only=True)
class LoadScene(Scene):
    """The source, the registry, and the loads."""

    plan: LoadPlan

    async def open(self) -> None:
        """Make the source, and start the registry with what is there before."""
        self.registry: FakeRegistry = await self.stack.enter_async_context(fake_registry(pushable=True))
        assert self.registry.pushes is not None
        self.registry.pushes.mounts = self.plan.mounts
        for image in self.plan.present_images:
            self.registry.add(f"{image.target}:i{image.image}", image.built)
        self.before = self.held()
        self.source = self.place / "source"
        await in_thread(make_cache, self.source, {image.name: image.built for image in self.plan.selected})
        if self.plan.form == "gzip":
            output = OutputSettings(target=self.place / "all.tar.gz", format="gzip", level=1, sync=False)
            await compress(CompressOptions(cache=self.source, output=output))
            self.source = output.target
        elif self.plan.form == "stream":
            await in_thread(pack_as_hangar, self.source, self.place / "all.tar.gz")
            self.source = self.place / "all.tar.gz"
        (self.place / "spool").mkdir()

    def break_down(self) -> None:
        script = Script()
        if self.plan.state == "limited":
            script.add("", Status(429, {"Retry-After": "100000"}), times=None)
        if self.plan.state == "dying":
            script.add("", Close(reset=True), skip=self.chosen.randrange(30), times=None)
        for (method, path), trouble in self.plan.faults.items():
            end = ".*" if path.endswith("/uploads/") else r"(\?|$)"
            script.add(f"^{re.escape(path)}{end}", FAULTS[trouble.kind], method=method, times=trouble.times)
        self.registry.fail("", Late(script, self.chosen, self.moments), times=None)

    def repair(self) -> None:
        self.before = self.held()
        self.registry.faults.rules.clear()
        self.registry.requests.clear()

    def held(self) -> set[tuple[str, str]]:
        """The repositories and digests of all that the registry has."""
        found = set()
        for name, repository in self.registry.content._repositories.items():
            found |= {(name, str(digest)) for digest in (*repository.manifests, *repository.blobs)}
        return found

    def tags(self, image: Named) -> set[Digest]:
        """The digest that the target of an image names; none where it is not there."""
        repository = self.registry.content._repositories.get(image.target)
        tags = repository.tags if repository is not None else {}
        return {tags[tag] for tag in tags if tag == f"i{image.image}"}

    async def load(self) -> LoadReport:
        options = LoadOptions(
            source=self.source,
            destination=self.registry.address,
            failed=self.place / "failed.txt",
            jobs=2,
            requests=self.plan.jobs,
            spool=self.place / "spool",
            environment=Environment(destinations=SETTINGS),
        )
        return await load(options, self.moments, clock=FakeClock().clock)

    @property
    def spool(self) -> Path:
        return self.place / "spool"

    def uploads(self) -> list[tuple[str, str]]:
        """The repositories and digests of the uploads that were ended."""
        found = []
        for request in self.registry.asked("/blobs/uploads/", "PUT"):
            repository, _, _ = request.path.removeprefix("/v2/").partition("/blobs/")
            found.append((repository, request.query["digest"]))
        return found


_KINDS: st.SearchStrategy[tuple[str, int | None]] = st.one_of(
    st.tuples(st.sampled_from(list(PERMANENT)), st.none()),
    st.tuples(st.sampled_from(TEMPORARY), st.integers(1, 2)),
)
_UPLOAD_KINDS: st.SearchStrategy[tuple[str, int | None]] = st.one_of(
    st.tuples(st.sampled_from([*PERMANENT, *UPLOAD]), st.none()),
    st.tuples(st.sampled_from(TEMPORARY), st.integers(1, 2)),
)


@st.composite
def troubles(draw: st.DrawFn) -> PushTrouble:
    """Draw a trouble that its request can have."""
    what: What = draw(st.sampled_from(["tag", "document", "blob", "open", "finish"]))
    method: Literal["HEAD", "PUT"] = draw(st.sampled_from(["HEAD", "PUT"]))
    kind, times = draw(_UPLOAD_KINDS if what in ("open", "finish") else _KINDS)
    if draw(st.booleans()) and (what == "finish" or (method == "PUT" and what in ("tag", "document"))):
        kind, times = draw(st.tuples(st.sampled_from(TEMPORARY_OF_PUT), st.integers(1, 2)))
    return PushTrouble(draw(st.integers(0, 7)), what, draw(st.integers(0, 9)), method, kind, times)


_NAMED = st.builds(Named, repository=st.sampled_from(TEAMS), image=st.integers(0, len(IMAGES) - 1))
_WELL: list[HostState] = ["well"] * 10
PLANS: Mapping[str, st.SearchStrategy[Any]] = {
    "images": st.lists(_NAMED, min_size=1, max_size=8, unique=True),
    "present": st.one_of(st.just(frozenset()), st.frozensets(st.integers(0, 7))),
    "troubles": st.lists(troubles(), max_size=5),
    "state": st.sampled_from([*_WELL, "limited", "dying"]),
    "form": st.sampled_from(["dir", "gzip", "stream"]),
    "jobs": st.sampled_from(JOBS),
    "seed": st.integers(0, 1 << 16),
    "mounts": st.booleans(),
}


def load_plans(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[LoadPlan]:
    """Draw a plan."""
    return st.builds(LoadPlan, **{**PLANS, **keywords})
