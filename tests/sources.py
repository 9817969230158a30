"""Facts of Python sources, for the tests that read the whole tree: each file is parsed and walked once."""

import ast
import hashlib
import os
import pickle
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent

_WORD: Final = re.compile(r"\w+")
_NAMED: Final = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Import(NamedTuple):
    """``import module``, or ``from module import names``."""

    line: int
    module: str
    names: tuple[str, ...]


class Facts(NamedTuple):
    """Contents of a source. ``classes``: the identifiers in each class; ``parameters``: their number, by function."""

    imports: tuple[Import, ...]
    docstrings: tuple[tuple[int, str], ...]
    identifiers: frozenset[str]
    classes: tuple[tuple[str, frozenset[str]], ...]
    parameters: tuple[tuple[str, int], ...]


def text(path: str) -> str:
    """The file at a path from the root."""
    return (ROOT / path).read_text()


@cache
def paths(folder: str) -> tuple[str, ...]:
    """Paths from the root of the Python files of a folder."""
    return tuple(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / folder).rglob("*.py")))


#: Folder of facts that were found, by the digest of their source and of this file: each process of a run of the suite
#: needs those of nearly all files. `make clean` removes it.
_KEPT: Final = ROOT / ".pytest_cache" / "facts"
_FORM: Final = Path(__file__).read_bytes()


@cache
def facts(source: str) -> Facts:
    """Facts of a source text, found anew where no process has kept them."""
    kept = _KEPT / hashlib.sha256(_FORM + source.encode()).hexdigest()
    with suppress(OSError, pickle.UnpicklingError, EOFError):
        return Facts(*pickle.loads(kept.read_bytes()))
    found = _Walk(ast.parse(source)).facts()
    with suppress(OSError):  # a tree that cannot be written
        _KEPT.mkdir(parents=True, exist_ok=True)
        new = kept.with_name(f"{kept.name}-{os.getpid()}")
        new.write_bytes(pickle.dumps(tuple(found)))
        new.replace(kept)
    return found


class _Walk:
    """One way through a tree. Identifiers include the words of short strings, but for docstrings."""

    def __init__(self, tree: ast.Module) -> None:
        self._imports: list[Import] = []
        self._docstrings: list[tuple[int, str]] = []
        self._classes: list[tuple[str, frozenset[str]]] = []
        self._parameters: list[tuple[str, int]] = []
        self._identifiers: set[str] = set()
        self._body(tree)

    def facts(self) -> Facts:
        """All that was seen."""
        return Facts(
            tuple(self._imports),
            tuple(self._docstrings),
            frozenset(self._identifiers),
            tuple(self._classes),
            tuple(self._parameters),
        )

    def _body(self, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """See the inside of a module, class or function, whose docstring names nothing."""
        first = node.body[0] if node.body else None
        if (said := ast.get_docstring(node)) is not None and first is not None:
            self._docstrings.append((first.lineno, said))
        for child in _children(node):
            if child is first and isinstance(first, ast.Expr):
                for inner in _children(first.value):
                    self._see(inner)
                if not isinstance(first.value, ast.Constant):
                    self._identifiers.update(_names(first.value))
            else:
                self._see(child)

    def _see(self, node: ast.AST) -> None:
        if isinstance(node, ast.ClassDef):
            outside, self._identifiers = self._identifiers, {node.name}
            self._body(node)
            self._classes.append((node.name, frozenset(self._identifiers)))
            self._identifiers |= outside
            return
        self._identifiers.update(_names(node))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            counted = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            self._parameters.append((node.name, len(counted)))
            self._body(node)
            return
        if isinstance(node, ast.Import):
            self._imports += [Import(node.lineno, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            self._imports.append(Import(node.lineno, node.module, tuple(alias.name for alias in node.names)))
        for child in _children(node):
            self._see(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            yield from (each for each in value if isinstance(each, ast.AST))
        elif isinstance(value, ast.AST):
            yield value


def _names(node: ast.AST) -> tuple[str, ...] | list[str]:
    """Identifiers that a node itself bears."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            return (name,)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return (name,)
        case ast.keyword(arg=str(name)):
            return (name,)
        case ast.alias(name=name):
            return name.split(".")
        case ast.Constant(value=str(said)) if len(said) <= 200:
            return _WORD.findall(said)
    return ()
