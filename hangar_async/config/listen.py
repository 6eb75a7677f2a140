"""Addresses that are listened on."""

import re

from hangar_async.errors import UsageError

_LISTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:/\[\]]*)):(?P<port>[0-9]{1,5})", re.ASCII)


def parse_listen(text: str, flag: str) -> tuple[str, int]:
    """Read HOST:PORT, `[ADDRESS]:PORT`, or `:PORT` for all addresses, the host "" then; raises UsageError."""
    match = _LISTEN.fullmatch(text.strip())
    if not match or int(match["port"]) > 65535:
        raise UsageError(f"{text!r} is no address to listen on ({flag}): write HOST:PORT, or :PORT for all")
    return match["six"] or match["host"] or "", int(match["port"])


def parse_metrics(text: str, flag: str = "--metrics") -> tuple[str, int]:
    """Read the address of numbers, as `parse_listen` does; a port alone is one of 127.0.0.1."""
    text = text.strip()
    return parse_listen(f"127.0.0.1:{text}" if text.isdigit() else text, flag)
