"""The options of the verbs that name images at registries: values that are checked when they are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hangar_async.config.cluster import ClusterSettings, chosen_cluster
from hangar_async.config.creation import Creation, CreationOptions
from hangar_async.config.environment import NO_ENVIRONMENT, Environment
from hangar_async.config.gates import Gate
from hangar_async.config.jobs import BLOBS, MAX_REQUESTS, JobOptions
from hangar_async.config.naming import MirrorNames, Naming, chosen_naming
from hangar_async.config.output import FORMATS, ReportTarget
from hangar_async.config.referrers import checked_referrers
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci import PlatformSelector, Reference, ReferrerSelector

#: The index of an image of which only a part goes to a registry: the original one, the part, or the original one where
#: the registry takes it.
IndexMode: TypeAlias = Literal["original", "partial", "auto"]
#: The formats of sources.
SOURCE_FORMATS = (*FORMATS, "tar", "xz", "bzip2", "zip")
INDEX_MODES: tuple[IndexMode, ...] = get_args(IndexMode)

#: The treatment of tags that name another image.
ON_EXISTING_TAG = ("overwrite", "error", "skip")
_OR = "overwrite, error or skip"


def checked_index_mode(text: str) -> IndexMode:
    """Read the value of `--index`; raises UsageError."""
    for mode in INDEX_MODES:
        if text == mode:
            return mode
    raise UsageError(f"unknown word {text!r} (--index): write original, partial or auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertListOptions:
    """The options of `convert_list`: an image list, and the mirror list that is made of it.

    `images` is the path of the image list, or its lines, which `list_name` names in messages. `output` is the path of
    the mirror list; None adds `.converted` to that of the image list. `source` replaces the registry of every source;
    `destination` is REGISTRY[/PREFIX] for every destination. Raises UsageError when made with a wrong value.
    """

    images: Path | Sequence[str]
    list_name: str = ""
    output: Path | None = None
    source: str | None = None
    destination: str | None = None

    def __post_init__(self) -> None:
        _ = self.target, self.names

    @property
    def target(self) -> Path:
        """The path of the mirror list."""
        if self.output is not None:
            return self.output
        if isinstance(self.images, Path):
            return Path(f"{self.images}.converted")
        raise UsageError("a list without a file has no name for its mirror list: write --output")

    @property
    def names(self) -> MirrorNames:
        """The names of sources and destinations; the default project is left to the reader of the mirror list."""
        return MirrorNames.parse(self.source, self.destination, default_project="")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions(JobOptions, CreationOptions):
    """The options of `load` and `load_validate`: images of an archive, a cache directory or an OCI layout; a registry.

    `destination` is REGISTRY[/PREFIX], None for the environment's; `template` names the images instead of it, such as
    `registry.local/{registry}/{repository}`, all at one registry. `format` is the only one that is accepted (one of
    SOURCE_FORMATS; None accepts all); `images` are patterns of names, none for all; `image_list` is the path of an
    image list, or its lines, which names images too. `name` is that of the only image, or of the only one without a
    name. `jobs`, `blobs_per_image`, `requests` and `report` are as in `save`. `failed` is the path of the list of
    failed images (None: none is written). `index` is that of an image of which only a part is held; `sparse_index` is
    an older way to say "original". `on_existing_tag` is one of ON_EXISTING_TAG, for tags that name another image there:
    `error` fails the image and `skip` leaves it out, both before the first blob is sent. `referrers` are as in `save`.
    `spool` is a directory for a few blobs at a time of an archive that can only be read from its start, and for a copy
    of standard input; None is the system's temporary one. `create` makes what is missing at the registry first, by
    registry where it is a mapping; `harbor` is an older way to say that of a Harbor. `shard` is as
    in `save`, by the repositories at the registry. Raises UsageError when made with a wrong value.
    """

    source: Path
    destination: str | None = None
    template: str | None = None
    format: str | None = None
    failed: Path | None = None
    report: ReportTarget | None = None
    jobs: int = 1
    blobs_per_image: int = BLOBS
    requests: int = MAX_REQUESTS
    default_project: str = "library"
    images: Sequence[str] = ()
    name: str | None = None
    image_list: Path | Sequence[str] | None = None
    dry_run: bool = False
    index: str = "partial"
    sparse_index: bool = False
    platform_tags: bool = False
    on_existing_tag: str = "overwrite"
    create: Creation | Mapping[str, Creation] | None = None
    harbor: bool = False
    harbor_https: bool = True
    harbor_public: bool = False
    referrers: str = "all"
    spool: Path | None = None
    shard: str | None = None
    environment: Environment = NO_ENVIRONMENT

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in SOURCE_FORMATS:
            raise UsageError(f"unknown format {self.format!r} (--compress): write one of {', '.join(SOURCE_FORMATS)}")
        if self.on_existing_tag not in ON_EXISTING_TAG:
            raise UsageError(f"unknown word {self.on_existing_tag!r} (--on-existing-tag): write {_OR}")
        _ = self.limits, self.naming, self.index_mode, self.given_name, self.referrer_selector, self.chosen_shard

    @property
    def referrer_selector(self) -> ReferrerSelector:
        """The referrers that go with the images."""
        return checked_referrers(self.referrers)

    @property
    def given_name(self) -> Reference | None:
        """The name that an image without one gets."""
        try:
            return None if self.name is None else Reference.parse(self.name)
        except InvalidValue as error:
            raise UsageError(f"--name: {error}") from error

    @property
    def target(self) -> str:
        """The destination or the template as it is written."""
        return self.template or self.destination or self.environment.destination_registry or ""

    @property
    def naming(self) -> Naming:
        """The rule by which images get their names at the registry."""
        fallback = self.environment.destination_registry if self.template is None else None
        naming = chosen_naming(self.destination or fallback, self.template, self.default_project)
        if naming is None:
            raise UsageError("no registry is named to load into: write --destination or --to, or set DEST_REGISTRY")
        return naming

    @property
    def index_mode(self) -> IndexMode:
        """The index of an image of which only a part is held."""
        return "original" if self.sparse_index else checked_index_mode(self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorOptions(JobOptions, CreationOptions):
    """The options of `mirror` and `mirror_validate`: a list of images, and the registries that they go to.

    `images` is the path of a list, or its lines, which `list_name` names in messages. `source` replaces the registry of
    every source; `destination`, REGISTRY[/PREFIX], that of every target, or `template` names these. `failed`, `report`,
    `lenient`, `jobs`, `blobs_per_image` and `requests` are as in `save`; `default_project`, `platform_tags`, `create`,
    `harbor`, `harbor_https` and `harbor_public` as in `load`. `index` is that of an image of which only some platforms
    are wanted. `overwrite` is "moved" where a tag there follows its source, "never" where it stays as it is.
    `verify_bytes` hashes here too what is copied; `recheck` looks for the content of images whose tags are right
    already. `referrers` are as in `save`; `recheck_referrers` looks for those of unchanged images too. `state` is
    the path of a file with what a run may know of the next one (None: nothing is kept). `needs` asks in a dry run
    for the need of each image at its target. `required_referrers` are artifact types of which each image that is
    copied must have a referrer, and `gate` is a program that lets it have its tag; images whose tags are right are
    not judged. `shard` is as in `load`. `cluster` is `local`, or the address of a scheduler of dask.distributed whose
    workers move the content; `cluster_tls` names the files CA,CERT,KEY, and `cluster_insecure` takes one on another
    machine without TLS. Raises UsageError when made with a wrong value.
    """

    images: Path | Sequence[str]
    list_name: str = ""
    architectures: Sequence[str] = ("amd64", "arm64")
    systems: Sequence[str] = ("linux", "windows")
    source: str | None = None
    destination: str | None = None
    template: str | None = None
    default_project: str = "library"
    failed: Path | None = None
    report: ReportTarget | None = None
    lenient: bool = False
    jobs: int = 1
    blobs_per_image: int = BLOBS
    requests: int = MAX_REQUESTS
    index: str = "auto"
    overwrite: str = "moved"
    include_foreign: bool = False
    platform_tags: bool = False
    create: Creation | Mapping[str, Creation] | None = None
    harbor: bool = False
    harbor_https: bool = True
    harbor_public: bool = False
    dry_run: bool = False
    needs: bool = False
    verify_bytes: bool = False
    recheck: bool = False
    referrers: str = "all"
    recheck_referrers: bool = False
    required_referrers: Sequence[str] = ()
    gate: Gate | None = field(default=None, repr=False)
    state: Path | None = None
    shard: str | None = None
    cluster: str | None = None
    cluster_tls: str | None = None
    cluster_insecure: bool = False
    environment: Environment = NO_ENVIRONMENT

    def __post_init__(self) -> None:
        selector, _, _ = self.referrer_selector, self.chosen_shard, self.cluster_settings
        if missing := [kind for kind in self.required_referrers if kind not in selector]:
            raise UsageError(f"referrers of the type {missing[0]} are required, and are not copied: select them too")
        try:
            _ = self.selector, self.names, self.limits, self.index_mode
        except InvalidValue as error:
            raise UsageError(str(error)) from error
        if self.gate is not None and self.gate.needs_target and not self.takes_all:
            raise UsageError("the gate reads {destination}, which needs all platforms: let it read {source}")
        if self.overwrite not in ("moved", "never"):
            raise UsageError(f"unknown word {self.overwrite!r} (--overwrite): write moved or never")

    @property
    def selector(self) -> PlatformSelector:
        """The platforms that are copied."""
        return PlatformSelector.parse(self.architectures, self.systems)

    @property
    def referrer_selector(self) -> ReferrerSelector:
        """The referrers that go with the images."""
        return checked_referrers(self.referrers)

    @property
    def cluster_settings(self) -> ClusterSettings | None:
        """The cluster whose workers move the content; None for this process."""
        return chosen_cluster(self.cluster, self.cluster_tls, insecure=self.cluster_insecure)

    @property
    def takes_all(self) -> bool:
        """True when every platform of every image is wanted."""
        return self.selector.all_architectures and not self.selector.systems

    @property
    def index_mode(self) -> IndexMode:
        """The index of an image of which only some platforms are wanted."""
        return checked_index_mode(self.index)

    @property
    def names(self) -> MirrorNames:
        """The names of sources and targets."""
        source = self.source or self.environment.source_registry
        destination = self.destination
        if self.template is None:
            destination = destination or self.environment.destination_registry
        return MirrorNames.parse(source, destination, self.template, self.default_project)
