"""Connections to clusters, and the cluster in this process."""

from __future__ import annotations

import logging
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from distributed import Client, Scheduler, Security, Worker

from hangar_async import __version__
from hangar_async.config.cluster import ClusterSettings
from hangar_async.config.environment import NO_ENVIRONMENT
from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.cluster.coordinator import ClusterExecutor
from hangar_async.engine.cluster.messages import WorkerSettings, encode
from hangar_async.engine.cluster.worker import LOCAL_SIDES, MirrorWorker, plugin_name
from hangar_async.engine.cluster.workers import Workers
from hangar_async.engine.copy.sides import Registries, Sides
from hangar_async.engine.events import Observer
from hangar_async.engine.limits.hosts import Clock
from hangar_async.errors import NetworkError
from hangar_async.mirrorlist import MirrorEntry

_log = logging.getLogger(__name__)
#: The tasks that a local worker has at once, for each of its requests: some only wait for others.
_TASKS_A_REQUEST = 4


class _Scheduler(Scheduler):  # type: ignore[misc]
    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Start none: a local cluster listens nowhere."""


class _Worker(Worker):  # type: ignore[misc]
    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Start none."""


@asynccontextmanager
async def cluster_executor(
    settings: ClusterSettings,
    options: MirrorOptions,
    entries: Iterable[MirrorEntry],
    sides: Sides,
    observe: Observer,
    notice: Callable[[str], None],
    clock: Clock,
) -> AsyncIterator[ClusterExecutor]:
    """Open an executor whose workers are those of a cluster; raises NetworkError where there is no scheduler."""
    _quieten()
    run, registries = uuid.uuid4().hex[:12], options.environment.registries
    async with AsyncExitStack() as stack:
        if settings.is_local:
            LOCAL_SIDES[run] = sides
            stack.callback(LOCAL_SIDES.pop, run)
        client = await stack.enter_async_context(_connected(settings, options.limits.requests))

        async def retire(names: Sequence[str]) -> None:
            await client.retire_workers(workers=list(names), close_workers=True)

        worker = MirrorWorker(run, encode(_for_workers(options, entries)))
        await client.register_plugin(worker, name=worker.name)
        stack.push_async_callback(_forget, client, run)
        rate, max_wait = registries.limit_rate, registries.retry.max_wait
        workers = Workers(settings.address, options.limits.requests, rate, max_wait, notice, retire, clock)
        executor = ClusterExecutor(client, run, sides, observe, workers, clock)
        yield await stack.enter_async_context(executor.watched())


def _quieten() -> None:
    """Leave out the logs of dask, which has handlers of its own: the executor tells what matters."""
    if _log.isEnabledFor(logging.DEBUG):
        return
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _for_workers(options: MirrorOptions, entries: Iterable[MirrorEntry]) -> WorkerSettings:
    """Return the settings of a run without lists, files and logins."""
    registries, entries = options.environment.registries, tuple(entries)
    plain = replace(
        options,
        images=(),
        list_name="",
        source=options.names.source,
        destination=None,
        template=None,
        failed=None,
        report=None,
        state=None,
        create=None,
        required_referrers=(),
        gate=None,
        environment=NO_ENVIRONMENT,
    )
    return WorkerSettings(
        release=__version__,
        options=plain,
        registries=Registries.of(entries),
        images=len(entries),
        retry=registries.retry,
        stall_timeout=registries.stall_timeout,
        tls_verify=registries.tls_verify,
        mirrors=registries.mirrors,
    )


@asynccontextmanager
async def _connected(settings: ClusterSettings, requests: int) -> AsyncIterator[Client]:
    if settings.is_local:
        tasks = _TASKS_A_REQUEST * requests
        with tempfile.TemporaryDirectory(prefix="hangar-async-") as folder:
            quiet: dict[str, Any] = {"protocol": "inproc://", "dashboard": False}
            async with (
                _Scheduler(port=0, **quiet) as scheduler,
                _Worker(scheduler.address, nthreads=tasks, memory_limit=0, local_directory=folder, **quiet),
                Client(scheduler.address, asynchronous=True) as client,
            ):
                yield client
        return
    security, files = None, settings.certificates
    if files is not None:
        security = Security(
            tls_ca_file=str(files.authority),
            tls_client_cert=str(files.certificate),
            tls_client_key=str(files.key),
            require_encryption=True,
        )
    try:
        client = await Client(settings.address, asynchronous=True, security=security)
    except (OSError, ValueError) as error:
        raise NetworkError(
            f"there is no scheduler at {settings.address}: {error}",
            host=settings.address,
            transient=False,
            advice="start one with `dask scheduler`, of the release that is installed here",
        ) from error
    async with client:
        yield client


async def _forget(client: Client, run: str) -> None:
    """Let the workers close what they have opened for a run."""
    with suppress(OSError, ValueError):
        await client.unregister_worker_plugin(plugin_name(run))
