"""`hangar-async mirror`."""

from typing import Any

import typer

from hangar_async.cli import job_options, options, repo_options, report_options, scale_options, serve_options, values
from hangar_async.errors import UsageError


def mirror_command(
    context: typer.Context,
    image: options.MirroredImages = None,
    file: options.MirrorListFile = None,
    config: job_options.JobFile = None,
    only: job_options.Only = None,
    arch: options.Architectures = ["amd64,arm64"],  # noqa: B006 - never changed
    systems: options.Systems = ["linux,windows"],  # noqa: B006
    source: options.MirrorSource = None,
    destination: options.MirrorTo = None,
    to: options.NameTemplate = None,
    failed: options.FailedList = "mirror-failed.txt",
    report: report_options.ReportFile = None,
    lenient: options.Lenient = False,
    jobs: options.Jobs = 1,
    blobs_per_image: options.BlobsPerImage = 6,
    requests: options.Requests = 60,
    index: options.MirrorIndex = "auto",
    overwrite: job_options.Overwrite = "moved",
    default_project: options.DefaultProject = "library",
    repo_type: repo_options.RepoType = None,
    harbor_https: repo_options.HarborHttps = True,
    harbor_public: repo_options.HarborPublic = False,
    ecr_immutable_tags: repo_options.EcrImmutableTags = False,
    ecr_lifecycle: repo_options.EcrLifecycle = None,
    platform_tags: options.PlatformTags = False,
    include_foreign: options.IncludeForeign = False,
    referrers: options.Referrers = "all",
    recheck_referrers: job_options.RecheckReferrers = False,
    verify_bytes: options.VerifyBytes = False,
    recheck: options.Recheck = False,
    state: options.StateFile = None,
    dry_run: options.MirrorDryRun = False,
    check: job_options.Check = False,
    prune_anyway: job_options.PruneAnyway = False,
    plan: job_options.PlanFile = None,
    plan_out: job_options.PlanOut = None,
    json: job_options.JsonPlan = False,
    explain: job_options.Explain = None,
    watch: job_options.Watch = False,
    metrics: serve_options.MetricsAddress = None,
    schema: job_options.Schema = False,
    mirror: options.Mirror = None,
    shard: scale_options.Shard = None,
    shards: scale_options.Shards = None,
    cluster: scale_options.Cluster = None,
    cluster_tls: scale_options.ClusterTls = None,
    cluster_insecure: scale_options.ClusterInsecure = False,
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
    limit_rate: options.LimitRate = None,
    keep_quota: options.KeepQuota = None,
) -> int:
    """Copy the images of a list, or of the jobs of a file, from registry to registry."""
    # Imported late: the help does not need it.
    from hangar_async import MirrorJobsOptions, MirrorOptions, mirror as run_mirror
    from hangar_async.cli import jobs as job_file
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view import next_steps, summary

    if schema:
        return job_file.write_schema()
    listed = {"IMAGE": image, "--file": file, "--arch": arch, "--os": systems, "--source": source, "--to": to}
    listed |= {"--destination": destination, "--index": index, "--overwrite": overwrite, "--repo-type": repo_type}
    listed |= {"--default-project": default_project, "--referrers": referrers}
    others = {"--only": only, "--check": check, "--plan": plan, "--plan-out": plan_out, "--explain": explain}
    others |= {"--watch": watch, "--metrics": metrics}
    others |= {"--prune-anyway": prune_anyway, "--json": json}
    if json and (plan_out is not None or not (dry_run or check)):
        raise UsageError("--json writes the plan of a dry run: write --dry-run beside it, and no --plan-out")
    made = {"--ecr-immutable-tags": ecr_immutable_tags, "--ecr-lifecycle": ecr_lifecycle}
    job_file.check_flags(config, {**listed, **made}, others)
    once = {"--dry-run": dry_run, "--check": check, "--plan": plan, "--plan-out": plan_out, "--explain": explain}
    job_file.check_watch(once, watch=watch, metrics=metrics)
    harbor, ecr = (harbor_https, harbor_public), (ecr_immutable_tags, ecr_lifecycle)
    create = repo_options.creation(repo_type, harbor=harbor, ecr=ecr)

    flags = values.flags(context)
    network = values.Network(retries, stall_timeout, max_wait, limit_rate, mirror or (), keep_quota)
    environment = network.apply_to(values.environment_for(flags))
    shared: dict[str, Any] = {
        "failed": values.file_path(failed, "--failed"),
        "report": values.report_target(report),
        "state": None if state is None else values.file_path(state, "--state"),
        "lenient": lenient,
        "jobs": jobs,
        "blobs_per_image": blobs_per_image,
        "requests": requests,
        "platform_tags": platform_tags,
        "include_foreign": include_foreign,
        "recheck_referrers": recheck_referrers,
        "verify_bytes": verify_bytes,
        "recheck": recheck,
        "dry_run": dry_run,
        "shard": values.shard(shard, shards, environment),
        "cluster": cluster,
        "cluster_tls": cluster_tls,
        "cluster_insecure": cluster_insecure,
        "environment": environment,
    }
    if config is not None:
        jobs_options = MirrorJobsOptions(
            config=values.existing_path(config, "--config"),
            only=tuple(only or ()),
            check=check,
            prune_anyway=prune_anyway,
            harbor_https=harbor_https,
            harbor_public=harbor_public,
            plan=None if plan is None else values.existing_path(plan, "--plan"),
            plan_out=values.plan_target("-" if json else plan_out),
            metrics=metrics,
            **shared,
        )
        if watch:
            return job_file.watch(jobs_options, quiet=flags.quiet, verbose=flags.verbose)
        if explain is not None:
            return job_file.explain(jobs_options, explain, quiet=flags.quiet)
        return job_file.run_jobs(jobs_options, quiet=flags.quiet, verbose=flags.verbose)
    images, name = values.mirrored_images(image, file)
    mirror_options = MirrorOptions(
        images=images,
        list_name=name,
        architectures=values.words(arch),
        systems=values.words(systems),
        source=source,
        destination=destination,
        template=to,
        index=index,
        overwrite=overwrite,
        default_project=default_project,
        create=create,
        referrers=referrers,
        **shared,
    )
    rows, steps = summary.after_mirror, next_steps.after_mirror
    return run_verb(
        run_mirror,
        mirror_options,
        rows,
        steps,
        quiet=flags.quiet,
        verbose=flags.verbose,
        remains="what was copied stays at its registry",
    ).status
