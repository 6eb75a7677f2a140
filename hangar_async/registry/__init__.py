"""The wire: the distribution protocol as a client; the only room that imports aiohttp's client."""
