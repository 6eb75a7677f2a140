"""Names of hosts, and the addresses that the system finds for them."""

from __future__ import annotations

import socket
from typing import Any

import pytest


class Names:
    """Answers for the names that it has: one answer after the other, and the last one again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, list[tuple[str, ...]]] = {}
        self._system = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._find)

    def add(self, name: str, *answers: tuple[str, ...]) -> None:
        """Give a name its addresses, for one lookup after the other."""
        self._answers[name] = list(answers)

    def _find(self, host: str, port: int, *arguments: Any, **keywords: Any) -> list[tuple[Any, ...]]:
        if host not in self._answers:
            return self._system(host, port, *arguments, **keywords)
        self.asked.append(host)
        answers = self._answers[host]
        return [_info(address, port) for address in (answers.pop(0) if len(answers) > 1 else answers[0])]


def _info(address: str, port: int) -> tuple[Any, ...]:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)
