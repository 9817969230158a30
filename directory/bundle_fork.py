"""Bundles written beside the market: a fork of the process has a copy of the state, and writes it."""

import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

from checkpoints import CheckpointStore
from directory.bundle import Found, clear_leftovers, write_bundle
from directory.recover import image, stateful
from engine.interface import MarketEngine
from journal import Journal
from replay.forking import deaf_to_ctrl_c, drop_others, of_low_priority, undisturbed
from replay.rebuild import capacity_of

#: Lower priority of the child: the market goes first.
_NICE = 10
_SENTENCE_BYTES_MAX = 4_096
_LOOK_S = 0.01


class _Child(NamedTuple):
    pid: int
    said: int


class BundleFork:
    """Writer of bundles into the data directory of a journal, one at a time; the others wait.

    ``report`` gets the path of each, ``warn`` the sentence of one that failed. Call ``tend`` now and then.
    """

    def __init__(self, journal: Journal, report: Callable[[str], object], warn: Callable[[str], object]) -> None:
        self._journal, self._report, self._warn = journal, report, warn
        self._child: _Child | None = None

    @property
    def busy(self) -> bool:
        """True while a bundle is being written."""
        return self._child is not None

    def begin(self, found: Found, engine: MarketEngine, blocks: Sequence[bytes], moment_ns: int) -> bool:
        """Begin a bundle of a difference with the engine as it stands; False while another is being written.

        ``blocks``: sealed blocks of the journal up to the engine's command.
        """
        self.tend()
        if self._child is not None:
            return False
        machine, directory = stateful(engine), self._journal.path
        capacity, journal_id = capacity_of(self._journal), self._journal.journal_id
        place = self._journal.place
        store, start_image = CheckpointStore(place.folder), place.start_image
        name = f"divergence-{found.epoch}-{found.last_seq}"
        clear_leftovers(directory)

        def write() -> str:
            taken = image(machine, capacity, journal_id)
            return str(
                write_bundle(directory, name, found, taken, blocks, store, moment_ns=moment_ns, start_image=start_image)
            )

        try:
            said, says = os.pipe()
            with undisturbed():
                pid = os.fork()
                if pid == 0:
                    _write_and_end(write, says)
        except OSError as error:
            self._warn(f"no bundle was written: no fork: {error.strerror}")
            return True
        os.close(says)
        self._child = _Child(pid, said)
        return True

    def tend(self) -> None:
        """Check the bundle under way; never waits."""
        self._reap()

    def finish(self, wait_s: float) -> None:
        """Wait for the bundle under way, if any; one that takes longer, as on a disk that hangs, is given up."""
        deadline_s = time.monotonic() + wait_s
        self._reap()
        while self._child is not None and time.monotonic() < deadline_s:
            time.sleep(_LOOK_S)
            self._reap()
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGKILL)  # it ends with its write, which nobody waits for
            os.close(self._child.said)
            self._child = None
            self._warn(f"no bundle was written: it was not done {wait_s:g} s after the end of the node")

    def _reap(self) -> None:
        child, status = self._child, 0
        if child is None:
            return
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                return
        except ChildProcessError:
            pass
        word, _, rest = os.read(child.said, _SENTENCE_BYTES_MAX).decode(errors="replace").partition(" ")
        os.close(child.said)
        self._child = None
        if word == "done":
            self._report(rest)
        else:
            self._warn(f"no bundle was written: {rest or f'its process ended with status {status}'}")


def _write_and_end(write: Callable[[], str], says: int) -> NoReturn:
    """Work of the child. It ends without the interpreter's cleanup, which belongs to its parent."""
    try:
        gc.disable()
        deaf_to_ctrl_c()
        drop_others(says)
        of_low_priority(_NICE)
        os.write(says, f"done {write()}".encode())
    except BaseException as error:  # the parent must get any error, and the child must end
        with suppress(OSError):
            os.write(says, f"failed {error or type(error).__name__}".encode()[:_SENTENCE_BYTES_MAX])
    finally:
        os._exit(0)
