"""Debian's docker-registry on a free loopback port."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BINARY = "docker-registry"
USERNAME = "user"
PASSWORD = "pass:word"
#: A line of htpasswd for the two above; docker-registry takes bcrypt alone.
_HTPASSWD = "user:$2b$05$GoHLlwqyTrDQQP4hDe6PbO1CBgnyvDVQw.UEbU3YVnyZ.AdJC.z/m\n"
_TRIES = 500
_PAUSE = 0.02


@contextmanager
def docker_registry(
    directory: Path,
    *,
    port: int = 0,
    htpasswd: bool = False,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Iterator[str]:
    """Run a registry that stores below `directory`, and yield its HOST:PORT once it answers; it ends with the block.

    `port` 0 is a free one. `certificate` and `key` are files in PEM: it is served over TLS then.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # The port is free again when the registry takes it; that another process takes it between the two is seen.
    with socket.create_server(("127.0.0.1", port)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "storage")},
            "cache": {"blobdescriptor": "inmemory"},
            "delete": {"enabled": True},
        },
        "http": {"addr": address, "secret": "of the tests"},
        # Else no manifest may name a foreign layer.
        "validation": {"manifests": {"urls": {"allow": ["^https?://"]}}},
    }
    if htpasswd:
        passwords = directory / "htpasswd"
        passwords.write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(passwords)}}
    if certificate is not None:
        config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
    settings, log = directory / "config.yml", directory / "log"
    settings.write_text(json.dumps(config, indent=1))  # JSON is YAML too
    with log.open("wb") as output:
        process = subprocess.Popen([BINARY, "serve", settings], stdout=output, stderr=output)
    try:
        _wait_until_it_answers(process, f"{'https' if certificate else 'http'}://{address}/v2/", log)
        yield address
    finally:
        process.terminate()
        process.wait()


def collect_garbage(directory: Path) -> None:
    """Remove what no manifest names from the disk of a registry, which does not see it and keeps its cache."""
    subprocess.run([BINARY, "garbage-collect", directory / "config.yml"], check=True, capture_output=True)


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    context = ssl._create_unverified_context()  # noqa: S323 - only whether it answers
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    for _ in range(_TRIES):
        if process.poll() is not None:
            break
        try:
            with opener.open(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            return  # it wants credentials: it answers
        except OSError:
            time.sleep(_PAUSE)
    raise RuntimeError(f"{BINARY} does not answer at {url}: {log.read_text(errors='replace')[-2000:]}")
