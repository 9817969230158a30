"""Imports point down only, siblings never meet, and one outside library has one home."""

import ast
import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.errors import KNOWN

ROOT = Path(__file__).parent.parent

#: From the bottom up; folders on one line are siblings.
LAYERS = [
    {"engine", "journal"},
    {"checkpoints", "wire"},
    {"notation", "lobster"},
    {"sequencer", "replay"},
    {"directory"},
    {"gateway", "client"},
    {"node", "load"},
    {"benchmarks"},
    {"cli"},
]
#: Folders that may import of ours only what is named: what is pure has no need of the rest.
ONLY: dict[str, tuple[str, ...]] = {
    "wire": (),
    "client": ("wire", "wire.errors", "wire.ouch_codes", "wire.soup", "wire.soup_session"),
}

RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}

#: Where an outside library, or `benchmarks`, may be imported: a file, or a folder that ends in a slash.
HOMES = {
    "numba": ("engine/jit.py",),
    "llvmlite": ("engine/jit.py",),
    "sortedcontainers": ("engine/reference/",),
    "lmdb": ("journal/store.py",),
    "msgpack": ("journal/", "checkpoints/image.py"),
    "xxhash": ("journal/", "engine/digest.py"),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "uvloop": ("node/",),
    "prometheus_client": ("node/metrics.py",),
    "hdrh": ("load/latency.py",),
    # Ours, but measuring is not the product: only the command that measures needs it.
    "benchmarks": ("benchmarks/", "cli/bench.py"),
}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import in the source, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def faults(path: str, source: str) -> list[str]:
    """Imports of the file at ``path`` (relative to the root, with /) that break the rules."""
    own = path.split("/", maxsplit=1)[0]
    found = []
    for line, dotted in imports(source):
        name = dotted.split(".")[0]
        if own in ONLY and name in RANK and name != own and dotted not in ONLY[own]:
            found.append(f"{path}:{line}: {own} may import only {', '.join(ONLY[own]) or 'itself'}, not {dotted}")
        elif name in RANK and name != own and RANK[name] >= RANK[own]:
            found.append(f"{path}:{line}: {own} may not import {name}")
        if name in HOMES and not path.startswith(HOMES[name]):
            found.append(f"{path}:{line}: {name} may be imported only in {', '.join(HOMES[name])}")
    return found


def test_imports_point_down_and_each_library_has_one_home() -> None:
    files = [file for folder in RANK for file in sorted((ROOT / folder).rglob("*.py"))]
    assert files
    found = [fault for file in files for fault in faults(file.relative_to(ROOT).as_posix(), file.read_text())]
    assert not found, "\n".join(found)


def test_planted_violations_are_found() -> None:
    assert faults("engine/apply.py", "import replay.rebuild\n") == ["engine/apply.py:1: engine may not import replay"]
    assert faults("journal/frame.py", "from engine import COMMAND\n")
    assert faults("replay/compare.py", "def f():\n    from sequencer.pump import pump\n")
    assert faults("engine/book.py", "import numba.typed\n")
    assert faults("journal/frame.py", "import lmdb as db\n")
    assert faults("wire/soup.py", "from engine.names import pack\n")
    assert faults("wire/ouch.py", "import engine\n")
    assert faults("client/messages.py", "import wire.ouch\n")
    assert faults("client/orders.py", "from engine.names import pack\n")
    assert faults("wire/ouch.py", "from checkpoints import image\n")
    assert faults("wire/ouch.py", "import numba\n")
    assert not faults("wire/ouch.py", "from wire.soup import packet\n")
    assert not faults("replay/rebuild.py", "from engine import Engine\nfrom journal import Journal\nimport numpy\n")


@pytest.mark.parametrize(
    "folder",
    [
        "journal",
        "checkpoints",
        "wire",
        "notation",
        "lobster",
        "replay",
        "sequencer",
        "directory",
        "gateway",
        "node",
        "load",
    ],
)
def test_every_module_of_a_folder_is_named_where_the_architecture_describes_the_folder(folder: str) -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| `{folder}/` |"))
    named = re.findall(r"`([a-z_]+\*?)`", row)
    modules = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__", "errors"}
    assert {name for name in modules if not any(fnmatch.fnmatch(name, pattern) for pattern in named)} == set()


def test_every_error_with_an_exit_status_is_a_class_of_the_folder_that_the_table_names() -> None:
    defined = {
        (folder, node.name)
        for folder in RANK
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert set(KNOWN) - defined == set()
