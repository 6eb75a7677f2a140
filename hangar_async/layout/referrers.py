"""The referrers in a layout, beside the images that they belong to."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hangar_async.oci import Digest, Image


@dataclass(frozen=True, slots=True)
class GroupedImages:
    """The images of a layout; their referrers, by the names of the images; and those whose images are not there."""

    images: tuple[Image, ...]
    referrers: Mapping[str, tuple[Image, ...]]
    others: tuple[Image, ...]

    def of(self, image: Image) -> tuple[Image, ...]:
        """Return the referrers of an image, and theirs behind them."""
        return self.referrers.get(image.name, ())


def group_referrers(images: Iterable[Image]) -> GroupedImages:
    """Put each referrer to the images of its repository that have its subject, or another referrer that has it."""
    by_subject: defaultdict[tuple[str, Digest], list[Image]] = defaultdict(list)
    mains, attached = [], []
    for image in images:
        if image.attachment is None:
            mains.append(image)
        else:
            by_subject[image.reference.name, image.attachment.subject].append(image)
            attached.append(image)
    groups: dict[str, tuple[Image, ...]] = {}
    used: set[str] = set()
    for image in mains if attached else ():
        found: dict[str, Image] = {}
        subjects = [content.digest for content in image.contents]
        for subject in subjects:
            for referrer in by_subject.get((image.reference.name, subject), ()):
                if referrer.name not in found:
                    found[referrer.name] = referrer
                    subjects += [content.digest for content in referrer.contents]
        groups[image.name] = tuple(found.values())
        used.update(found)
    return GroupedImages(tuple(mains), groups, tuple(image for image in attached if image.name not in used))
