"""Work that a child process does with the memory of this one, so that an event loop goes on meanwhile.

A fork shares the memory of its parent, and the system copies a page when one of the two writes to it. So the loop
stands still for the milliseconds of the fork, however much the child then reads.
"""

import asyncio
import gc
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

from replay.forking import (
    deaf_to_ctrl_c,
    drop_others,
    end_with_parent,
    has_ended,
    kill_child,
    of_low_priority,
    undisturbed,
    wait_or_kill,
)

#: Interval of looks at a child, in seconds.
_LOOK_S: Final = 0.002
#: Word of a child that has done all of its work; any other one is the reason why not.
_DONE: Final = b"."
_SENTENCE_BYTES_MAX: Final = 4_096
#: Lower priority of a child: its parent goes first, also where both are bound to one processor.
_NICE: Final = 2


class WorkFailed(OSError):
    """A child has not done its work; the message is one sentence."""


class ChildWork:
    """Work in a child of this process, which begins at once. ``kept``: descriptors that it needs; it closes all others.

    Locks that another thread holds at that moment stay locked in the child: its work takes none, compiles no kernel
    and opens no journal. Raises WorkFailed where there can be no child.
    """

    def __init__(self, work: Callable[[], object], *kept: int) -> None:
        parent = os.getpid()
        self._said, says = os.pipe()
        try:
            with undisturbed():
                self._pid = os.fork()
                if self._pid == 0:
                    _work_and_end(work, parent, says, kept)
        except OSError as error:
            os.close(self._said)
            raise WorkFailed(f"no process could be made for it: {error.strerror}") from error
        finally:
            os.close(says)

    async def done(self, within_s: float) -> None:
        """Wait until all of it is done; a child that takes longer, or that nobody waits for any more, is killed.

        Raises WorkFailed.
        """
        until_s = time.monotonic() + within_s
        try:
            while not has_ended(self._pid):
                if time.monotonic() > until_s:
                    raise WorkFailed(f"its process took more than {within_s:g} s")
                await asyncio.sleep(_LOOK_S)
        except BaseException:
            self.give_up()
            raise
        said = os.read(self._said, _SENTENCE_BYTES_MAX)
        os.close(self._said)
        if said != _DONE:
            raise WorkFailed(said.decode(errors="replace") or "its process ended before it was made")

    def give_up(self) -> None:
        """Kill the child, in place of waiting until it is done."""
        kill_child(self._pid)
        wait_or_kill(self._pid, 0.0)
        os.close(self._said)


def _work_and_end(work: Callable[[], object], parent: int, says: int, kept: tuple[int, ...]) -> NoReturn:
    """Do the work of the child. It ends without the interpreter's cleanup, which belongs to its parent."""
    try:
        gc.disable()
        deaf_to_ctrl_c()
        end_with_parent(parent)
        drop_others(says, *kept)
        of_low_priority(_NICE)
        work()
        os.write(says, _DONE)
    except BaseException as error:  # the parent must get any error, and the child must end
        with suppress(OSError):
            os.write(says, (str(error) or type(error).__name__).encode()[:_SENTENCE_BYTES_MAX])
    finally:
        os._exit(0)
