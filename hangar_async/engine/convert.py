"""`convert_list`: an image list to a mirror list."""

from collections.abc import Iterable

from hangar_async.config.naming import MirrorNames
from hangar_async.config.target_options import ConvertListOptions
from hangar_async.engine.events import Notice, Observer, ignore
from hangar_async.engine.outputs import check_outputs, check_target, told_disk
from hangar_async.engine.reports import Conversion
from hangar_async.errors import InvalidValue
from hangar_async.imagelist import InvalidLine, check_names_images, list_name, parse_line, read_lines, split_comment
from hangar_async.mirrorlist import has_three_fields, read_line
from hangar_async.oci import split_registry
from hangar_async.temporary import write_output
from hangar_async.threads import in_thread

_AS_WRITTEN = MirrorNames()


async def convert_list(options: ConvertListOptions, observer: Observer = ignore) -> Conversion:
    """Write the mirror list of an image list: lines `SOURCE DEST TAG`.

    Lines of this form, comments and blank lines stay as they are. An invalid line becomes a comment with the reason.
    The list appears whole or not at all. Raises UsageError where the list cannot be read, names no image, or would be
    replaced, and StorageError.
    """
    await in_thread(check_outputs, [options.target], [options.images])
    target = await in_thread(check_target, options.target, directory=False, flag="-o")
    conversion, content = await in_thread(_convert, options)
    for line in conversion.invalid:
        observer(Notice(str(line)))
    with told_disk(lambda text: observer(Notice(text))) as disk:
        await in_thread(write_output, target, content, disk)
    return conversion


def _convert(options: ConvertListOptions) -> tuple[Conversion, bytes]:
    lines = read_lines(options.images)
    name = options.list_name or list_name(options.images)
    names = options.names
    written: list[str] = []
    invalid: list[InvalidLine] = []
    converted = kept = 0
    for number, line in enumerate(lines, 1):
        text, comment = split_comment(line)
        try:
            if not text:
                written.append(line)
            elif has_three_fields(text):
                read_line(text, _AS_WRITTEN)
                written.append(line)
                kept += 1
            else:
                written.append(mirror_line(text, names) + comment)
                converted += 1
        except InvalidValue as error:
            invalid.append(InvalidLine(name, number, str(error)))
            written.append(invalid[-1].comment)
    check_names_images(name, range(converted + kept), invalid, lines)
    return Conversion(options.target, converted, kept, tuple(invalid)), _encoded(written)


def mirror_line(image: str, names: MirrorNames) -> str:
    """Return the line `SOURCE DEST TAG` of an image; raises InvalidValue.

    Without a registry in `names` a name stays as it is written, the destination with `docker.io/` where it has no
    registry. Otherwise it is the full name, with the `library/` of Docker Hub. TAG is a tag, a digest, or `TAG@DIGEST`,
    as in the image.
    """
    source = parse_line(image, names.source)
    target = names.target(source)
    head, slash, last = image.partition("@")[0].rpartition("/")
    written = head + slash + last.partition(":")[0]
    source_name = source.name if names.source else written
    target_name = target.name if target else "/".join(split_registry(written))
    version = "@".join(str(part) for part in (source.tag, source.digest) if part is not None)
    line = f"{source_name} {target_name} {version}"
    read_line(line, _AS_WRITTEN)
    return line


def _encoded(lines: Iterable[str]) -> bytes:
    text = "".join(f"{line}\n" for line in lines)
    return text.removeprefix("\ufeff").encode(errors="surrogateescape")
