"""TLS for a server: certificate and key from their files."""

from __future__ import annotations

import ssl
from pathlib import Path

from hangar_async.errors import UsageError


class _Encrypted(Exception):
    """Says that a key wants a passphrase, which nobody is there to type."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Read a certificate (with those above it) and its key, in PEM; synchronous, for a thread.

    Raises UsageError for files that cannot be read, or do not fit.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Not what the system allows by default.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path, flag in ((certificate, "--tls-cert"), (key, "--tls-key")):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"cannot read {path} ({flag}): {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, key, password=_refuse)
    except _Encrypted as error:
        raise UsageError(
            f"the key in {key} (--tls-key) is encrypted",
            advice="write it without a passphrase: openssl pkey -in KEY -out NEW",
        ) from error
    except (ssl.SSLError, OSError) as error:
        why = "they do not belong together" if "MISMATCH" in str(error) else "it is not PEM, or damaged"
        raise UsageError(f"cannot use {certificate} (--tls-cert) with {key} (--tls-key): {why}") from error
    return context


def _refuse() -> str:
    raise _Encrypted
