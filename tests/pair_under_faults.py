"""A pair in real processes: an arbiter, two nodes and clients that trade, with proxies between them if asked for."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.ports import free_port
from journal.history import History
from node.operator.link import LinkError, RequestRefused
from tests.arbiters import HAS_ETCD
from tests.fault_proxy import FaultProxy
from tests.linear_history import (
    Answer,
    BlockId,
    ClientHistory,
    Heard,
    NodeHistory,
    aside_of,
    blocks_of,
    chain_of,
    complaints,
    id_of,
)
from tests.pair_processes import Etcd, Witness
from tests.running import FAULTY, USERS, Running
from tests.trading import SETTLED, Trader

#: Patience with what has to come about on a busy machine.
WITHIN_S = 180.0
_SEEN_COMMANDS = 4_000
_SPAWNING = threading.Lock()


def _alone(spawn: Callable[[], None]) -> None:
    """Spawn a process: the one that forks them has one request at a time."""
    with _SPAWNING:
        spawn()


class Kind(NamedTuple):
    """Kind of a pair: its release policy, and whether etcd is the arbiter rather than a witness."""

    policy: str = "both"
    etcd: bool = False


WITNESS_AND_BOTH = Kind()
KINDS = (WITNESS_AND_BOTH, Kind("replica", etcd=HAS_ETCD), Kind("both", etcd=HAS_ETCD), Kind("replica"))


def kind_of(seed: int) -> Kind:
    """Kind of the pair of a seed: all of them in turn. Without an etcd on this machine, witnesses alone."""
    return KINDS[seed % len(KINDS)]


class PairNode(Running):
    """One node. ``ports``: of order entry and link; ``arbiter``: its address; ``peer``: port of the other node."""

    def __init__(
        self,
        name: str,
        folder: Path,
        ports: tuple[int, int],
        arbiter: str,
        secret: Path,
        peer: int,
        options: Sequence[str],
        faults: str,
    ) -> None:
        super().__init__(
            folder / name.lower(),
            *("--node", name, "--link", f"127.0.0.1:{ports[1]}", "--peer", f"127.0.0.1:{peer}"),
            *("--arbiter", arbiter, "--secret-file", str(secret)),
            *options,
            port=ports[0],
            program=(*FAULTY, ",".join(filter(None, ("by-peer", faults)))),
        )
        self.name = name
        self.blocks_seen: list[BlockId] = []

    def spawn(self) -> None:
        _alone(super().spawn)

    def pair(self) -> dict[str, Any]:
        """Its report of the pair; empty while it gives none."""
        if self.process is None:
            return {}
        with suppress(LinkError, RequestRefused, OSError, KeyError), self.link() as link:
            return dict(link.ask("pair")["pair"])
        return {}

    def note_blocks(self) -> None:
        """Note the newest blocks on its disk, while its process does not run."""
        with History.open(self.data) as history:
            last_seq = history.last_seq
            if last_seq:
                blocks = history.blocks(max(history.first_seq, last_seq - _SEEN_COMMANDS), last_seq)
                self.blocks_seen += [id_of(block) for block in blocks]

    def history(self) -> NodeHistory:
        """All of its blocks."""
        return NodeHistory(self.name, blocks_of(self.data), aside_of(self.data), self.blocks_seen)


class RunningPair:
    """The processes. ``faults``: of each node by name, as ``tests.faulty_node`` has them; ``witness``: the arbiter.

    With ``proxies`` all connections between the three go through one, by (from, to), such as ("A", "W").
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        faults: dict[str, str] | None = None,
        proxies: bool = False,
        lease_ms: int | None = None,
        kind: Kind = WITNESS_AND_BOTH,
    ) -> None:
        self.folder = folder
        given = faults or {}
        self.witness: Witness | Etcd = Etcd(folder) if kind.etcd else Witness(folder)
        lease_ms = lease_ms or (2_000 if kind.etcd else 600)  # the least that etcd gives
        ports = {name: (free_port(), free_port()) for name in "AB"}
        through = {pair: free_port() for pair in (("A", "W"), ("B", "W"), ("A", "B"), ("B", "A"))} if proxies else {}
        options = ("--lease-ms", str(lease_ms), "--durability", kind.policy, *options)
        self.nodes = {
            name: PairNode(
                name,
                folder,
                ports[name],
                f"{'etcd' if kind.etcd else 'witness'}://127.0.0.1:{through.get((name, 'W'), self.witness.port)}",
                self.witness.secret,
                through.get((name, other), ports[other][1]),
                options,
                given.get(name, ""),
            )
            for name, other in ("AB", "BA")
        }
        to = {"A": ports["A"][1], "B": ports["B"][1], "W": self.witness.port}
        self.proxies = {pair: FaultProxy(port, to[pair[1]]) for pair, port in through.items()}
        self.where = ",".join(f"127.0.0.1:{ports[name][0]}" for name in "AB")

    async def start(self) -> None:
        """Make the market in the directory of A, and start both; B fetches it, and they are in sync then."""
        for proxy in self.proxies.values():
            await proxy.start()
        await self.start_witness()
        a, b = self.nodes["A"], self.nodes["B"]
        alone = Running(a.data)
        try:
            await asyncio.to_thread(alone.start)
            await asyncio.to_thread(alone.set_up)
            assert await asyncio.to_thread(alone.end, signal.SIGTERM) == 0, alone.logged()
        finally:
            alone.stop()
        await asyncio.gather(asyncio.to_thread(a.start), asyncio.to_thread(b.start))
        await self.in_sync()

    async def start_witness(self) -> None:
        """Start the arbiter."""
        await asyncio.to_thread(_alone, self.witness.start)

    async def kill_witness(self) -> None:
        """Kill the arbiter."""
        assert self.witness.process is not None
        self.witness.process.kill()
        await asyncio.to_thread(self.witness.stop)

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until something is so; it is asked in a thread."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while not await asyncio.to_thread(condition):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            said = {name: node.pair() for name, node in self.nodes.items()}
            logs = "\n".join(f"{name}: {node.logged()[-1_500:]}" for name, node in self.nodes.items())
            raise AssertionError(f"{what}: {said}\n{logs}") from None

    def roles(self) -> tuple[PairNode, PairNode] | None:
        """Primary and standby, if the standby can take over now."""
        reports = {name: node.pair() for name, node in self.nodes.items()}
        for name, other in ("AB", "BA"):
            first, second = reports[name], reports[other]
            reigns = first.get("state") == "reigning" and first["in_sync"] == ["A", "B"]
            if reigns and second.get("role") == "standby" and second["can_take_over"]:
                return self.nodes[name], self.nodes[other]
        return None

    async def in_sync(self) -> tuple[PairNode, PairNode]:
        """Primary and standby, once the standby can take over."""
        found: list[tuple[PairNode, PairNode]] = []

        def look() -> bool:
            roles = self.roles()
            found.extend([roles] if roles else [])
            return bool(found)

        await self.until(look, "the nodes do not come in sync")
        return found[0]

    async def kill(self, *nodes: PairNode) -> None:
        """Kill nodes, all at once, and note what is on their disks."""
        for node in nodes:
            assert node.process is not None
            assert node.process.poll() is None, f"{node.name} ended by itself: {node.logged()[-2_000:]}"
            os.kill(node.process.pid, signal.SIGKILL)
        for node in nodes:
            assert await asyncio.to_thread(node.end, signal.SIGKILL) == -signal.SIGKILL
            await asyncio.to_thread(node.note_blocks)

    async def end(self) -> None:
        """End the nodes in order, the standby first."""
        primary, standby = await self.in_sync()
        for node in (standby, primary):
            status = await asyncio.to_thread(node.end, signal.SIGTERM)
            assert status == 0, node.logged()[-2_000:]

    async def stop(self) -> None:
        """Leave nothing of it."""
        for node in self.nodes.values():
            if node.process is not None:
                with suppress(ProcessLookupError):
                    os.kill(node.process.pid, signal.SIGCONT)
            node.stop()
        self.witness.stop()
        for proxy in self.proxies.values():
            await proxy.stop()

    def complaints(self, traders: Sequence[Trader]) -> list[str]:
        """Sentences on what is not one linear history."""
        nodes = [node.history() for node in self.nodes.values()]
        longest = max(nodes, key=lambda node: (node.blocks[-1].epoch, node.blocks[-1].last_seq))
        chain = chain_of(self.nodes[longest.name].data)
        return complaints(chain, [history_of(trader) for trader in traders], nodes)


def history_of(trader: Trader) -> ClientHistory:
    """History of a client that has traded."""
    heard = {number: Heard(packet, trader.epochs[number]) for number, packet in trader.kept.items()}
    answers = []
    for request in trader.requests:
        seq = getattr(request.answer, "seq", None)
        if seq is not None:
            answers.append(Answer(trader.sent_ns[request.number], trader.came_ns[seq], seq))
    open_tokens = [request.token for request in trader.requests if request.state not in SETTLED]
    return ClientHistory(trader.user, heard, answers, open_tokens, trader.changed)


class Trading:
    """Clients that trade as long as the body of ``async with`` runs, and come to an end after it."""

    def __init__(self, pair: RunningPair, seed: int, users: Sequence[str] = USERS) -> None:
        self.traders = [Trader(pair.where, user, seed + number) for number, user in enumerate(users)]
        self._enough = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> list[Trader]:
        for trader in self.traders:
            await trader.client.connect()
            self._tasks.append(asyncio.create_task(trader.trade(self._enough)))
        return self.traders

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await live(self.traders)
        self._enough.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*self._tasks), WITHIN_S)
        if kind is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(WITHIN_S):
                    while not all(trader.settled for trader in self.traders):
                        await asyncio.sleep(0.01)
        for trader in self.traders:
            await trader.client.close()


def answers_of(traders: Sequence[Trader]) -> int:
    """Number of messages that all clients have."""
    return sum(len(trader.kept) for trader in traders)


async def back(traders: Sequence[Trader], *, answers: int = -1) -> None:
    """Wait until all clients that have not given up are live, and all have more than so many messages: how soon, the
    machine decides.
    """

    def are() -> bool:
        return all(trader.client.is_live or trader.failure for trader in traders) and answers_of(traders) > answers

    try:
        async with asyncio.timeout(WITHIN_S):
            while not are() and not all(trader.failure for trader in traders):
                await asyncio.sleep(0.005)
    except TimeoutError:
        clients = [trader.client for trader in traders]
        raise AssertionError(f"not all clients are live with {answers:,} messages: {clients}") from None


async def live(traders: Sequence[Trader], *, answers: int = -1) -> None:
    """Wait for all clients as ``back`` does; none of them may have given up."""
    await back(traders, answers=answers)
    failures = [str(trader.failure) for trader in traders if trader.failure is not None]
    assert not failures, failures
