"""Registries: a client of the distribution protocol; the only room that imports aiohttp's client."""

# First of all that leads to aiohttp.
import hangar_async.registry.http.late_certificates  # noqa: F401
