"""`hangar-async serve`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options, serve_options, values

if TYPE_CHECKING:
    from hangar_async import Image, Served, ServeOptions


def serve_command(
    context: typer.Context,
    archive: options.Archive,
    listen: serve_options.Listen = "127.0.0.1:5000",
    tls_cert: serve_options.TlsCertificate = None,
    tls_key: serve_options.TlsKey = None,
    htpasswd: serve_options.Htpasswd = None,
    max_per_address: serve_options.MaxPerAddress = None,
    access_log: serve_options.AccessLog = None,
    metrics: serve_options.MetricsAddress = None,
) -> int:
    """Answer as a registry to pull from, for the images in an archive or a directory; nothing is unpacked."""
    import asyncio

    from hangar_async import Answered, Event, Listening, ServeOptions, serve
    from hangar_async.cli.loop import line_view, run_until_done
    from hangar_async.cli.view.access import AccessLines
    from hangar_async.cli.view.stream import end, in_background
    from hangar_async.cli.view.text import write_rows

    flags = values.flags(context)
    chosen = ServeOptions(
        source=values.existing_path(archive, "ARCHIVE"),
        listen=listen,
        tls_cert=_file(tls_cert, "--tls-cert"),
        tls_key=_file(tls_key, "--tls-key"),
        htpasswd=_file(htpasswd, "--htpasswd"),
        max_per_address=max_per_address,
        metrics=metrics,
        access=access_log is not None,
    )
    # It mostly waits for clients: lines are enough, on a terminal too.
    view = line_view(flags.quiet)
    output = in_background(sys.stdout)

    log = None if access_log is None else AccessLines(output if access_log == "-" else Path(access_log))

    def observe(event: Event) -> None:
        if isinstance(event, Answered):
            if log is not None:
                log.write(event)
            return
        if isinstance(event, Listening) and not flags.quiet:
            write_rows(_rows(chosen, event.served), output)
        view(event)

    remains = "answers under way get two seconds to end"
    reload = asyncio.Event()

    def reload_all() -> None:
        reload.set()
        if log is not None:
            log.reopen()

    try:
        run_until_done(
            lambda: serve(chosen, observe, reload=reload),
            view.say,
            remains,
            # A service manager ends with it what has done its work.
            regular={signal.SIGTERM},
            reload=reload_all,
        )
    finally:
        end(output)
        if log is not None:
            log.close()
    return 0


def _rows(serve_options: ServeOptions, served: Served) -> Iterator[tuple[str, str]]:
    """Make the lines about the images that are served, and about clients."""
    from hangar_async.cli.view.text import command_text, images_text, one_line

    count = images_text(served.images)
    yield "serving", one_line(f"{served.url}: {count}, of {serve_options.source.absolute()}")
    yield "docker", f'"registry-mirrors": ["{served.url}"] in /etc/docker/daemon.json, for images of Docker Hub'
    yield "containerd", f'[host."{served.url}"] in /etc/containerd/certs.d/_default/hosts.toml, for all images'
    image = served.images[0]
    words = ["skopeo", "copy", "--all"] + (["--src-tls-verify=false"] if serve_options.tls_cert is None else [])
    yield "skopeo", command_text([*words, f"docker://{served.host}/{_name(image)}", "oci:image"])


def _name(image: Image) -> str:
    reference = image.reference
    # Skopeo takes no name with both a tag and a digest.
    end = f"@{reference.digest}" if reference.tag is None else f":{reference.tag}"
    return f"{reference.repository}{end}"


def _file(text: str | None, flag: str) -> Path | None:
    return None if text is None else values.existing_path(text, flag)
