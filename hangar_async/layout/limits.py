"""The most that the images of a layout may name: its readers refuse more, and its writers make no more.

A layout of any size may name half a million entries. Beyond, the bounds grow with the bytes that it takes on the disk,
so that a small one cannot make a reader take much memory: a digest does not compress, and each entry has one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hangar_async import oci
from hangar_async.errors import ContentError
from hangar_async.layout.files import EPOCH, INDEX_NAME, LIST_NAME, cache_files
from hangar_async.oci import graph
from hangar_async.oci.manifest import MOST_VALUES

#: The bytes of an index file in a layout of any size: a list of sixty thousand platforms is about 18 MB.
MAX_LIST = 64 << 20
_BYTES_AN_ENTRY = 64
_BYTES_A_VALUE = 32


def most_entries(stored: int) -> int:
    """Return how many entries the manifests of all images may have, in a layout that takes `stored` bytes."""
    return max(graph.MAX_ENTRIES, stored // _BYTES_AN_ENTRY)


def most_list_values(stored: int) -> int:
    """Return the most values in each of `index.json` and `saved-images-list.json`."""
    return max(MOST_VALUES, stored // _BYTES_A_VALUE)


def most_list_bytes(values: int) -> int:
    """Return the most bytes of each of these files where they may have so many values."""
    return max(MAX_LIST, values * _BYTES_A_VALUE)


@dataclass(frozen=True, slots=True)
class ImageTotals:
    """The entries of an image's manifests, and the bytes and values that it takes in each index file."""

    entries: int
    lists: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, image: oci.Image, most: int) -> "ImageTotals":
        """Count an image as readers do; raises ContentError for more than `most` entries."""
        budget = oci.EntryBudget(most)
        if image.root is not None:
            _walk(image.root, image.documents, budget)
            if image.original is not None and image.original in image.documents:
                # The entries of the original index, and of the indexes in it.
                indexes = {digest: item for digest, item in image.documents.items() if isinstance(item, oci.Index)}
                _walk(image.documents[image.original].descriptor, indexes, budget)
        return cls(budget.spent, _sizes((image,)))


def _walk(root: oci.Descriptor, documents: oci.Documents, budget: oci.EntryBudget) -> None:
    for _ in oci.walk(root, documents, budget):
        pass


class LayoutTotals:
    """Counts what the images of a layout name in all, as its readers count it, while images are added."""

    def __init__(self) -> None:
        self._entries = 0
        self._empty = _sizes(())
        #: The bytes and the commas of each index file so far, and at most two bytes and one comma more.
        self.lists = dict(self._empty)

    def add(self, image: oci.Image, stored: int) -> None:
        """Count an image; `stored` are the bytes that the layout takes with it.

        Raises ContentError where readers would refuse the layout.
        """
        most = most_entries(stored)
        self.change(ImageTotals.of(image, most))
        oci.EntryBudget(most).spend(self._entries)
        values_most = most_list_values(stored)
        for name, (size, values) in self.lists.items():
            if size > most_list_bytes(values_most) or values >= values_most:
                raise ContentError(f"its {name} would be too large to be read", advice="split the list of images")

    def change(self, totals: ImageTotals, sign: int = 1) -> None:
        """Count an image that was counted before, or with -1 as its sign, take it out."""
        self._entries += sign * totals.entries
        for name, (size, values) in totals.lists.items():
            more_size, more_values = size - self._empty[name][0], values - self._empty[name][1] + 1
            self.lists[name] = (self.lists[name][0] + sign * more_size, self.lists[name][1] + sign * more_values)


def _sizes(images: Sequence[oci.Image]) -> dict[str, tuple[int, int]]:
    """Return the bytes and the commas of the index files of some images, by their names."""
    files = cache_files(images, EPOCH)
    return {name: (len(files[name]), files[name].count(b",")) for name in (INDEX_NAME, LIST_NAME)}
