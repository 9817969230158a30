"""Answers of a node to readers of its publications that miss something, by TCP: it owns the journal.

A reader sends one line, such as ``blocks - 17`` or ``itch 20240115 100``, and gets publications from there on, up to
what is released now or a bound; then eight zero bytes, and the connection ends. The last publication carries nothing
and says what comes next. Whoever reaches the port may read the journal: it is for machines that may see all of it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final, Protocol

from client.publication import (
    BLOCKS,
    HEAD_BYTES,
    REQUEST_BYTES_MAX,
    BadPublication,
    Gone,
    Publication,
    Refused,
    Request,
    packed,
    read_request,
    refusal,
)
from journal import JournalError
from journal.errors import SliceMissing

#: Clients at once; one more is turned away. Bytes of one answer, about.
CLIENTS_MAX: Final = 64
ANSWER_BYTES_MAX: Final = 64 << 20
#: Time for a client to ask, and for it to take a part of the answer, in seconds.
_ASK_S: Final = 10.0
_TAKE_S: Final = 30.0


class Source(Protocol):
    """Publications that answers are made of."""

    def answers(self, asked: Request) -> AsyncIterator[Publication]:
        """Publications from a number on. Raises Refused, JournalError."""
        ...


class RequestServer:
    """Clients that ask. ``answered``: requests that were answered whole."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._clients = 0
        self.answered = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        self._clients += 1
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()  # it has left, or takes nothing: a close waits until it has taken what is due
        except ValueError:
            pass  # it sends a line without an end
        finally:
            self._clients -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients > CLIENTS_MAX:
            writer.write(refusal(f"{CLIENTS_MAX} clients ask already; ask again later"))
            return
        async with asyncio.timeout(_ASK_S):
            line = await reader.readline()
        try:
            if len(line) > REQUEST_BYTES_MAX:
                raise BadPublication("the line is longer than a request")
            size = 0
            async with contextlib.aclosing(self._source.answers(read_request(line))) as answers:  # type: ignore[type-var]
                async for each in answers:
                    writer.write(packed(each))
                    size += len(each.payload)
                    async with asyncio.timeout(_TAKE_S):
                        await writer.drain()
                    if size >= ANSWER_BYTES_MAX:
                        break
        except (BadPublication, Refused, JournalError) as error:
            writer.write(refusal(str(error), gone=isinstance(error, Gone | SliceMissing)))
            return
        writer.write(bytes(HEAD_BYTES))
        self.answered += 1
        async with asyncio.timeout(_TAKE_S):
            await writer.drain()


def check_has(kind: str, asked: Request, next_number: int) -> None:
    """Raise Refused where a request is for more than comes next."""
    if asked.first > next_number:
        what = "commands" if kind == BLOCKS else "messages"
        raise Refused(f"this node has {what} up to {next_number - 1} only; ask another one, or later")
