from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import aiohttp
import pytest
from hypothesis import given, strategies as st

from hangar_async.server.app import serving
from hangar_async.server.page import Page, ShownImage
from hangar_async.testing.memory import MemoryContent

IMAGE = ShownImage(
    "docker.io/library/nginx:1.27", "sha256:" + "ab" * 32, 3 << 20, ("linux/amd64", "linux/arm64"), "library/nginx:1.27"
)


class Reader(HTMLParser):
    """The page as a browser sees it: elements with their attributes, and texts of headings, commands, paragraphs."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "input"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if self._open[-1] == "br":
            self._open.pop()
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data


def read(page: Page, host: str = "server:5000") -> Reader:
    reader = Reader()
    reader.feed("".join(page.parts(host)))
    reader.close()
    assert reader._open == []
    return reader


def test_images_are_listed_with_the_commands_that_pull_them() -> None:
    artifact = replace(IMAGE, name="reg/chart:1", platforms=(), pull="chart:1", size=10, whole=False)
    dated = replace(IMAGE, layers=3, created="2024-01-02")
    found = read(Page("images.tar.gz", [dated, artifact], 4 << 20))
    assert found.texts["h1"] == ["images.tar.gz"]
    assert found.texts["p"][0] == "2 images, 2 platforms, 4.0 MiB at server:5000"
    assert found.texts["h2"] == ["docker.io/library/nginx:1.27", "reg/chart:1 "]
    assert found.texts["p"][2] == "3.0 MiB · linux/amd64, linux/arm64 · 3 layers · made 2024-01-02"
    assert found.texts["br"][0] == IMAGE.digest
    assert found.texts["p"][3] == "10 B · artifact"
    assert found.texts["span"] == ["incomplete"]
    name = "server:5000/library/nginx:1.27"
    assert found.texts["code"] == [
        f"docker pull {name}",
        f"ctr images pull --plain-http {name}",
        f"podman pull --tls-verify=false {name}",
        f"skopeo copy --all --src-tls-verify=false docker://{name} oci:image",
        "skopeo copy --all --src-tls-verify=false docker://server:5000/chart:1 oci:artifact",
    ]
    secure = "".join(Page("x", [IMAGE]).parts("h", secure=True))
    for command in ("ctr images pull h/", "podman pull h/", "skopeo copy --all docker://h/"):
        assert command in secure


def test_without_a_script_nothing_is_missing() -> None:
    """What only a script does is hidden until it runs."""
    found = read(Page("x", [IMAGE] * 30))
    assert found.tags.count("li") == 30
    assert {"section", "input"} <= set(found.tags)
    assert ("id", "tools") in found.attributes
    assert [value for name, value in found.attributes if name == "hidden"] == [None]
    assert "button" not in found.tags


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_nothing_that_is_shown_becomes_markup(title: str, name: str, host: str) -> None:
    text = '<script>alert("1")</script>&lt;'
    hostile = replace(IMAGE, name=name + text, pull=name + text, platforms=(text,), digest=text)
    found = read(Page(title + text, [hostile]), host + text)
    plain = read(Page("x", [IMAGE]))
    assert found.tags == plain.tags
    assert found.attributes == plain.attributes
    assert text in found.texts["h2"][0]


def test_nothing_is_loaded_or_run() -> None:
    found = read(Page("x", [IMAGE]))
    assert not {"img", "link", "iframe", "form", "a"}.intersection(found.tags)
    assert found.tags.count("script") == 1
    assert not re.search(r"fetch|XMLHttp|innerHTML|eval|import|http", found.texts["script"][0])
    assert not [name for name, _ in found.attributes if name in ("src", "href", "style") or name.startswith("on")]
    assert "url(" not in found.texts["style"][0]
    assert "@import" not in found.texts["style"][0]
    assert "prefers-color-scheme: dark" in found.texts["style"][0]
    assert ("content", "width=device-width, initial-scale=1") in found.attributes


def test_a_long_page_comes_in_parts() -> None:
    parts = list(Page("x", [IMAGE] * 1001).parts("h"))
    assert len(parts) == 2 + 51
    assert max(map(len, parts)) < 30_000
    assert sum(part.count("<li>") for part in parts) == 1001


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_it_is_served_at_the_root(method: str) -> None:
    page = Page("x", [IMAGE] * 200)
    async with serving(MemoryContent(), page=page) as address, aiohttp.ClientSession(f"http://{address}") as session:
        async with session.request(method, "/") as answer:
            body = await answer.text()
            assert (answer.status, answer.content_type, answer.charset) == (200, "text/html", "utf-8")
            assert body == ("".join(page.parts(address)) if method == "GET" else "")
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with session.post("/") as answer:
            assert answer.status == 405
    text = "".join(page.parts("x"))
    digests = [
        base64.b64encode(hashlib.sha256(re.findall(f"<{tag}>(.*)</{tag}>", text, re.DOTALL)[0].encode()).digest())
        for tag in ("style", "script")
    ]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests[0].decode()}'; script-src 'sha256-{digests[1].decode()}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


async def test_names_and_hosts_that_are_not_utf_8_are_shown_with_replacements() -> None:
    page = Page("arch\udcffive", [replace(IMAGE, name="na\ud800me", pull="na\udcfeme")])
    async with serving(MemoryContent(), page=page) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(b"GET / HTTP/1.1\r\nHost: ser\xffver\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
    assert text.startswith("HTTP/1.1 200")
    assert text.endswith("\r\n0\r\n\r\n")
    assert "<h1>arch\ufffdive</h1><p>1 image, 2 platforms, 0 B at ser\ufffdver</p>" in text
    assert "<h2>na\ufffdme</h2>" in text
    assert "docker pull ser\ufffdver/na\ufffdme" in text
