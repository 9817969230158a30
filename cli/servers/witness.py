"""`lockstep witness`: the arbiter of one or two machines without etcd, from its start to its end."""

import asyncio
import os
from pathlib import Path
from typing import Final

from cli import errors, screen
from cli.errors import WrongUse
from node.notify import Notifier
from node.programs.end_signals import on_end_signal
from node.programs.logs import Log
from replication.register_file import RegisterFiles, make_folder
from replication.secret_file import create_secret, read_secret
from replication.witness_server import PortInUse, WitnessServer

#: Name of the file in the directory of a witness that has its secret.
SECRET_NAME: Final = "secret"


def witness(data: Path, host: str, port: int, secret_file: Path | None, *, as_json: bool) -> int:
    """Run a witness until SIGTERM or Ctrl-C. Exit status 0 after an orderly end."""
    if data.is_dir() and ((data / "journal").is_dir() or (data / "slices").is_dir()):
        raise WrongUse(f"{data} is the data directory of a node; give the witness a directory of its own")
    make_folder(data)
    where = data / SECRET_NAME if secret_file is None else secret_file
    if secret_file is None and not where.exists():
        create_secret(where)
    secret = read_secret(where)
    files = RegisterFiles(data)
    log = Log(pretty=False if as_json else None)
    try:
        server = WitnessServer(files, secret, log, host=host, port=port)
        asyncio.run(_served(server, data, host, where, as_json=as_json))
    finally:
        log.close()
        files.close()
    return errors.FINE


async def _served(server: WitnessServer, data: Path, host: str, secret_file: Path, *, as_json: bool) -> None:
    on_end_signal(server.stop)
    try:
        await server.start()
    except PortInUse:
        raise
    except OSError as error:
        raise WrongUse(f"cannot listen on {host}: {(error.strerror or str(error)).lower()}; check --host") from error
    if as_json:
        place = {
            "host": host,
            "port": server.port,
            "pid": os.getpid(),
            "data": str(data),
            "secret_file": str(secret_file),
        }
        screen.print_line(screen.json_line({"listening": place}))
    else:
        screen.print_line(
            f"listening on {host} port {server.port}; nodes need a copy of {secret_file}; end it with Ctrl-C"
        )
    screen.flush()
    notify = Notifier()
    notify.ready(f"listening on {host}:{server.port}")
    try:
        await server.run()
    finally:
        notify.stopping()
