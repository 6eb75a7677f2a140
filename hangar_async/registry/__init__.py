"""Registries: a client of the distribution protocol; the only room that imports aiohttp's client."""
