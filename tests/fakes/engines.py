"""Debian's containerd, Docker and podman, in directories of their own; all need root, and no more."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.programs import run

_TRIES = 500
_PAUSE = 0.02
_CONTAINERD = """
version = 2
root = "{home}/root"
state = "{home}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
address = "{home}/socket"
"""
_MIRROR = """
[host."http://{address}"]
capabilities = ["pull", "resolve"]
"""


@dataclass(frozen=True)
class Containerd:
    """A containerd that asks one mirror for the images of all registries."""

    home: Path

    async def pull(self, name: str) -> str:
        """Pull an image, unpack it, and return the digest that it has here."""
        await self.run("images", "pull", "--hosts-dir", f"{self.home}/hosts", "--snapshotter", "native", name)
        listed = await self.run("images", "ls", f"name=={name}")
        (digest,) = re.findall(r"sha256:[0-9a-f]{64}", listed)
        return str(digest)

    async def run(self, *words: str) -> str:
        """Run ctr, and return what it writes."""
        return await run("ctr", "--address", f"{self.home}/socket", *words)


@asynccontextmanager
async def containerd(home: Path, mirror: str) -> AsyncIterator[Containerd]:
    """Run containerd below a directory, with a mirror at HOST:PORT; it ends with the block."""
    (home / "hosts" / "_default").mkdir(parents=True)
    (home / "hosts" / "_default" / "hosts.toml").write_text(_MIRROR.format(address=mirror))
    (home / "config.toml").write_text(_CONTAINERD.format(home=home))
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "containerd", "--config", f"{home}/config.toml", stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
        )
    engine = Containerd(home)
    async with _until_it_answers(process, engine.run, "version"):
        yield engine


@dataclass(frozen=True)
class Docker:
    """A Docker daemon without networks."""

    home: Path

    async def run(self, *words: str) -> str:
        """Run docker, and return what it writes."""
        env = {"HOME": str(self.home), "DOCKER_BUILDKIT": "0"}
        return await run("docker", "--host", f"unix://{self.home}/socket", *words, env=env)


@asynccontextmanager
async def docker_daemon(home: Path) -> AsyncIterator[Docker]:
    """Run Docker's daemon below a directory, beside a containerd of its own; it ends with the block."""
    docker = Docker(home)
    words = ["--host", f"unix://{home}/socket", "--storage-driver", "vfs", "--bridge", "none", "--iptables=false"]
    for name in ("data-root", "exec-root", "pidfile"):
        words += [f"--{name}", f"{home}/{name}"]
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "dockerd", *words, "--ip6tables=false", stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
        )
    async with _until_it_answers(process, docker.run, "version"):
        yield docker


@asynccontextmanager
async def _until_it_answers(
    process: asyncio.subprocess.Process, ask: Callable[[str], Awaitable[str]], word: str
) -> AsyncIterator[None]:
    """Wait until a daemon answers; it ends with the block."""
    try:
        for _ in range(_TRIES):
            try:
                await ask(word)
                break
            except RuntimeError:
                if process.returncode is not None:
                    raise
                await asyncio.sleep(_PAUSE)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@dataclass(frozen=True)
class Podman:
    """A podman that asks a mirror at HOST:PORT for the images of Docker Hub."""

    home: Path
    mirror: str

    async def pull(self, name: str) -> str:
        """Pull an image and return the digest that it has here."""
        (self.home / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        (self.home / "registries.conf").write_text(
            '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
            f'[[registry.mirror]]\nlocation = "{self.mirror}"\ninsecure = true\n'
        )
        await self._podman("pull", "--tls-verify=false", "--signature-policy", f"{self.home}/policy.json", name)
        (image,) = json.loads(await self._podman("image", "inspect", name))
        return str(image["Digest"])

    async def _podman(self, *words: str) -> str:
        home = self.home
        places = ("--root", f"{home}/root", "--runroot", f"{home}/run", "--tmpdir", f"{home}/tmp")
        env = {"HOME": str(home), "CONTAINERS_REGISTRIES_CONF": f"{home}/registries.conf"}
        options = ("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file")
        return await run("podman", *places, *options, *words, env=env)
