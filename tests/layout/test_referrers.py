from __future__ import annotations

from dataclasses import replace

from hangar_async.layout.referrers import group_referrers
from hangar_async.oci import Attachment, Descriptor, Digest, Image, Reference


def image(name: str, *contents: str, subject: str = "") -> Image:
    digests = [Digest.of(content.encode()) for content in (name, *contents)]
    described = tuple(Descriptor("", digest, 1) for digest in digests)
    made = Image(Reference.parse(f"r.example/{name}"), described[0], (), described)
    attachment = Attachment(Digest.of(subject.encode()), "", "other")
    return replace(made, attachment=attachment) if subject else made


def test_referrers_stand_beside_their_images() -> None:
    """Those of a part of an image too, those of other referrers, and each beside all images of one content."""
    first, second, other = image("app:1", "part"), image("app:2", "part"), image("app:3")
    signature, deep = image("app:s", subject="part"), image("app:d", subject="app:s")
    elsewhere, lost = image("else:s", subject="part"), image("app:l", subject="gone")
    grouped = group_referrers([signature, first, elsewhere, second, deep, other, lost])
    assert grouped.images == (first, second, other)
    assert [grouped.of(one) for one in grouped.images] == [(signature, deep), (signature, deep), ()]
    assert grouped.others == (elsewhere, lost)


def test_images_alone_are_no_referrers() -> None:
    grouped = group_referrers([image("app:1")])
    assert (grouped.images, grouped.others) == ((image("app:1"),), ())
    assert grouped.of(image("app:1")) == ()


def test_referrers_that_refer_to_each_other_end() -> None:
    one, two = image("app:a", "b", subject="app:b"), image("app:b", "a", subject="app:a")
    main = image("app:1", "app:a")
    assert {item.name for item in group_referrers([main, one, two]).of(main)} == {one.name, two.name}
