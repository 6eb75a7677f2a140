"""The import of aiohttp without the certificates of the system.

aiohttp makes two TLS contexts when it is imported, and loads all certificates of the system into both, a third of the
time of its import. This package makes contexts of its own. Those of aiohttp load their certificates when they are used.
"""

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LateContext(ssl.SSLContext):
    """A context that loads the certificates of the system before its first connection."""

    def _load(self) -> None:
        # The class is that of any other context from here on.
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]
        self.set_default_verify_paths()

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection of an event loop."""
        self._load()
        return self.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Begin a connection of a socket."""
        self._load()
        return self.wrap_socket(*args, **kwargs)

    def get_ca_certs(self, binary_form: bool = False) -> Any:
        """Return the certificates."""
        self._load()
        return self.get_ca_certs(binary_form)

    def cert_store_stats(self) -> dict[str, int]:
        """Return the number of certificates."""
        self._load()
        return self.cert_store_stats()


@contextmanager
def late_certificates() -> Iterator[None]:
    """Let contexts that are made in the block load the certificates of the system when they are used."""

    def later(context: ssl.SSLContext) -> None:
        context.__class__ = LateContext

    ssl.SSLContext.set_default_verify_paths = later  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        # What is inherited stands again.
        del ssl.SSLContext.set_default_verify_paths


if "aiohttp" not in sys.modules:
    with late_certificates():
        import aiohttp  # noqa: F401
