"""`hangar-async convert-list`."""

import typer

from hangar_async.cli import options, values


def convert_list_command(
    context: typer.Context,
    file: options.ListToConvert,
    output: options.MirrorList = None,
    source: options.ListedSource = None,
    destination: options.ListedDestination = None,
) -> int:
    """Write the mirror list of an image list: lines SOURCE DEST TAG."""
    from hangar_async import ConvertListOptions, convert_list
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view.summary_local import after_convert

    flags = values.flags(context)
    images, name = values.image_list(file)
    convert_options = ConvertListOptions(
        images=images,
        list_name=name,
        output=None if output is None else values.file_path(output, "--output"),
        source=source,
        destination=destination,
    )
    return run_verb(
        convert_list, convert_options, after_convert, quiet=flags.quiet, remains="nothing was written"
    ).status
