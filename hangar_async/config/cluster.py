"""The settings of a cluster: where its scheduler is, and how it is spoken to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from hangar_async.errors import UsageError

#: The name of a cluster in this process.
LOCAL = "local"
_ADDRESS = re.compile(r"(?:(tcp|tls)://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files of a cluster's TLS, in PEM: the authority, and the certificate and the key of this side."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """A cluster: `local`, or `tcp://HOST:PORT` or `tls://HOST:PORT` of a scheduler, the latter with `certificates`.

    A program that reaches a scheduler runs code at its workers, so that one without TLS on another machine is refused
    unless it is called insecure.
    """

    address: str
    certificates: Certificates | None = None

    @property
    def is_local(self) -> bool:
        """True for a cluster in this process."""
        return self.address == LOCAL

    @classmethod
    def parse(cls, address: str, tls: str | None, *, insecure: bool) -> ClusterSettings:
        """Read the values of `--cluster`, `--cluster-tls` and `--cluster-insecure`; raises UsageError."""
        if address == LOCAL:
            if tls is not None:
                raise UsageError("a local cluster has no connections: leave out --cluster-tls")
            return cls(LOCAL)
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match[3]) < 65536:
            raise UsageError(
                f"{address!r} is no scheduler (--cluster): write local, tcp://HOST:PORT or tls://HOST:PORT"
            )
        scheme = match[1] or ("tcp" if tls is None else "tls")
        if (scheme == "tls") != (tls is not None):
            raise UsageError("TLS needs both: write --cluster tls://HOST:PORT and --cluster-tls CA,CERT,KEY")
        if tls is not None:
            return cls(f"tls://{match[2]}:{match[3]}", _certificates(tls))
        if not insecure and not _is_loopback(match[2].strip("[]")):
            raise UsageError(
                f"{address} is not encrypted, and a program that reaches it runs code at the workers: write "
                "--cluster-tls CA,CERT,KEY, or --cluster-insecure for a network that you trust"
            )
        return cls(f"tcp://{match[2]}:{match[3]}")


def chosen_cluster(address: str | None, tls: str | None, *, insecure: bool) -> ClusterSettings | None:
    """Return the cluster that options name; None for none. Raises UsageError."""
    if address is not None:
        return ClusterSettings.parse(address, tls, insecure=insecure)
    if tls is not None or insecure:
        raise UsageError("--cluster-tls and --cluster-insecure need a cluster: write --cluster tls://HOST:PORT too")
    return None


def _certificates(text: str) -> Certificates:
    paths = [Path(name) for name in text.split(",") if name]
    if len(paths) != 3:
        raise UsageError(f"{text!r} names {len(paths)} files (--cluster-tls): write CA,CERT,KEY")
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path} is no file (--cluster-tls)")
    return Certificates(*paths)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
