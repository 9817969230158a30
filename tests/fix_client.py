"""A client of FIX for tests: a socket, its two numbers, and the frames that came."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from wire.fix_codec import Cutter, FrameWriter, Message, Times, body

Fields = list[tuple[int, Any]]


class FixClient:
    """One connection of a user. ``in_seq``, ``out_seq``: of the next message that is expected, and that it sends."""

    def __init__(
        self,
        port: int,
        user: str = "UA",
        *,
        version: str = "FIX.4.4",
        in_seq: int = 1,
        out_seq: int = 1,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.version, self.user = version, user
        self.in_seq, self.out_seq = in_seq, out_seq
        self.writer = FrameWriter(version, user, "LOCKSTEP", Times())
        self.cutter = Cutter()
        self.frames: list[bytes] = []  # all that came, in order
        self.sent: list[tuple[int, bytes, bytes, int]] = []
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(120)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, kind: bytes, fields: Fields, **header: Any) -> int:
        """Send a message; its number."""
        seq, now_ns = self.out_seq, time.time_ns()
        self.out_seq += 1
        self.sent.append((seq, kind, body(fields), now_ns))
        self.socket.sendall(self.writer.routed(kind, seq, now_ns, body(fields), **header))
        return seq

    def next(self) -> Message | None:
        """The next message; None at the end of the connection."""
        while True:
            cut = self.cutter.next()
            if cut is not None:
                assert cut[1], f"length or checksum of {cut[0]!r}"
                self.frames.append(cut[0])
                return Message(cut[0])
            try:
                data = self.socket.recv(65_536)
            except ConnectionError:
                return None
            if not data:
                return None
            self.cutter.feed(data)

    def until(self, wanted: Callable[[Message], bool]) -> Message:
        """The next message that is wanted; heartbeats and test requests are answered, resends too, with gap fills."""
        while True:
            message = self.next()
            assert message is not None, f"the connection ended; the last frames are {self.frames[-3:]}"
            self._take(message)
            if wanted(message):
                return message

    def _take(self, message: Message) -> None:
        seq = message.number(b"34") or 0
        if message.get(b"43") == b"Y" and seq < self.in_seq:
            return
        if seq > self.in_seq and message.msg_type not in (b"A", b"5"):
            return
        if seq == self.in_seq:
            self.in_seq = (message.number(b"36") or 0) if message.msg_type == b"4" else seq + 1
        if message.msg_type == b"1":
            self.send(b"0", [(112, message.fields[b"112"])])
        elif message.msg_type == b"2":
            self.resend(message.number(b"7") or 1)

    def until_closed(self) -> None:
        """Read until the other side closes."""
        while (message := self.next()) is not None:
            self._take(message)

    def resend(self, begin: int) -> None:
        """Send what was asked for: orders again, and gap fills for the rest."""
        for seq, kind, fields, sent_ns in [each for each in self.sent if each[0] >= begin]:
            now_ns = time.time_ns()
            if kind in b"DGFHq":
                frame = self.writer.routed(kind, seq, now_ns, fields, first_sent_ns=sent_ns)
            else:
                fill = body([(36, seq + 1), (123, "Y")])
                frame = self.writer.routed(b"4", seq, now_ns, fill, first_sent_ns=now_ns)
            self.socket.sendall(frame)

    def log_on(self, password: str = "secret", seconds: int = 30, *more: tuple[int, Any]) -> Message:
        """Log on; the answer."""
        fields: Fields = [(98, 0), (108, seconds), *more, (554, password)]
        if self.version == "FIXT.1.1":
            fields.append((1137, "9"))
        self.send(b"A", sorted(fields))
        return self.until(lambda each: each.msg_type in (b"A", b"5"))

    def order(self, name: str, side: str = "1", qty: int = 1, price: str | None = "9.00", **more: Any) -> int:
        """Send a NewOrderSingle; its number. more: further fields, such as ``f59=1``."""
        fields: dict[int, Any] = {11: name, 21: "1", 38: qty, 40: "2" if price else "1", 54: side, 55: "XYZ"}
        fields[60] = Times().text(time.time_ns())
        if price:
            fields[44] = price
        fields |= {int(tag[1:]): value for tag, value in more.items()}
        return self.send(b"D", sorted(fields.items()))

    def report(self, name: str, kind: str | None = None) -> Message:
        """The next ExecutionReport of an order."""
        return self.until(
            lambda each: (
                each.msg_type == b"8"
                and each.get(b"11") == name.encode()
                and (kind is None or each.get(b"150") == kind.encode())
            )
        )

    def change(self, kind: bytes, name: str, before: str, **more: Any) -> int:
        """Send a request to cancel (F) or replace (G) an order."""
        fields: dict[int, Any] = {11: name, 41: before, 54: "1", 55: "XYZ", 60: Times().text(time.time_ns())}
        if kind == b"G":
            fields |= {21: "1", 40: "2"}
        fields |= {int(tag[1:]): value for tag, value in more.items()}
        return self.send(kind, sorted(fields.items()))

    def close(self) -> None:
        """Close the socket without a word."""
        self.socket.close()


@contextmanager
def one_write(session: FixClient) -> Iterator[None]:
    """A block in which all that a client sends goes out in one write, at its end."""
    whole, plain = bytearray(), session.socket
    session.socket = SimpleNamespace(sendall=whole.extend)  # type: ignore[assignment]
    try:
        yield
    finally:
        session.socket = plain
    plain.sendall(whole)
