"""`lockstep feed`: a market data feed in a process of its own, from its start to its end."""

import contextlib
import errno
import os
import socket
from pathlib import Path

from cli import errors, screen
from cli.errors import WrongUse
from cli.servers.beside import check_has_journal, opened_port
from cli.warmup import ready


def feed(
    directory: Path,
    name: str,
    group: str,
    second_group: str | None,
    interface: str,
    ttl: int,
    node: str | None,
    *,
    requests: int,
    snapshots: int,
    spins: bool,
    requests_fd: int | None,
    snapshots_fd: int | None,
    as_json: bool,
) -> int:
    """Run a feed. Exit status 0 after an orderly end. requests_fd, snapshots_fd: of sockets; None: ports."""
    from node.feeds.programs import Address, feed_of_options, requests_socket

    try:
        option = feed_of_options(group, second_group, interface, ttl, name=name)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    check_has_journal(directory)
    ready(feed=True)
    from node.feeds.process import FeedOptions, serve_feed
    from node.programs.logs import Log
    from node.programs.report import ProgramReport

    def opened(fd: int | None, port: int, what: str) -> socket.socket:
        def opening() -> socket.socket:
            if fd is not None:
                return socket.socket(fileno=fd)
            if what == "requests":
                return requests_socket(interface, port)
            return socket.create_server((interface, port), backlog=128)

        return opened_port(f"--{what} {port}", interface, opening)

    groups: tuple[Address, ...] = (option.group,) if option.second is None else (option.group, option.second)
    options = FeedOptions(
        directory,
        name,
        groups,
        interface,
        ttl,
        node,
        opened(requests_fd, requests, "requests"),
        opened(snapshots_fd, snapshots, "snapshots"),
        spins=spins,
        report=ProgramReport() if as_json else None,
    )

    def on_listening() -> None:
        ports = {each: getattr(options, each).getsockname()[1] for each in ("requests", "snapshots")}
        if as_json:
            place = {"port": ports["requests"], **ports, "feed": name, "pid": os.getpid(), "data": str(directory)}
            screen.print_line(screen.json_line({"listening": place}))
        else:
            to = " and ".join(str(each) for each in groups)
            screen.print_line(
                f"feed {name} sends to {to}; requests on port {ports['requests']}, snapshots on port "
                f"{ports['snapshots']} of {interface}; end it with Ctrl-C"
            )
        screen.flush()

    with contextlib.closing(Log(pretty=False if as_json else None)) as log:
        try:
            serve_feed(options, log, on_listening=on_listening)
        except OSError as error:
            if error.filename is None and error.errno == errno.EADDRNOTAVAIL:
                raise WrongUse(f"{interface} is no address of this machine; give another --interface") from error
            raise
    return errors.FINE
