"""The page for people: which images are served, and the command that pulls each of them.

It needs no scripts and no other files; its headers forbid both.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from aiohttp import web

from hangar_async.server.responses import ResponseWriter, shown

#: The number of images that are written at a time.
_IMAGES_A_PART = 50
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STYLE = """
:root { color-scheme: light dark; --line: #d5d9de; --soft: #5a6672; --back: #f4f6f8; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4149; --soft: #9aa7b4; --back: #20262c; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.3rem; margin: 0 0 .2rem; }
ul { list-style: none; margin: 1rem 0; padding: 0; }
li { border-top: 1px solid var(--line); padding: .8rem 0; }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { color: var(--soft); font-size: .85rem; margin: .1rem 0 .4rem; overflow-wrap: anywhere; }
code { background: var(--back); border-radius: .3rem; display: block; font: .85rem/1.5 ui-monospace, monospace;
  overflow-wrap: anywhere; padding: .4rem .6rem; user-select: all; -webkit-user-select: all; }
.bad { color: light-dark(#b00020, #ff8a80); }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image as the page shows it, of `size` bytes; an artifact has no platforms.

    `pull` is the name to pull, without that of the server.
    """

    name: str
    digest: str
    size: int
    platforms: tuple[str, ...]
    pull: str
    whole: bool = True


class Page:
    """The page over some images; `title` names the archive or directory that has them."""

    def __init__(self, title: str, images: Sequence[ShownImage]) -> None:
        self._title = title
        self._images = images

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
        count = f"{len(self._images):,} image{'' if len(self._images) == 1 else 's'}"
        yield (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
            f"<h1>{title}</h1><p>{count} at {host}</p>\n<ul>\n"
        )
        for start in range(0, len(self._images), _IMAGES_A_PART):
            yield "".join(_item(image, host, secure) for image in self._images[start : start + _IMAGES_A_PART])
        yield "</ul></body></html>\n"


def _item(image: ShownImage, host: str, secure: bool) -> str:
    platforms = ", ".join(image.platforms)
    shown = escape(" · ".join(fact for fact in (_size(image.size), platforms or "artifact") if fact))
    broken = "" if image.whole else ' <span class="bad">incomplete</span>'
    name = f"{host}/{escape(image.pull)}"
    # Docker takes no artifacts.
    skopeo = f"skopeo copy{'' if secure else ' --src-tls-verify=false'} docker://{name} oci:artifact"
    command = f"docker pull {name}" if platforms else skopeo
    return (
        f"<li><h2>{escape(image.name)}{broken}</h2><p>{shown}<br>{escape(image.digest)}</p>"
        f"<code>{command}</code></li>\n"
    )


def _size(size: int) -> str:
    amount, unit = float(size), 0
    while unit < len(_UNITS) - 1 and round(amount, 1) >= 1024:
        amount, unit = amount / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"
