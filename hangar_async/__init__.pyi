"""The public names; `__init__.py` reads this list."""

from hangar_async.config.creation import (
    Creation as Creation,
)
from hangar_async.config.environment import (
    Environment as Environment,
)
from hangar_async.config.gates import (
    Gate as Gate,
)
from hangar_async.config.job_file_options import (
    MirrorJobsOptions as MirrorJobsOptions,
)
from hangar_async.config.options import (
    CompressOptions as CompressOptions,
    DecompressOptions as DecompressOptions,
    ExtractOptions as ExtractOptions,
    FetchOptions as FetchOptions,
    ListOptions as ListOptions,
    LoginOptions as LoginOptions,
    LogoutOptions as LogoutOptions,
    MergeOptions as MergeOptions,
    MergeReportsOptions as MergeReportsOptions,
    SaveOptions as SaveOptions,
    ServeOptions as ServeOptions,
    SyncOptions as SyncOptions,
    VerifyOptions as VerifyOptions,
)
from hangar_async.config.output import (
    OutputSettings as OutputSettings,
)
from hangar_async.config.registries import (
    HostLimits as HostLimits,
    Mirror as Mirror,
    Mirrors as Mirrors,
    Proxies as Proxies,
    RegistrySettings as RegistrySettings,
    RetryPolicy as RetryPolicy,
    Route as Route,
)
from hangar_async.config.target_options import (
    ConvertListOptions as ConvertListOptions,
    LoadOptions as LoadOptions,
    MirrorOptions as MirrorOptions,
)
from hangar_async.engine.compress import (
    compress as compress,
    decompress as decompress,
    merge as merge,
)
from hangar_async.engine.convert import (
    convert_list as convert_list,
)
from hangar_async.engine.events import (
    Answered as Answered,
    ArchiveProgress as ArchiveProgress,
    BlobEnded as BlobEnded,
    BlobProgress as BlobProgress,
    BlobReused as BlobReused,
    BlobStarted as BlobStarted,
    Checked as Checked,
    CheckStarted as CheckStarted,
    Committing as Committing,
    ComparisonEnded as ComparisonEnded,
    Event as Event,
    HostClosed as HostClosed,
    HostReached as HostReached,
    HostUnreachable as HostUnreachable,
    ImageEnded as ImageEnded,
    ImagePlanned as ImagePlanned,
    JobEnded as JobEnded,
    JobScheduled as JobScheduled,
    JobStarted as JobStarted,
    Listening as Listening,
    LoadEnded as LoadEnded,
    MirrorEnded as MirrorEnded,
    Notice as Notice,
    Observer as Observer,
    QuotaReported as QuotaReported,
    Reloaded as Reloaded,
    Retrying as Retrying,
    RunEnded as RunEnded,
    RunStarted as RunStarted,
    Served as Served,
    VerifyEnded as VerifyEnded,
)
from hangar_async.engine.extract import (
    extract as extract,
)
from hangar_async.engine.jobs.explain import (
    Explanation as Explanation,
    explain_tag as explain_tag,
)
from hangar_async.engine.jobs.report import (
    JobReport as JobReport,
    JobsReport as JobsReport,
    RepositoryChoice as RepositoryChoice,
)
from hangar_async.engine.jobs.run import (
    mirror_jobs as mirror_jobs,
)
from hangar_async.engine.jobs.save import (
    save_jobs as save_jobs,
)
from hangar_async.engine.jobs.watch import (
    watch_jobs as watch_jobs,
)
from hangar_async.engine.limits.hosts import Clock as Clock
from hangar_async.engine.load import (
    load as load,
)
from hangar_async.engine.login import (
    Login as Login,
    login as login,
    logout as logout,
)
from hangar_async.engine.ls import (
    ListedPart as ListedPart,
    Listing as Listing,
    ls as ls,
)
from hangar_async.engine.merge_reports import (
    merge_reports as merge_reports,
)
from hangar_async.engine.mirror import (
    mirror as mirror,
    mirror_validate as mirror_validate,
)
from hangar_async.engine.outcomes import (
    Need as Need,
    PrunedTag as PrunedTag,
    Verdict as Verdict,
    VerifiedImage as VerifiedImage,
)
from hangar_async.engine.reporting.document import (
    report_document as report_document,
)
from hangar_async.engine.reporting.records import (
    ImageRecord as ImageRecord,
    MergedReports as MergedReports,
    ReportDocument as ReportDocument,
    Totals as Totals,
)
from hangar_async.engine.reports import (
    Comparison as Comparison,
    ComparisonReport as ComparisonReport,
    Conversion as Conversion,
    ImageOutcome as ImageOutcome,
    LoadOutcome as LoadOutcome,
    LoadReport as LoadReport,
    MirrorOutcome as MirrorOutcome,
    MirrorReport as MirrorReport,
    Outcome as Outcome,
    Output as Output,
    ReferrerCounts as ReferrerCounts,
    Report as Report,
    Sent as Sent,
    Traffic as Traffic,
)
from hangar_async.engine.save import (
    save as save,
    sync as sync,
)
from hangar_async.engine.serve import (
    serve as serve,
    serving as serving,
)
from hangar_async.engine.validate import (
    load_validate as load_validate,
)
from hangar_async.engine.verify import (
    verify as verify,
)
from hangar_async.errors import (
    ArchiveError as ArchiveError,
    Conflict as Conflict,
    ContentError as ContentError,
    CredentialError as CredentialError,
    Differs as Differs,
    DigestMismatch as DigestMismatch,
    HangarError as HangarError,
    Incomplete as Incomplete,
    InvalidValue as InvalidValue,
    ListenError as ListenError,
    MachineError as MachineError,
    NetworkError as NetworkError,
    NoPlatform as NoPlatform,
    NotAdmitted as NotAdmitted,
    NotFound as NotFound,
    RateLimited as RateLimited,
    RegistryError as RegistryError,
    SourceError as SourceError,
    StorageError as StorageError,
    TooManyParts as TooManyParts,
    Unauthorized as Unauthorized,
    UnsupportedManifest as UnsupportedManifest,
    UploadLost as UploadLost,
    UsageError as UsageError,
)
from hangar_async.imagelist import (
    Entry as Entry,
    InvalidLine as InvalidLine,
)
from hangar_async.mirrorlist import (
    MirrorEntry as MirrorEntry,
)
from hangar_async.oci.digest import (
    Digest as Digest,
)
from hangar_async.oci.image import (
    Attachment as Attachment,
    Image as Image,
    ImagePlatform as ImagePlatform,
)
from hangar_async.oci.manifest import (
    Descriptor as Descriptor,
    Index as Index,
    Manifest as Manifest,
    parse_manifest as parse_manifest,
)
from hangar_async.oci.platform import (
    Platform as Platform,
    PlatformSelector as PlatformSelector,
)
from hangar_async.oci.reference import (
    Reference as Reference,
)
from hangar_async.registry.blobs import (
    BlobBody as BlobBody,
)
from hangar_async.registry.client import (
    RegistryClient as RegistryClient,
)
from hangar_async.registry.lists import (
    ReferrerPage as ReferrerPage,
    TagPage as TagPage,
)
from hangar_async.registry.manifests import (
    PushedManifest as PushedManifest,
    Quota as Quota,
    ServedManifest as ServedManifest,
)
from hangar_async.registry.uploads import (
    Upload as Upload,
    UploadSessions as UploadSessions,
)
from hangar_async.tags.rules import (
    Selection as Selection,
    Step as Step,
)

__version__: str
