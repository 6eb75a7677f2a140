"""The options of mirrors that job files have too, each with its help."""

from typing import Annotated

import typer

Overwrite = Annotated[
    str,
    typer.Option(
        "--overwrite",
        metavar="WORD",
        help="A tag there of another image: moved, it follows its source, or never, it stays.",
        show_default=True,
    ),
]
