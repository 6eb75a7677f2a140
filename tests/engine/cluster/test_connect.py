"""A mirror on a cluster brings what one without a cluster brings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from hangar_async.engine.mirror import mirror
from hangar_async.errors import NetworkError, UsageError
from tests.engine.loading import tagged
from tests.engine.test_mirror import options
from tests.fakes.images import library, small
from tests.fakes.registry import FakeRegistry

pytest.importorskip("distributed")

#: The sides of a connection.
ROLES = ("client", "scheduler", "worker")


async def test_every_kind_of_image_arrives_by_a_local_cluster(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    kinds = library()
    for name, built in kinds.items():
        fake_registry.add(f"{name}:1", built)
    lines = [f"SOURCE/{name}:1" for name in kinds]
    report = await mirror(options(fake_registry, pushable_registry, *lines, cluster="local"))
    assert [str(outcome.error) for outcome in report.failed] == []
    for name, built in kinds.items():
        assert await tagged(pushable_registry.content, f"copies/{name}:1") == built.digest, name
        for digest in (*built.documents, *built.blobs):
            content = pushable_registry.content
            there = await content.resolve(f"copies/{name}", digest) or await content.size(f"copies/{name}", digest)
            assert there is not None, f"{name}: {digest}"
    uploads = [one.query["digest"] for one in pushable_registry.asked("/blobs/uploads/", "PUT")]
    assert len(set(uploads)) == len(uploads)


async def test_a_scheduler_that_is_not_there_is_told(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry
) -> None:
    import dask

    address = "tcp://127.0.0.1:9"
    settings = options(fake_registry, pushable_registry, "SOURCE/app:1", cluster=address)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "10 ms"}),
        pytest.raises(NetworkError, match=f"there is no scheduler at {address}") as error,
    ):
        await mirror(settings)
    assert "dask scheduler" in error.value.advice


async def test_a_cluster_behind_tls(
    fake_registry: FakeRegistry,
    pushable_registry: FakeRegistry,
    ca: trustme.CA,
    server_certificate: trustme.LeafCert,
    tmp_path: Path,
) -> None:
    """The workers are of this process, and open clients of their own all the same."""
    from distributed import Scheduler, Security, Worker

    paths = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    ca.cert_pem.write_to_path(paths[0])
    paths[1].write_bytes(b"".join(blob.bytes() for blob in server_certificate.cert_chain_pems))
    server_certificate.private_key_pem.write_to_path(paths[2])
    ends = {f"tls_{role}_{kind}": str(paths[1 + (kind == "key")]) for role in ROLES for kind in ("cert", "key")}
    security = Security(tls_ca_file=str(paths[0]), require_encryption=True, **ends)
    quiet: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "host": "tls://127.0.0.1", "security": security}
    fake_registry.add("app:1", small("app"))
    async with (
        Scheduler(port=0, **quiet) as scheduler,
        Worker(scheduler.address, nthreads=8, memory_limit=0, local_directory=str(tmp_path), **quiet),
    ):
        settings = options(
            fake_registry,
            pushable_registry,
            "SOURCE/app:1",
            cluster=scheduler.address,
            cluster_tls=",".join(map(str, paths)),
        )
        report = await mirror(settings)
    assert (report.status, report.sent.uploaded_blobs) == (0, 2)


async def test_the_program_says_where_dask_is_missing(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("hangar_async.engine.cluster.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"--cluster needs dask.distributed: install it with pip install"):
        await mirror(options(fake_registry, pushable_registry, "SOURCE/app:1", cluster="local"))
