"""Images under the names of several registries, saved into an archive in parts, and served from there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from hangar_async.config.options import CompressOptions, ServeOptions
from hangar_async.config.output import OutputSettings
from hangar_async.engine.compress import compress
from hangar_async.engine.events import Event, Notice, Served
from hangar_async.engine.serve import serving
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import Built
from tests.engine.made import make_cache
from tests.fakes.images import library, small

REFERRER = "application/vnd.example.signature"


@dataclass(frozen=True)
class Site:
    """The saved images by name, the cache directory, and an archive in parts."""

    built: Mapping[str, Built]
    cache: Path
    archive: Path

    def data(self, name: str) -> dict[Digest, bytes]:
        """All bytes of an image."""
        built = self.built[name]
        return {**{digest: raw for digest, (_, raw) in built.documents.items()}, **built.blobs}


@dataclass
class Client:
    """A client of what is served, and what was told."""

    session: aiohttp.ClientSession
    served: Served
    events: list[Event]

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]

    async def get(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        async with self.session.request(method, path, headers=headers) as answer:
            return answer, await answer.read()

    async def document(self, path: str) -> Any:
        answer, raw = await self.get(path)
        assert answer.status == 200, raw
        return json.loads(raw)

    async def code(self, path: str, method: str = "GET") -> tuple[int, str]:
        """The status of a refusal, and its one code."""
        answer, raw = await self.get(path, method)
        assert answer.content_type == "application/json"
        (error,) = json.loads(raw)["errors"]
        assert set(error) == {"code", "message", "detail"}
        return answer.status, error["code"]


def refer(built: Built, subject: Built, kind: str = REFERRER) -> Built:
    """The same artifact, with a subject."""
    fields = {"subject": subject.descriptor.to_json(), "artifactType": kind, "annotations": {"by": "test"}}
    raw = json.dumps(json.loads(built.raw) | fields).encode()
    return replace(built, raw=raw, documents={Digest.of(raw): (built.media_type, raw)})


def make_site(root: Path) -> Site:
    images = library()
    built = {
        "docker.io/library/nginx:1.26": images["oci"],
        "docker.io/library/nginx:1.27": images["multi"],
        "docker.io/library/nginx:latest": images["docker-list"],
        "docker.io/library/nginx:mainline": images["nested"],
        "quay.io/library/nginx:1.27": images["attested"],
        "reg.example.com:5000/team/app:2": images["windows"],
        "reg.example.com:5000/charts/shop:1": images["artifact"],
        "ghcr.io/team/docker:1": images["docker"],
        "ghcr.io/team/foreign:1": images["foreign"],
        "ghcr.io/team/empty:1": images["empty"],
        "ghcr.io/team/signed:1": small("signed"),
    }
    built["ghcr.io/team/signed:signature"] = refer(images["artifact"], built["ghcr.io/team/signed:1"])
    built["ghcr.io/team/signed:sbom"] = refer(images["artifact"], built["ghcr.io/team/signed:1"], "text/spdx")
    cache = make_cache(root / "saved-image-cache", built)
    output = OutputSettings(target=root / "all.tar.gz", part_size=400_000, sync=False)
    report = asyncio.run(compress(CompressOptions(cache=cache, output=output)))
    assert report.status == 0, [str(outcome.error) for outcome in report.failed]
    assert report.output is not None
    assert len(report.output.files) > 2
    return Site(built, cache, output.target)


@asynccontextmanager
async def served(source: Path, scheme: str = "http", **options: Any) -> AsyncIterator[Client]:
    """Serve what lies at a path, on a free port."""
    events: list[Event] = []
    wanted = ServeOptions(source=source, listen="127.0.0.1:0", **options)
    async with (
        serving(wanted, events.append) as found,
        aiohttp.ClientSession(f"{scheme}://{found.address}") as session,
    ):
        yield Client(session, found, events)


async def pages(client: Client, path: str, key: str) -> Sequence[Sequence[str]]:
    """Follow the links from page to page."""
    found = []
    while path:
        async with client.session.get(path) as answer:
            assert answer.status == 200
            found.append((await answer.json())[key])
            path = str(URL(answer.links["next"]["url"]).relative()) if "next" in answer.links else ""
    return found
