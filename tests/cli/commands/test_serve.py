"""The command: what it says, and how it ends."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import bcrypt
import pytest

from tests.cli.conftest import Program
from tests.cli.programs import command, environment
from tests.cli.shelf import Shelf


class Server:
    """The program, serving: the rows that it wrote, and its address."""

    def __init__(self, process: subprocess.Popen[str], quiet: bool) -> None:
        self.process = process
        self.rows: dict[str, str] = {}
        assert process.stdout is not None
        for _ in range(0 if quiet else 4):
            line = process.stdout.readline()
            self.rows[line[:10].strip()] = line[11:].rstrip("\n")
        self.address = self.rows.get("serving", "").partition("://")[2].partition(": ")[0]

    def get(self, path: str, method: str = "GET", user: str = "") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        headers = {"Authorization": f"Basic {base64.b64encode(f'{user}:pass'.encode()).decode()}"} if user else {}
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; return the status, and what else was written."""
        self.process.send_signal(number)
        out, err = self.process.communicate()
        return self.process.returncode, out, err


@contextmanager
def serving(home: Path, *arguments: str, listen: str = "127.0.0.1:0", files: int | None = None) -> Iterator[Server]:
    line = command("serve", *arguments, "--listen", listen)
    if files is not None:
        line = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *line]
    with subprocess.Popen(
        line, cwd=home, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Server(process, "--quiet" in arguments)
        finally:
            process.kill()


def repository(name: str) -> tuple[str, str]:
    """The repository and the tag of an image's name."""
    path, _, tag = name.rpartition(":")
    return path.partition("/")[2], tag


@pytest.mark.parametrize("name", ["split.tar.gz", "plain.tar.zstd", "saved-image-cache"])
def test_it_says_where_and_how(shelf: Shelf, tmp_path: Path, name: str) -> None:
    path = shelf.home / name
    with serving(tmp_path, str(path)) as server:
        url = f"http://{server.address}"
        team, tag = repository(shelf.images[0])
        assert server.rows == {
            "serving": f"{url}: 2 images, 3 platforms, of {path}",
            "docker": f'"registry-mirrors": ["{url}"] in /etc/docker/daemon.json, for images of Docker Hub',
            "containerd": f'[host."{url}"] in /etc/containerd/certs.d/_default/hosts.toml, for all images',
            "skopeo": f"skopeo copy --all --src-tls-verify=false docker://{server.address}/{team}:{tag} oci:image",
        }
        status, raw = server.get(f"/v2/{team}/manifests/{tag}")
        assert (status, len(json.loads(raw)["manifests"])) == (200, 2)
        assert server.get("/")[0] == 200
        status, out, err = server.end()
        assert (status, out) == (0, "")
        assert err == ("hangar-async: terminated: answers under way get two seconds to end (once more ends at once)\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_it(shelf: Shelf, tmp_path: Path, number: signal.Signals, status: int) -> None:
    with serving(tmp_path, str(shelf.home / "plain.tar.gz")) as server:
        assert server.end(number)[0] == status


def test_an_archive_whose_name_is_not_utf_8(shelf: Shelf, tmp_path: Path) -> None:
    name = os.fsdecode(b"arch\xff.tar.gz")
    shutil.copy(shelf.home / "plain.tar.gz", tmp_path / name)
    with serving(tmp_path, name) as server:
        status, page = server.get("/")
        assert "arch\\udcff.tar.gz" in server.rows["serving"]
        _, _, err = server.end()
    assert status == 200
    assert "<h1>arch\ufffd.tar.gz</h1>" in page.decode()
    assert err.count("\n") == 1


def test_one_address_has_the_connections_that_the_flag_allows(shelf: Shelf, tmp_path: Path) -> None:
    with serving(tmp_path, str(shelf.home / "plain.tar.gz"), "--max-per-address", "1") as server:
        host, port = server.address.split(":")
        with socket.create_connection((host, int(port))) as held:
            held.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert held.recv(100).startswith(b"HTTP/1.1 200")
            assert server.get("/v2/")[0] == 503


def test_few_open_files_are_enough(shelf: Shelf, tmp_path: Path) -> None:
    with serving(tmp_path, str(shelf.home / "plain.tar.gz"), files=64) as server:
        host, port = server.address.split(":")
        with ExitStack() as stack:
            for _ in range(70):
                stack.enter_context(socket.create_connection((host, int(port))))
        while server.get("/v2/")[0] == 503:
            pass
        team, tag = repository(shelf.images[0])
        assert server.get(f"/v2/{team}/manifests/{tag}")[0] == 200
        assert server.end()[2].count("\n") == 1


def test_quiet_says_nothing(shelf: Shelf, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with serving(tmp_path, str(shelf.home / "plain.tar.gz"), "--quiet", listen=address) as server:
        server.address = address
        for _ in range(1000):
            try:
                assert server.get("/v2/")[0] == 200
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        status, out, err = server.end()
    assert (status, out, err.count("\n")) == (0, "", 1)


def test_a_port_in_use(shelf: Shelf, program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = program("serve", str(shelf.home / "plain.tar.gz"), "--listen", address)
    assert (done.status, done.out) == (3, "")
    assert done.err.startswith(f"hangar-async: cannot listen on {address}: ")
    assert done.err.endswith("; choose another address or port with --listen, or end what listens there\n")


def test_a_hash_that_is_too_dear(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"one:$2y$15${'a' * 53}\n")
    done = program("serve", str(shelf.home / "plain.tar.gz"), "--htpasswd", str(tmp_path / "users"))
    assert (done.status, done.out) == (2, "")
    assert (
        "users:1 (--htpasswd): a hash of cost 15, whose check takes too long; write it with a cost up to 14" in done.err
    )


def test_sighup_reads_the_users_again(shelf: Shelf, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_bytes(b"one:" + bcrypt.hashpw(b"pass", bcrypt.gensalt(4)))
    with serving(tmp_path, str(shelf.home / "plain.tar.gz"), "--htpasswd", "users") as server:
        assert server.process.stderr is not None
        assert server.get("/v2/", user="two") == (401, ANY)
        for content, line in (
            (
                b"two:" + bcrypt.hashpw(b"pass", bcrypt.gensalt(4)),
                "reload   the users were read again, and are in use\n",
            ),
            (b"nonsense", "the users of the last reading stay in use\n"),
        ):
            users.write_bytes(content)
            server.process.send_signal(signal.SIGHUP)
            assert server.process.stderr.readline().endswith(line)
            assert server.get("/v2/", user="two")[0] == 200
        assert server.end()[0] == 0


def test_an_archive_without_index(shelf: Shelf, program: Program) -> None:
    done = program("serve", str(shelf.home / "foreign.tar.gz"))
    assert (done.status, done.out) == (2, "")
    assert "has no index" in done.err
    assert done.err.endswith("; unpack its gzip, which leaves a tar, or make an archive of it with compress\n")


def test_failures_are_lines_and_strangers_are_not(shelf: Shelf, tmp_path: Path) -> None:
    shelf.copy("plain.tar.gz*", tmp_path)
    with serving(tmp_path, "plain.tar.gz") as server:
        host, port = server.address.split(":")
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
            assert stranger.recv(100).startswith(b"HTTP/1.0 400")
        (tmp_path / "plain.tar.gz").unlink()
        team, tag = repository(shelf.images[0])
        for _ in range(3):
            assert server.get(f"/v2/{team}/manifests/{tag}")[0] == 500
        _, _, err = server.end()
    (line, last) = err.splitlines()
    assert "warning  cannot read plain.tar.gz: No such file or directory; " in line
    assert "terminated" in last


def test_each_request_is_a_line_with_debug(shelf: Shelf, tmp_path: Path) -> None:
    with serving(tmp_path, "--debug", str(shelf.home / "plain.tar.gz")) as server:
        assert server.get("/v2/")[0] == 200
        assert server.get("/v2/none/tags/list?n=1", "HEAD")[0] == 404
        _, _, err = server.end()
    lines = [line for line in err.splitlines() if " 127.0.0.1 " in line]
    assert " GET /v2/: 200, " in lines[0]
    assert " HEAD /v2/none/tags/list?n=1: 404, " in lines[1]


def test_a_client_that_speaks_tls_is_a_line_with_debug(shelf: Shelf, tmp_path: Path) -> None:
    context = ssl.create_default_context()
    with serving(tmp_path, "--debug", str(shelf.home / "plain.tar.gz")) as server:
        host, port = server.address.split(":")
        with socket.create_connection((host, int(port))) as client, pytest.raises(ssl.SSLError):
            context.wrap_socket(client, server_hostname="localhost")
        _, _, err = server.end()
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if "127.0.0.1" in line]
    assert line.endswith(" hangar_async.server.listen: 127.0.0.1 speaks TLS, and plain HTTP is served here")


def test_a_layout_is_listed_and_served(shelf: Shelf, program: Program, tmp_path: Path) -> None:
    name = shelf.images[0]
    assert program("extract", str(shelf.home / "plain.tar.gz"), name, "-o", "layout").status == 0
    listed: dict[str, Any] = json.loads(program("ls", "layout", "--json").out)
    (image,) = listed["images"]
    assert (image["name"], listed["format"], len(image["platforms"])) == (name, "dir", 2)
    assert program("verify", "layout").status == 0
    index = json.loads((tmp_path / "layout" / "index.json").read_bytes())
    del index["manifests"][0]["annotations"]
    (tmp_path / "layout" / "index.json").write_text(json.dumps(index))
    digest = index["manifests"][0]["digest"]
    assert digest in program("ls", "layout").out
    with serving(tmp_path, "layout") as server:
        assert server.rows["skopeo"].endswith(f"docker://{server.address}/layout@{digest} oci:image")
        assert server.get(f"/v2/layout/manifests/{digest}")[0] == 200
