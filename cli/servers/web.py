"""`lockstep web`: market data for web clients in a process of its own, from its start to its end."""

import contextlib
import importlib.util
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from cli import errors, screen
from cli.errors import WrongUse
from cli.servers.beside import check_has_journal, opened_port
from cli.warmup import ready

if TYPE_CHECKING:
    from node.web.operators import OperatorPassword

_NEEDS = ("starlette", "uvicorn", "websockets", "httptools")


def check_can_serve(keys: Path | None, operators: Path | None, host: str, *, tls: bool = False) -> None:
    """Check that packages, keys and operators are there, before a node starts a process that needs them.

    tls: the gateways of the node take TLS alone. Raises WrongUse.
    """
    if keys is not None and tls:
        raise WrongUse(
            "the process of --web-keys trades through a gateway without TLS; leave out --tls-cert, or --web-keys"
        )
    if lacks := next((name for name in _NEEDS if importlib.util.find_spec(name) is None), ""):
        raise WrongUse(f"web clients need the package {lacks}, which is not installed: pip install 'lockstep[web]'")
    if keys is not None:
        from node.web.keys import KeyFileError, read_keys

        try:
            read_keys(keys)
        except KeyFileError as error:
            raise WrongUse(str(error)) from error
    if operators is not None:
        operators_of(operators, host)


def operators_of(path: Path, host: str) -> "dict[str, OperatorPassword]":
    """Operators of a file, for a page on an address of loopback alone: it has no TLS. Raises WrongUse, OSError."""
    from node.operator.admin import AdminError, check_loopback
    from node.web.operators import OperatorFileError, read_operators

    try:
        check_loopback(host, "the page of operators, whose passwords must not be read on the way,")
        return read_operators(path)
    except AdminError as error:
        raise WrongUse(f"{error}, and put a proxy with TLS before it") from error
    except OperatorFileError as error:
        raise WrongUse(str(error)) from error


def web(
    directory: Path,
    host: str,
    port: int,
    rate: int,
    keys: Path | None,
    orders_at: str | None,
    proxies: list[str],
    operators: Path | None = None,
    *,
    fd: int | None,
    as_json: bool,
) -> int:
    """Serve web clients. Exit status 0 after an orderly end. rate: requests a second by address; 0: no limit.

    keys: file of the users who may trade; orders_at: addresses of native order entry for them; both or none.
    operators: file of those who may sign in to the page.
    fd: of a socket that listens; None: it is opened.
    """
    check_has_journal(directory)
    try:
        from node.web.process import WebOptions, serve_web
    except ImportError as error:
        if not (error.name or "").startswith(_NEEDS):
            raise
        raise WrongUse(
            f"web clients need the package {error.name}, which is not installed: pip install 'lockstep[web]'"
        ) from error
    from client.addresses import parse_addresses
    from gateway.addresses import is_address
    from node.programs.logs import Log
    from node.programs.report import ProgramReport
    from node.web.keys import KeyFileError, read_keys

    if (keys is None) != (orders_at is None):
        raise WrongUse("order entry needs both --keys and --orders-at; give both, or none for market data alone")
    if bad := next((each for each in proxies if not is_address(each)), None):
        raise WrongUse(f"--proxy is {bad!r}; give the IP address of a proxy")
    try:
        found = read_keys(keys) if keys is not None else {}
        parse_addresses(orders_at or "127.0.0.1:1")
    except (KeyFileError, ValueError) as error:
        raise WrongUse(str(error)) from error
    may_sign_in = operators_of(operators, host) if operators is not None else {}
    ready(web=True)
    from node.programs.lent_port import listening_socket

    def opening() -> socket.socket:
        return listening_socket(host, port, 2_048) if fd is None else socket.socket(fileno=fd)

    listens = opened_port(f"--port {port}", host, opening)
    report = ProgramReport() if as_json else None

    def on_listening() -> None:
        at_host, at_port = listens.getsockname()[:2]
        if as_json:
            place = {"host": at_host, "port": at_port, "pid": os.getpid(), "data": str(directory)}
            screen.print_line(screen.json_line({"listening": place}))
        else:
            screen.print_line(
                f"web clients on http://{at_host}:{at_port} and ws://{at_host}:{at_port}, the page on "
                f"http://{at_host}:{at_port}/page/; end with Ctrl-C"
            )
        screen.flush()

    with contextlib.closing(Log(pretty=False if as_json else None)) as log:
        options = WebOptions(directory, listens, rate, found, orders_at or "", frozenset(proxies), report, may_sign_in)
        serve_web(options, log, on_listening=on_listening)
    return errors.FINE
