"""`lockstep serve`: a node, from its start to its end."""

import contextlib
import errno
import ipaddress
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli import errors, screen
from cli.capacity import CapacityOptions
from cli.errors import WrongUse
from cli.warmup import ready
from directory.begin import holds_journal
from directory.pair_membership import check_single
from engine.capacity import Capacity

if TYPE_CHECKING:
    import ssl

    from gateway.tls import TlsFiles
    from node.node import NodeOptions
    from node.pair.plan import PairPlan

#: Default capacity of a new directory.
_CAPACITY: Final = Capacity(ids_max=1 << 23, participants_max=2_048)
#: Longest wait of a node's notes for a reader of standard error, in seconds.
_NOTICE_WAIT_S: Final = 1.0
_OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def serve(
    options: "NodeOptions",
    capacity: CapacityOptions,
    *,
    admin_port: int | None,
    metrics_port: int | None,
    password_cost: int,
    as_json: bool,
    pair: "PairPlan | None" = None,
    leave_pair: bool = False,
) -> int:
    """Run a node. Exit status 0 after an orderly end.

    capacity: of a new directory. admin_port: None for no TCP. metrics_port: None for no monitoring. pair: of a node of
    a pair. leave_pair: dissolve the pair of the directory.
    """
    if pair is None and not leave_pair:
        check_single(options.data)
    of_new = _CAPACITY
    if holds_journal(options.data):
        capacity.check(options.data)
    elif leave_pair:
        raise WrongUse(f"{options.data} has no journal, so there is no pair to leave; check --data")
    else:
        of_new = capacity.of_new(_CAPACITY)
    ready(gateway=True)
    from node.program import NodeAddresses
    from node.program import serve as run
    from node.programs.logs import Log

    def on_listening(where: NodeAddresses) -> None:
        bar.end()
        if as_json:
            line = screen.json_line({"listening": {**where._asdict(), "data": str(options.data)}})
        else:
            metrics = f", metrics on port {where.metrics_port}" if where.metrics_port is not None else ""
            web = f", web clients on port {where.web_port}" if where.web_port is not None else ""
            nats = (
                f", published through NATS (requests on port {where.nats_port})" if where.nats_port is not None else ""
            )
            web += f", market data by FIX on port {where.fix_data_port}" if where.fix_data_port is not None else ""
            gateways = "".join(f", gateway {name} on port {port}" for name, port in where.gateways.items())
            feeds = "".join(
                f", feed {name} (requests on port {ports['requests']}, snapshots on port {ports['snapshots']})"
                for name, ports in where.feeds.items()
            )
            line = (
                f"listening on {where.host} port {where.port}{gateways}{feeds}{web}{nats}{metrics}; command it with "
                f"`lockstep admin`, end it with Ctrl-C"
            )
        _print_beside(line)
        for sentence in where.warnings:
            screen.notice(f"warning: {sentence}")

    if options.durability == "none":
        screen.notice("note: durability none: a crash can lose answered orders; for measurements only")
    if pair is not None and not pair.options.settings.takes_over:
        policy = pair.options.settings.policy
        screen.notice(f"note: durability {policy}: no standby takes over by itself; give both or replica for that")
    log = Log(pretty=False if as_json else None, before=screen.Bar.cleared)
    screen.notice_wait_s = _NOTICE_WAIT_S
    if options.tls is None and not _is_loopback(options.host):
        sentence = (
            f"order entry on {options.host} is not encrypted: others can read passwords and orders on the network"
        )
        screen.notice(f"note: {sentence}; give --tls-cert and --tls-key")
        log.warning("no TLS", host=options.host, why=sentence)
    with contextlib.closing(log), screen.Bar("recovering") as bar, _names(options.data):
        run(
            options,
            of_new,
            log,
            admin_port=admin_port,
            metrics_port=metrics_port,
            password_cost=password_cost,
            progress=bar.to,
            on_listening=on_listening,
            pair=pair,
            leaves_pair=leave_pair,
        )
    return errors.FINE


@contextlib.contextmanager
def _names(directory: Path) -> Iterator[None]:
    """Context in which an error of the disk that names no file names the data directory."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _OF_THE_DISK:
            error.filename = str(directory)
        raise


def tls_of(certificate: Path | None, key: Path | None, client_ca: Path | None = None) -> "ssl.SSLContext | None":
    """TLS context of the options; None if none is given. Raises WrongUse, TlsError."""
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise WrongUse("TLS needs both a certificate and its key; give --tls-cert and --tls-key")
    from gateway.tls import server_context

    return server_context(certificate, key, client_ca)


def tls_files(certificate: Path | None, key: Path | None, client_ca: Path | None) -> "TlsFiles | None":
    """Files of ``tls_of``, for processes of a node; None if there is no TLS."""
    if certificate is None or key is None:
        return None
    from gateway.tls import TlsFiles

    return TlsFiles(certificate, key, client_ca)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _print_beside(line: str) -> None:
    """Print a line on standard output, from a thread if it has no reader yet: the market does not wait."""
    if screen.takes(sys.stdout, 0.0):
        screen.print_line(line)
        screen.flush()
        return

    def write() -> None:
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), f"{line}\n".encode())

    threading.Thread(target=write, daemon=True).start()
