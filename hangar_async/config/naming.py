"""The names of images at a registry that they are sent to: below a prefix, or by a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci import Reference, parse_registry

#: The fields of a template that are words; the others are the numbers of the components of a repository.
_WORDS = ("registry", "repository", "namespace", "name")
_MOST_COMPONENTS = 9
_FIELDS = (*_WORDS, *map(str, range(1, _MOST_COMPONENTS + 1)))
_FIELD = re.compile(r"\{([^{}]*)\}")
#: The characters of a template that a message shows.
_LONGEST = 140


@dataclass(frozen=True, slots=True)
class Destination:
    """A registry, HOST[:PORT], the path before all names in it ("" for none), and the project of names without one."""

    registry: str
    prefix: str = ""
    default_project: str = ""

    @classmethod
    def parse(cls, text: str, default_project: str = "") -> Destination:
        """Read `REGISTRY[/PREFIX]`; raises UsageError that names the flag."""
        host, _, path = text.strip().strip("/").partition("/")
        try:
            registry = parse_registry(host)
            _check_path(path)
        except InvalidValue as error:
            raise UsageError(f"--destination: {error}") from error
        return cls(registry, path, checked_project(default_project))

    def target(self, image: Reference) -> Reference:
        """Return the name of an image at the destination; an image without a tag gets `sha256-<hex>`.

        Raises InvalidValue for one that has no name there.
        """
        return Reference(self.registry, self.path(image.repository), image.cache_tag)

    def path(self, repository: str) -> str:
        """Return the repository at the destination of a repository elsewhere."""
        return in_project(f"{self.prefix}/{repository}" if self.prefix else repository, self.default_project)

    def __str__(self) -> str:
        return f"{self.registry}/{self.prefix}" if self.prefix else self.registry


def in_project(path: str, project: str) -> str:
    """Put a repository of one component into a project, "" for none."""
    return f"{project}/{path}" if project and "/" not in path else path


def checked_project(project: str) -> str:
    """Return the default project; raises UsageError where it is none."""
    try:
        _check_path(project)
    except InvalidValue as error:
        raise UsageError(f"--default-project: {error}") from error
    return project


def _check_path(path: str) -> None:
    if path:
        Reference("localhost", path)  # raises InvalidValue


@dataclass(frozen=True, slots=True)
class Template:
    """A template `REGISTRY/REPOSITORY` of names, with fields for the parts of an image's name.

    `{registry}` has `-` for the `:` of a port. `{repository}` is the whole path, `{namespace}` all but its last
    component, `{name}` the last one, `{1}` to `{9}` its components. The tag is always that of the image, and a result
    gets no default project. Raises UsageError that names the flag, when made with a wrong text or used for an image
    that it makes no name of.
    """

    text: str

    def __post_init__(self) -> None:
        parts = _FIELD.split(self.text)
        if any(brace in literal for literal in parts[::2] for brace in "{}"):
            self._refuse("a brace stands alone: write {FIELD}, such as {repository}")
        for field in parts[1::2]:
            self._check_field(field)
        # The components of the example could also be a registry.
        example = Reference("registry.example.com", "/".join(["a.a"] * _MOST_COMPONENTS))
        self._named(self._render(_parts_of(example)), example, "an image")

    def target(self, image: Reference) -> Reference:
        """Return the name of an image at its destination; an image without a tag gets `sha256-<hex>`."""
        parts = _parts_of(image)
        for field in _FIELD.findall(self.text):
            if field not in parts:
                count = image.repository.count("/") + 1
                others = "{repository} or {name}" if count == 1 else f"{{1}} to {{{min(count, _MOST_COMPONENTS)}}}"
                self._refuse(f"{image} has no {{{field}}}: write {others}")
        return self._named(self._render(parts), image, str(image))

    def _check_field(self, field: str) -> None:
        if field in _FIELDS:
            return
        word = field.strip().lower()
        if word in ("tag", "digest"):
            self._refuse(f"the {word} of an image is kept: leave out {{{field}}}")
        from difflib import get_close_matches  # for a wrong template alone

        nearest = get_close_matches(word, _WORDS, 1, 0.5)
        right = f"{{{nearest[0]}}}" if nearest else ", ".join(f"{{{word}}}" for word in _WORDS) + " or {1} to {9}"
        self._refuse(f"{{{field[:_LONGEST]}}} is no field: write {right}")

    def _render(self, parts: Mapping[str, str]) -> str:
        return _FIELD.sub(lambda match: parts[match[1]], self.text)

    def _named(self, name: str, image: Reference, subject: str) -> Reference:
        registry, slash, repository = name.partition("/")
        if not slash:
            self._refuse("it names no repository: write REGISTRY/REPOSITORY, such as registry.local/{repository}")
        try:
            return Reference(registry, repository, image.cache_tag)
        except InvalidValue as error:
            self._refuse(f"{subject} would be {name[:_LONGEST]!r}: {error}", error)

    def _refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise UsageError(f"--to {self.text[:_LONGEST]!r}: {reason}") from cause

    def __str__(self) -> str:
        return self.text


def _parts_of(image: Reference) -> dict[str, str]:
    """Return the value of each field that an image has one for."""
    components = image.repository.split("/")
    parts = {str(number): component for number, component in enumerate(components[:_MOST_COMPONENTS], 1)}
    if len(components) > 1:
        parts["namespace"] = "/".join(components[:-1])
    registry = image.registry.replace(":", "-")
    return {**parts, "registry": registry, "repository": image.repository, "name": components[-1]}


#: The rule by which images get their names at a registry.
Naming: TypeAlias = Destination | Template


def chosen_naming(destination: str | None, template: str | None, default_project: str) -> Naming | None:
    """Return the rule that a destination or a template is, None without either; raises UsageError for both."""
    if destination and template is not None:
        raise UsageError(f"--destination {destination} and --to {template} both say where images go: write one of them")
    if template is not None:
        return Template(template)
    return Destination.parse(destination, default_project) if destination else None


@dataclass(frozen=True, slots=True)
class MirrorNames:
    """The names that the lines of a mirror list stand for.

    `source` is a registry that replaces that of every source; `naming` the rule for the targets, None for those of the
    lines; `default_project` the project of targets without one, which a template's have not.
    """

    source: str | None = None
    naming: Naming | None = None
    default_project: str = ""

    @classmethod
    def parse(
        cls,
        source: str | None = None,
        destination: str | None = None,
        template: str | None = None,
        default_project: str = "library",
    ) -> MirrorNames:
        """Read the values of `--source`, `--destination`, `--to` and `--default-project`.

        Raises UsageError that names the flag.
        """
        naming = chosen_naming(destination, template, default_project)
        return cls(parse_source(source), naming, checked_project(default_project))

    def target(self, source: Reference) -> Reference | None:
        """Return the target of an image of a line that names no destination; None where nothing names one.

        An image without a tag is named by its digest alone. Raises InvalidValue and UsageError.
        """
        if self.naming is None:
            return None
        target = self.naming.target(source)
        return target if source.tag else Reference(target.registry, target.repository, None, source.digest)


def parse_source(text: str | None) -> str | None:
    """Read the value of `--source`, a registry; raises UsageError."""
    try:
        return parse_registry(text.strip().rstrip("/")) if text else None
    except InvalidValue as error:
        raise UsageError(f"--source: {error}") from error
