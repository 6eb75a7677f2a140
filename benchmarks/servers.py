"""Servers that run beside what is measured, each a process of its own on a free port."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process import RunFailed
from benchmarks.stage import ROOT, Corpus

_NGINX = """
daemon off;
worker_processes auto;
pid nginx.pid;
error_log nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {address} backlog=512;
        location / {{ root {root}; }}
    }}
}}
"""
_TRIES = 1000
_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the blobs of a corpus: a name to be shown, HOST:PORT, the process, and how a blob is asked for."""

    name: str
    address: str
    process: int
    path: str

    def url(self, blob: dict[str, Any]) -> str:
        """The path of a blob."""
        return f"http://{self.address}{self.path.format(**blob, hex=str(blob['digest']).partition(':')[2])}"

    @property
    def peak(self) -> float:
        """The most memory that its process ever had, in MB."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


@contextmanager
def nginx(corpus: Corpus, directory: Path) -> Iterator[Server]:
    """Serve the blobs of a corpus as files."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).exists():
        raise RunFailed("nginx is not installed: apt-get install nginx-light")
    directory.mkdir(parents=True, exist_ok=True)
    address = _free()
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX.format(address=address, root=corpus.directory / "blobs"))
    argv = (program, "-p", str(directory), "-c", str(configuration))
    with _running(argv, address, directory) as process:
        yield Server("nginx", address, process, "/{hex}")


@contextmanager
def serve(name: str, source: Path, directory: Path, checkout: Path = ROOT) -> Iterator[Server]:
    """Serve an archive or a cache by `hangar-async serve` of a checkout."""
    address = _free()
    program = (sys.executable, "-m", "hangar_async", "serve", str(source), "--listen", address, "--quiet")
    argv = ("env", f"PYTHONPATH={checkout}", *program)
    with _running(argv, address, directory) as process:
        yield Server(name, address, process, "/v2/{repository}/blobs/{digest}")


def _free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def _running(argv: tuple[str, ...], address: str, directory: Path) -> Iterator[int]:
    log_file = directory / f"server-{address.rpartition(':')[2]}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=directory)
    try:
        for _ in range(_TRIES):
            try:
                urllib.request.urlopen(f"http://{address}/", timeout=5).close()
                break
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                if process.poll() is not None:
                    raise RunFailed(log_file.read_text(errors="replace")) from None
                time.sleep(_PAUSE)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
