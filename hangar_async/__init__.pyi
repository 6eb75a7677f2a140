"""The public names; `__init__.py` reads this list."""

from hangar_async.config.environment import (
    Environment as Environment,
)
from hangar_async.config.mirrors import (
    Mirror as Mirror,
)
from hangar_async.config.mirrors import (
    Mirrors as Mirrors,
)
from hangar_async.config.mirrors import (
    Route as Route,
)
from hangar_async.config.options import (
    CompressOptions as CompressOptions,
)
from hangar_async.config.options import (
    DecompressOptions as DecompressOptions,
)
from hangar_async.config.options import (
    ExtractOptions as ExtractOptions,
)
from hangar_async.config.options import (
    LoadOptions as LoadOptions,
)
from hangar_async.config.options import (
    SaveOptions as SaveOptions,
)
from hangar_async.config.options import (
    ServeOptions as ServeOptions,
)
from hangar_async.config.output import (
    OutputSettings as OutputSettings,
)
from hangar_async.config.registries import (
    Proxies as Proxies,
)
from hangar_async.config.registries import (
    RegistrySettings as RegistrySettings,
)
from hangar_async.config.registries import (
    RetryPolicy as RetryPolicy,
)
from hangar_async.engine.compress import (
    compress as compress,
)
from hangar_async.engine.compress import (
    decompress as decompress,
)
from hangar_async.engine.events import (
    ArchiveProgress as ArchiveProgress,
)
from hangar_async.engine.events import (
    BlobEnded as BlobEnded,
)
from hangar_async.engine.events import (
    BlobProgress as BlobProgress,
)
from hangar_async.engine.events import (
    BlobReused as BlobReused,
)
from hangar_async.engine.events import (
    BlobStarted as BlobStarted,
)
from hangar_async.engine.events import (
    Checked as Checked,
)
from hangar_async.engine.events import (
    CheckStarted as CheckStarted,
)
from hangar_async.engine.events import (
    Committing as Committing,
)
from hangar_async.engine.events import (
    Event as Event,
)
from hangar_async.engine.events import (
    HostClosed as HostClosed,
)
from hangar_async.engine.events import (
    ImageEnded as ImageEnded,
)
from hangar_async.engine.events import (
    ImagePlanned as ImagePlanned,
)
from hangar_async.engine.events import (
    Listening as Listening,
)
from hangar_async.engine.events import (
    LoadEnded as LoadEnded,
)
from hangar_async.engine.events import (
    Notice as Notice,
)
from hangar_async.engine.events import (
    Observer as Observer,
)
from hangar_async.engine.events import (
    QuotaReported as QuotaReported,
)
from hangar_async.engine.events import (
    Retrying as Retrying,
)
from hangar_async.engine.events import (
    RunEnded as RunEnded,
)
from hangar_async.engine.events import (
    RunStarted as RunStarted,
)
from hangar_async.engine.events import (
    Served as Served,
)
from hangar_async.engine.extract import (
    extract as extract,
)
from hangar_async.engine.load import (
    load as load,
)
from hangar_async.engine.login import (
    Login as Login,
)
from hangar_async.engine.login import (
    login as login,
)
from hangar_async.engine.login import (
    logout as logout,
)
from hangar_async.engine.ls import (
    ListedPart as ListedPart,
)
from hangar_async.engine.ls import (
    Listing as Listing,
)
from hangar_async.engine.ls import (
    ls as ls,
)
from hangar_async.engine.reports import (
    Comparison as Comparison,
)
from hangar_async.engine.reports import (
    ComparisonReport as ComparisonReport,
)
from hangar_async.engine.reports import (
    ImageOutcome as ImageOutcome,
)
from hangar_async.engine.reports import (
    LoadOutcome as LoadOutcome,
)
from hangar_async.engine.reports import (
    LoadReport as LoadReport,
)
from hangar_async.engine.reports import (
    Output as Output,
)
from hangar_async.engine.reports import (
    Report as Report,
)
from hangar_async.engine.reports import (
    Sent as Sent,
)
from hangar_async.engine.reports import (
    Traffic as Traffic,
)
from hangar_async.engine.save import (
    save as save,
)
from hangar_async.engine.save import (
    sync as sync,
)
from hangar_async.engine.serve import (
    serve as serve,
)
from hangar_async.engine.serve import (
    serving as serving,
)
from hangar_async.engine.validate import (
    load_validate as load_validate,
)
from hangar_async.engine.verify import (
    Verdict as Verdict,
)
from hangar_async.engine.verify import (
    verify as verify,
)
from hangar_async.errors import (
    ArchiveError as ArchiveError,
)
from hangar_async.errors import (
    Conflict as Conflict,
)
from hangar_async.errors import (
    ContentError as ContentError,
)
from hangar_async.errors import (
    Differs as Differs,
)
from hangar_async.errors import (
    DigestMismatch as DigestMismatch,
)
from hangar_async.errors import (
    HangarError as HangarError,
)
from hangar_async.errors import (
    Incomplete as Incomplete,
)
from hangar_async.errors import (
    InvalidValue as InvalidValue,
)
from hangar_async.errors import (
    ListenError as ListenError,
)
from hangar_async.errors import (
    NetworkError as NetworkError,
)
from hangar_async.errors import (
    NoPlatform as NoPlatform,
)
from hangar_async.errors import (
    NotFound as NotFound,
)
from hangar_async.errors import (
    RateLimited as RateLimited,
)
from hangar_async.errors import (
    RegistryError as RegistryError,
)
from hangar_async.errors import (
    StorageError as StorageError,
)
from hangar_async.errors import (
    Unauthorized as Unauthorized,
)
from hangar_async.errors import (
    UnsupportedManifest as UnsupportedManifest,
)
from hangar_async.errors import (
    UploadLost as UploadLost,
)
from hangar_async.errors import (
    UsageError as UsageError,
)
from hangar_async.imagelist import (
    Entry as Entry,
)
from hangar_async.imagelist import (
    InvalidLine as InvalidLine,
)
from hangar_async.oci.digest import (
    Digest as Digest,
)
from hangar_async.oci.image import (
    Image as Image,
)
from hangar_async.oci.image import (
    ImagePlatform as ImagePlatform,
)
from hangar_async.oci.manifest import (
    Descriptor as Descriptor,
)
from hangar_async.oci.manifest import (
    Index as Index,
)
from hangar_async.oci.manifest import (
    Manifest as Manifest,
)
from hangar_async.oci.platform import (
    Platform as Platform,
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
from hangar_async.registry.manifests import (
    PushedManifest as PushedManifest,
)
from hangar_async.registry.manifests import (
    ServedManifest as ServedManifest,
)
from hangar_async.registry.uploads import (
    Upload as Upload,
)

__version__: str
