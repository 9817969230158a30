"""Watch beside a primary: it ends the lease at the arbiter as soon as the primary's process is dead.

Without it the standby waits until the lease has run out. It is a process of its own, in a session of its own, so that a
signal to the primary does not reach it. A process that is stopped, or a machine that is gone, is no death: then the
lease decides.

    python -m replication.death_watch DESCRIPTOR ADDRESS JOURNAL_ID SECRET_FILE CA_FILE

The descriptor is of the primary's process (pidfd_open) and inherited: a watch that comes to work after the primary has
died still finds it dead. A file may be "": none. Standard input has the epoch of the reign, a line for each; 0: none.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from replication.arbiter import Arbiter, ArbiterError
from replication.arbiters import open_arbiter, parse_address

#: Time in which the lease of a dead primary is to be ended, and the pauses between attempts, which double, in seconds.
_PATIENCE_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.05
_PAUSE_MAX_S: Final = 1.0


class DeathWatch:
    """The watch, from the side of the process that is watched."""

    def __init__(self, address: str, journal_id: bytes, secret_file: Path | None, ca_file: Path | None = None) -> None:
        """Start it. Raises OSError."""
        self._words = (address, journal_id, secret_file, ca_file)
        self._epoch = 0
        self._start(*self._words)

    def _start(self, address: str, journal_id: bytes, secret_file: Path | None, ca_file: Path | None) -> None:
        files = [str(file.absolute()) if file is not None else "" for file in (secret_file, ca_file)]
        own = os.pidfd_open(os.getpid())
        try:
            words = [str(own), address, journal_id.hex(), *files]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "replication.death_watch", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).parent.parent,
                start_new_session=True,
                pass_fds=(own,),
            )
        finally:
            os.close(own)

    @property
    def pid(self) -> int:
        """Number of its process, which may have ended."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True while the watch runs."""
        return self._process.poll() is None

    def revive(self) -> bool:
        """Start it again if it has ended; True if it had. Raises OSError."""
        if self.is_alive:
            return False
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._start(*self._words)
        self.reign(self._epoch)
        return True

    def reign(self, epoch: int) -> None:
        """Name the epoch that ends with this process; 0: none any more. A watch that is gone is no fault."""
        self._epoch = epoch
        pipe: IO[bytes] | None = self._process.stdin
        with suppress(OSError):
            if pipe is not None:
                pipe.write(f"{epoch}\n".encode())
                pipe.flush()

    def close(self) -> None:
        """End the watch; nothing ends with this process any more."""
        self.reign(0)
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._process.kill()  # nothing waits for it, even if it is stopped; its last epoch is 0
        self._process.wait()


async def _watch(process: int, arbiter: Arbiter) -> None:
    """Wait for the death of a process, then end the lease of its last epoch."""
    loop = asyncio.get_running_loop()
    dead = asyncio.Event()
    loop.add_reader(process, dead.set)
    told = _Epochs()
    os.set_blocking(0, False)

    def on_input() -> None:
        told.read()
        if told.ended:
            loop.remove_reader(0)

    loop.add_reader(0, on_input)
    await dead.wait()
    loop.remove_reader(process)  # it stays readable, and would have the loop turn without a rest
    told.read()  # its last words may still be in the pipe
    until_s, pause_s = loop.time() + _PATIENCE_S, _FIRST_PAUSE_S
    while told.last and loop.time() < until_s:
        try:
            await arbiter.release(told.last)
        except ArbiterError:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)
        else:
            return


class _Epochs:
    """Epochs that standard input names."""

    def __init__(self) -> None:
        self.last = 0
        self.ended = False
        self._rest = b""

    def read(self) -> None:
        """Read all that is there."""
        with suppress(BlockingIOError):
            while data := os.read(0, 4_096):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self.last = int(line)
            self.ended = True


def main(words: Sequence[str]) -> None:
    """Watch as the words of the command line say."""
    process, address, journal_id, *files = words
    secret_file, ca_file = (Path(file) if file else None for file in files)
    arbiter = open_arbiter(parse_address(address), bytes.fromhex(journal_id), secret_file=secret_file, ca_file=ca_file)
    asyncio.run(_watch(int(process), arbiter))


if __name__ == "__main__":
    main(sys.argv[1:])
