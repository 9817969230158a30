"""`lockstep nats`: publication of a market through NATS in a process of its own, from its start to its end."""

import contextlib
import importlib.util
import os
from pathlib import Path

from cli import errors, screen
from cli.errors import WrongUse
from cli.servers.beside import check_has_journal, opened_port
from cli.warmup import ready
from node.nats.programs import LoginFileError, NatsOption, read_login

_NEEDS = "nats"


def check_can_publish(option: NatsOption) -> None:
    """Check that package and login are there, before a node starts a process that needs them. Raises WrongUse."""
    if importlib.util.find_spec(_NEEDS) is None:
        raise WrongUse("NATS needs the package nats-py, which is not installed: pip install 'lockstep[nats]'")
    _login(option.login)


def _login(path: Path | None) -> str:
    try:
        return "" if path is None else read_login(path)
    except LoginFileError as error:
        raise WrongUse(str(error)) from error


def nats(
    directory: Path,
    option: NatsOption,
    node: str | None,
    *,
    requests_fd: int | None,
    as_json: bool,
) -> int:
    """Publish a market. Exit status 0 after an orderly end. requests_fd: of a socket that listens; None: a port."""
    check_has_journal(directory)
    check_can_publish(option)
    ready(feed=True)
    import socket

    from node.nats.process import NatsOptions, serve_nats
    from node.programs.lent_port import listening_socket
    from node.programs.logs import Log
    from node.programs.report import ProgramReport

    def opening() -> socket.socket:
        if requests_fd is not None:
            return socket.socket(fileno=requests_fd)
        return listening_socket(option.host, option.port, 128)

    listens = opened_port(f"--requests {option.port}", option.host, opening)
    report = ProgramReport() if as_json else None
    options = NatsOptions(
        directory, _NEEDS, option.url, option.venue, listens, _login(option.login), node, report=report
    )

    def on_listening() -> None:
        port = listens.getsockname()[1]
        if as_json:
            place = {"port": port, "venue": option.venue, "pid": os.getpid(), "data": str(directory)}
            screen.print_line(screen.json_line({"listening": place}))
        else:
            screen.print_line(
                f"publishes lockstep.{option.venue}.blocks and lockstep.{option.venue}.itch; requests on port {port} "
                f"of {option.host}; end it with Ctrl-C"
            )
        screen.flush()

    with contextlib.closing(Log(pretty=False if as_json else None)) as log:
        serve_nats(options, log, on_listening=on_listening)
    return errors.FINE
