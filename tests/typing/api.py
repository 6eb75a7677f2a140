"""A program that uses every public name; type checkers read it, nothing runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import hangar_async as h


def observe(event: h.Event) -> None:
    match event:
        case h.RunStarted(images, jobs):
            print(images + jobs)
        case h.Notice(text):
            print(text.upper())
        case h.ImagePlanned(name, platforms, new_blobs, new_bytes):
            print(name.upper(), platforms + new_blobs + new_bytes)
        case h.BlobStarted(digest, size, image, start):
            print(digest.short, size + start, image.upper())
        case h.BlobProgress(digest, gained, done):
            print(digest.short, gained + done)
        case h.BlobEnded(digest, size, ok):
            print(digest.short, size, not ok)
        case h.BlobReused(digest, size):
            print(digest.short, size)
        case h.Retrying(request, reason, wait, attempt):
            print(request.upper(), reason.upper(), wait / 2, attempt)
        case h.HostClosed(host, reason, seconds):
            print(host.upper(), reason.upper(), seconds / 2)
        case h.HostUnreachable(host, reason, longest):
            print(host.upper(), reason.upper(), longest / 2)
        case h.HostReached(host):
            print(host.upper())
        case h.QuotaReported(host, remaining, limit, window):
            print(host.upper(), remaining + limit + window)
        case h.ImageEnded(outcome):
            show_outcome(outcome)
        case h.ArchiveProgress(written, part):
            print(written + part)
        case h.Committing(path):
            print(path.upper())
        case h.CheckStarted(size):
            print(size)
        case h.Checked(gained):
            print(gained)
        case h.Listening(served):
            show(served)
        case h.Answered(client, method, path, status, size, seconds, agent):
            print(client, method, path, status, size, seconds, agent)
        case h.Reloaded(name):
            print(name.upper())
        case h.JobScheduled(job, start, passed_over):
            print(job.upper(), start / 2, passed_over + 1)
        case h.JobStarted(job):
            print(job.upper())
        case h.JobEnded(job, status, error, reason):
            print(job.upper(), status, error.upper(), reason.upper())
        case h.RunEnded(report):
            print(report.status)
        case h.LoadEnded(load_report):
            print(load_report.status)
        case h.MirrorEnded(mirror_report):
            print(mirror_report.status)
        case h.ComparisonEnded(comparison_report):
            print(comparison_report.status)
        case h.VerifyEnded(verdict):
            print(verdict.status)


def show_outcome(outcome: h.Outcome) -> None:
    print(outcome.name.upper(), outcome.ok, outcome.seconds / 2, outcome.transferred + (outcome.size or 0))


def show(served: h.Served) -> str:
    return f"{served.url} {served.address} {[image.name for image in served.images]}"


observer: h.Observer = observe


def settings() -> h.Environment:
    registries = h.RegistrySettings(
        tls_verify=True,
        username="someone",
        password="secret",
        proxies=h.Proxies(https="http://proxy.example.com:3128"),
        retry=h.RetryPolicy(retries=3),
        mirrors=h.Mirrors((h.Route("docker.io", (h.Mirror("mirror.example.com"),)),)),
    )
    return h.Environment(registries=registries, destinations=registries)


def network(options: h.FetchOptions) -> h.RegistrySettings:
    return options.environment.registries


async def save() -> h.Report:
    options = h.SaveOptions(
        images=["nginx:1.27"], destination=Path("out.tar.gz"), jobs=4, failed=Path("failed.txt"), environment=settings()
    )
    selector: h.PlatformSelector = options.selector
    print(h.Platform("linux", "amd64") in selector)
    report: h.Report = await h.save(options, observer, clock=h.Clock())
    outcome: h.ImageOutcome
    for outcome in report.outcomes:
        entry: h.Entry = outcome.entry
        error: h.HangarError | None = outcome.error
        print(entry.line, error and error.advice)
        if outcome.image is not None:
            show_image(outcome.image)
    invalid: tuple[h.InvalidLine, ...] = report.invalid
    traffic: h.Traffic = report.traffic
    output: h.Output | None = report.output
    print(invalid, traffic.fetched_bytes, output and output.path)
    return await h.sync(h.SyncOptions(images=["nginx:1.27"], cache=Path("cache"), environment=settings()))


def show_image(image: h.Image) -> None:
    platform: h.ImagePlatform
    for platform in image.platforms:
        described: h.Platform = platform.platform
        descriptor: h.Descriptor = platform.descriptor
        print(described.os, descriptor.size)
    document: h.Manifest | h.Index = image.root_document()
    digest: h.Digest = document.digest
    reference: h.Reference = image.reference
    print(digest.hex, reference.tag)


async def archives(path: Path) -> None:
    listing: h.Listing = await h.ls(h.ListOptions(path))
    part: h.ListedPart
    for part in listing.parts:
        print(part.size)
    verdict: h.Verdict = await h.verify(h.VerifyOptions(path), observer)
    verified: tuple[h.VerifiedImage, ...] = verdict.outcomes
    document: h.ReportDocument = h.report_document("verify", verdict, h.VerifyOptions(path, report=path))
    records: list[h.ImageRecord] = document.images
    totals: h.Totals = document.totals
    print(verdict.status, [one.error for one in verified], [one.status for one in records], totals.failed + 1)
    await h.extract(h.ExtractOptions(source=path, image="nginx:1.27", destination=Path("out")), observer)
    await h.compress(h.CompressOptions(cache=path, output=h.OutputSettings(target=path)), observer)
    await h.decompress(h.DecompressOptions(archive=path, destination=Path("cache")), observer)
    merged: h.MergedReports = await h.merge_reports(h.MergeReportsOptions(reports=[path], report=path), observer)
    print(merged.status, merged.document.end, merged.failed_list)
    await h.merge(h.MergeOptions(sources=[path], output=h.OutputSettings(target=path)), observer)
    conversion: h.Conversion = await h.convert_list(h.ConvertListOptions(images=path), observer)
    print(conversion.path, conversion.converted + conversion.kept)


async def mirror() -> None:
    made = h.Creation("harbor", public=True)
    gate = h.Gate(("cosign", "verify", "{source}@{digest}"), seconds=30)
    retry = h.RetryPolicy(hosts={"docker.io": h.HostLimits(keep_quota=20, requests=8)})
    environment = h.Environment(registries=h.RegistrySettings(retry=retry))
    options = h.MirrorOptions(
        images=["nginx:1.27"], destination="registry.example.com", create=made, gate=gate, environment=environment
    )
    report: h.MirrorReport = await h.mirror(options, observer)
    outcome: h.MirrorOutcome
    for outcome in (*report.outcomes, *(await h.mirror_validate(options, observer)).failed):
        entry: h.MirrorEntry = outcome.entry
        counts: h.ReferrerCounts | None = outcome.referrers
        attachment: h.Attachment | None = outcome.image.attachment if outcome.image else None
        print(entry.source.name, entry.target.name, outcome.state, counts and counts.total, attachment)


async def jobs() -> None:
    options = h.MirrorJobsOptions(config=Path("mirror.yaml"), only=["bases"], check=True)
    report: h.JobsReport = await h.mirror_jobs(options, observer)
    job: h.JobReport
    for job in report.jobs:
        choice: h.RepositoryChoice
        for choice in job.choices:
            selection: h.Selection | None = choice.selection
            steps: tuple[h.Step, ...] = selection.steps if selection else ()
            print(choice.source.name, choice.tags, [step.fallen for step in steps])
        pruned: tuple[h.PrunedTag, ...] = job.pruned
        print([(one.target.name, one.digest, one.state, one.reason) for one in pruned])
        need: h.Need = report.need
        print(need.blobs, need.bytes)
    saved: h.Report = await h.save_jobs(h.SaveOptions(images=(), destination=Path("x")), Path("mirror.yaml"), ["a"])
    print(saved.status)
    explanation: h.Explanation
    for explanation in await h.explain_tag(options, "nginx:1.27", observer):
        print(explanation.job, explanation.lines)
    await h.watch_jobs(options, observer)


async def load() -> None:
    options = h.LoadOptions(source=Path("out.tar.gz"), destination="registry.example.com")
    report: h.LoadReport = await h.load(options, observer)
    outcome: h.LoadOutcome
    for outcome in report.outcomes:
        print(outcome.target.name, outcome.state)
    sent: h.Sent = report.sent
    print(sent.uploaded_bytes)
    comparison: h.ComparisonReport = await h.load_validate(options)
    one: h.Comparison
    for one in comparison.comparisons:
        print(one.ok)


async def serve() -> None:
    options = h.ServeOptions(source=Path("out.tar.gz"), listen="127.0.0.1:0")
    async with h.serving(options, observer) as served:
        print(show(served))
    await h.serve(options, observer, reload=asyncio.Event())


async def log_in() -> None:
    login: h.Login = await h.login(h.LoginOptions("registry.example.com", "someone", "secret"))
    print(login.place)
    print(await h.logout(h.LogoutOptions("registry.example.com")))


def notice_quota(registry: str, quota: h.Quota) -> None:
    print(registry, quota.remaining)


def keep(sessions: h.UploadSessions) -> h.RegistryClient:
    return h.RegistryClient(h.RegistrySettings(), sessions=sessions)


async def copy(source: h.Reference, target: h.Reference, blob: h.Descriptor) -> None:
    async with h.RegistryClient(h.RegistrySettings(), quota=notice_quota) as client:
        served: h.ServedManifest = await client.get_manifest(source)
        pushed: h.PushedManifest = await client.put_manifest(target, served.raw, served.content_type)
        parsed: h.Manifest | h.Index = h.parse_manifest(served.raw, served.content_type)
        print(pushed.digest == parsed.digest)
        tags: h.TagPage | None = await client.list_tags(source)
        referrers: h.ReferrerPage | None = await client.list_referrers(source, parsed.digest)
        print(tags and tags.next, referrers and referrers.next)
        body: h.BlobBody
        async with client.open_blob(source, blob) as body:
            upload: h.Upload

            async def pieces(start: int) -> AsyncIterator[bytes | memoryview]:
                async for piece in body.pieces():
                    yield piece

            async with client.upload(target, blob) as upload:
                await upload.send(pieces)


def explain(error: Exception) -> str:
    match error:
        case h.RateLimited() | h.NotFound() | h.Unauthorized() | h.UploadLost() | h.Incomplete():
            return f"{error.host} {error.status}"
        case h.RegistryError() | h.NetworkError():
            return error.host
        case h.SourceError():
            return error.failure.host
        case h.DigestMismatch() | h.UnsupportedManifest() | h.Differs() | h.ContentError():
            return error.digest
        case h.StorageError() | h.ArchiveError():
            return error.path
        case h.TooManyParts() | h.CredentialError() | h.MachineError():
            return error.reason
        case h.UsageError() | h.InvalidValue() | h.Conflict() | h.NoPlatform() | h.ListenError() | h.NotAdmitted():
            return str(error)
        case h.HangarError():
            return error.advice
    return h.__version__
