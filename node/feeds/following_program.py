"""Life of a program that follows the tape of a node: feed, NATS, web and market data by FIX begin and end alike.

It restores what it knew, catches up with what is released, serves, and ends in order when its node ends, its operator
asks for it, or a part of it has failed. Each step of an end is done though one before it has failed, since the last of
them leave the image and the files from which the next start goes on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from gateway.attention import Attention
from node.feeds.tape_follower import NoNode, TapeFollower
from node.programs.core_silence import CoreSilence
from node.programs.logs import Log


class CoreWatch:
    """Watch over the core of a followed node, by looks ``interval_s`` apart.

    then: what its silence means, for the log.
    """

    def __init__(self, follower: TapeFollower, log: Log, interval_s: float, then: str) -> None:
        self._log, self._then = log, then
        self._attention = Attention(time.monotonic_ns(), int(interval_s * 1e9))
        self._silence = CoreSilence(follower.tape.pulse_ns, self._attention.present_ns)

    @property
    def is_silent(self) -> bool:
        """True while the core has not run for too long."""
        return self._silence.lasts

    def look(self) -> None:
        """Look now, and tell the log of a change."""
        self._attention.beat(time.monotonic_ns())
        if not self._silence.look(self._attention.present_ns):
            return
        if self.is_silent:
            self._log.warning("the node is silent", then=self._then)
        else:
            self._log.info("the node goes on")


class FollowingProgram:
    """Begin and end of a program. An heir sets ``follower`` when it is made, with ``stop`` for its faults.

    what: the program, for the log, such as "the feed". ``caught_up``: it has what was released at its start.
    """

    follower: TapeFollower

    def __init__(self, log: Log, what: str) -> None:
        self.log = log
        self.caught_up = False
        self._what = what
        self._failure: BaseException | None = None
        self._ended = asyncio.Event()

    # What heirs do.

    def _place(self) -> Mapping[str, Any]:
        """Words of the log on where it listens."""
        raise NotImplementedError

    async def _open(self) -> None:
        """Do what is due once, behind the catching up. Raises OSError where a port cannot be opened."""

    async def _serve(self, on_listening: Callable[[], None]) -> None:
        """Serve until the end is asked for. ``on_listening``: called once clients are taken."""
        on_listening()
        await self._until_end()

    def _take_last(self) -> None:
        """Do what an orderly end has to do at once, before anything is closed."""

    def _last_steps(self) -> Iterable[Callable[[], Awaitable[None]]]:
        """Steps of the end, in their order."""
        return (self.follower.stop,)

    def _last_words(self) -> Mapping[str, Any]:
        """Words of the log on the end."""
        return {"seq": self.follower.seq}

    def _on_no_image(self, why: str) -> None:
        """Tell the log that an image could not be written."""
        then = "the one before stays, and the next is tried when it is due"
        self.log.warning(f"no image of {self._what} was written", why=why, then=then)

    # Its life.

    async def start(self) -> None:
        """Catch up with what is released now, or until the end is asked for. Raises NoNode, OSError, and what replay
        raises."""
        await self.follower.catch_up()
        if not self._stopping:
            self.caught_up = True
            await self._open()

    def listening(self) -> Mapping[str, Any] | None:
        """Words of the log on where it listens; None: its end was asked for before it could."""
        return {**self._place(), "seq": self.follower.seq} if self.caught_up else None

    async def run(self, on_listening: Callable[[], None]) -> None:
        """Serve until the node or the operator ends it. Raises the fault that ended it: NoNode where the node did."""
        try:
            if self.caught_up:
                await self._serve(on_listening)
        except Exception as error:
            self.stop(error)
            self._failure = self._failure or error
        finally:
            await self._leave()
        if self._failure is not None:
            raise self._failure

    def stop(self, failure: BaseException | None = None) -> None:
        """End in order. failure: the fault that ends it. May be repeated: the first one counts."""
        if self._stopping:
            return
        if isinstance(failure, NoNode):
            self.log.warning(f"{self._what} ends", why="the node has ended")
        elif failure is not None:
            self.log.error(f"{self._what} stops", why=str(failure))
        elif self.caught_up:
            self._take_last()
        else:
            self.follower.give_up()
        self._failure = failure
        self._ended.set()

    @property
    def _stopping(self) -> bool:
        return self._ended.is_set()

    async def _until_end(self, *parts: "asyncio.Task[None]") -> None:
        """Wait until the end is asked for, or a part of the program has ended. Raises the fault of that part."""
        ending = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([*parts, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        for part in parts:
            if part.done():
                part.result()

    async def _leave(self) -> None:
        for step in self._last_steps():
            try:
                await step()
            except Exception as error:  # it ended the step, and the process ends with it
                self._failure = self._failure or error
        self.log.info("ended", **self._last_words())
