"""The API of Amazon ECR, by moto, on a real socket."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

#: A registry, whose account is that of moto.
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
POLICY = (
    '{"rules": [{"rulePriority": 1, "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", '
    '"countNumber": 3}, "action": {"type": "expire"}}]}'
)
#: The variables by which botocore logs in, beside the address of the API.
LOGIN = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@contextmanager
def ecr_server() -> Iterator[str]:
    """Serve the API, and give its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def forget_repositories(address: str) -> None:
    """Remove all repositories."""
    request = urllib.request.Request(f"{address}/moto-api/reset", method="POST")  # noqa: S310 - http alone
    with urllib.request.urlopen(request, timeout=20):  # noqa: S310
        pass
