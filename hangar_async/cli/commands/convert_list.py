"""`hangar-async convert-list`."""

import typer

from hangar_async.cli import convert_options, values


def convert_list_command(
    context: typer.Context,
    file: convert_options.ListToConvert,
    output: convert_options.MirrorList = None,
    source: convert_options.ListedSource = None,
    destination: convert_options.ListedDestination = None,
) -> int:
    """Write the mirror list of an image list: lines SOURCE DEST TAG."""
    from hangar_async import ConvertListOptions, convert_list
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view.summary_local import after_convert

    flags = values.flags(context)
    images, name = values.image_list(file)
    chosen = ConvertListOptions(
        images=images,
        list_name=name,
        output=None if output is None else values.file_path(output, "--output"),
        source=source,
        destination=destination,
    )
    return run_verb(convert_list, chosen, after_convert, quiet=flags.quiet, remains="nothing was written").status
