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
