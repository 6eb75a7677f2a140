from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from hangar_async.errors import UsageError
from hangar_async.server.listen import server_context


@pytest.fixture
def files(tmp_path: Path, server_certificate: trustme.LeafCert) -> tuple[Path, Path]:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in server_certificate.cert_chain_pems))
    server_certificate.private_key_pem.write_to_path(key)
    return certificate, key


def test_certificate_and_key(files: tuple[Path, Path]) -> None:
    context = server_context(*files)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_files_that_are_not_there(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none \(--tls-cert\): No such file"):
        server_context(tmp_path / "none", files[1])
    with pytest.raises(UsageError, match=r"cannot read .* \(--tls-key\): Is a directory"):
        server_context(files[0], tmp_path)


def test_a_key_of_another_certificate(files: tuple[Path, Path], ca: trustme.CA, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    ca.issue_cert("example.com").private_key_pem.write_to_path(other)
    with pytest.raises(UsageError, match="they do not belong together"):
        server_context(files[0], other)


@pytest.mark.parametrize("data", [b"", b"hush", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_what_is_no_pem(files: tuple[Path, Path], tmp_path: Path, data: bytes) -> None:
    (tmp_path / "nonsense").write_bytes(data)
    for pair in ((tmp_path / "nonsense", files[1]), (files[0], tmp_path / "nonsense")):
        with pytest.raises(UsageError, match="it is not PEM, or damaged"):
            server_context(*pair)


def test_an_encrypted_key_is_refused_without_a_question(files: tuple[Path, Path], tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    words = ["openssl", "pkey", "-in", str(files[1]), "-aes256", "-passout", "pass:word", "-out", str(locked)]
    subprocess.run(words, check=True)
    with pytest.raises(UsageError, match=r"the key in .* \(--tls-key\) is encrypted"):
        server_context(files[0], locked)
