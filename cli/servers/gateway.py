"""`lockstep gateway`: clients of one protocol in a process of its own, from its start to its end."""

import contextlib
import errno
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from cli import errors, screen
from cli.errors import WrongUse
from cli.servers.beside import check_has_journal
from cli.warmup import ready

if TYPE_CHECKING:
    from gateway.protocol import OrderProtocol

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class ConnectionBounds(NamedTuple):
    """Connections at most: in all, of one address (None: all), and of one address without a login (None: a quarter)."""

    connections_max: int
    per_address_max: int | None
    waiting_per_address_max: int | None


def gateway(
    directory: Path,
    name: str,
    protocol: str,
    *,
    host: str,
    port: int,
    fd: int | None,
    when_full: Literal["wait", "refuse"],
    bounds: ConnectionBounds,
    past_days: int,
    tls: ssl.SSLContext | None,
    fix_accounts: Path | None,
    as_json: bool,
) -> int:
    """Run a gateway process. Exit status 0 after an orderly end. fd: of a socket that listens; None: host and port."""
    from gateway.fix.copy_session import FIX_COPIES
    from gateway.fix.protocol import FIX
    from gateway.native.protocol import NATIVE
    from node.gateways.protocols import PROTOCOLS
    from node.programs.process_names import OWN_NAMES

    if protocol not in PROTOCOLS:
        raise WrongUse(f"there is no protocol {protocol}; --protocol takes {', '.join(sorted(PROTOCOLS))}")
    if name in OWN_NAMES:
        raise WrongUse(f"a process of the node has the name {name}; give another --name")
    check_has_journal(directory)
    listening = None if fd is None else _listening(fd)
    ready(gateway=True, native=protocol == NATIVE.name, reports=protocol in (FIX.name, FIX_COPIES.name))
    from node.gateways.process import GatewayOptions, GatewayProcess, GatewayStopped, serve_gateway
    from node.programs.logs import Log
    from node.programs.report import ProgramReport

    def on_listening(process: GatewayProcess) -> None:
        place = {"host": host, "port": process.port, "pid": os.getpid(), "gateway": name, "data": str(directory)}
        if as_json:
            screen.print_line(screen.json_line({"listening": place}))
        else:
            screen.print_line(f"gateway {name} listens on {host} port {process.port}; end it with Ctrl-C")
        screen.flush()

    options = GatewayOptions(
        directory,
        name,
        PROTOCOLS[protocol] if fix_accounts is None else _with_accounts(protocol, fix_accounts),
        host,
        port,
        listening,
        when_full,
        *bounds,
        past_days,
        tls,
        report=ProgramReport() if as_json else None,
    )
    log = Log(pretty=False if as_json else None)
    with contextlib.closing(log):
        try:
            serve_gateway(options, log, on_listening=on_listening)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise GatewayStopped(
                    f"port {port} is in use; end the program that listens there, or give another --port"
                ) from error
            if error.errno not in _FULL:
                raise
            again = "the node starts it again by itself" if fd is not None else "start it again"
            where = error.filename or directory / "gateways" / name
            raise GatewayStopped(
                f"the disk of {where} is full, where the gateway keeps the messages of its clients; free some space: "
                f"{again}, and nothing is lost"
            ) from error
    return errors.FINE


def _with_accounts(name: str, path: Path) -> "OrderProtocol":
    """A protocol of FIX with the terms of users of a file. Raises WrongUse."""
    from gateway.fix.accounts import Accounts, AccountsError
    from gateway.fix.protocol import Fix
    from node.gateways.protocols import PROTOCOLS

    protocol = PROTOCOLS[name]
    if not isinstance(protocol, Fix):
        raise WrongUse(f"--fix-accounts is of gateways of FIX, and --protocol is {name}; leave it out")
    try:
        return type(protocol)(Accounts(path.absolute()))
    except AccountsError as error:
        raise WrongUse(str(error)) from error


def _listening(fd: int) -> socket.socket:
    """The socket of a descriptor. Raises WrongUse."""
    try:
        found = socket.socket(fileno=fd)
        if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            found.detach()
            raise OSError("it does not listen")
    except OSError as error:
        raise WrongUse(f"--fd {fd} is no socket that listens: {error.strerror or error}") from error
    found.setblocking(False)
    return found
