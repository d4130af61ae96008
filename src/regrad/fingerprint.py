"""Which code a run depends on: a hash of the modules it reaches, comments and docstrings left out."""

import ast
import functools
import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = "regrad"


def module_path(name: str) -> Path | None:
    """Return the file of one of our modules, None for a package or a name inside a module."""
    root = Path(__file__).parent
    path = root.joinpath(*name.split(".")[1:]).with_suffix(".py")
    return path if name.startswith(PACKAGE + ".") and path.is_file() else None


@functools.cache
def tree(path: Path, modified_ns: int) -> ast.Module:
    """Return a module's syntax tree without docstrings; ``modified_ns`` keeps the cache honest."""
    parsed = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(parsed):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and ast.get_docstring(node):
            node.body = node.body[1:]
    return parsed


def direct_imports(parsed: ast.AST) -> set[str]:
    """Return the names of our own modules that a syntax tree imports."""
    names: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` and `from module import name` look alike: keep what is a file.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if module_path(name)}


def closure(roots: list[str]) -> dict[str, ast.Module]:
    """Return the syntax trees of ``roots`` and of all of our modules that they import, by name.

    Raises:
        ValueError: If a root is not one of our modules.
    """
    found: dict[str, ast.Module] = {}
    pending = sorted(roots)
    while pending:
        name = pending.pop()
        path = module_path(name)
        if path is None:
            raise ValueError(f"no module {name!r} in {PACKAGE}")
        if name not in found:
            found[name] = tree(path, path.stat().st_mtime_ns)
            pending += sorted(direct_imports(found[name]))
    return found


def notebook_modules(path: Path) -> list[str]:
    """Return our own modules that a notebook's code cells import."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return sorted({name for source in sources for name in direct_imports(ast.parse(source))})


@functools.cache
def code_fingerprint(*roots: str) -> str:
    """Return the hash of all that ``roots`` execute of our own code (16 hexadecimal digits).

    Taken once a process: a running process keeps the code that it has imported.
    """
    digest = hashlib.sha256()
    for name, parsed in sorted(closure(list(roots)).items()):
        digest.update(f"{name}\n{ast.dump(parsed)}\n".encode())
    return digest.hexdigest()[:16]


def library_versions(names: list[str]) -> dict[str, str]:
    """Return the installed versions of distributions (``"absent"`` if missing), importing none."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
