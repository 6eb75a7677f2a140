"""The options of `convert-list`, each with its help."""

from typing import Annotated

from hangar_async.cli.options import Text, option

ListToConvert = Annotated[str, option("-i --input", "LIST", "Image list, one image a line; - is standard input.")]
MirrorList = Annotated[
    Text, option("-o --output", "LIST", "Mirror list, lines SOURCE DEST TAG.  [default: the input's name.converted]")
]
ListedSource = Annotated[
    Text, option("-s --source", "HOST[:PORT]", "Registry of every source.  [default: that of the image]")
]
ListedDestination = Annotated[
    Text,
    option(
        "-d --destination",
        "REGISTRY[/PREFIX]",
        "Registry of every destination.  [default: that of the image, else docker.io]",
    ),
]
