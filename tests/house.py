"""The size of the house: lines of code, of imports, modules and folders, as numbers that a test holds to their limits.

python -m tests.house          # the sums
python -m tests.house -v       # each module as well
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "hangar_async"


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its physical lines, lines of code without blanks, comments and docstrings, and of imports."""

    path: Path
    physical: int
    code: int
    imports: int
    functions: tuple[int, ...]


def measure(path: Path) -> Module:
    """Count the lines of a module; a function counts from its `def` to its end, without its docstring."""
    text = path.read_text()
    tree = ast.parse(text)
    lines = text.splitlines()
    docstrings = {number for node in ast.walk(tree) for number in _docstring(node)}
    code = {
        number
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#") and number not in docstrings
    }
    imported = {
        number
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    functions = tuple(
        len(code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return Module(path, len(lines), len(code), len(code & imported), functions)


def _docstring(node: ast.AST) -> range:
    """Return the lines of the docstring of a module, class or function, and of a string below a field."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return range(0)


def modules(root: Path = ROOT) -> list[Module]:
    """Measure all modules; an `__init__` with nothing but a docstring is a name of a folder and no module."""
    measured = [measure(path) for path in sorted(root.rglob("*.py"))]
    return [module for module in measured if module.code > 1 or module.path.name != "__init__.py"]


def _report(verbose: bool) -> Iterator[str]:
    found = modules()
    code, imports = sum(one.code for one in found), sum(one.imports for one in found)
    functions = [length for one in found for length in one.functions]
    if verbose:
        for one in found:
            yield f"{one.code:5} {one.imports:4} {one.physical:4}  {one.path.relative_to(ROOT)}"
    folders = {path: sum(one.path.parent == path for one in found) for path in {one.path.parent for one in found}}
    fullest = max(folders, key=lambda path: folders[path])
    yield f"{code:,} lines of code in {len(found)} modules, {code / len(found):.1f} a module"
    yield f"{imports:,} lines of imports, {imports / code:.1%}"
    yield f"longest module: {max(one.physical for one in found)} physical lines"
    yield f"fullest folder: {fullest.relative_to(ROOT.parent)} with {folders[fullest]} modules"
    yield f"{len(functions)} functions, {sum(functions) / len(functions):.1f} lines each, the longest {max(functions)}"


if __name__ == "__main__":
    print("\n".join(_report("-v" in sys.argv[1:])))  # noqa: T201 - a command
