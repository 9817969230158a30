"""Readers of what a market publishes through NATS: whole blocks of its journal, and messages of its ITCH feed.

    async with BlockReader("nats://127.0.0.1:4222", "main", requests="127.0.0.1:26500", from_seq=1) as reader:
        async for block in reader:
            print(block.first_seq, block.commands, block.event_digest.hex())

NATS brings what is published, and may lose, double or reorder it; it is no record. What is missing, and what does not
come out at its digest, is asked of the owners of the journal, the nodes of the market, at their addresses ``requests``.
While NATS is silent they are asked too. Each block or message is given once, in order and proven, or ``FeedFault`` says
why there can be no more.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from client.addresses import Address, parse_addresses
from client.errors import CannotConnect, ClientError, ConnectionLost
from client.nats_line import CONNECT_S, NatsLine
from client.publication import (
    HEAD_BYTES,
    BadPublication,
    Gone,
    Publication,
    Refused,
    Request,
    checked_url,
    is_venue,
    read,
    sizes,
    subject,
    unpacked,
)
from client.publication_sequence import (
    BlockSequence,
    MessageSequence,
    PublicationSequence,
    PublishedBlock,
    PublishedMessages,
)

#: Time between two looks at what is missing, and before another try where an owner or the server is not there.
_LOOK_S: Final = 0.01
_RETRY_S: Final = 0.2
#: Time for an orderly end before it is asked for again, in seconds.
_END_S: Final = 2.0
#: Silence in which an owner that answers is given up, in seconds.
_ANSWER_S: Final = 10.0
#: Time without a block after which a program is told why, in seconds.
_TELL_S: Final = 3.0
#: Publications that wait to be taken; while there are so many, no more are read.
_WAITING_MAX: Final = 256

Made = TypeVar("Made", PublishedBlock, PublishedMessages)


class _Reader(Generic[Made]):
    """Connection and requests of both readers. ``order``: the part without a socket, with its counts."""

    order: PublicationSequence[Made]

    def __init__(self, url: str, venue: str, requests: str | Sequence[str], login: str) -> None:
        if not is_venue(venue):
            raise ValueError(f"{venue[:80]!r} is no venue; give up to 32 letters, digits, - and _")
        self._url, self._venue, self._login = checked_url(url), venue, login
        self._owners: list[Address] = list(parse_addresses(requests)) if requests else []
        #: Connections to the NATS server, requests to owners, answers that were whole, and the last refusal of one.
        self.connections = self.requests_sent = self.answers = 0
        self.refused_why = ""
        self._server_trouble = self._owner_trouble = ""
        self._came: asyncio.Queue[tuple[Publication, bool]] = asyncio.Queue(_WAITING_MAX)
        self._ready: list[Made] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._asking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to read. The server may come later."""
        self._tasks.append(asyncio.create_task(self._listen()))
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End reading. May be repeated."""
        tasks = [*self._tasks, *([self._asking] if self._asking else [])]
        left = set(tasks)
        while left:
            for task in left:  # again, where nats-py has lost the cancellation: what it waited for came with it
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_END_S)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    @property
    def is_whole(self) -> bool:
        """True if all that is known of was given, and the publisher is heard."""
        return self.order.is_whole(time.monotonic_ns()) and self._came.empty()

    @property
    def why_waiting(self) -> str:
        """Reason why there may be nothing to give; "" while the publisher is heard and nothing is missing.

        The NATS server does not answer, nobody publishes there, or no owner has given what is missing. The reader goes
        on trying.
        """
        if self.is_whole:
            return ""
        found = [each for each in (self._server_trouble, self._owner_trouble) if each]
        if not self._server_trouble and not self.order.is_heard(time.monotonic_ns()):
            found.insert(0, f"nothing is heard of {subject(self._venue, self.order.kind)}")
        return "; ".join(found) or "messages are missing"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Made:
        """The next, however long it takes. Raises FeedFault, and ConnectionLost after ``close``."""
        while not self._ready:
            if not self._tasks:
                raise ConnectionLost("the reader is closed; make another one")
            await self._take()
        return self._ready.pop(0)

    async def _take(self) -> None:
        """Take what came, or comes soon, and ask for what is missing."""
        self.order.check()
        asked = self.order.due(time.monotonic_ns())
        if asked is not None and self._owners and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask(asked))
        try:
            came, from_owner = self._came.get_nowait()
        except asyncio.QueueEmpty:
            try:
                async with asyncio.timeout(_LOOK_S):
                    came, from_owner = await self._came.get()
            except TimeoutError:
                return
        self._ready += self.order.take(came, time.monotonic_ns(), from_owner=from_owner)

    async def _listen(self) -> None:
        """Have a line to the NATS server, and another one after each end."""
        while True:
            try:
                line = await NatsLine.connect(self._url, name=f"lockstep reader of {self._venue}", login=self._login)
                try:
                    await line.subscribe(subject(self._venue, self.order.kind), self._on_message)
                    self.connections += 1
                    self._server_trouble = ""
                    while line.is_open:
                        await asyncio.sleep(_RETRY_S)
                finally:
                    await line.close()
            except (CannotConnect, ConnectionLost) as error:
                self._server_trouble = str(error)
            await asyncio.sleep(_RETRY_S)

    async def _on_message(self, headers: dict[str, str], payload: bytes) -> None:
        try:
            found = read(headers, payload)
        except BadPublication:
            self.order.counts.refused += 1
            return
        await self._came.put((found, False))

    async def _ask(self, asked: Request) -> None:
        """Ask one owner after the other until one has answered whole."""
        gone = 0
        for _ in range(len(self._owners)):
            self.requests_sent += 1
            try:
                await self._ask_of(self._owners[0], asked)
            except Refused as error:
                self.refused_why = str(error)
                self._owner_trouble = f"{self._owners[0]} refuses to send what is missing: {error}"
                gone += isinstance(error, Gone)
            except (OSError, TimeoutError, BadPublication, asyncio.IncompleteReadError, ClientError) as error:
                self._owner_trouble = f"{self._owners[0]} does not answer requests: {_plain(error)}"
            else:
                self.answers += 1
                self._owner_trouble = ""
                return
            self._owners.append(self._owners.pop(0))
        if gone == len(self._owners):
            self.order.note_gone(self.refused_why, time.monotonic_ns())
        else:
            self.order.note_unsure()
        await asyncio.sleep(_RETRY_S)

    async def _ask_of(self, owner: Address, asked: Request) -> None:
        async with asyncio.timeout(CONNECT_S):
            answers, line = await asyncio.open_connection(owner.host, owner.port)
        try:
            line.write(asked.line())
            while True:
                async with asyncio.timeout(_ANSWER_S):
                    head = await answers.readexactly(HEAD_BYTES)
                    if not any(head):
                        break  # the end of a whole answer
                    lines, payload = sizes(head)
                    found = unpacked(await answers.readexactly(lines), await answers.readexactly(payload))
                await self._came.put((found, True))
        finally:
            line.close()
        while not self._came.empty():  # it counts as answered once it was taken
            await asyncio.sleep(_LOOK_S)
        self.order.answered()


class BlockReader(_Reader[PublishedBlock]):
    """Reader of the blocks of a journal, each linked to the one before.

    from_seq: the command to begin with, in whose block it is; None: with the first that is published. requests: of the
    owners of the journal, HOST:PORT; without any, a gap is never filled. login: "user:password" or a token of the NATS
    server. Raises ValueError for what is no URL, venue or address.
    """

    def __init__(
        self, url: str, venue: str, *, requests: str | Sequence[str] = (), from_seq: int | None = None, login: str = ""
    ) -> None:
        super().__init__(url, venue, requests, login)
        self.order = BlockSequence(from_seq)


def _plain(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it is silent"
    return "it is no owner of the journal, or ended the connection" if isinstance(error, EOFError) else str(error)


def _ignore(_why: str) -> None:
    """Tell nobody why there is nothing."""


def published_blocks(
    url: str, venue: str, requests: str | Sequence[str] = (), on_waiting: Callable[[str], object] = _ignore
) -> Iterator[PublishedBlock]:
    """Blocks for a program without an event loop: all of the journal where its owners are given, else those that are
    published from now on.

    The words are those of ``BlockReader``. Nothing is received while the program is busy with a block: where that takes
    long NATS may end the connection. Then another is made, and owners are asked for what was missed. ``on_waiting``:
    called with ``BlockReader.why_waiting`` where nothing has come for 3 s, once for each reason. Raises ValueError and
    FeedFault; RuntimeError where an event loop runs.
    """

    async def following() -> PublishedBlock:
        told = ""
        while True:
            try:
                async with asyncio.timeout(_TELL_S):
                    return await anext(reader)
            except TimeoutError:
                why = reader.why_waiting
                if why and why != told:
                    on_waiting(why)
                told = why

    reader = BlockReader(url, venue, requests=requests, from_seq=1 if requests else None)
    with asyncio.Runner() as runner:
        runner.run(reader.__aenter__())
        try:
            while True:
                yield runner.run(following())
        finally:
            runner.run(reader.close())


class MessageReader(_Reader[PublishedMessages]):
    """Reader of the messages of the ITCH feed, session by session, proven by the chain of their digests.

    session: the day to begin with, as 20240115, from its message ``from_number`` on; "" with None: with the first that
    is published, or the present session from that number on. The rest as ``BlockReader``.
    """

    def __init__(
        self,
        url: str,
        venue: str,
        *,
        requests: str | Sequence[str] = (),
        session: str = "",
        from_number: int | None = None,
        login: str = "",
    ) -> None:
        super().__init__(url, venue, requests, login)
        self.order = MessageSequence(1 if session and from_number is None else from_number, session)
