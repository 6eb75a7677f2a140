"""Move container images into places without a network.

    report = await hangar_async.save(hangar_async.SaveOptions(images=["nginx:1.22"]), observer=print)

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hangar_async.config import Environment, RegistrySettings, RetryPolicy, SaveOptions
    from hangar_async.engine.events import Event, Observer
    from hangar_async.engine.report import ImageOutcome, Report
    from hangar_async.engine.save import save
    from hangar_async.errors import HangarError, UsageError

__version__ = "0.1.0"

__all__ = [
    "Environment",
    "Event",
    "HangarError",
    "ImageOutcome",
    "Observer",
    "RegistrySettings",
    "Report",
    "RetryPolicy",
    "SaveOptions",
    "UsageError",
    "__version__",
    "save",
]

_HOMES = {
    "config": ("Environment", "RegistrySettings", "RetryPolicy", "SaveOptions"),
    "engine.events": ("Event", "Observer"),
    "engine.report": ("ImageOutcome", "Report"),
    "engine.save": ("save",),
    "errors": ("HangarError", "UsageError"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
