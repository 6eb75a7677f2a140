"""Move container images into places without a network.

    report = await hangar_async.save(hangar_async.SaveOptions(images=["nginx:1.22"]), observer=print)

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hangar_async.config import (
        CompressOptions,
        DecompressOptions,
        Environment,
        ExtractOptions,
        LoadOptions,
        OutputSettings,
        RegistrySettings,
        RetryPolicy,
        SaveOptions,
        ServeOptions,
    )
    from hangar_async.engine.catalog import HeldImage, HeldPlatform
    from hangar_async.engine.compress import compress, decompress
    from hangar_async.engine.events import Event, Observer, Served
    from hangar_async.engine.extract import extract
    from hangar_async.engine.load import load
    from hangar_async.engine.load_report import Comparison, ComparisonReport, LoadOutcome, LoadReport
    from hangar_async.engine.login import Login, login, logout
    from hangar_async.engine.ls import ListedPart, Listing, ls
    from hangar_async.engine.report import ImageOutcome, Output, Report
    from hangar_async.engine.save import save, sync
    from hangar_async.engine.serve import serve, serving
    from hangar_async.engine.validate import load_validate
    from hangar_async.engine.verify import Verdict, verify
    from hangar_async.errors import (
        ArchiveError,
        ContentError,
        HangarError,
        ListenError,
        NoPlatform,
        StorageError,
        UsageError,
    )

__version__ = "0.1.0"

__all__ = [
    "ArchiveError",
    "Comparison",
    "ComparisonReport",
    "CompressOptions",
    "ContentError",
    "DecompressOptions",
    "Environment",
    "Event",
    "ExtractOptions",
    "HangarError",
    "HeldImage",
    "HeldPlatform",
    "ImageOutcome",
    "ListedPart",
    "ListenError",
    "Listing",
    "LoadOptions",
    "LoadOutcome",
    "LoadReport",
    "Login",
    "NoPlatform",
    "Observer",
    "Output",
    "OutputSettings",
    "RegistrySettings",
    "Report",
    "RetryPolicy",
    "SaveOptions",
    "ServeOptions",
    "Served",
    "StorageError",
    "UsageError",
    "Verdict",
    "__version__",
    "compress",
    "decompress",
    "extract",
    "load",
    "load_validate",
    "login",
    "logout",
    "ls",
    "save",
    "serve",
    "serving",
    "sync",
    "verify",
]

_HOMES = {
    "config": (
        "CompressOptions",
        "DecompressOptions",
        "Environment",
        "ExtractOptions",
        "LoadOptions",
        "OutputSettings",
        "RegistrySettings",
        "RetryPolicy",
        "SaveOptions",
        "ServeOptions",
    ),
    "engine.catalog": ("HeldImage", "HeldPlatform"),
    "engine.compress": ("compress", "decompress"),
    "engine.events": ("Event", "Observer", "Served"),
    "engine.extract": ("extract",),
    "engine.load": ("load",),
    "engine.load_report": ("Comparison", "ComparisonReport", "LoadOutcome", "LoadReport"),
    "engine.login": ("Login", "login", "logout"),
    "engine.ls": ("ListedPart", "Listing", "ls"),
    "engine.report": ("ImageOutcome", "Output", "Report"),
    "engine.save": ("save", "sync"),
    "engine.serve": ("serve", "serving"),
    "engine.validate": ("load_validate",),
    "engine.verify": ("Verdict", "verify"),
    "errors": (
        "ArchiveError",
        "ContentError",
        "HangarError",
        "ListenError",
        "NoPlatform",
        "StorageError",
        "UsageError",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
