"""JSON documents from outside: bytes to values, in bounded memory."""

from __future__ import annotations

from typing import TypeVar

import msgspec

#: Documents of more values are refused: a value of a few bytes takes a hundred in memory. An index of ours has eight
#: for each image, a list ten for each image of one platform; the largest lists in use name some thousand images.
MOST_VALUES = 1 << 19
_LONGEST = 300
_T = TypeVar("_T")


def decode(raw: bytes | bytearray, kind: type[_T], most: int = MOST_VALUES) -> _T:
    """Decode a document that has to be of this kind.

    Raises ValueError, of one short line, for any other and for one of more than `most` values.
    """
    # Each value of a list or an object but the first one has a comma before it.
    if raw.count(b",") >= most:
        raise ValueError(f"it has more than {most:,} values")
    try:
        return msgspec.json.decode(raw, type=kind)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)[:_LONGEST]
        raise ValueError(text if text.isprintable() else ascii(text)) from error
