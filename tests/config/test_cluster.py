"""A scheduler that others can reach is spoken to by TLS, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.config.cluster import Certificates, ClusterSettings, chosen_cluster
from hangar_async.errors import UsageError


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("local", "local"),
        ("127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("tcp://localhost:8786", "tcp://localhost:8786"),
        ("tcp://[::1]:8786", "tcp://[::1]:8786"),
    ],
)
def test_a_scheduler_of_this_machine_needs_no_tls(address: str, found: str) -> None:
    settings = ClusterSettings.parse(address, None, insecure=False)
    assert (settings.address, settings.is_local) == (found, found == "local")


def test_a_scheduler_of_another_machine_is_taken_with_tls_or_where_it_is_called_insecure(tmp_path: Path) -> None:
    for address in ("tcp://10.0.0.7:8786", "dask.lan:8786", "tcp://127.0.0.1.example.com:8786"):
        with pytest.raises(UsageError, match=r"is not encrypted, .* --cluster-tls CA,CERT,KEY, or --cluster-insecure"):
            ClusterSettings.parse(address, None, insecure=False)
        assert ClusterSettings.parse(address, None, insecure=True).address.startswith("tcp://")
    paths = [tmp_path / name for name in ("ca", "cert", "key")]
    for path in paths:
        path.touch()
    files = ",".join(map(str, paths))
    for address in ("tls://dask.lan:8786", "dask.lan:8786"):
        settings = ClusterSettings.parse(address, files, insecure=False)
        assert settings == ClusterSettings("tls://dask.lan:8786", Certificates(*paths))


@pytest.mark.parametrize(
    ("address", "tls", "message"),
    [
        ("dask", None, r"'dask' is no scheduler \(--cluster\)"),
        ("http://dask.lan:8786", None, "is no scheduler"),
        ("127.0.0.1:0", None, "is no scheduler"),
        ("local", "a,b,c", "leave out --cluster-tls"),
        ("tls://dask.lan:8786", None, "TLS needs both"),
        ("tcp://dask.lan:8786", "a,b,c", "TLS needs both"),
        ("tls://dask.lan:8786", "a,b", "names 2 files"),
        ("tls://dask.lan:8786", "a,b,c", "a is no file"),
        (None, "a,b,c", "need a cluster"),
    ],
)
def test_wrong_clusters(address: str | None, tls: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen_cluster(address, tls, insecure=True)


def test_no_cluster() -> None:
    assert chosen_cluster(None, None, insecure=False) is None
