"""The commands beside ours: others' programs, as a shell has them do the same work."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.checks import Check, blobs_in, digests_told, file_of, size_of
from benchmarks.process import Command
from benchmarks.stage import Corpus

#: Each image into an OCI layout of its own, over one directory of blobs.
_LOOP = """
mkdir -p cache && n=0
while read -r image; do
    n=$((n + 1))
    skopeo --insecure-policy copy --quiet --all --src-tls-verify=false \\
        --dest-shared-blob-dir cache/share "docker://$image" "oci:cache/$n" || exit 1
done < "$1"
"""
_SYNC = "sync -f cache"


def skopeo_loop(images: Path, check: Check, *, sync: bool = True) -> Command:
    """Copy the images of a list one after the other, and sync at the end."""
    return _shell("skopeo loop", f"set -e; {_LOOP}{_SYNC if sync else ''}", str(images), check=check)


def skopeo_and_tar(images: Path, corpus: Corpus, *, sync: bool = True) -> Command:
    """Copy the images of a list, then make one tar of all, compressed as little as can be; sync at the end."""
    script = f"set -e; {_LOOP}tar -cf - cache | pigz -0 > saved.tar.gz\n{_SYNC if sync else ''}"
    return _shell("skopeo loop, tar | pigz -0", script, str(images), check=file_of("saved.tar.gz", corpus.size * 0.95))


def tar_and_pigz(corpus: Corpus) -> Command:
    """Make one tar of a corpus's blobs, really compressed, and sync it."""
    names = " ".join(corpus.path(blob).name for blob in corpus.blobs)
    script = f"tar -C {corpus.directory}/blobs -cf - {names} | pigz -6 > saved.tar.gz && sync saved.tar.gz"
    command = _shell("tar | pigz -6, sync", script, check=file_of("saved.tar.gz", 1))
    return replace(command, measures=size_of("saved.tar.gz"))


def openssl(file: Path) -> Command:
    """Hash a file."""
    return Command(f"openssl sha256 {file.name}", ("openssl", "sha256", str(file)))


def curl_and_openssl(urls: Path, corpus: Corpus) -> Command:
    """Download blobs 4 at a time, each hashed by openssl."""
    script = """xargs -P 4 -n 1 sh -c 'curl -sSf "$0" | openssl sha256 -r' < "$1" > told"""
    return _shell("curl | openssl sha256", script, str(urls), check=digests_told("told", corpus.blobs))


def curl_to_files(urls: Path, corpus: Corpus) -> Command:
    """Download blobs 4 at a time into files, unverified."""
    script = """mkdir blobs; cd blobs; xargs -P 4 -n 1 sh -c 'curl -sSf -o "${0##*:}" "$0"' < "$1" """
    return _shell("curl to files", script, str(urls), check=blobs_in("blobs", corpus.blobs))


def unpack_and_skopeo(archive: Path, copies: Path, registry: Path, check: Check) -> Command:
    """Unpack an archive, and copy images one after the other to a registry, whose address is in a file.

    Each line of `copies` is what skopeo has after `oci:`, and `repository:tag`.
    """
    script = """
    set -e
    tar -xzf "$1"
    while read -r from to; do
        skopeo --insecure-policy copy --quiet --all --preserve-digests --dest-tls-verify=false \\
            --src-shared-blob-dir saved-image-cache/share "oci:$from" "docker://$(cat "$3")/$to" || exit 1
    done < "$2"
    """
    return _shell("tar -x, skopeo loop", script, str(archive), str(copies), str(registry), check=check)


def skopeo_copy(archive: Path, image: str, registry: Path, check: Check, name: str) -> Command:
    """Copy the image of a docker-archive to a registry, whose address is in a file, as `repository:tag`."""
    script = """exec skopeo --insecure-policy copy --quiet --dest-tls-verify=false \\
        "docker-archive:$1" "docker://$(cat "$3")/$2" """
    return _shell(name, script, str(archive), image, str(registry), check=check)


def curl_put(corpus: Corpus, registry: Path, check: Check) -> Command:
    """Upload blobs 4 at a time to a registry, whose address is in a file: for each a POST that opens, and one PUT."""
    script = """
    base="http://$(cat "$1")/v2/uploads/curl/blobs/uploads/"; export base
    xargs -P 4 -n 2 sh -c '
        place=$(curl -sSf -X POST -o /dev/null -D - "$base" | tr -d "\\r" | sed -n "s/^Location: //p") &&
        curl -sSf -H "Content-Type: application/octet-stream" -H "Expect:" -T "$0" "$place&digest=$1"
    ' < "$2"
    """
    files = corpus.directory / "uploads.txt"
    files.write_text("".join(f"{corpus.path(blob)} {blob['digest']}\n" for blob in corpus.blobs))
    return _shell("curl PUT", script, str(registry), str(files), check=check)


def skopeo_sync(images: Path, registry: Path, check: Check, name: str = "skopeo sync --all") -> Command:
    """Copy the images of a list in YAML to the registry whose address is in a file; a name there is its last part."""
    script = """exec skopeo --insecure-policy sync --all --src yaml --dest docker --dest-tls-verify=false \\
        "$1" "$(cat "$2")" """
    return _shell(name, script, str(images), str(registry), check=check)


def curl_through(urls: Path, registry: Path, check: Check) -> Command:
    """Copy blobs 4 at a time to the registry whose address is in a file: a GET piped into a PUT, after a POST.

    Each line of `urls` is the URL of a blob.
    """
    script = """
    base="http://$(cat "$1")/v2/uploads/curl/blobs/uploads/"; export base
    xargs -P 4 -n 1 sh -c '
        place=$(curl -sSf -X POST -o /dev/null -D - "$base" | tr -d "\\r" | sed -n "s/^Location: //p") &&
        curl -sSf "$0" | curl -sSf -H "Content-Type: application/octet-stream" -H "Expect:" -T - \\
            "$place&digest=${0##*/}"
    ' < "$2"
    """
    return _shell("curl GET | curl PUT", script, str(registry), str(urls), check=check)


def disk(size: int, files: int = 1) -> Command:
    """Write and sync files of so many bytes each: no save is faster."""
    names = [f"file{number}" for number in range(files)]
    argv = (sys.executable, "-m", "benchmarks.programs.write", str(size), *names)
    return Command("write and fsync", argv, check=file_of("file0", size))


def _shell(name: str, script: str, *words: str, check: Check) -> Command:
    return Command(name, ("sh", "-c", script, "sh", *words), check=check, tree=True)
