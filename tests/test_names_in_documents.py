"""Documents and docstrings name nothing that does not exist.

Each name in backticks must exist: a file in the tree, ``module.name`` and ``Class.attribute`` in the module or class,
an identifier in the sources, a command of the command line, a target of the Makefile. Names of libraries and of the
operating system count where the sources use them. The rulebook also names planned parts, so only its files and
commands are checked.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from tests.sources import Facts, facts, paths, text

ROOT = Path(__file__).parent.parent
FOLDERS = (
    "attestation", "benchmarks", "checkpoints", "cli", "client", "directory", "engine", "examples", "exports",
    "gateway", "incidents", "journal", "load", "lobster", "marketdata", "node", "notation", "replay", "replication",
    "reports", "sequencer", "tape", "tests", "wire",
)  # fmt: skip
DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))),
)
#: Documents that name what is not built yet.
AHEAD = {"docs/RULEBOOK.md"}
#: Files that the program or a reader's example makes, and names of other programs.
MADE = {"data.mdb", "lock.mdb", "day.txt", "afternoon.txt", "fails.txt", "whole.txt", "admin.json", "acts.json"}
SYSTEM = {"sd_notify"}
FILE = re.compile(r"[\w.-]+(/[\w.*-]+)*\.(py|md|toml|lock|txt|json|service|yml|yaml|mdb)|[\w-]+(/[\w-]+)*/")
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
IDENTIFIER = re.compile(r"[A-Za-z]*[a-z0-9]_[a-z]\w*|[A-Z]+[a-z]+[A-Z]\w+|_[a-z]\w+|[A-Z][A-Z0-9]*_[A-Z0-9_]+")


@cache
def sources() -> dict[str, Facts]:
    """Path from the root: facts of the file."""
    return {path: facts(text(path)) for folder in FOLDERS for path in paths(folder)}


@cache
def identifiers() -> frozenset[str]:
    others = (each for path, each in sources().items() if path != "tests/test_names_in_documents.py")
    return frozenset().union(*(each.identifiers for each in others))


@cache
def places() -> dict[str, frozenset[str]]:
    """Name of a module, a package or a class: the names in it. Those of the same name share an entry."""
    found: dict[str, set[str]] = {}
    for path, each in sources().items():
        parts = path.removesuffix("/__init__.py").removesuffix(".py").split("/")
        for depth in range(len(parts)):
            found.setdefault(parts[depth], set()).update(parts[depth + 1 : depth + 2] or each.identifiers)
            if path.endswith("/__init__.py") and depth == len(parts) - 1:
                found[parts[depth]] |= each.identifiers
        for name, names in each.classes:
            found.setdefault(name, set()).update(names)
    return {name: frozenset(names) for name, names in found.items()}


@cache
def makefile() -> str:
    """The Makefile."""
    return text("Makefile")


@cache
def commands() -> frozenset[tuple[str, ...]]:
    from cli.main import app

    def below(group: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, command in getattr(group, "commands", {}).items():
            yield from below(command, (*path, name))

    return frozenset(below(typer.main.get_command(app), ()))


def fault(quoted: str, *, ahead: bool = False, folder: str = "") -> str:
    """Say what is wrong with a name in backticks; empty where it exists. ``folder``: of the file that says it."""
    words = quoted.split()
    if not words:
        return ""
    if words[0] == "lockstep" and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
        known = words[1:2] if (words[1],) in commands() else []
        group = [path for path in commands() if path[:1] == (words[1],) and len(path) > 1]
        if not known:
            return "no such command"
        if group and len(words) > 2 and re.fullmatch(r"[a-z]+", words[2]) and (words[1], words[2]) not in commands():
            return "no such command"
        return ""
    if words[0] == "make" and len(words) == 2 and re.fullmatch(r"[a-z-]+", words[1]):
        return "" if re.search(rf"^{words[1]}:", makefile(), re.M) else "no such target"
    if len(words) > 1:
        return ""
    word = quoted.removesuffix("()")
    if FILE.fullmatch(word):
        name = word.rstrip("/").rsplit("/", 1)[-1]
        exists = re.match("[A-Z]+[.]", name) or (ROOT / word).exists() or list(ROOT.glob(word)) or name in MADE
        beside = (ROOT / "tests" / name).exists() or (folder and (ROOT / folder / name).exists())
        return "" if exists or beside else "no such file"
    if DOTTED.fullmatch(word):
        *path, last = word.split(".")
        if path[-1] in places() and last in places()[path[-1]]:
            return ""
        if path[-1] in places() and (path[-1] not in identifiers() or last not in identifiers()):
            return f"{path[-1]} has no {last}"
        return "" if {*path, last} <= identifiers() else "no such name"
    known = {word, word.upper()} & identifiers() or word in places() or word in SYSTEM
    if IDENTIFIER.fullmatch(word) and not ahead and not known:
        return "no such name in the sources"
    return ""


def quoted_in_document(page: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each pair of backticks outside blocks."""
    block = False
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            block = not block
        elif not block:
            yield from ((number, found) for found in re.findall(r"`([^`]+)`", line))


def quoted_in_code(path: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each pair of double backticks in comments and docstrings."""
    for number, line in enumerate(text(path).splitlines(), 1):
        yield from ((number, found) for found in re.findall(r"``([^`]+)``", line))


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_what_exists(document: str) -> None:
    found = [
        (line, quoted, fault(quoted, ahead=document in AHEAD, folder=document.rpartition("/")[0]))
        for line, quoted in quoted_in_document(text(document))
    ]
    assert not [f"{document}:{line}: `{quoted}`: {wrong}" for line, quoted, wrong in found if wrong]


@pytest.mark.slow
def test_docstrings_and_comments_name_only_what_exists() -> None:
    found = [
        f"{path}:{line}: ``{quoted}``: {wrong}"
        for path in sources()
        if not path.startswith("tests/")
        for line, quoted in quoted_in_code(path)
        if (wrong := fault(quoted, folder=path.rpartition("/")[0]))
    ]
    assert not found, "\n".join(found)


def test_planted_dangling_names_are_found() -> None:
    for dangling in (
        "book.before_best",
        "Engine.never_there",
        "engine/nowhere.py",
        "test_of_nothing.py",
        "nowhere/",
        "no_such_thing_here",
        "NoSuchThingHere",
        "NO_SUCH_CONSTANT",
        "lockstep nothing",
        "lockstep journal nothing",
        "make nothing",
    ):
        assert fault(dangling), dangling
    for fine in (
        "engine.jit",
        "Engine.apply",
        "engine/state.py",
        "test_layers.py",
        "engine/",
        "client_order_id",
        "InvariantError",
        "lockstep journal check",
        "make test",
        "buy 5 XYZ",
        "np.concatenate",
    ):
        assert not fault(fine), (fine, fault(fine))
