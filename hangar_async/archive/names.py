"""The names that an archive may hold; all others are refused."""

from __future__ import annotations

import re

from hangar_async.layout.files import BLOBS, CACHE_NAME, INDEX_NAME, LIST_NAME, MARKER_NAME, SHARE
from hangar_async.oci.digest import ALGORITHMS, Digest

#: The archive's own index, its last entry.
ARCHIVE_INDEX = f"{CACHE_NAME}/archive-index.json"
#: The one link of the format, and where it leads.
LINK = f"{CACHE_NAME}/{BLOBS}"
LINK_TARGET = SHARE
_BLOB = "|".join(f"{name}/[0-9a-f]{{{size}}}" for name, size in ALGORITHMS.items())
_FOLDER = "[0-9a-f]{64}"
_OWN_FILES = "|".join(map(re.escape, (LIST_NAME, MARKER_NAME, INDEX_NAME, "archive-index.json")))
_LAYOUT_FILES = "|".join(map(re.escape, (MARKER_NAME, INDEX_NAME)))
_FILES = re.compile(f"{CACHE_NAME}/(?:{_OWN_FILES}|{SHARE}/(?P<blob>{_BLOB})|{_FOLDER}/(?:{_LAYOUT_FILES}))")
_DIRECTORIES = re.compile(
    f"{CACHE_NAME}(?:/{SHARE}(?:/(?:{'|'.join(ALGORITHMS)}))?|/{_FOLDER}(?:/{BLOBS}(?:/(?:{'|'.join(ALGORITHMS)}))?)?)?"
)


def is_file_name(name: str) -> bool:
    """Whether a regular file may have this name."""
    return _FILES.fullmatch(name) is not None


def is_directory_name(name: str) -> bool:
    """Whether a directory may have this name."""
    return _DIRECTORIES.fullmatch(name) is not None


def blob_digest(name: str) -> Digest | None:
    """Return the digest that a blob's name states; None for a file that is no blob."""
    match = _FILES.fullmatch(name)
    if match is None or match["blob"] is None:
        return None
    return Digest(*match["blob"].split("/"))
