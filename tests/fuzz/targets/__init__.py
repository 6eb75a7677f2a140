"""Fuzz targets: one function a parser, that takes any bytes and raises only where the code is wrong."""

from collections.abc import Callable, Mapping

from tests.fuzz.targets import archives, documents, headers, jobs, words

Target = Callable[[bytes], None]

TARGETS: Mapping[str, Target] = {
    "archive": archives.archive,
    "tar": archives.tar,
    "docker-archive": archives.docker_archive,
    "docker-list": archives.docker_list,
    "docker-layer": archives.docker_layer,
    "zip": archives.zip_archive,
    "hauler-index": archives.hauler_index,
    "archive-index": archives.archive_index,
    "content": archives.content,
    "parts": archives.parts,
    "manifest": documents.manifest,
    "config": documents.config,
    "images-list": documents.images_list,
    "layout-index": documents.layout_index,
    "layout-names": documents.layout_names,
    "commit-record": documents.commit_record,
    "token": documents.token,
    "error-body": documents.error_body,
    "credentials": documents.credentials,
    "challenge": headers.challenge,
    "range": headers.byte_ranges,
    "retry-after": headers.retry_after,
    "numbers": headers.numbers,
    "address": headers.address,
    "mirrors": words.mirrors,
    "passwords": words.passwords,
    "image-list": words.image_list,
    "mirror-list": words.mirror_list,
    "words": words.words,
    "job-file": jobs.job_file,
    "plan": jobs.plan,
    "tags": jobs.tags,
    "repositories": jobs.repositories,
}
_ARCHIVES = {
    "archive-index",
    "images-list",
    "layout-index",
    "layout-names",
    "commit-record",
    "docker-list",
    "hauler-index",
}
#: Those whose inputs are JSON documents.
DOCUMENTS = frozenset(
    {"manifest", "config", "token", "error-body", "credentials", "plan", "tags", "repositories"} | _ARCHIVES
)
