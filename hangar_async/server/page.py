"""The page for people: which images are served, and the commands that pull each of them.

All of it can be read without a script. A script that stands in the page adds a search and buttons that copy; the page
needs no other files, and its headers forbid all but this style and this script.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from aiohttp import web

from hangar_async.server.responses import ResponseWriter, shown

#: The number of images that are written at a time.
_IMAGES_A_PART = 20
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STYLE = """
:root { color-scheme: light dark; --line: #d5d9de; --soft: #5a6672; --back: #f4f6f8; --mark: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4149; --soft: #9aa7b4; --back: #20262c; --mark: #8ab4f8; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.3rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
ul { list-style: none; margin: 1rem 0; padding: 0; }
li { border-top: 1px solid var(--line); padding: .8rem 0; }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { color: var(--soft); font-size: .85rem; margin: .1rem 0 .4rem; overflow-wrap: anywhere; }
div { align-items: start; display: flex; gap: .4rem; margin: .3rem 0; }
code { background: var(--back); border-radius: .3rem; flex: 1; font: .85rem/1.5 ui-monospace, monospace;
  overflow-wrap: anywhere; padding: .4rem .6rem; user-select: all; -webkit-user-select: all; }
summary { color: var(--soft); cursor: pointer; font-size: .85rem; width: fit-content; }
label { font-size: .85rem; }
input { background: var(--back); border: 1px solid var(--line); border-radius: .3rem; box-sizing: border-box;
  color: inherit; display: block; font: inherit; padding: .4rem .6rem; width: 100%; }
button { background: none; border: 1px solid var(--line); border-radius: .3rem; color: inherit; cursor: pointer;
  font: .85rem/1.5 system-ui, sans-serif; min-width: 4.5rem; padding: .4rem .6rem; }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 1px; }
[hidden] { display: none; }
.bad { color: light-dark(#b00020, #ff8a80); }
"""
#: The clipboard of the browser is for pages over TLS; elsewhere the old way is left.
_SCRIPT = """
(() => {
  const items = [...document.querySelectorAll("li")];
  const texts = items.map((item) => item.textContent.toLowerCase());
  const search = document.getElementById("search"), found = document.getElementById("found");
  document.getElementById("tools").hidden = false;
  const show = () => {
    const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let count = 0;
    items.forEach((item, number) => {
      item.hidden = !words.every((word) => texts[number].includes(word));
      count += item.hidden ? 0 : 1;
    });
    found.textContent = words.length ? `${count} of ${items.length} images` : "";
  };
  search.addEventListener("input", show);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && document.activeElement === search) { search.value = ""; show(); }
  });
  const copy = async (code) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(code.textContent);
    getSelection().selectAllChildren(code);
    if (!document.execCommand("copy")) throw new Error("refused");
  };
  for (const code of document.querySelectorAll("code")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${code.textContent}`);
    button.addEventListener("click", async () => {
      try { await copy(code); button.textContent = "Copied"; } catch { button.textContent = "Failed"; }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    code.after(button);
  }
  show();
})();
"""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image as the page shows it, of `size` bytes; an artifact has no platforms.

    `pull` is the name to pull, without that of the server; `layers` the number in one platform, 0 where that is not
    known; `created` the day on which it was made, "" likewise.
    """

    name: str
    digest: str
    size: int
    platforms: tuple[str, ...]
    pull: str
    whole: bool = True
    layers: int = 0
    created: str = ""


class Page:
    """The page over some images of `size` bytes in all; `title` names the archive or directory that has them."""

    def __init__(self, title: str, images: Sequence[ShownImage], size: int = 0) -> None:
        self._title = title
        self._images = images
        self._size = size

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Send the page, a part at a time, so that a long one is never in memory as a whole."""
        response = web.StreamResponse(headers=_HEADERS)
        response.enable_chunked_encoding()
        writer = await response.prepare(request)
        if writer is not None and request.method != "HEAD":
            with ResponseWriter(request, writer) as response_writer:
                for part in self.parts(request.host, secure=request.secure):
                    await response_writer.send(shown(part).encode())
        await response.write_eof()
        return response

    def parts(self, host: str, *, secure: bool = False) -> Iterator[str]:
        """Yield the parts of the page for a client that knows the server by this name, over TLS or not."""
        title, host = escape(self._title), escape(host)
        platforms = sum(len(image.platforms) for image in self._images)
        total = ", ".join((_count(len(self._images), "image"), _count(platforms, "platform"), _size(self._size)))
        yield (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
            f"<h1>{title}</h1><p>{total} at {host}</p>\n"
            '<section id="tools" hidden><label>Search (/) <input id="search" type="search" autocomplete="off"></label>'
            '<p><output id="found"></output></p></section>\n<ul>\n'
        )
        for start in range(0, len(self._images), _IMAGES_A_PART):
            yield "".join(_item(image, host, secure) for image in self._images[start : start + _IMAGES_A_PART])
        yield f"</ul><script>{_SCRIPT}</script></body></html>\n"


def _item(image: ShownImage, host: str, secure: bool) -> str:
    facts = (
        _size(image.size),
        ", ".join(image.platforms) or "artifact",
        _count(image.layers, "layer") if image.layers else "",
        f"made {image.created}" if image.created else "",
    )
    shown = escape(" · ".join(filter(None, facts)))
    broken = "" if image.whole else ' <span class="bad">incomplete</span>'
    first, *others = _commands(image, f"{host}/{escape(image.pull)}", secure)
    more = "".join(f"<div><code>{command}</code></div>" for command in others)
    names = "containerd, Podman, skopeo"
    return (
        f"<li><h2>{escape(image.name)}{broken}</h2><p>{shown}<br>{escape(image.digest)}</p>"
        f"<div><code>{first}</code></div>"
        + (f"<details><summary>{names}</summary>{more}</details>" if more else "")
        + "</li>\n"
    )


def _commands(image: ShownImage, name: str, secure: bool) -> Iterator[str]:
    """Make the commands that pull an image by an escaped name; those of artifacts are skopeo's alone."""
    if image.platforms:
        yield f"docker pull {name}"
        yield f"ctr images pull {'' if secure else '--plain-http '}{name}"
        yield f"podman pull {'' if secure else '--tls-verify=false '}{name}"
    target = "image" if image.platforms else "artifact"
    yield f"skopeo copy --all {'' if secure else '--src-tls-verify=false '}docker://{name} oci:{target}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    amount, unit = float(size), 0
    while unit < len(_UNITS) - 1 and round(amount, 1) >= 1024:
        amount, unit = amount / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"
