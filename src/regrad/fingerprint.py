"""Which code a run depends on: a hash of the tokens of the modules it reaches, without comments and docstrings.

Tokens and not a syntax tree, whose printed form differs between versions of Python: equal code has equal
hashes under all of them.
"""

import ast
import functools
import hashlib
import io
import json
import os
import tokenize
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

PACKAGE = "regrad"
# Tables that name code and are none: what a run takes from them enters its fingerprint by itself.
TABLES = frozenset({"regrad.runner.registry"})
LAYOUT = {tokenize.INDENT: "<indent>", tokenize.DEDENT: "<dedent>", tokenize.NEWLINE: "<newline>"}
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}


class Module(NamedTuple):
    """One of our modules, read."""

    digest: str  # hash of its tokens, 64 hexadecimal digits
    imports: frozenset[str]


def module_path(name: str) -> Path | None:
    """Return the file of one of our modules, None for a package or a name inside a module."""
    if not name.startswith(PACKAGE + "."):
        return None
    # Texts and not pathlib: asked for every name that any module imports.
    path = os.path.join(os.path.dirname(__file__), *name.split(".")[1:]) + ".py"
    return Path(path) if os.path.isfile(path) else None


def code_tokens(source: str) -> list[str]:
    """Return the tokens that Python executes: no comments, docstrings, blank lines or widths of indentation."""
    found: list[str] = []
    line: list[str] = []  # the tokens of the current statement
    strings = True  # whether they are texts only: such a statement does nothing
    for kind, text in whole_strings(source):
        if kind in SKIPPED:
            continue
        if kind in (tokenize.INDENT, tokenize.DEDENT):
            found.append(LAYOUT[kind])
        elif kind == tokenize.NEWLINE:
            found += [] if strings else [*line, LAYOUT[kind]]
            line, strings = [], True
        else:
            line.append(text)
            strings = strings and kind == tokenize.STRING
    return found


def whole_strings(source: str) -> Iterator[tuple[int, str]]:
    """Yield kind and text of each token, an f-string as one text, as Python 3.11 has it and later ones do not."""
    lines = source.splitlines(keepends=True)
    depth, start = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name in ("FSTRING_START", "TSTRING_START"):
            start = token.start if depth == 0 else start
            depth += 1
        elif name in ("FSTRING_END", "TSTRING_END"):
            depth -= 1
            if depth == 0:
                yield tokenize.STRING, between(lines, start, token.end)
        elif depth == 0:
            yield token.type, token.string


def between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text from ``start`` to ``end``, both (row from 1, column from 0)."""
    first, last = start[0] - 1, end[0] - 1
    if first == last:
        return lines[first][start[1] : end[1]]
    return lines[first][start[1] :] + "".join(lines[first + 1 : last]) + lines[last][: end[1]]


@functools.cache
def read_module(path: Path, modified_ns: int) -> Module:
    """Return a module's digest and imports; ``modified_ns`` keeps the cache honest."""
    source = path.read_text(encoding="utf-8")
    tokens = "\n".join(code_tokens(source))
    return Module(hashlib.sha256(tokens.encode()).hexdigest(), frozenset(direct_imports(ast.parse(source))))


def direct_imports(parsed: ast.AST) -> set[str]:
    names: set[str] = set()
    pending = [parsed]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` and `from module import name` look alike: keep what is a file.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        for block in BLOCKS:  # statements only: no expression imports anything
            pending += getattr(node, block, ())
    return {name for name in names if module_path(name)}


def closure(roots: Iterable[str]) -> dict[str, Module]:
    """Return ``roots`` and all of our modules that they import, by name; tables of names are left out."""
    found: dict[str, Module] = {}
    pending = sorted(roots)
    while pending:
        name = pending.pop()
        path = module_path(name)
        if path is None:
            raise ValueError(f"no module {name!r} in {PACKAGE}")
        if name not in found and name not in TABLES:
            found[name] = read_module(path, path.stat().st_mtime_ns)
            pending += sorted(found[name].imports)
    return found


def notebook_modules(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return sorted({name for source in sources for name in direct_imports(ast.parse(source))})


@functools.cache
def code_fingerprint(*roots: str) -> str:
    """Return the hash of all that ``roots`` execute of our own code (16 hexadecimal digits).

    Taken once a process: a running process keeps the code that it has imported.
    """
    digest = hashlib.sha256()
    for name, module in sorted(closure(roots).items()):
        digest.update(f"{name}\n{module.digest}\n".encode())
    return digest.hexdigest()[:16]


@functools.cache
def library_version(name: str) -> str:
    """Return the installed version of a distribution, ``"absent"`` if it is missing; nothing is imported."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def library_versions(names: list[str]) -> dict[str, str]:
    return {name: library_version(name) for name in names}
