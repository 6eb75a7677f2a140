"""The options of runs on several machines, each with its help."""

from typing import Annotated

from hangar_async.cli.options import flag, option

Shard = Annotated[
    str | None,
    option(
        "--shard",
        "I/N",
        "Only this part of the images: shard I, from 0 on, of N, by their repositories.  [default: all images]",
    ),
]
Shards = Annotated[
    int | None,
    option(
        "--shards",
        "N",
        "As --shard, with the I of $JOB_COMPLETION_INDEX, which Kubernetes sets.  [default: all images]",
    ),
]
Cluster = Annotated[
    str | None,
    option(
        "--cluster",
        "ADDRESS",
        "Scheduler of dask whose workers move the content, tls://HOST:PORT or tcp://HOST:PORT, or local.  "
        "[default: none]",
    ),
]
ClusterTls = Annotated[
    str | None,
    option(
        "--cluster-tls",
        "CA,CERT,KEY",
        "Files in PEM of the cluster's authority, and of a certificate and its key.  [default: no TLS]",
    ),
]
ClusterInsecure = Annotated[
    bool,
    flag(
        "--cluster-insecure",
        "Take a scheduler on another machine without TLS; programs there can run code at its workers.",
    ),
]
