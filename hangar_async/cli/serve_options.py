"""The options of `serve`, each with its help."""

from typing import Annotated

from typer import Option

from hangar_async.cli.options import NUMBER, Text, option

Listen = Annotated[
    str,
    option(
        "--listen", "HOST:PORT", "Address to answer on; :PORT is all addresses, [ADDRESS]:PORT one of IPv6.", shown=True
    ),
]
TlsCertificate = Annotated[
    Text, option("--tls-cert", "FILE", "Certificate in PEM, followed by those above it.  [default: plain HTTP]")
]
TlsKey = Annotated[
    Text, option("--tls-key", "FILE", "Key of the certificate in PEM, without a passphrase.  [default: plain HTTP]")
]
Htpasswd = Annotated[
    Text, option("--htpasswd", "FILE", "Users that may pull, as htpasswd -B writes them.  [default: no password]")
]
MaxPerAddress = Annotated[
    int | None,
    option("--max-per-address", NUMBER, "Connections that one address may have at once.  [default: half of all, 450]"),
]
AccessLog = Annotated[
    str | None,
    Option(
        metavar="FILE",
        help="File that gets a line for each request; - is standard output.  [default: none]",
        show_default=False,
    ),
]
MetricsAddress = Annotated[
    str | None,
    Option(
        metavar="[HOST:]PORT",
        help="Address of numbers for Prometheus, at /metrics; on 127.0.0.1 without HOST.  [default: none]",
        show_default=False,
    ),
]
