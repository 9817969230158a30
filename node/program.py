"""A node as a program: open the directory, serve on uvloop, notify the supervisor, end in order."""

import asyncio
import errno
import gc
import os
import resource
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from directory.begin import holds_journal
from directory.divergence import check_unmarked
from directory.pair_membership import join_pair, leave_pair, what_may_lack
from directory.set_aside import set_aside
from engine.capacity import Capacity
from gateway.passwords import COST_DEFAULT
from journal.lock import WriterLock, writer_pid
from journal.slices import make_folder
from node.core.opening import OpenDirectory, open_directory
from node.node import Deposed, Node, NodeOptions
from node.notify import Notifier
from node.operator.admin import AdminServer
from node.operator.defaults import default_limits
from node.operator.metrics import Metrics, metrics_server
from node.operator.operations import Operations
from node.pair.member import Pair
from node.pair.outcomes import TailApart, TooFarBehind
from node.pair.plan import PairOptions, PairPlan
from node.programs.end_signals import end_signals_as_before, on_end_signal
from node.programs.former_programs import becomes_free
from node.programs.lent_port import is_elsewhere
from node.programs.logs import Log
from replay.rebuild import Progress
from replication.fetch import JournalsApart, fetch, find_common
from replication.history import HistoryError, HistoryLost
from replication.inquiry import ask_place
from replication.link import Position
from replication.primary import Role

#: Descriptors for the node itself: journal, spool, checkpoints, operator, monitors, and connections being refused.
DESCRIPTORS_RESERVED: Final = 128
#: Wait before the next attempt to fetch a history.
AGAIN_S: Final = 0.5
_NO_PRIMARY: Final = "this directory is empty, and no primary answers there"


class PortInUse(OSError):
    """A port of the node is in use; the message says which, then what to do."""


class NoAddress(OSError):
    """An address on which the node is to listen is none of this machine; the message says which, then what to do."""


class NoTape(OSError):
    """Gateways were asked for, and there can be no tape for them to read; the message says why, then what to do."""


class NodeAddresses(NamedTuple):
    """Addresses of a node, its process, and warnings for the operator."""

    host: str
    port: int
    admin_port: int | None
    metrics_port: int | None
    pid: int
    warnings: tuple[str, ...]
    gateways: dict[str, int]  # port of each gateway in a process of its own, by its name
    feeds: dict[str, dict[str, int]]  # ports of each market data feed for requests and snapshots, by its name
    web_port: int | None  # for web clients
    nats_port: int | None  # for readers of what is published that miss something
    fix_data_port: int | None  # for subscribers of market data by FIX


def serve(
    options: NodeOptions,
    capacity: Capacity,
    log: Log,
    *,
    admin_port: int | None = None,
    metrics_port: int | None = None,
    password_cost: int = COST_DEFAULT,
    progress: Progress | None = None,
    on_listening: Callable[[NodeAddresses], None] = lambda _: None,
    pair: PairPlan | None = None,
    leaves_pair: bool = False,
) -> None:
    """Run a node until its operator, SIGTERM or SIGINT ends it.

    ``on_listening``: called with the addresses once clients can connect. ``pair``: of a node of a pair, which starts
    again as a copy whenever its reign ends, or its journal has to be put right. ``leaves_pair``: the directory
    of a pair becomes a market of its own. Raises what ``open_directory`` raises,
    PortInUse, NoTape, OSError, and the fault that ended the node.
    """
    connections = connections_within(options.connections_max, options.past_days)
    if connections < options.connections_max:
        why = "the limit of open files is too low for more; raise it (ulimit -n, or LimitNOFILE= of the service)"
        log.warning("fewer connections", wanted=options.connections_max, taken=connections, why=why)
        sentence = f"{connections} connections are taken instead of {options.connections_max}: {why}"
        options = replace(options, connections_max=connections, warnings=(*options.warnings, sentence))
    _check_ports(options, admin_port, metrics_port, pair)
    settings = _Settings(admin_port, metrics_port, password_cost, pair, on_listening, leaves_pair, threading.Event())
    with log.adopted():
        if pair is None:
            _opened_and_served(options, capacity, log, settings, progress)
            return
        options = replace(options, follows=True)
        if not holds_journal(options.data) and pair.options.peer is not None:
            _fetch_first(options.data, pair.options, log, progress)
        while _is_to_start_again(options, capacity, log, settings, progress) and not settings.asked_to_end.is_set():
            # The node before it has frozen its objects, so that no collection stops the market; its state is 0.6 GB.
            gc.unfreeze()
            gc.collect()


class _Settings(NamedTuple):
    """Arguments of ``serve`` for each start."""

    admin_port: int | None
    metrics_port: int | None
    password_cost: int
    pair: PairPlan | None
    on_listening: Callable[[NodeAddresses], None]
    leaves_pair: bool
    #: Set by the first signal to end: it holds for a start of the node that follows, too.
    asked_to_end: threading.Event


def _is_to_start_again(
    options: NodeOptions, capacity: Capacity, log: Log, settings: _Settings, progress: Progress | None
) -> bool:
    """Run a node of a pair once; True if it has to start again as a copy."""
    try:
        with end_signals_as_before():
            _opened_and_served(options, capacity, log, settings, progress)
    except Deposed as deposed:
        if not settings.asked_to_end.is_set():
            log.warning("this node starts again as a copy", why=str(deposed))
        return True
    except TailApart as apart:
        assert settings.pair is not None, "only a node of a pair follows"
        _set_aside(options.data, _last_common(options.data, apart, settings.pair.options), settings.pair.options, log)
        return True
    except TooFarBehind as behind:
        assert settings.pair is not None, "only a node of a pair follows"
        log.warning("history", why=str(behind))
        _fetch(options.data, behind.address, settings.pair.options, log, progress)
        return True
    return False


def _last_common(directory: Path, apart: TailApart, options: PairOptions) -> Position:
    """The last common position by the history of the primary; where that does not answer, the one that is known."""
    try:
        return find_common(apart.address, options.secret, directory, name=options.candidate.name)
    except HistoryError:
        return apart.common


def _set_aside(directory: Path, common: Position, options: PairOptions, log: Log) -> None:
    """Set the blocks after a position aside."""
    name = options.candidate.name
    why = f"the blocks after command {common.seq} are not of the primary's history"
    for each in set_aside(directory, common.seq, common.digest, node=name, why=why):
        log.warning("blocks set aside", quarantine=each.name, commands=each.commands, why=why)


def _fetch(
    directory: Path, address: tuple[str, int], options: PairOptions, log: Log, progress: Progress | None
) -> None:
    """Fetch the history of the primary into a closed directory, as far as it goes; a lost connection is tried again."""
    name, secret = options.candidate.name, options.secret
    try:
        done = fetch(address, secret, directory, name=name, progress=progress or (lambda _done, _end: None))
        log.info("history fetched", primary=done.peer, commands=done.commands, seq=done.last_seq)
    except JournalsApart:
        _set_aside_apart(directory, address, options, log)
    except HistoryLost as lost:
        log.warning("history", why=str(lost))
        time.sleep(AGAIN_S)


def _set_aside_apart(directory: Path, address: tuple[str, int], options: PairOptions, log: Log) -> None:
    """Set aside the blocks, or slices, that the primary does not have; a lost connection is tried again."""
    try:
        common = find_common(address, options.secret, directory, name=options.candidate.name)
        _set_aside(directory, common, options, log)
    except HistoryLost as lost:
        log.warning("history", why=str(lost))
        time.sleep(AGAIN_S)


def _fetch_first(directory: Path, options: PairOptions, log: Log, progress: Progress | None) -> None:
    """Fetch the market of the other node into an empty directory; waits until that one is primary."""
    assert options.peer is not None, "an empty node of a pair names the other one"
    told = ""
    make_folder(directory)
    while not holds_journal(directory):
        # Until there is a journal, whose writer has it, the lock says to operators that a process has the directory.
        lock = WriterLock(directory)
        try:
            port, told = _history_port(options.peer, options, told, log)
            if not port:
                time.sleep(AGAIN_S)
                continue
        finally:
            lock.release()
        _fetch(directory, (options.peer[0], port), options, log, progress)


def _history_port(peer: tuple[str, int], options: PairOptions, told: str, log: Log) -> tuple[int, str]:
    """Port at which the primary serves its history, 0 for none yet, and the reason, which is logged once.

    ``told``: the reason before.
    """
    role: Role = "follower" if options.follower else "standby"
    place = ask_place(peer, options.secret, options.candidate.name, role)
    if place.why:
        if told != place.why:
            log.warning("replication", why=f"the primary refuses this node: {place.why}; it tries again")
        return 0, place.why
    if not place.history_port and told != _NO_PRIMARY:
        log.info("waiting for the primary", peer="{}:{}".format(*peer), why=_NO_PRIMARY)
    return place.history_port, told if place.history_port else _NO_PRIMARY


def _opened_and_served(
    options: NodeOptions, capacity: Capacity, log: Log, settings: _Settings, progress: Progress | None
) -> None:
    check_unmarked(options.data)
    protocols = [protocol for protocol, _ in options.protocols]
    opened = open_directory(
        options.data, capacity, options.durability, progress, past_days=options.past_days, protocols=protocols
    )
    try:
        _note_membership(options.data, settings, log)
        for note in opened.notes:
            log.warning("recovery", note=note)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_served(opened, options, log, settings))
    except (Deposed, TailApart, TooFarBehind):
        opened.journal.close()
        raise
    except BaseException:
        _save_journal(opened, options.data, log)
        raise
    opened.journal.close()


def _note_membership(directory: Path, settings: _Settings, log: Log) -> None:
    """Let the directory leave its pair, or join one again, as the options say. It is open for writing."""
    if settings.pair is not None:
        if join_pair(directory):
            log.warning("joined a pair again", why=what_may_lack(directory))
    elif settings.leaves_pair and leave_pair(directory):
        then = "this is a market of its own from now on; never start the other node of the pair again"
        log.warning("left its pair", then=then, lacks=what_may_lack(directory) or "nothing")


def _save_journal(opened: OpenDirectory, directory: Path, log: Log) -> None:
    """Close the journal of a node that failed. Raises nothing, so that the first error is the one reported."""
    to = directory / f"data.mdb.saved.{os.getpid()}"
    try:
        if opened.journal.close_and_save(to):
            log.error("the journal's file had been removed; its content was saved", path=str(to))
    except Exception as error:
        log.error("the journal was not closed in order", error=type(error).__name__, why=str(error))


async def _served(opened: OpenDirectory, options: NodeOptions, log: Log, settings: _Settings) -> None:
    node = Node(opened, options, log)
    pair = _pair(node, settings.pair)
    figures = Metrics(node)
    operations = Operations(
        node,
        log,
        metrics=figures.text,
        password_cost=settings.password_cost,
        password_characters_max=max(each.protocol.password_characters_max for each in node.gateway.entrances),
        default_limits=default_limits(opened.engine.capacity, options.default_order_rate, options.default_share_bps),
    )
    admin = AdminServer(node, operations, options.data, log, port=settings.admin_port)
    metrics = None if settings.metrics_port is None else metrics_server(node, figures, port=settings.metrics_port)
    notify = Notifier()
    on_end_signal(_end, node, settings.asked_to_end)
    try:
        if (options.gateways or options.feeds or options.web or options.nats) and node.tape is None:
            raise NoTape(
                f"gateways and feeds read the tape, and {'; '.join(node.warnings())}; free memory, give a smaller "
                "--tape-mb, or start without --gateway and --feed"
            )
        await _listen(node.start(), "--port", options.port)
        await _open_programs(node, options, None if pair is None else pair.options.candidate.name)
        await _listen(admin.start(), "--admin-port", settings.admin_port)
        if metrics is not None:
            await _listen(metrics.start(), "--metrics-port", settings.metrics_port)
        if pair is not None:
            await _listen(pair.start(), "--link", pair.options.port)
        log.info(
            "listening",
            host=options.host,
            port=node.port,
            admin_port=admin.port,
            seq=opened.engine.seq,
            durability=node.policy,
            **{f"{name}_port": port for name, port in node.ports.items() if port != node.port},
            **({} if pair is None else {"link": f"{pair.options.host}:{pair.port}"}),
        )
        metrics_at = metrics.port if metrics is not None else None
        settings.on_listening(
            NodeAddresses(
                options.host,
                node.port,
                admin.port,
                metrics_at,
                os.getpid(),
                tuple(node.warnings()),
                node.gateway_programs.ports,
                node.feed_programs.ports,
                node.web_programs.port,
                node.nats_programs.port,
                node.fix_data_programs.port,
            )
        )
        notify.ready(f"listening on {options.host}:{node.port}")
        beating = asyncio.create_task(_watched(notify, node))
        try:
            await node.run()
        except Deposed:
            if pair is not None and pair.outcome is not None:
                raise pair.outcome from None
            if not node.ending:
                raise
        finally:
            beating.cancel()
            notify.stopping()
    finally:
        if pair is not None:
            pair.close()
            await pair.release_reign()
            await pair.note_end()
            await pair.close_arbiter()
        if node.tape is not None:
            node.tape.close()
        await admin.close()
        if metrics is not None:
            await metrics.close()
        log.info("ended", seq=opened.engine.seq)


def _end(node: Node, asked: threading.Event) -> None:
    """End a node by a signal. One that has been deposed meanwhile does not start again as a copy."""
    asked.set()
    asyncio.get_running_loop().create_task(node.shutdown())


def _pair(node: Node, plan: PairPlan | None) -> Pair | None:
    """Replication of a node of a pair."""
    if plan is None:
        return None
    journal_id = node.journal.journal_id
    pair = Pair(node, plan.options, plan.make_arbiter(journal_id), plan.make_watch(journal_id))
    node.pair = pair
    return pair


async def _open_programs(node: Node, options: NodeOptions, name: str | None) -> None:
    """Start the programs beside the node that the operator wants. name: of the node in its pair."""
    for option in options.gateways:
        await _listen(node.open_gateway(option), "--gateway", option.port)
    for feed in options.feeds:
        await _listen(node.open_feed(feed, name), "--feed", feed.requests or feed.snapshots)
    if options.web is not None:
        await _listen(node.open_web(options.web), "--web", options.web.port)
    if options.nats is not None:
        await _listen(node.open_nats(options.nats, name), "--nats", options.nats.port)
    if options.fix_data is not None:
        await _listen(node.open_fix_data(options.fix_data), "--fix-data", options.fix_data.port)


def _check_ports(options: NodeOptions, admin_port: int | None, metrics_port: int | None, pair: PairPlan | None) -> None:
    """Refuse ports in use, and what is no address of this machine, before the directory is opened, since a recovery may
    take minutes. Raises PortInUse, NoAddress.

    Programs of a node that was killed may hold ports for a moment longer, and are waited for.
    """
    wanted = [("--port", options.host, options.port), ("--admin-port", "127.0.0.1", admin_port)]
    wanted += [("--gateway", options.host, each.port) for each in options.gateways]
    wanted += [] if options.web is None else [("--web", options.web.host, options.web.port)]
    wanted += [] if options.nats is None else [("--nats", options.nats.host, options.nats.port)]
    if options.fix_data is not None:
        wanted.append(("--fix-data", options.fix_data.host, options.fix_data.port))
    wanted.append(("--metrics-port", "127.0.0.1", metrics_port))
    wanted += [("--feed", each.interface, each.snapshots) for each in options.feeds]
    if pair is not None:
        wanted.append(("--link", pair.options.host, pair.options.port))
    for option, host, port in wanted:
        _check_address("--host" if option == "--port" else option, host)
        if not port or _is_free(host, port):
            continue
        # Its own port, if the directory has a node already: that is told where the directory is opened.
        if writer_pid(options.data) is None and not becomes_free(port, partial(_is_free, host, port)):
            raise _in_use(option, port)


def _listen_once(host: str, port: int) -> None:
    socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()


def _check_address(option: str, host: str) -> None:
    try:
        _listen_once(host, 0)
    except OSError as error:
        if is_elsewhere(error):
            raise NoAddress(
                f"{host} of {option} is no address of this machine; give one that `ip address` shows, or 127.0.0.1"
            ) from error


def _is_free(host: str, port: int) -> bool:
    """False where somebody listens; any other fault is told where the port is opened."""
    try:
        _listen_once(host, port)
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def _in_use(option: str, port: int | None) -> PortInUse:
    return PortInUse(
        f"port {port} of {option} is in use; end the program that listens there (`ss -ltnp`), or give another port"
    )


async def _listen(starting: Awaitable[None], option: str, port: int | None) -> None:
    try:
        await starting
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise _in_use(option, port) from error


def watchdog_is_fed(node: Node) -> bool:
    """True while the market works: the event loop runs, and commands become durable."""
    return not node.unhealthy()


async def _watched(notify: Notifier, node: Node) -> None:
    """Notify the supervisor that the market works, if it watches."""
    seconds = notify.watchdog_s
    while seconds is not None:
        if watchdog_is_fed(node):
            notify.watchdog()
        await asyncio.sleep(seconds / 2)


def connections_within(wanted: int, past_days: int = 0) -> int:
    """Number of the wanted connections for which the system has descriptors, after raising the soft limit if possible.

    A node without descriptors could write no checkpoint, and its operator could not reach it, so some are reserved.
    past_days: days whose streams are kept, each in an open file.
    """
    reserved = DESCRIPTORS_RESERVED + past_days
    needed = wanted + reserved
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _less(soft, needed) and soft != hard:
        soft = hard if _less(hard, needed) else needed
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, soft - reserved)) if _less(soft, needed) else wanted


def _less(limit: int, needed: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < needed
