"""A node of its own to put load on: a child process in a temporary directory, set up through its admin socket."""

import json
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from benchmarks.measure import Row, row
from gateway.passwords import COST_GENERATED, SALT_BYTES, hash_password
from load.lines import LoadError, User
from node.core.stages import STAGES
from node.operator.link import Link, LinkError, RequestRefused

SYMBOL: Final = "S0"
#: A new node compiles nothing when the kernels are cached, and else up to two minutes.
_START_S: Final = 180.0
_END_S: Final = 20.0
#: Lines of scenario notation that go in one request: well below what a line of the admin protocol may have.
_LINES: Final = 200


class Node(NamedTuple):
    """Address, users and instruments of a node. ``pid``, ``link``, ``directory``: of a child process, else None."""

    host: str
    port: int
    users: list[User]
    symbols: list[str]
    pid: int | None = None
    link: Link | None = None
    directory: Path | None = None


@contextmanager
def running_node(
    durability: str,
    users: int,
    symbols: int = 1,
    arguments: Sequence[str] = (),
    module: str = "cli.main",
    cost: int = COST_GENERATED,
) -> Iterator[Node]:
    """A node with so many users, a participant each, and instruments in continuous trading. Ended afterwards.

    arguments: further ones of `lockstep serve`. module: that runs it. cost: of the hashes of passwords. Raises
    LoadError when it does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name,
        serving(Path(name) / "node", durability, arguments, module) as (port, pid),
        link_to(Path(name) / "node") as link,
    ):
        told = set_up(link, users, symbols, cost)
        yield Node("127.0.0.1", port, told, symbol_names(symbols), pid, link, Path(name) / "node")


@contextmanager
def serving(
    directory: Path, durability: str, arguments: Sequence[str] = (), module: str = "cli.main"
) -> Iterator[tuple[int, int]]:
    """A node on a data directory, new or not: its port and process, once it listens. Ended afterwards, if it has not
    been killed. Raises LoadError when it does not start."""
    with tempfile.TemporaryFile("w+") as complaints:
        command = [sys.executable, "-m", module, "serve", "--data", str(directory), "--port", "0", "--json"]
        # What a participant may send is not to be measured.
        command += ["--durability", durability, "--default-order-rate", "off", "--default-share", "off", *arguments]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, text=True, cwd=Path(__file__).parent.parent
        )
        try:
            yield _port(child, complaints), child.pid
        finally:
            _end(child)


def symbol_names(symbols: int) -> list[str]:
    """The instruments of a node that was set up here."""
    return [f"S{number}" for number in range(symbols)]


def set_up(link: Link, users: int, symbols: int, cost: int = COST_GENERATED) -> list[User]:
    """Define instruments, and users with a participant each and one password; gives the users. Raises LoadError.

    cost: of its hash. The default is that of generated passwords: mostly it is not the login that is measured.
    """
    password, salt = secrets.token_hex(5), secrets.token_bytes(SALT_BYTES)
    digest = hash_password(password, salt, cost)
    lines = []
    for symbol in symbol_names(symbols):
        lines.append(f"instrument {symbol} tick=0.01 lot=1 reference=100.00")
    lines.append("phase * continuous")
    names = [f"U{number:04}" for number in range(users)]
    for number, name in enumerate(names):
        lines.append(f"participant P{number:04}")
        lines.append(f"user {name} participant=P{number:04}")
        lines.append(f"credential {name} cost={cost} salt={salt.hex()} hash={digest.hex()}")
    for start in range(0, len(lines), _LINES):
        try:
            answer = link.ask("commands", text="\n".join(lines[start : start + _LINES]))
        except (RequestRefused, LinkError) as error:
            raise LoadError(f"the node could not be set up: {error}") from None
        refused = [event for event in answer["events"] if "rejected" in event]
        if refused:
            raise LoadError(f"the node could not be set up: {refused[0]}")
    return [User(name, password) for name in names]


def link_to(directory: Path) -> Link:
    """The operator's door of a node on a directory. Raises LoadError."""
    try:
        return Link(directory)
    except (LinkError, OSError) as error:
        raise LoadError(f"the node's admin socket cannot be used: {error}") from None


def _port(child: "subprocess.Popen[str]", complaints: IO[str]) -> int:
    """Address of the node, from the first line of its standard output."""
    until_s = time.monotonic() + _START_S
    told: dict[str, Any] = {}
    while "listening" not in told:
        if time.monotonic() > until_s:
            raise LoadError(f"the node did not listen within {_START_S:.0f} s")
        if child.stdout is None or not select.select([child.stdout], [], [], 0.2)[0]:
            continue
        line = child.stdout.readline()
        if not line:
            complaints.seek(0)
            last = (complaints.read().strip().splitlines() or ["it said nothing"])[-1]
            raise LoadError(f"the node ended by itself: {last}")
        try:
            told = json.loads(line)
        except ValueError:
            raise LoadError(f"the node said {line.strip()[:80]!r}, which is no JSON") from None
    return int(told["listening"]["port"])


def _end(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdout is not None:
        child.stdout.close()


def stages(node: Node, name: str) -> list[Row]:
    """A row a stage of the node: p50, p99 and p99.9 over its last ten seconds, as it tells them itself.

    Reading, sequencing, waiting for the disk and answering are of blocks, the engine and the whole of commands.
    """
    if node.link is None:
        return []
    try:
        status = node.link.ask("status")["status"]
    except (RequestRefused, LinkError) as error:
        raise LoadError(f"the node could not be asked how long its stages take: {error}") from None
    rows = []
    for stage in STAGES:
        values = [status[f"latency_{stage}_{word}_ns"] / 1_000 for word in ("p50", "p99", "p999")]
        words = f"{name}: stage {stage.replace('_', ' ')}"
        rows += [
            row(f"{words}, {at}", [value], "us") for at, value in zip(("p50", "p99", "p99.9"), values, strict=True)
        ]
    return rows
