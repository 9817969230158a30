"""Market data of past days from the journal to sockets: `lockstep replay --group` and `--port`."""

import os
import re
import socket
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.choice import Selection, range_of
from cli.questions.reading import plays
from cli.questions.reports import room_of
from cli.servers.beside import opened_port
from cli.servers.replay_files import checked_day
from cli.warmup import ready
from engine.capacity import Capacity
from journal.history import History
from replay.ahead import ahead
from replay.past import PlayedBlock, names_at_end


class Past(NamedTuple):
    """Range of a replay: a directory, a day (None: all) or commands or times (None: to the ends), and a speed."""

    directory: Path
    day: str | None
    begin: str | None
    end: str | None
    speed: str


class Multicast(NamedTuple):
    """Groups, interface and ports of a feed that is sent, as `lockstep feed` has them."""

    group: str
    second_group: str | None
    interface: str
    ttl: int
    requests: int
    snapshots: int


def speed_of(text: str) -> float | None:
    """Number of times as fast as it was; None: as fast as can be. Raises WrongUse.

    >>> speed_of("10x"), speed_of("max")
    (10.0, None)
    """
    if text == "max":
        return None
    if re.fullmatch(r"\d{1,6}(\.\d{1,3})?x", text) and float(text[:-1]) > 0:
        return float(text[:-1])
    raise WrongUse(f"--speed is {text}; write 1x, 10x or another number of times, or max")


def _selected(past: Past) -> tuple[Capacity, int, int | None] | None:
    """Room for the reports, and the range that is sent; None, after a notice, where it has no command."""
    found = range_of(past.directory, past.begin, past.end)
    if found is None:
        return None
    from_seq, to_seq = found
    return room_of(past.directory, Selection(from_seq, to_seq)), from_seq or 1, to_seq


def _blocks(past: Past, to_seq: int | None) -> Generator[PlayedBlock, None, None]:
    return ahead(plays(past.directory, 1, to_seq, "replaying"))


def send_itch(past: Past, to: Multicast, *, as_json: bool) -> int:
    """Send past days by multicast. Exit status 0 at their end, or where the operator ends it."""
    from node.feeds.programs import Address, feed_of_options, requests_socket

    speed, day = speed_of(past.speed), None if past.day is None else checked_day(past.directory, past.day)
    try:
        option = feed_of_options(to.group, to.second_group, to.interface, to.ttl)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    if (found := _selected(past)) is None:
        return errors.FINE
    capacity, from_seq, to_seq = found
    ready(feed=True)
    from node.feeds.replay_feed import ReplayFeedOptions, serve_replay_feed

    def opened(name: str, port: int, opening: Callable[[], socket.socket]) -> socket.socket:
        return opened_port(f"--{name} {port}", to.interface, opening)

    groups: tuple[Address, ...] = (option.group,) if option.second is None else (option.group, option.second)
    with (
        closing(opened("requests", to.requests, lambda: requests_socket(to.interface, to.requests))) as requests,
        closing(
            opened("snapshots", to.snapshots, lambda: socket.create_server((to.interface, to.snapshots)))
        ) as snapshots,
        closing(_blocks(past, to_seq)) as blocks,
    ):

        def on_listening() -> None:
            ports = {"requests": requests.getsockname()[1], "snapshots": snapshots.getsockname()[1]}
            if as_json:
                place = {"feed": "itch", "pid": os.getpid(), "data": str(past.directory), **ports}
                screen.print_line(screen.json_line({"listening": place}))
            else:
                screen.print_line(
                    f"sends to {' and '.join(map(str, groups))} at {past.speed}; requests on port {ports['requests']}, "
                    f"snapshots on port {ports['snapshots']} of {to.interface}; end it with Ctrl-C"
                )
            screen.flush()

        options = ReplayFeedOptions(groups, to.interface, to.ttl, requests, snapshots, from_seq, speed, day)
        done = serve_replay_feed(options, capacity, blocks, on_listening=on_listening)
    if as_json:
        sessions = [{"session": name, "messages": count} for name, count in done.sessions.items()]
        screen.print_json({"feed": "itch", "sessions": sessions, "packets": done.sent, "answered": done.answered})
        return errors.FINE
    rows = [(name, screen.count(count)) for name, count in done.sessions.items()]
    screen.table(["session", "messages"], rows, right=("messages",))
    screen.facts([("packets", screen.count(done.sent)), ("packets sent again", screen.count(done.answered))])
    return errors.FINE


def send_web(past: Past, host: str, port: int, *, as_json: bool) -> int:
    """Tell past days to web clients. Exit status 0 at their end, or where the operator ends it."""
    from cli.servers.web import check_can_serve

    speed = speed_of(past.speed)
    check_can_serve(None, None, host)
    if (found := _selected(past)) is None:
        return errors.FINE
    capacity, from_seq, to_seq = found
    ready(web=True)
    from node.programs.lent_port import listening_socket
    from node.web.replay_web import ReplayWebOptions, serve_replay_web

    with History.open(past.directory) as history:
        names = names_at_end(history)
    with (
        closing(opened_port(f"--port {port}", host, lambda: listening_socket(host, port, 128))) as listens,
        closing(_blocks(past, to_seq)) as blocks,
    ):

        def on_listening() -> None:
            at_host, at_port = listens.getsockname()[:2]
            if as_json:
                place = {
                    "feed": "ws",
                    "pid": os.getpid(),
                    "data": str(past.directory),
                    "host": at_host,
                    "port": at_port,
                }
                screen.print_line(screen.json_line({"listening": place}))
            else:
                screen.print_line(
                    f"begins with the first subscriber of ws://{at_host}:{at_port}, at {past.speed}; the page is on "
                    f"http://{at_host}:{at_port}/page/; end it with Ctrl-C"
                )
            screen.flush()

        options = ReplayWebOptions(listens, from_seq, speed, () if names is None else names.symbols)
        done = serve_replay_web(options, capacity, blocks, on_listening=on_listening)
    if as_json:
        products = [{"product": name, "messages": count} for name, count in done.messages.items()]
        screen.print_json({"feed": "ws", "products": products})
        return errors.FINE
    rows = [(name, screen.count(count)) for name, count in done.messages.items()]
    screen.table(["product", "messages"], rows, right=("messages",))
    return errors.FINE
