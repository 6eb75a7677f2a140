"""Media types by their names: of documents, of compressed content, of foreign layers."""

import pytest

from hangar_async.oci import media_types
from hangar_async.oci.media_types import ACCEPT, is_compressed, is_content, is_foreign


@pytest.mark.parametrize(
    ("media_type", "compressed"),
    [
        ("application/vnd.oci.image.layer.v1.tar", False),
        ("application/vnd.oci.image.layer.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.v1.tar+zstd", True),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", True),
        ("application/vnd.docker.image.rootfs.diff.tar", False),
        ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", True),
        ("Application/X.TAR+GZIP; charset=binary", True),
        ("application/x-tgz", True),
        ("application/vnd.oci.image.config.v1+json", False),
        ("", False),
    ],
)
def test_compressed_content_is_known_by_the_end_of_its_type(media_type: str, compressed: bool) -> None:
    assert is_compressed(media_type) == compressed


@pytest.mark.parametrize(
    ("media_type", "foreign"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.v1.tar+gzip", False),
    ],
)
def test_foreign_layers_are_known_by_their_type(media_type: str, foreign: bool) -> None:
    assert is_foreign(media_type) == foreign


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip", True),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", True),
        ("application/vnd.buildkit.cacheconfig.v0", True),
        ("application/vnd.oci.image.config.v1+json", True),
        ("text/plain", True),
        ("", False),
        ("application/vnd.oci.image.manifest.v1+json", False),
        ("Application/vnd.OCI.image.manifest.v1+json; charset=utf-8", False),
        ("application/vnd.docker.distribution.manifest.list.v2+json", False),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", False),
        ("application/vnd.oci.artifact.manifest.v1+json", False),
        ("application/vnd.cncf.oras.artifact.manifest.v1+json", False),
    ],
)
def test_content_is_of_no_type_of_a_document(media_type: str, content: bool) -> None:
    assert is_content(media_type) == content


def test_every_kind_of_document_is_accepted_and_the_oldest_last() -> None:
    kinds = [kind.partition(";")[0] for kind in ACCEPT.split(", ")]
    assert set(kinds) == media_types.MANIFESTS | media_types.INDEXES | media_types.SCHEMA1
    assert set(kinds[-2:]) == media_types.SCHEMA1
    assert all("q=" in kind for kind in ACCEPT.split(", ")[-2:])


def test_a_type_is_of_one_kind_alone() -> None:
    kinds = [media_types.MANIFESTS, media_types.INDEXES, media_types.SCHEMA1, media_types.IMAGE_CONFIGS]
    assert len(frozenset().union(*kinds)) == sum(map(len, kinds))
