"""Driver of a register at a witness: one TCP connection, made when it is needed and made again after a loss.

A request that gets no answer within the time given ends the connection. Its outcome is unknown then, and its answer, if
it comes, is of no connection any more. So an answer is never taken for that of another request.
"""

import asyncio
import contextlib
import secrets
from typing import Final

from replication.arbiter import (
    TTL_NS_DEFAULT,
    Answer,
    Arbiter,
    ArbiterError,
    ArbiterUnknown,
    Read,
    Request,
    check_request,
    checked_market,
)
from replication.sentences import in_words, stood_still
from replication.witness import CHALLENGE_BYTES, Answered, ClientSession
from wire.errors import ProtocolError

#: Part of the lease time that an answer may take by default, and the least, in seconds.
_ANSWER_SHARE: Final = 1 / 3
_ANSWER_S_MIN: Final = 0.1
_READ_BYTES: Final = 65_536


class WitnessArbiter(Arbiter):
    """Driver of the register of one market. ``answer_s``: longest wait for an answer, the connection included."""

    def __init__(
        self,
        host: str,
        port: int,
        market: str,
        secret: bytes,
        *,
        ttl_ns: int = TTL_NS_DEFAULT,
        answer_s: float | None = None,
    ) -> None:
        self._host, self._port = host, port
        self._market = checked_market(market)
        self._secret = secret
        self.ttl_ns = ttl_ns
        self._answer_s = max(ttl_ns * 1e-9 * _ANSWER_SHARE, _ANSWER_S_MIN) if answer_s is None else answer_s
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<WitnessArbiter {self._host}:{self._port} of market {self._market}>"

    async def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close("the connection was closed")
            self._connection = None

    async def ask(self, request: Request) -> Answer:
        """Send a request and return its answer. Raises ArbiterError, ArbiterUnknown, or ValueError."""
        check_request(request)
        waiting: asyncio.Future[Answer | str] | None = None
        connection: _Connection | None = None
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._answer_s
        try:
            async with asyncio.timeout_at(until_s):
                connection = await self._connected()
                waiting = connection.ask(self._market, request)
                answer = await waiting
        except TimeoutError:
            # A loop that was busy may find the answer and the end of the time together.
            if waiting is None or not waiting.done() or waiting.cancelled() or waiting.exception() is not None:
                if connection is not None:
                    connection.close("it did not answer in time")
                still = stood_still(loop.time() - until_s)
                why = still or f"no answer within {self._answer_s:g} s"
                raise self._failure(why, request, sent=waiting is not None, still=bool(still)) from None
            answer = waiting.result()
        except ProtocolError as error:
            # It runs, and its address is right: the sentence says what to do.
            if waiting is None:
                raise ArbiterError(f"nothing was asked of the witness at {self._host}:{self._port}: {error}") from error
            raise self._failure(str(error), request, sent=True) from error
        except OSError as error:
            raise self._failure(in_words(error), request, sent=waiting is not None) from error
        if isinstance(answer, str):
            raise ArbiterError(f"the witness at {self._host}:{self._port} refused the request: {answer}")
        return answer

    async def _connected(self) -> "_Connection":
        async with self._connecting:
            if self._connection is None or self._connection.is_lost:
                self._connection = await _Connection.open(self._host, self._port, self._secret)
            return self._connection

    def _failure(self, why: str, request: Request, *, sent: bool, still: bool = False) -> ArbiterError:
        where = f"the witness at {self._host}:{self._port}"
        if sent and not isinstance(request, Read):
            return ArbiterUnknown(f"{where} has not answered, and may have done what was asked: {why}")
        if still:
            return ArbiterError(f"{why}, and took no answer of {where} in time")
        return ArbiterError(f"{where} cannot be reached: {why}; check that it runs, and its address")


class _Connection:
    """Connection that has shown the secret, with the requests that wait for an answer."""

    def __init__(self, session: ClientSession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._session = session
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Answer | str]] = {}
        self.is_lost = False
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def open(cls, host: str, port: int, secret: bytes) -> "_Connection":
        """Connect and show the secret. Raises OSError or ProtocolError."""
        reader, writer = await asyncio.open_connection(host, port)
        try:
            session = ClientSession(secret, secrets.token_bytes(CHALLENGE_BYTES))
            while not session.is_open:
                data = await reader.read(_READ_BYTES)
                if not data:
                    raise ConnectionResetError("it closed the connection")
                reply, _ = session.receive(data)
                writer.write(reply)
        except BaseException:
            writer.close()
            raise
        return cls(session, reader, writer)

    def ask(self, market: str, request: Request) -> "asyncio.Future[Answer | str]":
        """Send a request; the future of its answer. Raises OSError if the connection is lost."""
        if self.is_lost:
            raise ConnectionResetError("the connection was lost")
        request_id, line = self._session.request(market, request)
        waiting: asyncio.Future[Answer | str] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = waiting
        self._writer.write(line)
        return waiting

    async def _read(self) -> None:
        why = "it closed the connection"
        try:
            while data := await self._reader.read(_READ_BYTES):
                _, answers = self._session.receive(data)
                for answered in answers:
                    self._take(answered)
        except (OSError, ProtocolError) as error:
            why = _why(error)
        self.close(why)

    def _take(self, answered: Answered) -> None:
        waiting = self._waiting.pop(answered.request_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answered.answer)

    def close(self, why: str) -> None:
        """End the connection; requests without an answer fail."""
        if self.is_lost:
            return
        self.is_lost = True
        with contextlib.suppress(RuntimeError):  # the loop may be closed
            self._writer.close()
        self._reading.cancel()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError(why))
                waiting.exception()  # the request may have stopped waiting
        self._waiting.clear()


def _why(error: OSError | ProtocolError) -> str:
    return in_words(error) if isinstance(error, OSError) else str(error)
