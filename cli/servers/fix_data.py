"""`lockstep fix-data`: market data by FIX in a process of its own, from its start to its end."""

import contextlib
import os
import socket
from pathlib import Path

from cli import errors, screen
from cli.servers.beside import check_has_journal, opened_port
from cli.warmup import ready


def fix_data(directory: Path, host: str, port: int, *, fd: int | None, as_json: bool) -> int:
    """Serve subscribers. Exit status 0 after an orderly end. fd: of a socket that listens; None: it is opened."""
    check_has_journal(directory)
    from node.feeds.fix_data_process import FixDataOptions, serve_fix_data
    from node.programs.lent_port import listening_socket
    from node.programs.logs import Log
    from node.programs.report import ProgramReport

    ready(web=True)

    def opening() -> socket.socket:
        return listening_socket(host, port, 256) if fd is None else socket.socket(fileno=fd)

    listens = opened_port(f"--port {port}", host, opening)
    report = ProgramReport() if as_json else None

    def on_listening() -> None:
        at_host, at_port = listens.getsockname()[:2]
        if as_json:
            place = {"host": at_host, "port": at_port, "pid": os.getpid(), "data": str(directory)}
            screen.print_line(screen.json_line({"listening": place}))
        else:
            screen.print_line(f"market data by FIX on {at_host} port {at_port}; end it with Ctrl-C")
        screen.flush()

    with contextlib.closing(Log(pretty=False if as_json else None)) as log:
        serve_fix_data(FixDataOptions(directory, listens, report), log, on_listening=on_listening)
    return errors.FINE
