"""The files of TLS and of users: read, refused, and read again."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from hangar_async.errors import UsageError
from hangar_async.server.security import Security, server_context
from tests.server.rig import HASHES, PASSWORD, basic


def test_certificate_and_key(certificate_files: tuple[Path, Path]) -> None:
    context = server_context(*certificate_files)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_files_that_are_not_there(certificate_files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none \(--tls-cert\): No such file"):
        server_context(tmp_path / "none", certificate_files[1])
    with pytest.raises(UsageError, match=r"cannot read .* \(--tls-key\): Is a directory"):
        server_context(certificate_files[0], tmp_path)


def test_a_key_of_another_certificate(certificate_files: tuple[Path, Path], ca: trustme.CA, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    ca.issue_cert("example.com").private_key_pem.write_to_path(other)
    with pytest.raises(UsageError, match="they do not belong together"):
        server_context(certificate_files[0], other)


@pytest.mark.parametrize("data", [b"", b"hush", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_a_file_without_pem_is_refused(certificate_files: tuple[Path, Path], tmp_path: Path, data: bytes) -> None:
    (tmp_path / "nonsense").write_bytes(data)
    for pair in ((tmp_path / "nonsense", certificate_files[1]), (certificate_files[0], tmp_path / "nonsense")):
        with pytest.raises(UsageError, match="it is not PEM, or damaged"):
            server_context(*pair)


def test_an_encrypted_key_is_refused_without_a_question(certificate_files: tuple[Path, Path], tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    words = [
        "openssl",
        "pkey",
        "-in",
        str(certificate_files[1]),
        "-aes256",
        "-passout",
        "pass:word",
        "-out",
        str(locked),
    ]
    subprocess.run(words, check=True)
    with pytest.raises(UsageError, match=r"the key in .* \(--tls-key\) is encrypted"):
        server_context(certificate_files[0], locked)


def shown(security: Security, client: ssl.SSLContext) -> bytes | None:
    """Make a handshake, and return the certificate that the client gets; it says no name."""
    assert security.tls is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = security.tls.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server)
    for side in (client_side, server_side, client_side):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client_side.getpeercert(binary_form=True)


def test_a_name_that_is_not_ascii_is_passed_over(certificate_files: tuple[Path, Path]) -> None:
    security = Security(*certificate_files)
    assert security.tls is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    name = "registry.test"
    client_side = ssl.create_default_context().wrap_bio(to_client, to_server, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        client_side.do_handshake()
    hello = to_server.read().replace(name.encode(), b"\xff" * len(name))
    assert b"\xff" * len(name) in hello
    to_server.write(hello)
    server_side = security.tls.wrap_bio(to_server, to_client, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        server_side.do_handshake()


def renew(ca: trustme.CA) -> tuple[bytes, bytes]:
    """Make another certificate, and return the contents of both files."""
    leaf = ca.issue_cert("localhost", "127.0.0.1")
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()


def test_a_renewed_certificate_is_used(certificate_files: tuple[Path, Path], ca: trustme.CA) -> None:
    client = ssl.create_default_context()
    ca.configure_trust(client)
    client.check_hostname = False
    security = Security(*certificate_files)
    first = shown(security, client)
    certificate, key = renew(ca)
    certificate_files[0].write_bytes(certificate)
    # Its key is still to come.
    assert security.read_again() == []
    certificate_files[1].write_bytes(key)
    assert security.read_again() == []
    assert shown(security, client) == first
    assert security.read_again() == [("the certificate and its key", None)]
    second = shown(security, client)
    assert None not in (first, second)
    assert second != first
    assert security.read_again() == []


def test_files_that_became_worse_are_told_once_and_the_last_stay(
    certificate_files: tuple[Path, Path], ca: trustme.CA
) -> None:
    client = ssl.create_default_context()
    ca.configure_trust(client)
    client.check_hostname = False
    security = Security(*certificate_files)
    first = shown(security, client)
    good = certificate_files[1].read_bytes()
    certificate_files[1].write_bytes(renew(ca)[1])
    assert security.read_again() == []
    ((name, error),) = security.read_again()
    assert name == "the certificate and its key"
    assert "they do not belong together" in str(error)
    assert security.read_again() == []
    assert shown(security, client) == first
    certificate_files[0].unlink()
    assert [error is None for _, error in security.read_again(changed=False)] == [False]
    certificate_files[0].touch()
    certificate_files[1].write_bytes(good)
    assert shown(security, client) == first


@pytest.mark.parametrize("changed", [True, False])
def test_a_pipe_in_place_of_a_file_is_not_read_again(
    certificate_files: tuple[Path, Path], tmp_path: Path, *, changed: bool
) -> None:
    users = tmp_path / "users"
    users.write_bytes(b"one:" + HASHES[0])
    security = Security(*certificate_files, users)
    for path in (certificate_files[0], users):
        path.unlink()
        os.mkfifo(path)
        # Opened for both, a pipe that is read by mistake ends the test and does not hold it up.
        pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        os.close(pipe)
    security.read_again()
    assert [str(error) for _, error in security.read_again(changed=changed)] == [
        f"{path} is no regular file" for path in (certificate_files[0], users)
    ]
    assert security.read_again() == []


async def test_changed_users_are_known_at_once(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"one:" + HASHES[0])
    security = await asyncio.to_thread(Security, None, None, path)
    assert security.users is not None
    assert await security.users.know(basic("one", PASSWORD))
    path.write_bytes(b"two:" + HASHES[1])
    assert await asyncio.to_thread(security.read_again, changed=False) == [("the users", None)]
    assert not await security.users.know(basic("one", PASSWORD))
    assert await security.users.know(basic("two", PASSWORD))
    path.write_bytes(b"nonsense")
    ((_, error),) = await asyncio.to_thread(security.read_again, changed=False)
    assert "not a name with a bcrypt hash" in str(error)
    assert await security.users.know(basic("two", PASSWORD))


def test_nothing_is_read_without_files() -> None:
    security = Security()
    assert (security.tls, security.users) == (None, None)
    assert security.read_again(changed=False) == []
