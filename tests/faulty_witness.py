"""A witness with a fault: python -m tests.faulty_witness STEP KIND witness --data DIR ...

It kills itself before its step number STEP: a step is a call of the disk that changes it, or the telling of an answer
to a request that changes the register. It loads no command line, so that it starts at once.

sound        nothing else is wrong
tells-early  an answer is told before the register is written: the hole that the test of kills has to find
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from replication.arbiter import Read
from replication.register_file import Disk, RegisterFiles
from replication.secret_file import create_secret, read_secret
from replication.witness import Answered, Asked
from replication.witness_server import WitnessServer


class Silence:
    """A log that is thrown away."""

    def info(self, event: str, /, **fields: Any) -> None:
        """Log nothing."""

    warning = error = info


class Killer:
    """Count of the steps so far."""

    def __init__(self, at: int) -> None:
        self._left = at

    def step(self) -> None:
        """Die if this is the step."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_before_steps(killer: Killer) -> None:
    """Let each call of the disk that changes it be a step, and each answer."""
    for name in ("write", "sync", "rename", "sync_folder"):
        sound = getattr(Disk, name)

        def counted(self: Disk, *arguments: Any, _sound: Any = sound) -> Any:
            killer.step()
            return _sound(self, *arguments)

        setattr(Disk, name, counted)
    answer = WitnessServer.answer

    def told(self: WitnessServer, asked: Asked) -> Answered | None:
        answered = answer(self, asked)
        if not isinstance(asked.request, Read):
            killer.step()
        return answered

    WitnessServer.answer = told  # type: ignore[method-assign]


def tell_early() -> None:
    """Write a register only after its answer has left."""
    keep = WitnessServer._keep

    def late(self: WitnessServer, *arguments: Any) -> None:
        asyncio.get_running_loop().call_later(0.05, keep, self, *arguments)

    WitnessServer._keep = late  # type: ignore[method-assign]


async def serve(data: Path) -> None:
    """Serve a directory, and print the line that ``lockstep witness --json`` prints."""
    create_secret(data / "secret")
    server = WitnessServer(RegisterFiles(data), read_secret(data / "secret"), Silence())
    await server.start()
    print(json.dumps({"listening": {"port": server.port}}), flush=True)
    await server.run()


def main() -> None:
    """Serve with the fault."""
    at, kind, data = int(sys.argv[1]), sys.argv[2], Path(sys.argv[5])
    data.mkdir(mode=0o700, exist_ok=True)
    if kind == "tells-early":
        tell_early()
    kill_before_steps(Killer(at))
    asyncio.run(serve(data))


if __name__ == "__main__":
    main()
