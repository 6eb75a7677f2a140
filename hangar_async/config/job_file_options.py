"""The options of the verbs that read a job file: values that are checked when they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hangar_async.config.cluster import chosen_cluster
from hangar_async.config.creation import Creation
from hangar_async.config.environment import NO_ENVIRONMENT, Environment
from hangar_async.config.jobs import BLOBS, MAX_REQUESTS, JobOptions
from hangar_async.config.listen import parse_metrics
from hangar_async.config.output import ReportTarget
from hangar_async.errors import UsageError

#: The list of failed images where the command line names none.
DEFAULT_FAILED = Path("mirror-failed.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorJobsOptions(JobOptions):
    """The options of `mirror_jobs` and `explain_tag`: a job file, and the names of jobs in it, none for all.

    `dry_run` asks both sides and sends nothing; `check` is a dry run whose status tells whether something would be
    copied or deleted. `prune_anyway` deletes more tags than a job allows, and those of repositories that it does not
    name any more. `plan_out` is the path of the plan that a dry run writes, or a function that takes it; `plan` that of
    one whose images alone are copied. `state` is the path of a state, None for that of the file. `metrics` is the
    address, [HOST:]PORT, of numbers for Prometheus while jobs are watched, by default on 127.0.0.1; None for none. The
    other options are those of a MirrorOptions. The variables of the file are those of the `environment`. Raises
    UsageError when made with a wrong value.
    """

    config: Path
    only: Sequence[str] = ()
    failed: Path | None = None
    report: ReportTarget | None = None
    state: Path | None = None
    lenient: bool = False
    jobs: int = 1
    blobs_per_image: int = BLOBS
    requests: int = MAX_REQUESTS
    include_foreign: bool = False
    platform_tags: bool = False
    harbor_https: bool = True
    harbor_public: bool = False
    verify_bytes: bool = False
    recheck: bool = False
    recheck_referrers: bool = False
    dry_run: bool = False
    check: bool = False
    prune_anyway: bool = False
    plan: Path | None = None
    plan_out: ReportTarget | None = None
    metrics: str | None = None
    shard: str | None = None
    cluster: str | None = None
    cluster_tls: str | None = None
    cluster_insecure: bool = False
    environment: Environment = NO_ENVIRONMENT

    def __post_init__(self) -> None:
        _ = self.limits, self.metrics_address, self.chosen_shard
        _ = chosen_cluster(self.cluster, self.cluster_tls, insecure=self.cluster_insecure)
        if self.plan is not None and self.plan_out is not None:
            raise UsageError("a plan is copied or written: write one of --plan and --plan-out")
        if callable(self.plan_out) and callable(self.report):
            raise UsageError("the plan and the report both go to standard output: give one of them a file")

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """The host and the port of the numbers; None for none."""
        return None if self.metrics is None else parse_metrics(self.metrics)

    def with_outputs(self, report: Path | None, failed: Path | None, metrics: str | None) -> MirrorJobsOptions:
        """Return these options with the outputs of the file, where they name no others; the default name is none."""
        failed = failed if failed is not None and self.failed in (None, DEFAULT_FAILED) else self.failed
        return replace(self, report=self.report or report, failed=failed, metrics=self.metrics or metrics)

    def noted(self) -> MirrorJobsOptions:
        """Return these options with variables that note which of them were read, so that they can be hidden."""
        return replace(self, environment=self.environment.noted())

    def hidden(self, text: str) -> str:
        """Return a text without the values of variables that were read, where these are noted."""
        return self.environment.hidden(text)

    def with_credentials(self, path: Path | None) -> MirrorJobsOptions:
        """Return these options with a file of credentials before all others; None changes nothing."""
        return replace(self, environment=self.environment.with_credentials(path))

    def for_file(self) -> MirrorJobsOptions:
        """Return these options without the registries of the environment, which would replace those of the file."""
        environment = replace(self.environment, source_registry=None, destination_registry=None)
        return replace(self, environment=environment)

    def creation(self, creation: Creation) -> Creation:
        """Return the creation of the file as the flags of a Harbor change it."""
        if creation.kind != "harbor":
            return creation
        return replace(creation, https=self.harbor_https, public=creation.public or self.harbor_public)

    @property
    def is_dry(self) -> bool:
        """True when nothing is sent."""
        return self.dry_run or self.check or self.plan_out is not None
