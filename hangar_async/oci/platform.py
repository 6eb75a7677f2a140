"""Platforms, and the choice among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hangar_async.errors import InvalidValue

UNKNOWN = "unknown"
# Other usual names of architectures, and the names of Go that OCI uses.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "aarch64": ("arm64", ""), "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"), "armv7l": ("arm", "v7"), "armv7": ("arm", "v7"), "armv6": ("arm", "v6"),
    "armv5": ("arm", "v5"), "i386": ("386", ""), "i686": ("386", ""),
}  # fmt: skip
_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]*")
#: The longest word of a platform; a longer one could not be read again from the list of a cache.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform that an image runs on.

    Raises InvalidValue when made with a word that is longer than 200 characters or cannot be printed.
    Source: OCI image-spec, image-index.md, "platform" (GOOS and GOARCH values, variant, os.version).
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __post_init__(self) -> None:
        for word in (self.os, self.architecture, self.variant, self.os_version):
            if len(word) > _LONGEST or not word.isprintable():
                raise InvalidValue(f"{word[:80]!r} is no word of a platform")

    @property
    def unknown(self) -> bool:
        """True when this names no platform."""
        return self.os in ("", UNKNOWN) or self.architecture in ("", UNKNOWN)

    @property
    def suffix(self) -> str:
        """The suffix that Hangar appends to a tag for this platform, without the leading dash.

        Linux: `amd64` and `arm64` without a variant, others with it (`armv7`). Other systems: `OS-ARCH[VARIANT]`.
        With a version, `-OSVERSION` at the end.
        """
        if self.unknown:
            return UNKNOWN
        plain = self.os == "linux" and self.architecture in ("amd64", "arm64")
        text = self.architecture + ("" if plain else self.variant)
        text = text if self.os == "linux" else f"{self.os}-{text}"
        return f"{text}-{self.os_version}" if self.os_version else text

    @property
    def fields(self) -> dict[str, str]:
        """Its fields in a JSON document."""
        fields = {"architecture": self.architecture, "os": self.os}
        optional = {"variant": self.variant, "os.version": self.os_version}
        return fields | {name: value for name, value in optional.items() if value}

    def __str__(self) -> str:
        text = f"{self.os or UNKNOWN}/{self.architecture or UNKNOWN}"
        text += f"/{self.variant}" if self.variant else ""
        return f"{text} ({self.os_version})" if self.os_version else text


NO_PLATFORM = Platform(UNKNOWN, UNKNOWN)


@dataclass(frozen=True, slots=True)
class PlatformPattern:
    """One wanted platform; an empty field takes any value."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> PlatformPattern:
        """Read `ARCH`, `ARCH/VARIANT`, `OS/ARCH`, `OS/ARCH/VARIANT` or `all`; raises InvalidValue."""
        words = text.strip().lower().split("/")
        if words == ["all"]:
            return cls()
        if not 1 <= len(words) <= 3 or not all(_WORD.fullmatch(word) for word in words):
            raise InvalidValue(f"{text[:_LONGEST]!r} is not an architecture: write amd64, arm/v7, linux/arm64 or all")
        system = ""
        if len(words) == 3 or (len(words) == 2 and not re.fullmatch(r"v[0-9.]+", words[1])):
            system = words.pop(0)
        architecture, implied = _ARCHITECTURES.get(words[0], (words[0], ""))
        return cls(system, architecture, words[1] if len(words) == 2 else implied)

    def matches(self, platform: Platform) -> bool:
        """Tell whether a platform matches; arm64 without a variant is arm64/v8, arm without one arm/v7."""
        if self.os and self.os != platform.os:
            return False
        architecture, implied = _ARCHITECTURES.get(platform.architecture, (platform.architecture, ""))
        if self.architecture and self.architecture != architecture:
            return False
        variant = platform.variant or implied or {"arm64": "v8", "arm": "v7", "amd64": "v1"}.get(architecture, "")
        return not self.variant or self.variant == variant

    def __str__(self) -> str:
        return "/".join(word for word in (self.os, self.architecture, self.variant) if word) or "all"


@dataclass(frozen=True, slots=True)
class PlatformSelector:
    """The wanted platforms of an image: any of the patterns, on any of the systems (all where empty)."""

    patterns: tuple[PlatformPattern, ...]
    systems: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, architectures: Iterable[str], systems: Iterable[str] = ()) -> PlatformSelector:
        """Read the values of `--arch` and `--os`; raises InvalidValue for an empty or a malformed one."""
        patterns = tuple(PlatformPattern.parse(text) for text in architectures)
        names = [name.strip().lower() for name in systems]
        for name in names:
            if not _WORD.fullmatch(name):
                raise InvalidValue(f"{name[:_LONGEST]!r} is not an operating system: write linux, windows or all")
        if not patterns:
            raise InvalidValue("no architecture is given: write amd64, arm64 or all")
        return cls(patterns, frozenset() if "all" in names else frozenset(names))

    @property
    def all_architectures(self) -> bool:
        """True when every architecture is wanted."""
        return PlatformPattern() in self.patterns

    def unmatched(self, platforms: Iterable[Platform]) -> tuple[PlatformPattern, ...]:
        """Return the patterns that match none of some platforms."""
        found = tuple(platforms)
        return tuple(pattern for pattern in self.patterns if not any(map(pattern.matches, found)))

    def __contains__(self, platform: Platform) -> bool:
        if self.systems and platform.os not in self.systems:
            return False
        return any(pattern.matches(platform) for pattern in self.patterns)

    def __str__(self) -> str:
        text = ", ".join(map(str, self.patterns))
        return f"{text} on {', '.join(sorted(self.systems))}" if self.systems else text
