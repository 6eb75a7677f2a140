"""The one value for an image: its name, its digest, its root and its contents."""

from __future__ import annotations

import pytest

from hangar_async.errors import ContentError
from hangar_async.oci.digest import Digest
from hangar_async.oci.graph import walk
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor, Index, parse_manifest
from hangar_async.oci.platform import NO_PLATFORM
from hangar_async.oci.reference import Reference
from hangar_async.testing.images import Built, IndexEntry, artifact, index
from tests.fakes.images import AMD64, ARM64, small

REFERENCE = Reference.parse("reg.example.com/team/app:1")


def read(built: Built, *, rooted: bool = True) -> Image:
    """The image of what was built, as a layout gives it; without root as of a cache without `index.json`."""
    documents = {digest: parse_manifest(raw, kind) for digest, (kind, raw) in built.documents.items()}
    root = Descriptor(built.media_type, built.digest, len(built.raw))
    contents = tuple({node.descriptor.digest: node.descriptor for node in walk(root, documents)}.values())
    top = documents[built.digest]
    entries = top.manifests if isinstance(top, Index) else (built.descriptor,)
    platforms = tuple(ImagePlatform(entry) for entry in entries)
    return Image(REFERENCE, root if rooted else None, platforms, contents, documents)


ONE = read(small("one"))
TWO = index([small("a"), small("b", platform=ARM64)])


def test_contents_are_parents_first_and_each_once() -> None:
    image = read(index([small("a"), small("a"), small("b", platform=ARM64)]))
    digests = [content.digest for content in image.contents]
    assert digests[0] == image.digest
    assert len(digests) == len(set(digests)) == 3 + 4
    assert image.size == sum(content.size for content in image.contents)


def test_blobs_are_the_contents_that_are_no_documents() -> None:
    built = small("one")
    assert {blob.digest for blob in ONE.blobs} == set(built.blobs)
    assert {config.digest for config in ONE.configs} <= {blob.digest for blob in ONE.blobs}
    assert len(ONE.configs) == 1


def test_an_artifact_has_no_config_of_a_container() -> None:
    chart = read(artifact("application/vnd.cncf.helm.config.v1+json", b"chart", "application/x.tar+gzip"))
    assert chart.configs == ()
    assert chart.blobs


@pytest.mark.parametrize("rooted", [True, False])
def test_the_root_of_a_single_image_is_its_manifest(rooted: bool) -> None:
    image = read(small("one"), rooted=rooted)
    assert image.digest == image.root_document().digest == small("one").digest


def test_without_a_root_several_manifests_are_joined_in_an_index() -> None:
    image = read(TWO, rooted=False)
    assert image.digest is None
    root = image.root_document()
    assert isinstance(root, Index)
    assert [entry.digest for entry in root.manifests] == [one.descriptor.digest for one in image.platforms]
    assert [entry.platform for entry in root.manifests] == [AMD64, ARM64]


def test_contents_below_the_root_leave_out_indexes_beside_it() -> None:
    whole = read(TWO)
    part = read(index([small("a")]))
    both = Image(
        REFERENCE, part.root, part.platforms, (*part.contents, whole.contents[0]), {**whole.documents, **part.documents}
    )
    assert both.below_root() == part.contents
    assert Image(REFERENCE, None, (), both.contents).below_root() == both.contents


def test_a_missing_document_is_a_content_error_with_its_digest() -> None:
    absent = Descriptor("application/x", Digest.of(b"absent"), 6)
    with pytest.raises(ContentError, match=str(absent.digest)) as caught:
        ONE.document(absent)
    assert caught.value.digest == str(absent.digest)
    with pytest.raises(ContentError):
        ONE.without_contents().root_document()


def test_names_have_the_tag_or_the_digest() -> None:
    assert ONE.name == "reg.example.com/team/app:1"
    digest = Digest.of(b"x")
    nameless = Image(Reference("localhost", "dir", digest=digest), None, (), named=False)
    assert nameless.name == str(digest)


def test_an_entry_without_platform_has_the_empty_one() -> None:
    image = read(index([IndexEntry(small("a"), with_platform=False)]))
    assert [one.platform for one in image.platforms] == [NO_PLATFORM]
