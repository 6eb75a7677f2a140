"""The options of runs on several machines, each with its help."""

from typing import Annotated

import typer

Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Only this part of the images: shard I, from 0 on, of N, by their repositories.  [default: all images]",
        show_default=False,
    ),
]
Shards = Annotated[
    int | None,
    typer.Option(
        "--shards",
        metavar="N",
        help="As --shard, with the I of $JOB_COMPLETION_INDEX, which Kubernetes sets.  [default: all images]",
        show_default=False,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Scheduler of dask whose workers move the content, tls://HOST:PORT or tcp://HOST:PORT, or local.  "
        "[default: none]",
        show_default=False,
    ),
]
ClusterTls = Annotated[
    str | None,
    typer.Option(
        "--cluster-tls",
        metavar="CA,CERT,KEY",
        help="Files in PEM of the cluster's authority, and of a certificate and its key.  [default: no TLS]",
        show_default=False,
    ),
]
ClusterInsecure = Annotated[
    bool,
    typer.Option(
        "--cluster-insecure",
        help="Take a scheduler on another machine without TLS; programs there can run code at its workers.  "
        "[default: false]",
    ),
]
