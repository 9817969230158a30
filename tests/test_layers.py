"""Imports point down only and never in a circle, siblings never meet, and one outside library has one home."""

import fnmatch
import re
import tomllib
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest

from cli.errors import KNOWN
from cli.upkeep.doctor import _PARTS
from tests.sources import facts, paths, text

ROOT = Path(__file__).parent.parent

#: From the bottom up; folders on one line are siblings.
LAYERS = [
    {"engine", "journal", "wire"},
    {"checkpoints", "reports", "tape"},
    {"notation", "lobster"},
    {"sequencer", "replay"},
    {"directory", "exports", "attestation", "incidents"},
    {"gateway", "marketdata", "client", "replication"},
    {"node", "load"},
    {"benchmarks"},
    {"cli"},
]
_CLIENT = ("wire", "wire.errors", "wire.ouch_codes", "wire.ouch_layout", "wire.soup", "wire.soup_session")
#: Folders, and files of them, that may import of ours only what is named: what is pure has no need of the rest.
ONLY: dict[str, tuple[str, ...]] = {
    "wire": (),
    "client": _CLIENT,
    # What a client of OUCH does not load: terms in words of the notation, codes of reports.
    "client/native.py": (
        *_CLIENT,
        "engine.bounds",
        "engine.records",
        "engine.row_bytes",
        "notation.parse",
        "notation.print",
        "notation.table",
        "notation.words",
        "reports.rows",
        "wire.native",
    ),
    # Books of a market data feed.
    "client/book.py": (*_CLIENT, "wire.itch_layout"),
    "client/feed.py": (*_CLIENT, "wire.mold"),
    "client/book_feed.py": _CLIENT,
    # Readers of what a market publishes through NATS: blocks of its journal, proven as the journal proves them.
    "client/publication.py": (*_CLIENT, "engine.digest"),
    "client/publication_sequence.py": (*_CLIENT, "engine.records", "journal", "journal.frame", "journal.marks"),
    # Clients beside the node, which nothing else of the client imports.
    "client/local.py": (*_CLIENT, "journal", "tape.errors", "tape.form", "tape.lines", "tape.shared_file"),
    "client/local_reports.py": (
        *("engine.names", "journal", "notation.reports", "replay.errors", "replay.live_reports", "reports"),
        "tape.errors",
    ),
}

RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}

#: Home of each outside library, and of `benchmarks`: the files, or folders that end in a slash, that may import it.
HOMES = {
    # Atomic loads and stores are the tape's alone: in the engine, each edit of them would compile the market anew.
    "numba": ("engine/compiler.py", "engine/compiler_shortcuts.py", "engine/instructions.py", "tape/machine.py"),
    "llvmlite": ("engine/compiler.py", "engine/instructions.py", "engine/machine_code.py", "tape/machine.py"),
    "sortedcontainers": ("engine/reference/",),
    "lmdb": ("journal/store.py",),
    "msgpack": ("journal/", "checkpoints/image.py", "replication/link.py"),
    "xxhash": ("journal/", "engine/digest.py"),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "uvloop": ("node/",),
    "starlette": ("node/web/app.py", "node/web/page.py"),
    "uvicorn": ("node/web/process.py",),
    "prometheus_client": ("node/operator/metrics.py",),
    "hdrh": ("load/latency.py",),
    "pyarrow": ("exports/arrow_files.py",),
    "duckdb": ("exports/questions.py",),
    "exchange_calendars": ("cli/operating/trading_calendar.py",),
    "matplotlib": ("incidents/pictures.py",),
    "textual": ("cli/inspect/terminal.py",),
    "cryptography": ("attestation/signatures.py", "attestation/stamps.py"),
    "rfc3161_client": ("attestation/stamps.py",),
    "nats": ("client/nats_line.py",),
    # The benchmark is a thousand subscribers in one loop, which no client is.
    "websockets": ("client/level_feed.py", "benchmarks/feeds.py"),
    # Ours, but measuring is not the product: only the command that measures needs it.
    "benchmarks": ("benchmarks/", "cli/upkeep/bench.py"),
}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import in the source, those inside functions included."""
    return ((each.line, each.module) for each in facts(source).imports)


def faults(path: str, source: str) -> list[str]:
    """Imports of the file at ``path`` (relative to the root, with /) that break the rules."""
    own = path.split("/", maxsplit=1)[0]
    found = []
    for line, dotted in imports(source):
        name = dotted.split(".")[0]
        only = ONLY.get(path, ONLY.get(own))
        if only is not None and name in RANK and name != own and dotted not in only:
            found.append(f"{path}:{line}: {own} may import only {', '.join(only) or 'itself'}, not {dotted}")
        elif name in RANK and name != own and RANK[name] >= RANK[own]:
            found.append(f"{path}:{line}: {own} may not import {name}")
        if name in HOMES and not path.startswith(HOMES[name]):
            found.append(f"{path}:{line}: {name} may be imported only in {', '.join(HOMES[name])}")
    return found


def module_of(path: str) -> str:
    """Dotted name of the file at ``path``; of a package for its ``__init__``."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def cycles(sources: Mapping[str, str]) -> list[list[str]]:
    """Groups of modules that import each other, at any place: inside functions and for types too.

    sources: the text of each file by its path. Each group is as large as can be (Tarjan's algorithm).
    """
    modules = {module_of(path) for path in sources}
    graph = {module_of(path): sorted(targets(source, modules) - {module_of(path)}) for path, source in sources.items()}
    found: list[list[str]] = []
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for target in graph[module]:
            if target not in order:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in stack:
                lowest[module] = min(lowest[module], order[target])
        if lowest[module] == order[module]:
            at = stack.index(module)
            group = sorted(stack[at:])
            del stack[at:]
            if len(group) > 1:
                found.append(group)

    for module in graph:
        if module not in order:
            visit(module)
    return found


def targets(source: str, modules: Set[str]) -> set[str]:
    """Those of ``modules`` that the source imports."""
    found = set()
    for each in facts(source).imports:
        parts = {f"{each.module}.{name}" for name in each.names}
        found |= parts & modules
        if not parts or parts - modules:
            found.add(each.module)
    return found & modules


def sources() -> dict[str, str]:
    """Text of each file of the product by its path."""
    return {path: text(path) for folder in RANK for path in paths(folder)}


@pytest.mark.slow
def test_imports_point_down_and_each_library_has_one_home() -> None:
    files = sources()
    assert files
    found = [fault for path, source in files.items() for fault in faults(path, source)]
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_no_modules_import_each_other() -> None:
    found = cycles(sources())
    assert not found, "\n".join(" <-> ".join(group) for group in found)


def test_planted_cycles_are_found() -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from node.b import B\n"
    late = "def f():\n    import node.c\n"
    sources = {
        "node/a.py": typed,
        "node/b.py": late,
        "node/c.py": "from node import a\n",
        "node/d.py": "import node.a\n",
    }
    assert cycles(sources) == [["node.a", "node.b", "node.c"]]
    assert not cycles(sources | {"node/c.py": "import os\nfrom node.d import d\n", "node/d.py": ""})


@pytest.mark.parametrize(
    "where", ["imports", "pyproject.toml", "Makefile", "cli/upkeep/doctor.py", "docs/ARCHITECTURE.md"]
)
def test_every_folder_that_is_listed_exists_and_every_folder_of_ours_is_listed(where: str) -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    source = "" if where == "imports" else text(where)
    measured = {"benchmarks"}  # no part of the product
    match where:
        case "imports":
            listed = set(RANK)
        case "pyproject.toml":
            setup = tomllib.loads(source)["tool"]
            packages = {
                ".".join(path.parent.relative_to(ROOT).parts)
                for each in folders
                for path in ROOT.glob(f"{each}/**/__init__.py")
            }
            assert set(setup["setuptools"]["packages"]) == packages, "an installed product lacks what is not listed"
            listed = {name.split(".")[0] for name in packages}
            assert set(setup["mypy"]["packages"]) == folders - measured
        case "Makefile":
            listed = set(re.findall(r"^PARTS *:= (.*)$", source, re.MULTILINE)[0].split()) | measured
        case "cli/upkeep/doctor.py":
            listed = set(_PARTS) | measured
        case _:
            listed = set(re.findall(r"^\| `(\w+)/` \|", source, re.MULTILINE)) - {"tests"}
    assert listed == folders


def folder_imports(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Folders of ours that each folder imports, by the text of each file by its path."""
    graph: dict[str, set[str]] = {path.split("/", maxsplit=1)[0]: set() for path in sources}
    for path, source in sources.items():
        own = path.split("/", maxsplit=1)[0]
        graph[own] |= {dotted.split(".")[0] for _, dotted in imports(source)} & set(graph) - {own}
    return graph


def without_detours(graph: Mapping[str, Set[str]]) -> set[tuple[str, str]]:
    """Arrows of a graph without cycles, except those whose end a longer way reaches too."""

    def reached(folder: str) -> set[str]:
        return set(graph[folder]).union(*(reached(below) for below in graph[folder]))

    return {
        (folder, below)
        for folder, all_below in graph.items()
        for below in all_below
        if not any(below in reached(other) for other in all_below - {below})
    }


def picture_faults(picture: str, graph: Mapping[str, Set[str]]) -> list[str]:
    """Differences between the arrows of a Mermaid graph and ``graph``, as sentences."""
    drawn = set()
    for line in picture.splitlines():
        left, arrow, right = line.partition(" --> ")
        if arrow:
            drawn |= {(one.strip(), other.strip()) for one in left.split("&") for other in right.split("&")}
    wanted = without_detours(graph)
    absent = set(graph) - {folder for edge in drawn for folder in edge}
    return [
        *(f"the picture lacks the folder {folder}" for folder in sorted(absent)),
        *(f"the picture lacks {one} --> {other}" for one, other in sorted(wanted - drawn)),
        *(f"the picture has {one} --> {other} too much" for one, other in sorted(drawn - wanted)),
    ]


#: Rooms of a folder from the bottom up.
ROOMS = {
    "node": ("programs", "core", "gateways", "feeds", "nats", "operator", "web"),
    "cli": (
        *("questions", "upkeep", "servers", "proofs", "inspect", "runs", "operating", "trading", "demo"),
        "commands",
    ),
}
#: Folders whose own files put their rooms together; those of other folders are what all rooms stand on.
ASSEMBLED = ("node",)


def rooms_above(sources: Mapping[str, str]) -> list[str]:
    """Imports of a room by one that is below it, as sentences, by the text of each file by its path."""
    found = []
    for path, source in sources.items():
        folder, room = path.split("/")[:2]
        if room not in ROOMS.get(folder, ()):
            continue
        rooms = ROOMS[folder]
        for _, dotted in imports(source):
            other = dotted.split(".")[1] if dotted.startswith(f"{folder}.") else room
            if (other in rooms or folder in ASSEMBLED) and other not in rooms[: rooms.index(room) + 1]:
                found.append(f"{path} imports {dotted}")
    return found


def test_the_rooms_of_a_folder_import_only_rooms_below() -> None:
    assert rooms_above(sources()) == []
    for folder, rooms in ROOMS.items():
        assert {*rooms} <= {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}


def test_a_room_that_imports_one_above_it_is_found() -> None:
    planted = {
        "node/core/market.py": "from node.gateways import door\nfrom node.programs.logs import Log\n",
        "node/web/app.py": "from node.operator.link import line\nfrom node.node import Node\n",
    }
    assert rooms_above(planted) == [
        "node/core/market.py imports node.gateways",
        "node/web/app.py imports node.node",
    ]


def test_the_picture_of_the_layers_shows_the_imports() -> None:
    graph = folder_imports(sources())
    assert set(graph) == set(RANK)
    page = text("docs/ARCHITECTURE.md")
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found = picture_faults(picture, graph)
    assert not found, "docs/ARCHITECTURE.md: " + "; ".join(found)


def test_planted_faults_in_the_picture_are_found() -> None:
    sources = {
        "cli/main.py": "import engine\nfrom node.node import Node\n",
        "node/node.py": "import node.admin\ndef f():\n    from engine import Engine\n",
        "engine/apply.py": "",
    }
    graph = folder_imports(sources)
    assert graph == {"cli": {"engine", "node"}, "node": {"engine"}, "engine": set()}
    assert not picture_faults("graph TD\n  cli --> node\n  node --> engine\n", graph)
    assert picture_faults("cli --> node", graph) == [
        "the picture lacks the folder engine",
        "the picture lacks node --> engine",
    ]
    assert picture_faults("cli --> node & engine\nnode --> engine", graph) == [
        "the picture has cli --> engine too much"
    ]
    assert picture_faults("cli --> node\nnode --> engine\nnode --> replay", graph)


def test_the_page_where_is_what_fits_a_screen_and_leads_into_every_folder() -> None:
    page = (ROOT / "docs" / "WHERE.md").read_text()
    assert len(page.splitlines()) <= 50
    assert set(RANK) - set(re.findall(r"`(\w+)/[\w/]*\.?\w*`", page)) == set()


def test_planted_violations_are_found() -> None:
    assert faults("engine/apply.py", "import replay.rebuild\n") == ["engine/apply.py:1: engine may not import replay"]
    assert faults("journal/frame.py", "from engine import COMMAND\n")
    assert faults("replay/compare.py", "def f():\n    from sequencer.pump import pump\n")
    assert faults("engine/book.py", "import numba.typed\n")
    assert faults("journal/frame.py", "import lmdb as db\n")
    assert faults("client/book_feed.py", "from websockets.sync.client import connect\n")
    assert faults("wire/soup.py", "from engine.names import pack\n")
    assert faults("wire/ouch.py", "import engine\n")
    assert faults("client/messages.py", "import wire.ouch\n")
    assert faults("client/orders.py", "from engine.names import pack\n")
    assert faults("client/orders.py", "from tape.lines import ClientLine\n")
    assert not faults("client/local.py", "from tape.lines import ClientLine\n")
    assert faults("wire/ouch.py", "from checkpoints import image\n")
    assert faults("wire/ouch.py", "import numba\n")
    assert not faults("wire/ouch.py", "from wire.soup import packet\n")
    assert not faults("replay/rebuild.py", "from engine import Engine\nfrom journal import Journal\nimport numpy\n")


@pytest.mark.parametrize(
    "folder",
    [
        "journal",
        "checkpoints",
        "reports",
        "wire",
        "notation",
        "lobster",
        "replay",
        "sequencer",
        "directory",
        "gateway",
        "gateway/fix",
        "gateway/native",
        "gateway/ouch",
        "replication",
        "marketdata/itch",
        "tape",
        "node",
        "node/programs",
        "node/core",
        "node/gateways",
        "node/feeds",
        "node/nats",
        "node/operator",
        "node/web",
        "node/pair",
        "load",
    ],
)
def test_every_module_of_a_folder_is_named_where_the_architecture_describes_the_folder(folder: str) -> None:
    page = text("docs/ARCHITECTURE.md")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{folder}/` |"))
    named = re.findall(r"`([a-z_]+\*?)`", row)
    modules = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__", "errors"}
    assert {name for name in modules if not any(fnmatch.fnmatch(name, pattern) for pattern in named)} == set()


def test_every_error_with_an_exit_status_is_a_class_of_the_folder_that_the_table_names() -> None:
    defined = {(folder, name) for folder in RANK for path in paths(folder) for name, _ in facts(text(path)).classes}
    assert set(KNOWN) - defined == set()


#: Files outside wire/, client/ and gateway/ that have to do with bytes of OUCH or SoupBinTCP: the kernels that make and
#: judge millions of messages a second, the server without a market, bounds of names and prices,
#: snapshots of market data, market data by FIX, and the cost of FIX, of which there is no client.
_OF_BYTES = {
    "benchmarks/feed_recovery.py",
    "benchmarks/fix.py",
    "benchmarks/fix_data.py",
    "benchmarks/fix_stages.py",
    "benchmarks/fix_flood.py",
    "benchmarks/fix_wire.py",
    "cli/who.py",
    "load/answers.py",
    "load/orders.py",
    "load/sink.py",
    "load/sink_kernel.py",
    "load/state.py",
    "marketdata/fix/encoding.py",
    "marketdata/fix/requests.py",
    "marketdata/fix/session.py",
    "node/core/far_prices.py",
    "node/feeds/snapshots.py",
}


#: Modules of wire/ that have no packet or message of order entry: codes, errors, market data.
_NOT_OF_ORDERS = (
    "wire.errors",
    "wire.fix_marks",
    "wire.itch",
    "wire.itch_layout",
    "wire.mold",
    "wire.octets",
    "wire.ouch_codes",
)


def test_whoever_sends_orders_does_it_with_the_client_library() -> None:
    """A client that makes messages by itself settles what was lost in its own way, and tests of the library miss it."""
    found = set()
    for folder in RANK.keys() - {"wire", "client", "gateway"}:
        for path in (ROOT / folder).rglob("*.py"):
            for _, dotted in imports(path.read_text()):
                if dotted.split(".")[0] == "wire" and dotted not in _NOT_OF_ORDERS:
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == _OF_BYTES


#: Rooms of protocols, and what those over SoupBinTCP share.
_PROTOCOLS = (
    *("gateway/fix/", "gateway/native/", "gateway/ouch/"),
    *("gateway/packets.py", "gateway/soup.py", "gateway/tokens.py"),
)


def protocol_faults(path: str, source: str) -> list[str]:
    """Imports of a file of ``gateway/`` by which it would know a protocol."""
    found = []
    for line, dotted in imports(source):
        if dotted.replace(".", "/").startswith(tuple(each.removesuffix(".py").rstrip("/") for each in _PROTOCOLS)) or (
            dotted.split(".")[0] == "wire" and dotted not in ("wire.errors", "wire.session_state")
        ):
            found.append(f"{path}:{line}: gateway knows no protocol, so it may not import {dotted}")
    return found


def test_the_gateway_knows_no_protocol() -> None:
    files = {path: text(path) for path in paths("gateway") if not path.startswith(_PROTOCOLS)}
    assert len(files) > 20
    found = [fault for path, source in files.items() for fault in protocol_faults(path, source)]
    assert not found, "\n".join(found)
    for planted in (
        "from gateway.ouch.tables import OPEN\n",
        "from wire import soup\n",
        "import wire.ouch\n",
        "import gateway.soup\n",
    ):
        assert protocol_faults("gateway/server.py", planted)
    assert not protocol_faults("gateway/server.py", "from wire.errors import ProtocolError\n")


#: Functions that have more parameters than one can keep in mind: kernels on the path of an order.
_MANY_PARAMETERS = {
    "engine/limit_checks.py:check_with_limits",
    "gateway/fix/reading.py:read_orders",
    "gateway/fix/short_way.py:put_plain",
    "gateway/fix/short_way.py:answer_plain",
}


def test_no_function_has_more_than_thirteen_parameters_but_for_commands_and_kernels() -> None:
    """Options that belong together are one value, as ``NodeOptions`` is; a command's parameters are its options."""
    found = {
        f"{path}:{name}"
        for path, source in sources().items()
        if not path.startswith("cli/commands/")
        for name, count in facts(source).parameters
        if count > 13
    }
    assert found == _MANY_PARAMETERS
