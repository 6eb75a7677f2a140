"""TLS: the certificates that are trusted and shown, host by host, and the dates of one of another time."""

import asyncio
import errno
import ssl
import stat
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.system import system_advice, system_reason
from hangar_async.threads import in_thread

#: The most files of a host in certs.d, and the most bytes of one.
_MOST_FILES = 1_000
_LARGEST_FILE = 4 << 20
#: Source: OpenSSL, X509_V_FLAG_NO_CHECK_TIME.
_NO_CHECK_TIME = 0x200000


class TlsContexts:
    """One TLS context for each host with its own certificates, and one for all others.

    Trusted are the CAs of the system (OpenSSL reads SSL_CERT_FILE itself) and, as in Docker, every `*.crt` in
    certs.d/HOST[:PORT]/; from there `NAME.cert` with `NAME.key` is shown to the host as a client certificate.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._directories = settings.certificates
        self._by_host: dict[str, ssl.SSLContext] = {}
        self._by_folders: dict[tuple[bool, tuple[Path, ...]], ssl.SSLContext] = {}
        self._making = asyncio.Lock()
        #: What was said of hosts whose certificates are of another time.
        self._dates: dict[str, str] = {}

    async def context(self, url: URL) -> ssl.SSLContext:
        """Return the context for the host of `url`; raises NetworkError for certificates that cannot be used."""
        host = _host(url)
        if host not in self._by_host:
            async with self._making:
                if host not in self._by_host:
                    self._by_host[host] = await in_thread(self._make, host)
        return self._by_host[host]

    def _make(self, host: str) -> ssl.SSLContext:
        folders = self._folders(host)
        verify = all(self._settings.verifies(name) for name in _names(host))
        if (verify, folders) not in self._by_folders:
            self._by_folders[verify, folders] = self._load(folders, host, verify)
        return self._by_folders[verify, folders]

    def _folders(self, host: str) -> tuple[Path, ...]:
        places = [base / name for base in self._directories for name in _names(host)]
        return tuple(place for place in places if _is_folder(place, host))

    async def dates(self, url: URL, seconds: float) -> str:
        """Say from when to when the certificate of a host is valid, by a connection of its own; "" where it tells none.

        All of the certificate but its times is verified, and nothing is sent on the connection.
        """
        host = _host(url)
        async with self._making:
            if host not in self._dates:
                self._dates[host] = await self._ask_dates(url, host, seconds)
        return self._dates[host]

    async def _ask_dates(self, url: URL, host: str, seconds: float) -> str:
        context = await in_thread(lambda: self._load(self._folders(host), host, True))
        context.verify_flags |= _NO_CHECK_TIME
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
        except (OSError, ValueError):  # TimeoutError and ssl.SSLError are OSErrors
            return ""
        certificate = writer.get_extra_info("peercert")
        writer.transport.abort()
        times = [certificate[name] for name in ("notBefore", "notAfter")]
        start, end = (datetime.fromtimestamp(ssl.cert_time_to_seconds(time), UTC) for time in times)
        own = "it is" if not start <= datetime.now(UTC) <= end else "it is itself, unlike one that has signed it,"
        return f"{own} valid from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"

    def _load(self, folders: tuple[Path, ...], host: str, verify: bool) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for folder in folders:
            file = folder
            try:
                files = list(islice(folder.iterdir(), _MOST_FILES + 1))
                if len(files) > _MOST_FILES:
                    raise OSError(errno.E2BIG, f"it has more than {_MOST_FILES:,} files")
                for file in sorted(files):
                    _load_file(context, file)
            except OSError as error:  # ssl.SSLError is one
                raise _unusable(file, host, error) from error
        return context


def _host(url: URL) -> str:
    return f"{url.host_subcomponent}:{url.port}"


def _names(host: str) -> tuple[str, ...]:
    return (host, host.removesuffix(":443")) if host.endswith(":443") else (host,)


def _is_folder(place: Path, host: str) -> bool:
    try:
        return stat.S_ISDIR(place.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unusable(place, host, error) from error


def _unusable(file: Path, host: str, error: OSError) -> NetworkError:
    reason = str(error) if isinstance(error, FileNotFoundError) else system_reason(error)
    reason = "it cannot be read as PEM" if isinstance(error, ssl.SSLError) else reason
    advice = "correct its permissions or remove it" if isinstance(error, PermissionError) else system_advice(error)
    return NetworkError(
        f"cannot use {file} for {host}: {reason}",
        host=host,
        transient=False,
        advice=advice or "repair the file or remove it",
    )


def _load_file(context: ssl.SSLContext, file: Path) -> None:
    """Load one file of a host's folder: a CA, or a client certificate with its key; any other file is skipped."""
    if file.suffix in (".crt", ".cert", ".key"):
        _check_file(file)
    if file.suffix == ".crt":
        context.load_verify_locations(cafile=file)
    elif file.suffix == ".cert":
        if not file.with_suffix(".key").is_file():
            raise FileNotFoundError(f"{file.stem}.key is not beside it")
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(file, file.with_suffix(".key"), password="")
    elif file.suffix == ".key" and not file.with_suffix(".cert").is_file():
        raise FileNotFoundError(f"{file.stem}.cert is not beside it")


def _check_file(file: Path) -> None:
    """Raise OSError for what OpenSSL would read without end."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if status.st_size > _LARGEST_FILE:
        raise OSError(errno.EFBIG, f"it has more than {_LARGEST_FILE:,} bytes")
