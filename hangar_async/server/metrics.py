"""Numbers about a server for Prometheus, on an address of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from hangar_async.server.numbers import new_registry, serving_numbers

#: Upper bounds in seconds: from a document to a large layer on a slow line.
_SECONDS = (0.005, 0.05, 0.5, 5.0, 60.0, 600.0)
_METHODS = ("GET", "HEAD")


class Metrics:
    """Counters of requests; raises UsageError where prometheus-client is not installed."""

    def __init__(self) -> None:
        self._registry = new_registry()
        from prometheus_client import Counter, Histogram

        self._requests = Counter(
            "hangar_requests",
            "Requests by kind, method and status.",
            ("kind", "method", "status"),
            registry=self._registry,
        )
        self._bytes = Counter(
            "hangar_sent_bytes", "Bytes that were sent, with the headers, by kind.", ("kind",), registry=self._registry
        )
        self._seconds = Histogram(
            "hangar_request_seconds",
            "Time from a request to the end of its response, by kind.",
            ("kind",),
            buckets=_SECONDS,
            registry=self._registry,
        )

    def answered(self, request: web.BaseRequest, response: web.StreamResponse, seconds: float) -> None:
        """Count a request. Words of clients are no labels: they would grow without a bound."""
        kind = _kind(request.path)
        method = request.method if request.method in _METHODS else "other"
        self._requests.labels(kind, method, str(response.status)).inc()
        self._bytes.labels(kind).inc(response.body_length)
        self._seconds.labels(kind).observe(seconds)

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[str]:
        """Serve the numbers at `/metrics` during the block; yields the address. Raises ListenError."""
        async with serving_numbers(self._registry, host, port) as address:
            yield address


def _kind(path: str) -> str:
    """Return the kind of a path below `/v2/`: manifests, blobs, tags, referrers, or other."""
    if not path.startswith("/v2/"):
        return "other"
    parts = path.rsplit("/", 2)
    return parts[-2] if parts[-2] in ("manifests", "blobs", "tags", "referrers") else "other"
