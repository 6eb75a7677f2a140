"""The seeds of the fuzzer: for each target valid inputs, and some that are known to be hostile."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import zstandard

from hangar_async.archive import tar_header
from hangar_async.archive.formats import deflate
from hangar_async.layout.files import CACHE_NAME, INDEX_NAME, LIST_NAME
from tests.fakes import sources
from tests.fuzz import samples
from tests.jobfile.rig import WHOLE

#: The committed inputs: those that taught something, and those that reach what the seeds do not.
CORPUS = Path(__file__).with_name("corpus")
_DIGEST = "sha256:" + "a1" * 32
_OTHER = "sha512:" + "b2" * 64
_INDEX = f"{CACHE_NAME}/{INDEX_NAME}"


def seeds(target: str) -> list[bytes]:
    """Make the seeds of a target; the same ones each time."""
    return _SEEDS[target]()


def corpus(target: str) -> list[Path]:
    """Name the committed inputs of a target."""
    return sorted(path for path in (CORPUS / target).glob("*") if path.is_file())


def _caches() -> list[dict[str, bytes]]:
    return [
        samples.cached("registry.example/a:1", samples.one()),
        samples.cached("nginx", samples.several()),
        samples.cached(f"localhost:5000/a/b@{samples.several().digest}", samples.several(), partial=True),
    ]


def _archives() -> list[bytes]:
    first, *_ = _caches()
    streams = [samples.written(kind, first, level) for kind, level in (("gzip", 0), ("gzip", 1), ("zstd", 1))]
    compress = zstandard.ZstdCompressor(write_checksum=True).compress
    small = samples.member(tar_header.FILE, _INDEX, b"{}")
    small += tar_header.end(len(small))
    streams += [
        gzip.compress(small, mtime=0),
        gzip.compress(small[:700], mtime=0) + gzip.compress(small[700:], mtime=0),
    ]
    streams += [compress(small), b"\x50\x2a\x4d\x18\x03\0\0\0abc" + compress(small[:600]) + compress(small[600:])]
    with_name = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff\x04\0HG\0\0name\0text\0\0\0"
    streams += [with_name + gzip.compress(small, mtime=0)[10:], _repeated(small, 32 << 20)]
    empty = b'{"name":"","digest":"","size":0,"offset":0,"length":0,"encoding":"zstd"}'
    many = b'{"version":1,"compression":"zstd","entries":[' + b",".join([empty] * 50_000) + b"]}"
    return [*streams, samples.with_index("zstd", many)]


def _repeated(start: bytes, size: int) -> bytes:
    """A zstd stream of a few bytes, and zeros without end behind them."""
    block = 128 << 10
    zeros = (block << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    frame = struct.pack("<IBB", 0xFD2FB528, 0, 7 << 3) + zeros * (size // block - 1)
    return zstandard.ZstdCompressor().compress(start) + frame + (block << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"


def _tars() -> list[bytes]:
    small = samples.member(tar_header.FILE, _INDEX, b"{}")
    headers = [
        samples.member(tar_header.LONG_NAME, "././@LongLink", _INDEX.encode() + b"\0"),
        samples.member(tar_header.LONG_LINK, "././@LongLink", b"share\0"),
        samples.member(b"x", "x", b"48 path=saved-image-cache/saved-images-list.json\n"),
        samples.member(b"x", "x", b"9 size=2\n30 mtime=1700000000.123456789\n"),
        samples.member(b"g", "g", b"16 comment=text\n"),
        samples.member(b"x", "x", b"22 GNU.sparse.major=1\n"),
        samples.member(tar_header.DIRECTORY, f"./{CACHE_NAME}"),
        samples.member(tar_header.LINK, f"{CACHE_NAME}/blobs", target="share"),
        samples.member(b"1", _INDEX, target="/etc/passwd"),
        tar_header.header(tar_header.FILE, _INDEX, size=1 << 40),
        b"",
    ]
    made = [header + small for header in headers]
    made += [samples.member(b"7", f"{CACHE_NAME}/{LIST_NAME}", b"{}"), small + small]
    return [data + tar_header.end(len(data)) for data in made] + [samples.plain(_caches()[0])]


def _docker_archives() -> list[bytes]:
    files = samples.docker()
    shuffled = dict(sorted(files.items(), reverse=True))
    round_about = {**files, next(iter(files)): "manifest.json", "a": "b", "b": "a"}
    packed = samples.docker("gzip", "zstd")
    old = sources.docker_before_1_10(samples.one(), {"registry.example/a": "1"})
    return [sources.tar(one) for one in (files, shuffled, round_about, packed, samples.haul(), old)]


def _docker_layers() -> list[bytes]:
    blobs = [
        content for name, content in samples.docker("gzip", "zstd").items() if "layer.tar" in name or "real" in name
    ]
    zeros = zstandard.ZstdCompressor().compress(bytes(24 << 20))
    twice = gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0)
    return [
        *(blob for blob in blobs if isinstance(blob, bytes)),
        zeros,
        twice,
        twice + b"\0" * 9,
        twice[:-5],
        b"",
        b"tar",
    ]


def _docker_lists() -> list[bytes]:
    listed = json.loads(samples.docker()["manifest.json"])
    twice = [{**listed[0], "RepoTags": ["a:1", "A B", ""]}, {**listed[0], "RepoTags": None}]
    return [_dump(one) for one in (listed, twice, [], [{**listed[0], "Config": "../x", "Layers": ["/etc/passwd"]}])]


def _zips() -> list[bytes]:
    files = sources.hangar_zip("registry.example/a", "1", samples.several())
    return [sources.zipped(files, method) for method in (0, 8)] + [
        sources.zipped({"a": b""}),
        b"PK\x05\x06" + bytes(18),
    ]


def _haul_indexes() -> list[bytes]:
    index = json.loads(samples.haul()["index.json"])
    first, second = index["manifests"]
    others = [
        {**first, "annotations": {}},
        {**second, "annotations": {"kind": "dev.hauler/image"}},
        {**first, "data": "e30="},
    ]
    return [_dump(index), _dump({**index, "manifests": [second, first, *others]})]


def _indexes() -> list[bytes]:
    found = [samples.index_of(kind) for kind in samples.KINDS]
    document = json.loads(found[0])
    next(entry for entry in document["entries"] if "pieces" in entry)["pieces"] = [7]
    return [*found, _dump(document)]


def _contents() -> list[bytes]:
    data = bytes(range(250)) * 8
    stored = b"\0" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data
    deflated = gzip.compress(data, mtime=0)[10:-8]
    frame = zstandard.ZstdCompressor().compress
    packed = [(0, stored), (1, deflated), (1, stored), (2, frame(data)), (2, frame(data[:9]) + frame(data[9:]))]
    found = [struct.pack("<BHB", kind, len(data), 7) + one for kind, one in packed] + [bytes(4)]
    for kind, encode in ((1, partial(deflate, level=1)), (2, frame)):
        units = [encode(data[:900]), encode(data[900:1500]), encode(data[1500:])]
        cuts = struct.pack("<HHHH", len(units[0]), 900, len(units[0] + units[1]), 600)
        found.append(struct.pack("<BHB", kind + 3 * 2, len(data), 250) + cuts + b"".join(units))
    return found


def _parts() -> list[bytes]:
    names = [["a.part0", "a.part1", "a.part2"], ["a.part00", "a.part1", "a.part2"], ["a"], ["b"], []]
    lists = ["".join(f"{'0' * 64}  {name}\n" for name in some) for some in names]
    return [text.encode() for text in lists] + [b"\\" + b"0" * 64 + b" *a\\n\\\\b\r\n"]


def _manifests() -> list[bytes]:
    built = [samples.one(), samples.several()]
    found = [raw for image in built for _, raw in image.documents.values()]
    entry = {"digest": _OTHER, "size": 1, "platform": {"os": "windows", "architecture": "amd64", "os.version": "10.0"}}
    entry |= {"urls": ["https://a.example/b"], "annotations": {"a": "b"}, "mediaType": "x"}
    documents: list[Any] = [
        {"schemaVersion": 2, "config": {"digest": _DIGEST, "size": 2}, "layers": [entry, entry]},
        {"schemaVersion": 2, "manifests": [entry, {"digest": _DIGEST, "size": 1 << 62}]},
        {"schemaVersion": 1, "fsLayers": []},
        {"schemaVersion": 2, "manifests": [], "layers": []},
    ]
    return found + [_dump(document) for document in documents]


def _configs() -> list[bytes]:
    found = [data for data in samples.one().blobs.values() if data.startswith(b"{")]
    return [
        *found,
        _dump({"os": "linux", "architecture": "arm", "variant": "v7", "created": "2024-01-02T03:04:05.678Z"}),
    ]


def _file(name: str) -> Callable[[], list[bytes]]:
    return lambda: [files[name] for files in _caches()]


def _layout_indexes() -> list[bytes]:
    folders = [data for files in _caches() for name, data in files.items() if name.endswith(f"/{INDEX_NAME}")]
    return folders[:2] + _file(INDEX_NAME)()


def _layout_names() -> list[bytes]:
    one = samples.one().descriptor.to_json()
    names: list[dict[str, str]] = [
        {"org.opencontainers.image.ref.name": "v1"},
        {"org.opencontainers.image.ref.name": "registry.example/team/app:1"},
        {"io.containerd.image.name": "docker.io/library/nginx:latest", "org.opencontainers.image.ref.name": "latest"},
        {"kind": "dev.cosignproject.cosign/sigs", "org.opencontainers.image.ref.name": "team/app:1"},
        {"kind": f"dev.hauler/sigs/{_DIGEST[7:]}", "hauler.dev/subject-digest": _DIGEST},
    ]
    entries = [{**one, "annotations": annotations} for annotations in names]
    return [_dump({"schemaVersion": 2, "manifests": some}) for some in (entries, entries[:1], entries[3:])]


def _commit_records() -> list[bytes]:
    renames = [[f".a.tar.gz.1-ab.{number}.tmp", name, 5, "0" * 64] for number, name in enumerate(["a.tar.gz.part0"])]
    renames.append([".a.tar.gz.1-ab.9.tmp", "a.tar.gz.sha256", 5, "1" * 64])
    fields = {"version": 1, "run": "1-ab", "renames": renames, "removals": ["a.tar.gz", "a.tar.gz.part1"]}
    unlisted = {**fields, "renames": [[*renames[0][:3], None]], "removals": ["a.tar.gz.sha256"]}
    return [_dump(fields), _dump({**fields, "removals": ["../x"]}), _dump(unlisted)]


def _tokens() -> list[bytes]:
    return [_dump({"token": "a long token", "expires_in": 300}), _dump({"access_token": "b", "expires_in": 1e300})]


def _mirrors() -> list[bytes]:
    text = """[[registry]]
prefix = "*.example.com"
location = "mirror.local:5000/all"
insecure = true
[[registry.mirror]]
location = "other.local"
pull-from-mirror = "digest-only"
[[registry]]
location = "docker.io"
blocked = true
"""
    return [text.encode(), b'unqualified-search-registries = ["docker.io"]', b"a = [[[[1]]]]"]


def _passwords() -> list[bytes]:
    hash_text = b"$2y$05$" + b"a" * 53
    return [b"me:" + hash_text + b"\n# comment\n\nyou:" + hash_text, b"me:$2y$99$" + b"a" * 53, b"me:plain"]


def _error_bodies() -> list[bytes]:
    errors = [{"code": "DENIED", "message": "not yours", "detail": {}}, {"code": 7}, {"message": None}]
    return [_dump({"errors": errors}), _dump({"details": "no"}), _dump({"message": "a\u001b[31m"}), b"<html>", b""]


def _credentials() -> list[bytes]:
    auths = {
        "https://index.docker.io/v1/": {"auth": "bWU6cGFzc3dvcmQ="},
        "registry.example:5000/team": {"username": "me", "password": "a long secret"},
        "localhost": {"identitytoken": "a long token", "registrytoken": "another one"},
        "empty.example": None,
    }
    return [_dump({"auths": auths, "credsStore": "desktop", "credHelpers": {"registry.example:5000": "own"}}), b"{}"]


def _mirror_lists() -> list[bytes]:
    lines = ["a reg.example:5000/b 1", f"a/b\tc {_DIGEST} # pinned", f"a b 1@{_OTHER}", "a b:1 1", "a b", "a b @", ""]
    return [*_image_lists(), "\n".join(lines).encode()]


def _image_lists() -> list[bytes]:
    lines = [
        "# list",
        "",
        "nginx",
        "docker.io/library/nginx:latest",
        "reg.example:5000/a/b:1",
        "[::1]:5000/a",
        "A b",
        "a@b",
        "nginx:1 # newest",
        '- image: "nginx:2",',
    ]
    lines += [
        f"quay.io/a__b/c-d@{_DIGEST}",
        f"localhost/a:1@{_OTHER}",
        f"a@{_OTHER}",
        "\ufeffhttps://a/b",
        "a\t",
        "xn--mnchen-3ya.example/a",
    ]
    return ["\n".join(lines).encode(), "\r\n".join(reversed(lines)).encode(), b"\xff"]


def _job_files() -> list[bytes]:
    texts = [
        WHOLE,
        "version: 1\njobs:\n- {name: a, from: '${TEAM}/a', to: 'reg.lan/{2}/${SECRET}'}\n",
        "version: 1\njobs: &a\n- {name: a, list: *a}\n",
        "version: 1\njobs:\n- {name: a, from: a, to: 'b.lan/{name}', cron: '1 2 * * *', tags: {version: '>=1 <2'}}\n",
        '{"version": 1, "jobs": [{"name": "a", "from": ["quay.io/a/*"], "to": "b.lan/{1}", "gate": ["x"]}]}',
        "a: [" * 400,
    ]
    return [text.encode() for text in texts]


def _plans() -> list[bytes]:
    need = {"blobs": 1, "bytes": 9, "mounts": 1, "requests": 4}
    image = {"source": "a/b", "target": "c/b", "tag": "1", "digest": _DIGEST, **need}
    gone = {"target": "c/b", "tag": "0", "digest": _DIGEST, "reason": ""}
    job = {
        "name": "a",
        "images": [image],
        "unchanged": 1,
        "kept": 0,
        "failed": ["a/c:1"],
        "deleted": [gone],
        "left": [],
    }
    plan = {"kind": "hangar-async plan", "version": 1, "program": "hangar-async 1", "config": "jobs.yaml", "made": ""}
    plan |= {**need, "jobs": [job]}
    return [_dump(plan), _dump({**plan, "version": 2}), _dump({**plan, "jobs": []}), b"[]"]


def _tag_pages() -> list[bytes]:
    return [_dump({"name": "a", "tags": names}) for names in (["1", "1.2-x_y", "-", "A B"], None, [], [1])]


def _repository_pages() -> list[bytes]:
    names = ["library/nginx", "a", "A/b", "../x"]
    return [_dump({"repositories": names}), _dump([{"name": name} for name in names]), _dump({}), _dump([{}])]


_LINES = {
    "challenge": [
        'Bearer realm="https://a.example/token",service="b",scope="repository:c:pull"',
        'Negotiate a+b/c==, Basic realm="x\\"y"\nBearer realm=plain , a = "b',
    ],
    "range": ["bytes 0-9/10", "bytes 5-9/*", "bytes=0-9", "bytes=-5", "bytes= 5- ", "bytes=0-1,3-4", "BYTES=0-9"],
    "retry-after": [
        "120", "0", "Tue, 14 Nov 2023 22:14:20 GMT", "Tuesday, 14-Nov-23 22:14:20 GMT", "Tue Nov 14 22:14:20 2023",
        "14 Nov 2023 22:14 +0100", "-1",
    ],
    "numbers": [
        "100;w=21600", "99 ; w = 10;x", "0-99", "bytes=0-5", "0-0", "9" * 19, _DIGEST, _OTHER,
    ],
    "address": [
        "https://cdn.example/a%2Fb?c=%2b#d", "//cdn.example:8443/x", "../x?y", "http://127.0.0.1/", "https://[::1]:5000/",
        "https://2130706433/", "https://user:pass@a.example/", "https://\uff11\uff12\uff17.0.0.1/", "socks5://a:1080",
        ".a.example,*.b,10.0.0.0/8,[fd00::1]:443,a:80", "https://m\u00fcnchen.example/", "https://[fe80::1%25eth0]/",
    ],
    "words": [
        f"reg.example:5000/team/app:v1@{_DIGEST}", "nginx", f"a@{_OTHER}", _DIGEST, _OTHER, "linux/arm/v7", "x86_64",
        "all", "arm/v7", "2G", "512k", "1048576", "--debug save -f list --part=false -xj4 -- --quiet",
        "save -h --tls-verify=0",
    ],
}  # fmt: skip


def _lines(target: str) -> Callable[[], list[bytes]]:
    return lambda: [line.encode() for line in _LINES[target]]


def _dump(document: Any) -> bytes:
    return json.dumps(document).encode()


_SEEDS: Mapping[str, Callable[[], list[bytes]]] = {
    "archive": _archives,
    "tar": _tars,
    "docker-archive": _docker_archives,
    "docker-list": _docker_lists,
    "docker-layer": _docker_layers,
    "zip": _zips,
    "hauler-index": _haul_indexes,
    "job-file": _job_files,
    "plan": _plans,
    "tags": _tag_pages,
    "repositories": _repository_pages,
    "archive-index": _indexes,
    "content": _contents,
    "parts": _parts,
    "manifest": _manifests,
    "config": _configs,
    "images-list": _file(LIST_NAME),
    "layout-index": _layout_indexes,
    "layout-names": _layout_names,
    "commit-record": _commit_records,
    "token": _tokens,
    "mirrors": _mirrors,
    "passwords": _passwords,
    "error-body": _error_bodies,
    "credentials": _credentials,
    "image-list": _image_lists,
    "mirror-list": _mirror_lists,
    **{name: _lines(name) for name in _LINES},
}
