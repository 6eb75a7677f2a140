"""Move container images across an air gap, and from registry to registry.

    report = await hangar_async.save(hangar_async.SaveOptions(images=["nginx:1.22"]), observer=print)

The public names stand in `__init__.pyi`, for type checkers and for this module. Each is imported when it is first used,
so that importing the package costs next to nothing.
"""

from functools import cache
from typing import Any

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted(_homes())
    if name.startswith("__") or name not in (homes := _homes()):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(homes[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes()})


@cache
def _homes() -> dict[str, str]:
    """Read the module of each public name from `__init__.pyi`."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}
