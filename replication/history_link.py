"""Connection to the history of another node: one request after the other, each with a time limit.

A blocking socket: the one who fetches has nothing else to do. A history that sends nothing for ``timeout_s`` is given
up; so is one that breaks the rules.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from replication import history, link
from replication.history import CopyGreeting, HistoryError, HistoryLost, NotReady, Peer, ReceivedFile
from replication.link import Frame, FrameReader, Kind, LinkError, Position

#: Longest wait for bytes of the history.
TIMEOUT_S: Final = 10.0
#: Longest wait for what a history will have in a moment, such as the image of a slice that it has just begun.
READY_S: Final = 60.0
_ASK_AGAIN_S: Final = 0.2
_READ_BYTES: Final = 1 << 20


class SliceAnswer(NamedTuple):
    """A slice of the history: its genesis record, last command, and the record of its image beside that (or b"").

    ``has_streams``: the other node keeps streams of users, so that an image needs them.
    """

    genesis: bytes
    last_seq: int
    is_closed: bool
    image_record: bytes
    has_streams: bool


class HistoryLink:
    """An open connection to the history at ``address`` (host, port). ``peer``: the other node, ``end``: of its history
    at the greeting.

    ``own``: this node; without a journal its ``journal_id`` is empty. ``where``: the other one in sentences, as a
    person named it; its address without. Raises HistoryError where the other node refuses, HistoryLost where it cannot
    be reached.
    """

    def __init__(
        self, address: tuple[str, int], secret: bytes, own: Peer, *, timeout_s: float = TIMEOUT_S, where: str = ""
    ) -> None:
        self.where = where or f"{address[0]}:{address[1]}"
        self._timeout_s = timeout_s
        self._reader = FrameReader()
        try:
            self._socket = socket.create_connection(address, timeout_s)
        except OSError as error:
            raise HistoryLost(
                f"the history at {self.where} cannot be reached: {error.strerror or error}; start that node, or check "
                "the address"
            ) from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._frames = self._read()
            self._greet(own, secret)
        except BaseException:
            self.close()
            raise

    def _greet(self, own: Peer, secret: bytes) -> None:
        greeting = CopyGreeting(own, secret, os.urandom(link.NONCE_BYTES))
        while greeting.peer is None:
            with self._rules():
                greeting.take(next(self._frames))
            self._send(greeting.out)
            greeting.out = b""
        self.peer: Peer = greeting.peer
        self.end = greeting.end
        self._reader.payload_bytes_max = link.PAYLOAD_BYTES_MAX

    def _rules(self) -> "_Rules":
        return _Rules(self.where)

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise HistoryLost(f"the connection to {self.where} ended: {error.strerror or error}") from error

    def _read(self) -> Iterator[Frame]:
        # Used again: fresh memory costs as much as what comes. The beginning of a frame stays until its end has come.
        data = bytearray(_READ_BYTES + link.HEAD_BYTES + link.PAYLOAD_BYTES_MAX)
        room, end = memoryview(data), 0
        while True:
            try:
                size = self._socket.recv_into(room[end : end + _READ_BYTES])
            except TimeoutError as error:
                raise HistoryLost(f"the history at {self.where} sent nothing for {self._timeout_s:g} s") from error
            except OSError as error:
                raise HistoryLost(f"the connection to {self.where} ended: {error.strerror or error}") from error
            if not size:
                raise HistoryLost(f"the history at {self.where} ended the connection")
            end += size
            yield from self._reader.cut(data, end)
            if cut := self._reader.cut_bytes:
                room[: end - cut] = room[cut:end]
                end -= cut

    def ask(self, what: str, **fields: Any) -> Iterator[Frame]:
        """Frames of the answer to a request, DONE the last; take them all before the next request. Raises
        HistoryError."""
        self._send(history.request(what, **fields))
        with self._rules():
            for frame in self._frames:
                if frame.kind == Kind.REFUSAL:
                    raise history.refusal(frame)
                yield frame
                if frame.kind == Kind.DONE:
                    return

    def patiently(self, action: Callable[[], Any]) -> Any:
        """Result of an action that asks, repeated while the history says that it will have it in a moment."""
        until_s = time.monotonic() + READY_S
        while True:
            try:
                return action()
            except NotReady as error:
                if time.monotonic() > until_s:
                    raise HistoryLost(f"{self.where}: {error}, for {READY_S:g} s now") from error
                time.sleep(_ASK_AGAIN_S)

    def slice(self, number: int) -> SliceAnswer:
        """A slice of the history. Raises HistoryError where it is not there."""
        answer: SliceAnswer = self.patiently(lambda: self._slice(number))
        return answer

    def _slice(self, number: int) -> SliceAnswer:
        genesis, told = b"", {}
        for frame in self.ask("slice", slice=number):
            if frame.kind == Kind.SLICE:
                genesis = frame.payload
            elif frame.kind == Kind.DONE:
                kinds = {"last_seq": int, "is_closed": bool, "image_record": bytes, "has_streams": bool}
                told = link.unpack_map(frame.payload, kinds)
        return SliceAnswer(genesis, **told)

    def files(self, what: str, endings: tuple[str, ...], folder: Path, **fields: Any) -> list[Path]:
        """Files of an answer, each written and synced in ``folder`` under its name. Raises HistoryError, OSError."""
        paths: list[Path] = []
        received: ReceivedFile | None = None
        fd = -1
        try:
            for frame in self.ask(what, **fields):
                with self._rules():
                    if frame.kind == Kind.FILE and (received is None or not received.left):
                        received = ReceivedFile(frame, endings)
                        fd = _finish(fd)
                        paths.append(folder / received.name)
                        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                        fd = os.open(paths[-1], flags, 0o600)
                    elif frame.kind == Kind.PIECE and received is not None:
                        received.take(frame.payload)
                        _write_all(fd, frame.payload)
                    elif frame.kind != Kind.DONE or (received is not None and received.left):
                        raise LinkError(f"{frame.kind.name} came in the middle of a file")
            fd = _finish(fd)
        finally:
            if fd >= 0:
                os.close(fd)
        return paths

    def common(self, number: int, tail: list[Position]) -> Position | None:
        """The first of some positions of a slice that the history has."""
        found: list[Position] = []
        for frame in self.ask("common", slice=number, tail=link.pack_positions(tail)):
            if frame.kind == Kind.COMMON:
                found = link.unpack_positions(frame.payload)
        if found and found[0] not in tail:
            raise HistoryError(f"{self.where} names a common position that this journal does not have")
        return found[0] if found else None

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> "HistoryLink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Rules:
    """Context in which a LinkError of the other node becomes a HistoryError that names it."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, LinkError):
            raise HistoryError(f"{self._where} is no history of this release: {error}; check the address") from error


def _finish(fd: int) -> int:
    if fd >= 0:
        os.fsync(fd)
        os.close(fd)
    return -1


def _write_all(fd: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]


def history_port(address: tuple[str, int], timeout_s: float = TIMEOUT_S) -> int:
    """Port of the history of the primary whose link is at ``address``; 0 if no primary is there, or it serves none.

    The port is not proved: the greeting of the history is.
    """
    reader = FrameReader()
    try:
        with socket.create_connection(address, timeout_s) as connection:
            while data := connection.recv(4_096):
                for frame in reader.feed(data):
                    return link.unpack_challenge(frame.payload)[1] if frame.kind == Kind.CHALLENGE else 0
    except (OSError, LinkError):
        pass
    return 0
