"""A registry on a real socket, and the program run against it in a directory of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.oci.platform import Platform
from hangar_async.server.app import serving
from hangar_async.testing.images import Built, image, index, layer
from hangar_async.testing.memory import MemoryContent
from tests.cli.programs import command, environment

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@dataclass(frozen=True)
class Done:
    """The result of a process."""

    status: int
    out: str
    err: str

    def rows(self) -> dict[str, list[str]]:
        """The summary: texts by label."""
        found: dict[str, list[str]] = {}
        label = ""
        for line in self.out.splitlines():
            label = line[:10].strip() or label
            found.setdefault(label, []).append(line[11:])
        return found


@dataclass
class Site:
    """A registry with two images, and a directory to save into. While `gate` is closed, blobs wait at it."""

    home: Path
    content: MemoryContent = field(default_factory=MemoryContent)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    address: str = ""

    def push(self, name: str, tag: str, built: Built) -> None:
        for data in built.blobs.values():
            self.content.add_blob(name, data)
        for digest, (kind, raw) in built.documents.items():
            self.content.add_manifest(name, raw, kind, [tag] if digest == built.digest else [])

    def list(self, *names: str, file: str = "list.txt") -> None:
        (self.home / file).write_text("".join(f"{self.address}/{name}\n" for name in names))

    async def save(self, *arguments: str, env: Mapping[str, str] | None = None, given: bytes = b"") -> Done:
        return await self.call(*command("save", *arguments), env=env, given=given)

    async def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
        return await self.call(*command(*arguments), env=env)

    async def shell(self, line: str) -> Done:
        """Run a line that was shown, as a person would."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return await self.call("sh", "-c", line, env={"PATH": path})

    async def call(self, *line: str, env: Mapping[str, str] | None = None, given: bytes = b"") -> Done:
        process = await asyncio.create_subprocess_exec(
            *line, cwd=self.home, env=environment(self.home, **(env or {})), stdin=-1, stdout=-1, stderr=-1
        )
        out, err = await process.communicate(given)
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    @web.middleware
    async def hold(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "/blobs/" in request.path:
            self.waiting.set()
            await self.gate.wait()
        return await handler(request)


@asynccontextmanager
async def open_site(home: Path) -> AsyncIterator[Site]:
    """A site with two images, and `list.txt` that names both."""
    one = Site(home)
    one.gate.set()
    base = layer({"etc/base": os.urandom(300_000)})
    both = [image([base, layer({"app": str(platform).encode()})], platform) for platform in (AMD64, ARM64)]
    one.push("team/one", "1", index(both))
    one.push("two", "2", image([base, layer({"two": b"2"})], AMD64))
    async with serving(one.content, middlewares=[one.hold]) as one.address:
        one.list("team/one:1", "two:2")
        yield one


async def call(home: Path, *words: str, **env: str) -> Done:
    return await run_words(home, *command(*words), **env)


async def run_words(home: Path, *words: str, **env: str) -> Done:
    """Run a program to its end."""
    process = await asyncio.create_subprocess_exec(
        *words, cwd=home, env=environment(home, **env), stdin=-1, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
