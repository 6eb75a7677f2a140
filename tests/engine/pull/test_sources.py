"""The sources of a digest."""

from hangar_async.engine.pull.sources import ContentRequest, Source
from hangar_async.errors import NotFound
from hangar_async.oci import Descriptor, Digest, Reference

_CONTENT = Descriptor("application/octet-stream", Digest.of(b"x"), 1)


def _source(name: str) -> Source:
    reference = Reference.parse(f"registry/{name}:1")
    return Source(reference, reference, mirror=False)


def test_a_repository_is_offered_once_and_its_failure_is_that_of_its_image() -> None:
    request = ContentRequest(_CONTENT, False, (0, 1))
    one, two = _source("one"), _source("two")
    for source in (one, two, one):
        request.offer(source)
    assert request.untried == [one, two]
    assert request.more.is_set()
    errors = [NotFound(name, host="registry", status=404) for name in ("first", "second")]
    for source, error in zip((one, two), errors, strict=True):
        request.failed(source, error)
    assert not request.untried
    assert request.error(one.image) is errors[0]
    assert request.error(_source("other").image) is errors[1]
