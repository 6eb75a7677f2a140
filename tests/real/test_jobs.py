"""A file of ten jobs between real registries, and one that counts pulls as Docker Hub does; skopeo reads what came."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.engine.jobs.report import JobsReport
from hangar_async.engine.jobs.run import mirror_jobs
from hangar_async.errors import NotAdmitted, RateLimited
from hangar_async.oci import COSIGN_TYPES, Digest
from hangar_async.testing.images import Built, artifact, index
from tests.fakes.faults import PullQuota
from tests.fakes.images import ARM64, small
from tests.fakes.push import push
from tests.fakes.registry import FakeRegistry
from tests.fakes.skopeo import Skopeo

FILE = """\
version: 1
state: known.db
registries: {HUB: {keep-quota: 2, requests: 4}}
defaults: {to: 'TARGET/copies/{name}'}
jobs:
- {name: newest, from: SOURCE/ten/web, tags: {newest: 2, per: minor, variants: ['', alpine], also: [latest]}}
- {name: matched, from: SOURCE/ten/web, to: 'TARGET/matched/{name}',
   tags: {match: ['v1.*', 'nightly*'], exclude: '*alpine'}}
- {name: early, from: SOURCE/ten/web, to: 'TARGET/early/{name}', tags: {version: '>=1.27', prereleases: true}}
- {name: all, from: 'SOURCE/ten/lib/*', to: 'TARGET/libraries/{1}'}
- {name: listed, list: images.txt}
- {name: small, from: SOURCE/ten/multi, platforms: linux/amd64, tags: [v1]}
- {name: fixed, from: SOURCE/ten/web, to: 'TARGET/fixed/{name}', tags: {version: '1.26', immutable: 'v*.*.*'}}
- {name: signed, from: SOURCE/ten/signed, referrers: {require: SIGNATURE}}
- {name: judged, from: SOURCE/ten/web, to: 'TARGET/judged/{name}', tags: [v1.26.0, v1.27.1],
   gate: [/bin/sh, -c, 'test "$0" = v1.27.1 && test "$1" = "SOURCE/ten/web"', '{tag}', '{source}']}
- {name: hub, from: [HUB/app0, HUB/app1, HUB/app2, HUB/app3], to: 'TARGET/hub/{name}'}
"""
WEB = "v1.26.0 v1.26.1 v1.26.2 v1.26.2-alpine v1.27.0 v1.27.1 v1.28.0-rc1 v1.27 latest nightly-1 other"


async def filled(source: str, hub: FakeRegistry) -> dict[str, Built]:
    """Put the images at their registries, and return them by REPOSITORY:TAG."""
    images = {f"ten/web:{tag}": small(tag) for tag in WEB.split()}
    images |= {f"ten/lib/{name}:{tag}": small(name + tag) for name in ("one", "two") for tag in ("1", "2")}
    images |= {"ten/multi:v1": index([small("amd"), small("arm", platform=ARM64)])}
    images |= {f"ten/signed:{tag}": small(f"signed {tag}") for tag in ("yes", "no")}
    signature = artifact("application/vnd.oci.image.config.v1+json", b"signature", "text/plain")
    images[f"ten/signed:{images['ten/signed:yes'].digest.tag}.sig"] = signature
    for name, built in images.items():
        await push(source, name, built)
    for name in APPS:
        images[name] = small(f"hub {name}")
        hub.add(name, images[name])
    return images


#: The repositories at the target, each with its source and the tags that should be there.
EXPECTED = {
    "copies/web": ("ten/web", "latest v1.26.1 v1.26.2 v1.26.2-alpine v1.27.0 v1.27.1"),
    "matched/web": ("ten/web", "nightly-1 v1.26.0 v1.26.1 v1.26.2 v1.27 v1.27.0 v1.27.1"),
    "early/web": ("ten/web", "v1.27.0 v1.27.1 v1.28.0-rc1"),
    "libraries/one": ("ten/lib/one", "1 2"),
    "libraries/two": ("ten/lib/two", "1 2"),
    "listed/renamed": ("ten/web", "other"),
    "fixed/web": ("ten/web", "v1.26.0 v1.26.1 v1.26.2"),
    "judged/web": ("ten/web", "v1.27.1"),
}
APPS = [f"app{number}:1" for number in range(4)]


async def test_ten_jobs(
    docker_registry: str, second_registry: str, fake_registry: FakeRegistry, skopeo: Skopeo, tmp_path: Path
) -> None:
    """Each job brings exactly its tags, by their digests; what fails is told; and the next night nothing is sent."""
    images = await filled(docker_registry, fake_registry)
    hub = PullQuota(limit=5)
    fake_registry.fail("/manifests/", hub, times=None)
    (tmp_path / "images.txt").write_text(f"{docker_registry}/ten/web {second_registry}/listed/renamed other\n")
    path = tmp_path / "mirror.yaml"
    names = {"HUB": fake_registry.address, "SOURCE": docker_registry, "TARGET": second_registry}
    text = FILE.replace("SIGNATURE", COSIGN_TYPES["sig"])
    for word, address in names.items():
        text = text.replace(word, address)
    path.write_text(text)
    path.chmod(0o644)

    async def digest(name: str) -> Digest:
        words = ("inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{second_registry}/{name}")
        return Digest.parse((await skopeo(*words)).strip())

    async def tags(repository: str) -> list[str]:
        words = ("list-tags", "--tls-verify=false", f"docker://{second_registry}/{repository}")
        return sorted(json.loads(await skopeo(*words))["Tags"])

    report = await mirror_jobs(MirrorJobsOptions(config=path, jobs=8, failed=tmp_path / "failed.txt"))
    assert [job.name for job in report.jobs if not job.ok] == ["signed", "judged", "hub"]
    *judged, (refused, kind) = failures(report)
    assert judged == [("ten/signed:no", NotAdmitted), ("ten/web:v1.26.0", NotAdmitted)]
    # The last one of four that asks.
    assert (refused in APPS, kind, hub.pulls) == (True, RateLimited, 3)
    arrived = {f"hub/{name[:-2]}": (name[:-2], "1") for name in APPS if name != refused}
    for repository, (source, expected) in {**EXPECTED, **arrived}.items():
        assert await tags(repository) == expected.split(), repository
        tag = expected.split()[-1]
        assert await digest(f"{repository}:{tag}") == images[f"{source}:{tag}"].digest, tag
    signature = f"{images['ten/signed:yes'].digest.tag}.sig"
    assert await tags("copies/signed") == [signature, "yes"]
    assert await tags("copies/multi") == ["v1"]
    first = (tmp_path / "failed.txt").read_text()

    again = await mirror_jobs(MirrorJobsOptions(config=path, jobs=8, failed=tmp_path / "failed.txt"))
    assert (failures(again), hub.pulls) == (failures(report), 3)
    assert (again.whole.sent.uploaded_blobs, again.whole.sent.mounted_blobs) == (0, 0)
    assert again.jobs[6].immutable == 3
    assert (tmp_path / "failed.txt").read_text() == first


def failures(report: JobsReport) -> Sequence[tuple[str, type]]:
    """Return the images that failed, without their registry, each with the kind of its error."""
    failed = report.whole.failed
    return [(str(one.entry.source).partition("/")[2], type(one.error)) for one in failed]
