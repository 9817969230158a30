"""An acceptor of FIX that echoes: what QuickFIX's definitions expect behind a session, on ``wire.fix_session``.

``python -m tests.fix_echo VERSION XML [XML]`` listens at a free port of the loopback, prints it, and serves one session
between ISLD and TW until its input ends. VERSION: FIX.4.2, FIX.4.4 or FIXT.1.1; XML: its dictionaries, that of the
session first; none: our own tables. With ``--keep`` numbers go on at a logon; without, they begin again, as the
definitions expect.
"""

import asyncio
import sys
import time
from pathlib import Path

from wire.fix_codec import Garbled, Message, body
from wire.fix_dictionary import joined, read_xml
from wire.fix_events import Event, Identity, LoggedOut, LogonAsked, Received, Terms, identity
from wire.fix_session import Session
from wire.fix_store import MemoryStore
from wire.fix_table import own
from wire.fix_validation import Validator
from wire.session_state import State

#: Fields of the header, which an echo writes anew, and of the trailer.
_AROUND = frozenset(b"8 9 34 35 49 52 56 10 43 122".split())
_HEADER = frozenset(b"97 115 116 128 129 144 145".split())


class Echo:
    """The application of the definitions: orders and definitions of securities come back, the rest is refused."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.seen: set[bytes] = set()

    def act(self, events: list[Event]) -> None:
        """Act upon events, and upon what comes of that."""
        now_ns = time.time_ns
        for event in events:
            match event:
                case LogonAsked():
                    self.act(self.session.accept(now_ns()))
                case LoggedOut():
                    self.seen.clear()
                case Received(_, message):
                    self.echo(message, now_ns())

    def echo(self, message: Message, now_ns: int) -> None:
        """Send a message back, unless it was resent and is known."""
        kind = message.msg_type
        if kind not in (b"D", b"d"):
            # The definitions have the version of the messages here too, which the message itself does not have.
            version = self.session.terms.application_version
            more = [] if version is None else [(1137, version)]
            self.session.business_reject(message, 3, "Unsupported Message Type", now_ns, more)
            return
        order_id = message.fields.get(b"11", b"")
        if kind == b"D" and message.get(b"97") == b"Y" and order_id in self.seen:
            return
        self.seen.add(order_id)
        pairs = message.in_order()
        header = [(int(tag), value) for tag, value in pairs if tag in _HEADER]
        fields = [(int(tag), value) for tag, value in pairs if tag not in _AROUND and tag not in _HEADER]
        self.session.send(kind, body(sorted(fields, key=lambda pair: pair[0])), now_ns, header)


class Door:
    """A listener with one session behind it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.echo = Echo(session)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until it ends."""
        try:
            first = b""
            while (names := identity(first)) is None:
                data = await asyncio.wait_for(reader.read(65536), 60)
                if not data:
                    return
                first += data
            terms = self.session.terms
            if names == Identity(terms.version, terms.target, terms.sender) and self.session.state is State.ENDED:
                await self._converse(first, reader, writer)
        except (Garbled, TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _converse(self, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = self.session
        session.connected(time.time_ns())
        reading = None
        try:
            while True:
                self.echo.act(session.receive(data, time.time_ns()))
                self.echo.act(session.tick(time.time_ns()))
                while session.resending:
                    session.resend_more(time.time_ns())
                writer.writelines(session.take())
                if session.state is State.ENDED:
                    return
                data = b""
                reading = reading or asyncio.ensure_future(reader.read(65536))
                due_ns = session.due_ns()
                wait = None if due_ns is None else max(0.0, (due_ns - time.time_ns()) / 1e9) + 0.001
                done, _ = await asyncio.wait([reading], timeout=wait)
                if done:
                    data, reading = reading.result(), None
                    if not data:
                        return
        finally:
            if reading is not None:
                reading.cancel()
            self.echo.act([LoggedOut("")])
            session.disconnected()


def session_of(version: str, dictionaries: list[Path], keeps: bool) -> Session:
    """The session that the definitions talk to."""
    read = [read_xml(path) for path in dictionaries]
    dictionary = own(version) if not read else read[0] if len(read) == 1 else joined(*read)
    application = "9" if version == "FIXT.1.1" else None
    terms = Terms(version, "ISLD", "TW", application, reset_on_logon=not keeps)
    return Session(terms, Validator(dictionary), MemoryStore())


async def main(version: str, dictionaries: list[Path], keeps: bool) -> None:
    """Listen until the input ends."""
    door = Door(session_of(version, dictionaries, keeps))
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [Path(each) for each in sys.argv[2:] if each != "--keep"], "--keep" in sys.argv))
