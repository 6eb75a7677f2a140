"""The creation of projects and repositories that are missing at a registry."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hangar_async.config.environment import Environment
from hangar_async.errors import UsageError
from hangar_async.filesystem import read_bounded

RepoType: TypeAlias = Literal["harbor", "ecr"]
REPO_TYPES: tuple[RepoType, ...] = get_args(RepoType)
#: The account and the region of a registry of Amazon ECR. Source: Amazon ECR, "Private registries", registry URLs.
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z]{2}[a-z0-9-]+)"
    r"\.(?:amazonaws\.com(?:\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn)"
)
#: The most bytes of a lifecycle policy: Amazon ECR takes 30,720 characters.
_LARGEST = 128 << 10


@dataclass(frozen=True, slots=True)
class Creation:
    """The creation of missing projects of a Harbor, or of missing repositories of an Amazon ECR.

    A Harbor is asked by HTTPS unless `https` is False; its projects are private unless `public`. The repositories of an
    ECR have `immutable_tags`, or others; `lifecycle` is the file of their lifecycle policy. What is there already stays
    as it is. Raises UsageError when made for an ECR where botocore is not installed, or the file has no such policy.
    """

    kind: RepoType
    https: bool = True
    public: bool = False
    immutable_tags: bool = False
    lifecycle: Path | None = None

    def __post_init__(self) -> None:
        _ = self.policy
        if self.kind == "ecr" and find_spec("botocore") is None:
            raise UsageError(
                "repositories of Amazon ECR are made with botocore: install it with pip install 'hangar_async[ecr]'"
            )

    @property
    def policy(self) -> str:
        """The text of the lifecycle policy, "" for none; raises UsageError."""
        return "" if self.lifecycle is None else _read_lifecycle(self.lifecycle)


class CreationOptions:
    """Options of verbs that make what is missing at the registries that they push to."""

    __slots__ = ()
    create: Creation | Mapping[str, Creation] | None
    harbor: bool
    harbor_https: bool
    harbor_public: bool
    environment: Environment

    def creation(self, registry: str) -> Creation | None:
        """Return the creation at a registry, None where nothing is made."""
        if isinstance(self.create, Mapping):
            return self.create.get(registry)
        if self.create is None and self.harbor:
            return Creation("harbor", self.harbor_https, self.harbor_public)
        return self.create


def account_and_region(registry: str) -> tuple[str, str]:
    """Return the account and the region of a registry of Amazon ECR; raises UsageError for another one."""
    match = _ECR.fullmatch(registry)
    if match is None:
        raise UsageError(f"{registry} is no registry of Amazon ECR: it is ACCOUNT.dkr.ecr.REGION.amazonaws.com")
    return match["account"], match["region"]


def _read_lifecycle(path: Path) -> str:
    try:
        text = read_bounded(path, _LARGEST).decode()
        document = json.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read the lifecycle policy {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no lifecycle policy: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("rules"), list):
        raise UsageError(f"{path} is no lifecycle policy: it has no list of `rules`")
    return text
