"""POSTs to addresses whose text is a secret: it stands in no message and no log."""

from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import UsageError
from hangar_async.registry.http.addresses import place_of, web_address
from hangar_async.registry.http.transport import Transport

_HEADERS = {"Content-Type": "application/json"}


def check_webhook(address: str) -> URL:
    """Return an address as a URL; raises UsageError, without its text, for one of no host, or with a login."""
    url = web_address(address)
    if not url or url.raw_authority.count("@"):
        raise UsageError("no address: write https://HOST/PATH")
    return url


async def post_webhook(settings: RegistrySettings, address: str, content: bytes) -> int:
    """Send JSON to an address of any host, and return the status of the response.

    Raises NetworkError, whose text may name the host. No request is logged.
    """
    url = check_webhook(address)
    transport = Transport(settings, 1, is_silent=True)
    transport.named.add(place_of(url))
    async with (
        transport,
        await transport.send(url, "the webhook", headers=_HEADERS, method="POST", body=content) as response,
    ):
        await response.drain()
        return response.status
