"""Saved images served from where they lie."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
import trustme

from hangar_async.config.options import CompressOptions, ServeOptions
from hangar_async.config.output import OutputSettings
from hangar_async.engine import serve as module
from hangar_async.engine.compress import compress
from hangar_async.engine.events import Answered, Event, Listening, Notice, Reloaded
from hangar_async.engine.serve import serve, serving
from hangar_async.engine.serving.buffers import LARGE, MOST_IDLE, MOST_LARGE, SMALL
from hangar_async.engine.serving.reader import BlobReader
from hangar_async.errors import ArchiveError, ContentError, ListenError, StorageError, UsageError
from hangar_async.layout.files import blob_name
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.server import app
from hangar_async.testing.images import Built, Layer
from tests.engine.forms import HANGARS, Saved
from tests.engine.made import make_cache, make_layout
from tests.engine.served import REFERRER, Client, Site, pages, served
from tests.fakes.images import small

NGINX = "docker.io/library/nginx:1.27"
REF = "org.opencontainers.image.ref.name"


async def check_all(client: Client, repository: str, built: Built, tag: str = "") -> None:
    """See that all of an image is there, byte for byte."""
    for reference in [*map(str, built.documents), tag]:
        if reference:
            answer, raw = await client.get(f"/v2/{repository}/manifests/{reference}")
            assert (answer.status, answer.headers["Content-Type"]) == (200, built.media_type) or reference != tag
            assert Digest.of(raw) == (built.digest if reference == tag else Digest.parse(reference))
    for digest, data in built.blobs.items():
        answer, raw = await client.get(f"/v2/{repository}/blobs/{digest}")
        assert (answer.status, raw) == (200, data)


@pytest.mark.parametrize("form", ["gzip", "zstd", "gzip-12", "zstd-3", "dir"])
async def test_every_kind_of_image_in_every_form(everything: Saved, form: str) -> None:
    async with served(everything.at(form)) as client:
        assert len(client.served.images) == len(everything.built)
        assert client.notices == []
        for name, built in everything.built.items():
            repository, _, tag = name.partition("/")[2].partition(":")
            await check_all(client, repository, built, "" if tag.startswith("sha256-") else tag)


async def test_a_layout_of_another_program(site: Site, tmp_path: Path) -> None:
    entries: list[tuple[Built, dict[str, str]]] = [
        (site.built[NGINX], {REF: NGINX}),
        (site.built["ghcr.io/team/docker:1"], {REF: "1.0"}),
        (site.built["reg.example.com:5000/charts/shop:1"], {}),
    ]
    path = await asyncio.to_thread(make_layout, tmp_path / "images", entries)
    async with served(path) as client:
        await check_all(client, "docker.io/library/nginx", entries[0][0], "1.27")
        await check_all(client, "images", entries[1][0], "1.0")
        await check_all(client, "images", entries[2][0])
        assert (await client.document("/v2/images/tags/list"))["tags"] == ["1.0"]


@pytest.mark.parametrize("form", ["gzip", "dir"])
async def test_the_original_of_a_partial_index(partial: Saved, form: str) -> None:
    async with served(partial.at(form)) as client:
        for name, built in partial.built.items():
            path = f"/v2/{name.partition('/')[2].partition(':')[0]}/manifests/"
            answer, raw = await client.get(f"{path}{built.digest}")
            assert (answer.status, raw) == (200, built.raw)
            entries = (await client.document(f"{path}1"))["manifests"]
            assert 0 < len(entries) < len(json.loads(built.raw)["manifests"]) or "nested" in name
            for entry in entries:
                answer, _ = await client.get(f"{path}{entry['digest']}")
                assert answer.status == 200


async def test_an_unpacked_cache_of_hangar_s(site: Site, tmp_path: Path) -> None:
    cache = tmp_path / "saved-image-cache"
    await asyncio.to_thread(shutil.copytree, site.cache, cache, symlinks=True)
    for name in ("index.json", "oci-layout", "blobs"):
        (cache / name).unlink()
    async with served(cache) as client:
        found = await client.document("/v2/library/nginx/manifests/1.27")
        assert [one["platform"]["architecture"] for one in found["manifests"]] == ["amd64", "arm64", "arm"]
        answer, raw = await client.get("/v2/library/nginx/manifests/1.27", headers={"Range": "bytes=1-9"})
        assert answer.headers["Docker-Content-Digest"]
        digest = answer.headers["Docker-Content-Digest"]
        answer, whole = await client.get(f"/v2/library/nginx/manifests/{digest}")
        assert str(Digest.of(whole)) == digest
        assert whole[1:10] == raw


async def test_a_mirror_gets_the_image_of_its_registry(client: Client, site: Site) -> None:
    path = "/v2/library/nginx/manifests/1.27"
    for query, name in (
        ("", NGINX),
        ("?ns=docker.io", NGINX),
        ("?ns=registry-1.docker.io", NGINX),
        ("?ns=quay.io", "quay.io/library/nginx:1.27"),
    ):
        answer, raw = await client.get(path + query)
        assert (answer.status, raw) == (200, site.built[name].raw)
    assert (await client.document("/v2/library/nginx/tags/list?ns=quay.io"))["tags"] == ["1.27"]
    assert await client.code("/v2/library/nginx/manifests/1.26?ns=quay.io") == (404, "MANIFEST_UNKNOWN")
    built = site.built["quay.io/library/nginx:1.27"]
    for digest in built.blobs:
        answer, _ = await client.get(f"/v2/library/nginx/blobs/{digest}?ns=quay.io")
        assert answer.status == 200
    assert (await client.document("/v2/_catalog?ns=quay.io"))["repositories"] == ["library/nginx"]


async def test_a_registry_with_a_port(client: Client, site: Site) -> None:
    raw = site.built["reg.example.com:5000/team/app:2"].raw
    for path in (
        "/v2/team/app/manifests/2",
        "/v2/team/app/manifests/2?ns=reg.example.com:5000",
        "/v2/team/app/manifests/2?ns=REG.example.com%3A5000",
        "/v2/reg.example.com_5000/team/app/manifests/2",
        "/v2/reg.example.com:5000/team/app/manifests/2",
    ):
        answer, found = await client.get(path)
        assert (answer.status, found) == (200, raw)


@pytest.mark.parametrize("registry", ["example.com", "", "no registry", "reg.example.com", "a" * 3000])
async def test_a_registry_of_which_nothing_is_held(client: Client, registry: str) -> None:
    for path in ("library/nginx/manifests/1.27", "library/nginx/tags/list", "_catalog"):
        assert await client.code(f"/v2/{path}?ns={registry}") == (404, "NAME_UNKNOWN")


async def test_images_with_one_name_are_reported_once(client: Client) -> None:
    (notice,) = client.notices
    assert notice == (
        "library/nginx:1.27 is docker.io/library/nginx:1.27; "
        "pull quay.io/library/nginx:1.27 with its registry in the name"
    )
    for _ in range(3):
        await client.get("/v2/library/nginx/manifests/1.27")
    assert len(client.notices) == 1


async def test_many_remarks_are_counted(tmp_path: Path) -> None:
    names = {f"{registry}/app:{number}": small(registry + str(number)) for registry in "ab" for number in range(8)}
    cache = await asyncio.to_thread(
        make_cache, tmp_path / "c", {f"{name[0]}.io{name[1:]}": one for name, one in names.items()}
    )
    async with served(cache) as client:
        assert len(client.notices) == 6
        assert client.notices[-1] == "3 more: name stands for the first of several images"


async def test_the_page(client: Client) -> None:
    answer, raw = await client.get("/")
    text = raw.decode()
    assert (answer.status, answer.content_type) == (200, "text/html")
    host = client.served.address
    assert f"<code>docker pull {host}/library/nginx:1.27</code>" in text
    # Its plain name is another image.
    assert f"<code>docker pull {host}/quay.io/library/nginx:1.27</code>" in text
    assert f"<code>docker pull {host}/team/app:2</code>" in text
    assert "all.tar.gz" in text
    assert re.search(r"<p>\d+ images, \d+ platforms, [\d.]+ [KM]iB at ", text)
    assert re.search(r" · \d layers? · made \d{4}-\d\d-\d\d<br>", text)


async def test_the_address_is_reported(site: Site) -> None:
    async with served(site.cache) as client:
        (event,) = [one for one in client.events if isinstance(one, Listening)]
        assert event.served is client.served
        assert client.served.url == f"http://{client.served.address}"
        assert client.served.host == client.served.address
    async with serving(ServeOptions(source=site.cache, listen=":0")) as found:
        assert found.address.startswith(":")
        assert found.host == socket.gethostname() + found.address


@pytest.mark.parametrize("form", HANGARS)
async def test_an_archive_without_index_is_refused(everything: Saved, form: str) -> None:
    with pytest.raises(UsageError, match="has no index") as failed:
        async with served(everything.at(form)):
            pass
    assert "unpack its" in failed.value.advice


async def test_nothing_to_serve(tmp_path: Path, site: Site) -> None:
    with pytest.raises(UsageError, match="there is no "):
        await serve(ServeOptions(source=tmp_path / "none"))
    with pytest.raises(ContentError, match="there are no images in it"):
        await serve(ServeOptions(source=tmp_path))
    empty = await asyncio.to_thread(make_layout, tmp_path / "empty", [])
    with pytest.raises(UsageError, match="there is no image in"):
        await serve(ServeOptions(source=empty))
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(ArchiveError, match="neither a tar, plain or compressed, nor a zip"):
        await serve(ServeOptions(source=tmp_path / "text"))


async def test_a_port_in_use(site: Site) -> None:
    async with served(site.cache) as client:
        with pytest.raises(ListenError, match="cannot listen on"):
            await serve(ServeOptions(source=site.cache, listen=client.served.address))


async def test_over_tls_for_users(site: Site, keys: dict[str, Any], client_tls: ssl.SSLContext) -> None:
    async with served(site.archive, **keys) as client:
        assert client.served.url.startswith("https://")
        assert len(client.notices) == 1  # no passwords are in the clear
        url = f"{client.served.url}/v2/library/nginx/manifests/1.27"
        right = {"Authorization": aiohttp.encode_basic_auth("one", "pass")}
        for headers, status in (({}, 401), (right, 200)):
            async with client.session.get(url, ssl=client_tls, headers=headers) as answer:
                assert answer.status == status
        digest, data = max(site.built[NGINX].blobs.items(), key=lambda one: len(one[1]))
        url = f"{client.served.url}/v2/library/nginx/blobs/{digest}"
        async with client.session.get(url, ssl=client_tls, headers=right) as answer:
            assert await answer.read() == data


async def test_passwords_without_tls_are_worth_a_word(site: Site, keys: dict[str, Path]) -> None:
    async with served(site.archive, htpasswd=keys["htpasswd"]) as client:
        assert not [text for text in client.notices if "passwords" in text]
    told: list[str] = []
    wanted = ServeOptions(source=site.archive, listen="0.0.0.0:0", htpasswd=keys["htpasswd"])
    async with serving(wanted, lambda event: told.append(getattr(event, "text", ""))):
        assert told[0].startswith("passwords cross the network as they are")


async def test_a_flood_of_wrong_passwords_shuts_nobody_out(site: Site, keys: dict[str, Path]) -> None:
    def login(password: str) -> dict[str, str]:
        return {"Authorization": aiohttp.encode_basic_auth("one", password)}

    async with served(site.archive, htpasswd=keys["htpasswd"]) as client, asyncio.TaskGroup() as group:
        flood = [group.create_task(client.get("/v2/", headers=login(f"wrong {number}"))) for number in range(300)]
        while (await client.get("/v2/", headers=login("pass")))[0].status == 429:
            pass
        assert (await client.get("/v2/", headers=login("pass")))[0].status == 200
        assert {(await task)[0].status for task in flood} <= {401, 429}


@pytest.mark.parametrize("name", ["tls_cert", "tls_key", "htpasswd"])
async def test_files_are_read_before_anything_listens(site: Site, keys: dict[str, Path], name: str) -> None:
    keys[name].write_text("nonsense")
    async with served(site.cache) as client:
        # The port is in use, and is not asked for.
        with pytest.raises(UsageError, match="--"):
            secured: dict[str, Any] = {**keys}
            await serve(ServeOptions(source=site.archive, listen=client.served.address, **secured))


def replace_text(path: Path, text: str) -> None:
    """Write a file as programs do that a reader may watch: whole at once."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.mark.parametrize("is_told", [True, False])
async def test_changed_files_are_read_again(
    site: Site, keys: dict[str, Path], is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_told:
        monkeypatch.setattr(module, "_INTERVAL", 0.001)
    events: asyncio.Queue[Any] = asyncio.Queue()
    reload = asyncio.Event()
    options = ServeOptions(source=site.archive, listen="127.0.0.1:0", htpasswd=keys["htpasswd"])
    async with (
        serving(options, events.put_nowait, reload=reload) as found,
        aiohttp.ClientSession(f"http://{found.address}") as session,
    ):
        while not isinstance(await events.get(), Listening):
            pass
        for user in ("two", "three"):
            hashed = bcrypt.hashpw(b"pass", bcrypt.gensalt(4)).decode()
            await asyncio.to_thread(replace_text, keys["htpasswd"], f"{user}:{hashed}")
            if is_told:
                reload.set()
            assert await events.get() == Reloaded("the users")
            login = {"Authorization": aiohttp.encode_basic_auth(user, "pass")}
            async with session.get("/v2/", headers=login) as answer:
                assert answer.status == 200
        await asyncio.to_thread(replace_text, keys["htpasswd"], "nonsense")
        if is_told:
            reload.set()
        notice = await events.get()
        assert notice.text.startswith(f"{keys['htpasswd']}:1 (--htpasswd): not a name with a bcrypt hash")
        assert notice.text.endswith("; the users of the last reading stay in use")
        async with session.get("/v2/", headers=login) as answer:
            assert answer.status == 200
    assert events.empty()


async def test_a_renewed_certificate_is_used_by_the_next_connection(
    site: Site, keys: dict[str, Path], ca: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    reload, events = asyncio.Event(), asyncio.Queue[Any]()
    options = ServeOptions(
        source=site.archive, listen="127.0.0.1:0", tls_cert=keys["tls_cert"], tls_key=keys["tls_key"]
    )

    async def certificate(address: str) -> bytes | None:
        _, writer = await asyncio.open_connection(*address.split(":"), ssl=client_tls, server_hostname="127.0.0.1")
        found: ssl.SSLObject = writer.get_extra_info("ssl_object")
        writer.close()
        await writer.wait_closed()
        return found.getpeercert(binary_form=True)

    async with serving(options, events.put_nowait, reload=reload) as served_at:
        first = await certificate(served_at.address)
        leaf = ca.issue_cert("127.0.0.1")
        await asyncio.to_thread(leaf.private_key_pem.write_to_path, keys["tls_key"])
        await asyncio.to_thread(leaf.cert_chain_pems[0].write_to_path, keys["tls_cert"])
        reload.set()
        while not isinstance(await events.get(), Listening):
            pass
        assert await events.get() == Reloaded("the certificate and its key")
        second = await certificate(served_at.address)
    assert None not in (first, second)
    assert first != second


def damage(root: Path, digest: Digest) -> None:
    path = root / blob_name(digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


async def test_a_damaged_blob_is_never_a_good_answer(large_cache: tuple[Path, Layer]) -> None:
    cache, one = large_cache
    await asyncio.to_thread(damage, cache, one.digest)
    config = next(digest for digest in small("other").blobs)
    await asyncio.to_thread(damage, cache, config)
    async with served(cache) as client:
        for _ in range(2):
            async with client.session.get(f"/v2/library/app/blobs/{one.digest}") as answer:
                assert answer.status == 200
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
            assert await client.code(f"/v2/library/other/blobs/{config}") == (500, "UNKNOWN")
        assert len(client.notices) == 2
        assert f"{one.digest} is damaged" in client.notices[0]


async def test_a_manifest_that_is_damaged_later_is_not_sent(large_cache: tuple[Path, Layer]) -> None:
    cache, _ = large_cache
    async with served(cache) as client:
        path = "/v2/library/app/manifests/1"
        answer, _ = await client.get(path)
        digest = Digest.parse(answer.headers["Docker-Content-Digest"])
        await asyncio.to_thread(damage, cache, digest)
        for headers in ({}, {"Range": "bytes=5-"}):
            answer, _ = await client.get(path, headers=headers)
            assert answer.status == 500
        (cache / blob_name(digest)).unlink()
        assert await client.code(path) == (500, "UNKNOWN")
        assert len(client.notices) == 2


async def test_an_incomplete_image_is_told_and_served_as_far_as_it_goes(large_cache: tuple[Path, Layer]) -> None:
    cache, one = large_cache
    (cache / blob_name(one.digest)).unlink()
    async with served(cache) as client:
        (notice,) = client.notices
        assert notice == f"docker.io/library/app:1 is incomplete: blob {one.digest} is missing"
        assert await client.code(f"/v2/library/app/blobs/{one.digest}") == (404, "BLOB_UNKNOWN")
        answer, _ = await client.get("/v2/library/app/manifests/1")
        assert answer.status == 200
        _, raw = await client.get("/")
        assert raw.count(b"incomplete") == 1


def remove(path: Path) -> None:
    for part in path.parent.glob(f"{path.name}.part*"):
        part.unlink()


def overwrite(path: Path) -> None:
    for part in path.parent.glob(f"{path.name}.part*"):
        part.write_bytes(bytes(part.stat().st_size))


@pytest.mark.usefixtures("_tight")
@pytest.mark.parametrize("change", [remove, overwrite])
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
async def test_an_archive_that_changes_ends_the_answers_short(
    large_cache: tuple[Path, Layer], tmp_path: Path, change: Callable[[Path], None], kind: str
) -> None:
    cache, one = large_cache
    output = OutputSettings(target=tmp_path / "all.tar", format=kind, part_size=4 * LARGE, sync=False)
    assert (await compress(CompressOptions(cache=cache, output=output))).status == 0
    async with served(output.target) as client:
        path = f"/v2/library/app/blobs/{one.digest}"
        reading = await slow(client.served.address, path)
        await asyncio.to_thread(change, output.target)
        got = await rest(reading)
        assert len(got) < len(one.data)
        assert one.data.startswith(got)
        for _ in range(2):
            assert await client.code(path) == (500, "UNKNOWN")
            assert await client.code("/v2/library/app/manifests/1") == (500, "UNKNOWN")
        assert client.notices
        assert len(set(client.notices)) == len(client.notices)
        assert all("all.tar.part0" in text for text in client.notices)
        # What is known without reading it stays.
        answer, _ = await client.get(path, "HEAD")
        assert answer.status == 200


Reading = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def slow(address: str, path: str) -> Reading:
    """Ask for something, and take no more than the headers."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    host, port = address.split(":")
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=2048)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def rest(reading: Reading) -> bytes:
    reader, writer = reading
    got = bytearray()
    try:
        while data := await reader.read(1 << 16):
            got += data
    except ConnectionError:
        pass
    writer.close()
    return bytes(got)


def test_failures_that_are_told_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_REPORTED", 2)
    told: list[object] = []
    failed = module._Failures(told.append)
    for text in ("one", "one", "two", "three"):
        failed(ContentError(text, advice="do this"))
    assert told == [Notice("one; do this"), Notice("two; do this")]


@pytest.mark.usefixtures("_tight")
async def test_hundreds_of_slow_clients(large_cache: tuple[Path, Layer], blob_readers: list[BlobReader]) -> None:
    cache, one = large_cache
    async with served(cache) as client:
        path = f"/v2/library/app/blobs/{one.digest}"
        readings = [await slow(client.served.address, path) for _ in range(300)]
        (blobs,) = blob_readers
        # Every one of them has a piece on its way, and few have a large one.
        assert 0 < blobs.buffers.lent <= blobs.buffers.peak <= MOST_LARGE
        assert blobs.readers.idle <= MOST_IDLE
        # No other client has to wait for them.
        answer, raw = await client.get(path)
        assert (answer.status, raw) == (200, one.data)
        for reading in readings[:20]:
            assert await rest(reading) == one.data
        for _, writer in readings[20:]:
            writer.transport.abort()
    assert blobs.buffers.peak <= MOST_LARGE
    assert (blobs.buffers.lent, blobs.readers.idle) == (0, 0)
    assert client.notices == []


@pytest.mark.usefixtures("_tight")
async def test_the_end_of_the_server_ends_answers_and_leaves_nothing_open(
    large_cache: tuple[Path, Layer], blob_readers: list[BlobReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, one = large_cache
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()

    def observe(event: object) -> None:
        if isinstance(event, Listening):
            listening.set_result(event)

    monkeypatch.setattr(app, "serving", partial(app.serving, grace=0.01))
    task = asyncio.create_task(serve(ServeOptions(source=cache, listen="127.0.0.1:0"), observe))
    address = (await listening).served.address
    reading = await slow(address, f"/v2/library/app/blobs/{one.digest}")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    got = await rest(reading)
    assert one.data.startswith(got)
    assert len(got) < len(one.data)
    (blobs,) = blob_readers
    assert (blobs.buffers.lent, blobs.readers.idle) == (0, 0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address.split(":"))


@pytest.mark.parametrize("steps", range(0, 60, 4))
async def test_cancelled_while_it_starts(site: Site, steps: int) -> None:
    task = asyncio.create_task(serve(ServeOptions(source=site.archive, listen="127.0.0.1:0")))
    for _ in range(steps):
        await asyncio.sleep(0.0005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_reading_fails_as_a_disk_does(large_cache: tuple[Path, Layer], monkeypatch: pytest.MonkeyPatch) -> None:
    cache, one = large_cache
    async with served(cache) as client:

        async def fail(*_: object, **__: object) -> AsyncIterator[memoryview]:
            raise StorageError("cannot read x: Input/output error", path="x")
            yield memoryview(b"")

        monkeypatch.setattr(BlobReader, "read", fail)
        assert await client.code(f"/v2/library/app/blobs/{one.digest}") == (500, "UNKNOWN")
        (notice,) = client.notices
        assert notice.startswith("cannot read x: Input/output error; ")


def test_small_pieces_are_what_a_slow_client_holds() -> None:
    """The bounds of memory; see the limits in docs/serve.md."""
    assert MOST_LARGE * LARGE == 16 << 20
    assert SMALL == 64 << 10


ABSENT = f"sha256:{'0' * 64}"
BOTH = pytest.mark.parametrize("method", ["GET", "HEAD"])
#: "Error Codes".
CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED",
    "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip


async def test_the_base_says_that_the_protocol_is_spoken(client: Client) -> None:
    """Determining support: end-1 answers 200."""
    answer, raw = await client.get("/v2/")
    assert (answer.status, answer.content_type, json.loads(raw)) == (200, "application/json", {})


@BOTH
async def test_a_blob_that_is_there(client: Client, site: Site, method: str) -> None:
    for digest, data in site.built[NGINX].blobs.items():
        answer, raw = await client.get(f"/v2/library/nginx/blobs/{digest}", method)
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["Docker-Content-Digest"] == str(digest)
        assert raw == (data if method == "GET" else b"")


@BOTH
async def test_a_blob_that_is_not_there(client: Client, method: str) -> None:
    answer, _ = await client.get(f"/v2/library/nginx/blobs/{ABSENT}", method)
    assert answer.status == 404


async def test_a_blob_of_another_repository_is_not_there(client: Client, site: Site) -> None:
    digest = next(iter(site.built["reg.example.com:5000/charts/shop:1"].blobs))
    assert await client.code(f"/v2/library/nginx/blobs/{digest}") == (404, "BLOB_UNKNOWN")
    answer, _ = await client.get(f"/v2/charts/shop/blobs/{digest}")
    assert answer.status == 200


async def test_parts_of_a_blob(client: Client, site: Site) -> None:
    """RFC 9110: a registry should support ranges."""
    digest, data = max(site.built[NGINX].blobs.items(), key=lambda one: len(one[1]))
    path = f"/v2/library/nginx/blobs/{digest}"
    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, len(data)),
        ("bytes=100-70000", 100, 70_001),
        (f"bytes={len(data) - 5}-", len(data) - 5, len(data)),
        ("bytes=-7", len(data) - 7, len(data)),
        (f"bytes=5-{10 * len(data)}", 5, len(data)),
    ):
        answer, raw = await client.get(path, headers={"Range": asked})
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(data)}"
        assert raw == data[start:stop]
    answer, _ = await client.get(path, headers={"Range": f"bytes={len(data)}-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(data)}")
    answer, _ = await client.get(path, "HEAD", {"Range": "bytes=1-2"})
    assert (answer.status, answer.headers["Accept-Ranges"]) == (200, "bytes")


@BOTH
async def test_a_manifest_by_its_tag(client: Client, site: Site, method: str) -> None:
    for name, built in site.built.items():
        if name == "quay.io/library/nginx:1.27":
            continue  # its name is another's
        repository, _, tag = name.partition("/")[2].rpartition(":")
        answer, raw = await client.get(f"/v2/{repository}/manifests/{tag}", method)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == built.media_type
        assert answer.headers["Docker-Content-Digest"] == str(built.digest)
        assert answer.headers["Content-Length"] == str(len(built.raw))
        assert raw == (built.raw if method == "GET" else b"")


@BOTH
async def test_a_manifest_by_its_digest(client: Client, site: Site, method: str) -> None:
    for name, built in site.built.items():
        repository = name.partition("/")[2].rpartition(":")[0]
        for digest, (kind, data) in built.documents.items():
            answer, raw = await client.get(f"/v2/{repository}/manifests/{digest}", method)
            assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
            assert answer.headers["Docker-Content-Digest"] == str(digest)
            assert raw == (data if method == "GET" else b"")


@BOTH
@pytest.mark.parametrize("reference", ["none", ABSENT, ".nothing", "sha256"])
async def test_a_manifest_that_is_not_there(client: Client, method: str, reference: str) -> None:
    answer, _ = await client.get(f"/v2/library/nginx/manifests/{reference}", method)
    assert answer.status == 404


async def test_an_accept_header_changes_no_byte(client: Client, site: Site) -> None:
    """A registry may give what is not accepted; one that converts changes the digest."""
    built = site.built["docker.io/library/nginx:latest"]
    for accepted in (media_types.OCI_MANIFEST, "text/html", "*/*", built.media_type):
        answer, raw = await client.get("/v2/library/nginx/manifests/latest", headers={"Accept": accepted})
        assert (answer.status, answer.headers["Content-Type"], raw) == (200, built.media_type, built.raw)


async def test_content_of_the_client_is_not_sent_again(client: Client, site: Site) -> None:
    tag = f'"{site.built[NGINX].digest}"'
    answer, raw = await client.get("/v2/library/nginx/manifests/1.27", headers={"If-None-Match": tag})
    assert (answer.status, answer.headers["ETag"], raw) == (304, tag, b"")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/none/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/none/blobs/" + ABSENT, 404, "NAME_UNKNOWN"),
        ("/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/none/referrers/" + ABSENT, 404, "NAME_UNKNOWN"),
        ("/v2/library/nginx/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/nginx/manifests/sha256:xyz", 400, "DIGEST_INVALID"),
        ("/v2/library/nginx/blobs/sha256:xyz", 400, "DIGEST_INVALID"),
        ("/v2/library/nginx/referrers/xyz", 400, "DIGEST_INVALID"),
        ("/v2/Library/nginx/manifests/1.27", 400, "NAME_INVALID"),
        ("/v2/library/nginx/anything", 404, "NAME_UNKNOWN"),
        ("/elsewhere", 404, "NAME_UNKNOWN"),
    ],
)
async def test_errors_have_the_form_of_the_specification(client: Client, path: str, status: int, code: str) -> None:
    assert await client.code(path) == (status, code)
    assert code in CODES


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/library/nginx/blobs/uploads/"),
        ("PUT", "/v2/library/nginx/manifests/1.27"),
        ("DELETE", "/v2/library/nginx/manifests/1.27"),
        ("PATCH", "/v2/library/nginx/blobs/uploads/1"),
    ],
)
async def test_nothing_can_be_pushed_or_deleted(client: Client, method: str, path: str) -> None:
    assert await client.code(path, method) == (405, "UNSUPPORTED")


async def test_tags_are_listed_in_order(client: Client) -> None:
    found = await client.document("/v2/library/nginx/tags/list")
    assert found == {"name": "library/nginx", "tags": ["1.26", "1.27", "latest", "mainline"]}


async def test_tags_are_listed_in_pages(client: Client) -> None:
    path = "/v2/library/nginx/tags/list"
    assert await pages(client, f"{path}?n=3", "tags") == [["1.26", "1.27", "latest"], ["mainline"]]
    assert await pages(client, f"{path}?n=3&last=1.26", "tags") == [["1.27", "latest", "mainline"]]
    assert await pages(client, f"{path}?n=0", "tags") == [[]]
    assert await client.code(f"{path}?n=x") == (400, "PAGINATION_NUMBER_INVALID")


async def test_repositories_are_listed_in_pages(client: Client) -> None:
    (names,) = await pages(client, "/v2/_catalog", "repositories")
    assert names == sorted(names)
    assert {"library/nginx", "docker.io/library/nginx", "quay.io/library/nginx", "team/app"} <= set(names)
    assert "reg.example.com_5000/team/app" in names
    assert [name for page in await pages(client, "/v2/_catalog?n=2", "repositories") for name in page] == names


async def referrers(client: Client, path: str) -> tuple[list[dict[str, Any]], str | None]:
    answer, raw = await client.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, media_types.OCI_INDEX)
    document = json.loads(raw)
    assert (document["schemaVersion"], document["mediaType"]) == (2, media_types.OCI_INDEX)
    return document["manifests"], answer.headers.get("OCI-Filters-Applied")


async def test_an_image_without_referrers_has_an_empty_list(client: Client, site: Site) -> None:
    """An unknown digest is no error."""
    for digest in (ABSENT, site.built[NGINX].digest):
        assert await referrers(client, f"/v2/library/nginx/referrers/{digest}") == ([], None)


async def test_referrers(client: Client, site: Site) -> None:
    subject, signature, sbom = (site.built[f"ghcr.io/team/signed:{tag}"] for tag in ("1", "signature", "sbom"))
    path = f"/v2/team/signed/referrers/{subject.digest}"
    found, applied = await referrers(client, path)
    assert applied is None
    assert {one["digest"] for one in found} == {str(signature.digest), str(sbom.digest)}
    (one,), applied = await referrers(client, f"{path}?artifactType={REFERRER}")
    assert applied == "artifactType"
    assert one == {
        "mediaType": media_types.OCI_MANIFEST,
        "digest": str(signature.digest),
        "size": len(signature.raw),
        "artifactType": REFERRER,
        "annotations": {"by": "test"},
    }
    answer, raw = await client.get(f"/v2/team/signed/manifests/{one['digest']}")
    assert (answer.status, Digest.of(raw)) == (200, signature.digest)
    assert await referrers(client, f"{path}?artifactType=none") == ([], "artifactType")


async def test_health_is_told_without_a_user_and_requests_to_the_observer(site: Site, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"me:{bcrypt.hashpw(b'word', bcrypt.gensalt(4)).decode()}\n")
    events: list[Event] = []
    options = ServeOptions(source=site.archive, listen="127.0.0.1:0", htpasswd=users, access=True)
    async with serving(options, events.append) as address, aiohttp.ClientSession() as session:
        answer = await session.get(f"{address.url}/healthz", headers={"User-Agent": "probe"})
        assert (answer.status, await answer.text()) == (200, "ok\n")
        answer = await session.get(f"{address.url}/v2/")
        assert answer.status == 401
        await answer.read()
    answered = [event for event in events if isinstance(event, Answered)]
    told = [(one.client, one.method, one.path, one.status) for one in answered]
    assert told == [("127.0.0.1", "GET", "/healthz", 200), ("127.0.0.1", "GET", "/v2/", 401)]
    assert answered[0].agent == "probe"
    assert answered[0].size > len("ok\n")


async def test_numbers_have_an_address_of_their_own(site: Site) -> None:
    pytest.importorskip("prometheus_client")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ServeOptions(source=site.archive, listen="127.0.0.1:0", metrics=str(port))
    async with serving(options) as server, aiohttp.ClientSession() as session:
        await (await session.get(f"{server.url}/healthz")).read()
        text = await (await session.get(f"http://127.0.0.1:{port}/metrics")).text()
        assert (await session.get(f"{server.url}/metrics")).status == 404
    assert 'hangar_requests_total{kind="other",method="GET",status="200"} 1.0' in text


@pytest.mark.parametrize(
    ("text", "address"),
    [("9100", ("127.0.0.1", 9100)), (":9100", ("", 9100)), ("[::1]:9100", ("::1", 9100)), (None, None)],
)
def test_the_address_of_numbers_is_this_machine_by_default(text: str | None, address: tuple[str, int] | None) -> None:
    assert ServeOptions(source=Path("x"), metrics=text).metrics_address == address
    with pytest.raises(UsageError, match="--metrics"):
        ServeOptions(source=Path("x"), metrics="nowhere")
