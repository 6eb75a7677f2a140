"""TLS: the certificates that are trusted, and those that are shown, host by host."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.threads import in_thread


class TlsContexts:
    """One context for each host that has certificates of its own, and one for all others.

    Trusted are the system's CAs (OpenSSL reads SSL_CERT_FILE itself) and, as Docker does it, every `*.crt` in
    certs.d/HOST[:PORT]/; from there `NAME.cert` with `NAME.key` is shown to the host as a client certificate.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._directories = settings.certificates
        self._by_host: dict[str, ssl.SSLContext] = {}
        self._by_folders: dict[tuple[bool, tuple[Path, ...]], ssl.SSLContext] = {}
        self._making = asyncio.Lock()

    async def context(self, url: URL) -> ssl.SSLContext:
        """Return the context for the host of `url`; raises NetworkError for certificates that cannot be used."""
        host = f"{url.host_subcomponent}:{url.port}"
        if host not in self._by_host:
            async with self._making:
                if host not in self._by_host:
                    self._by_host[host] = await in_thread(self._make, host)
        return self._by_host[host]

    def _make(self, host: str) -> ssl.SSLContext:
        names = (host, host.removesuffix(":443")) if host.endswith(":443") else (host,)
        folders = tuple(base / name for base in self._directories for name in names if (base / name).is_dir())
        verify = all(self._settings.verifies(name) for name in names)
        if (verify, folders) not in self._by_folders:
            self._by_folders[verify, folders] = self._load(folders, host, verify)
        return self._by_folders[verify, folders]

    def _load(self, folders: tuple[Path, ...], host: str, verify: bool) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for folder in folders:
            file = folder
            try:
                for file in sorted(folder.iterdir()):
                    _load_file(context, file)
            except OSError as error:  # ssl.SSLError is one
                reason = str(error) if isinstance(error, FileNotFoundError) else str(error.strerror)
                reason = "it cannot be read as PEM" if isinstance(error, ssl.SSLError) else reason
                raise NetworkError(
                    f"cannot use {file} for {host}: {reason}",
                    host=host,
                    transient=False,
                    advice="repair the file or remove it",
                ) from error
        return context


def _load_file(context: ssl.SSLContext, file: Path) -> None:
    """Load one file of a host's folder: a CA, or a client certificate with its key; any other file is passed over."""
    if file.suffix == ".crt":
        context.load_verify_locations(cafile=file)
    elif file.suffix == ".cert":
        if not file.with_suffix(".key").is_file():
            raise FileNotFoundError(f"{file.stem}.key is not beside it")
        # Without a password of ours OpenSSL would ask for one on the terminal.
        context.load_cert_chain(file, file.with_suffix(".key"), password="")
    elif file.suffix == ".key" and not file.with_suffix(".cert").is_file():
        raise FileNotFoundError(f"{file.stem}.cert is not beside it")
