"""Session of a client of a protocol over SoupBinTCP 3.00, as the gateway uses it.

The protocol has messages as payloads, and says what is wrong with one that its kernels cannot read.
"""

from abc import abstractmethod
from typing import Final

from gateway.arrivals import BROKEN
from gateway.protocol import Refusal, Taken
from wire import ProtocolError, ServerSession, soup
from wire.session_state import State
from wire.soup import Debug, LoginRequest, Logout, PacketType, RejectCode

_CLIENT_HEARTBEAT: Final = soup.packet(PacketType.CLIENT_HEARTBEAT)
_REJECT_CODES: Final = {
    Refusal.NOT_AUTHORIZED: RejectCode.NOT_AUTHORIZED,
    Refusal.NOT_AVAILABLE: RejectCode.SESSION_NOT_AVAILABLE,
}


class SoupSession(ServerSession):
    """Server's side of a connection, and what the gateway asks of it beside."""

    _tells = False  # the client asked for what SoupBinTCP has no field for

    @abstractmethod
    def why_unreadable(self, payload: bytes, /) -> str:
        """Sentence on a message that the kernels did not read: what is wrong with it."""

    def ask(self, data: bytes, now_ns: int) -> list[LoginRequest | ProtocolError]:
        """The login that the bytes ask for, or their error. A debug packet may ask to be told more (``soup.TELL``)."""
        events = self.receive(data, now_ns)
        self._tells = self._tells or Debug(soup.TELL) in events
        return [event for event in events if isinstance(event, LoginRequest | ProtocolError)]

    def accept_login(self, session: str, end_seq: int, epoch: int, now_ns: int) -> bytes:
        """Accept the login. A debug packet has the epoch: SoupBinTCP has no field for it, and clients that do not know
        it ignore the text.
        """
        accepted = self.accept(session, end_seq, now_ns)
        return accepted + Debug(f"epoch {epoch}").packet() if epoch else accepted

    def tell_end(self, end_seq: int) -> bytes:
        """Say in a debug packet how far the stream goes, if the client asked for it: Login Accepted has the number at
        which it begins.
        """
        return Debug(f"{soup.TOLD_END}{end_seq}").packet() if self._tells else b""

    def refuse(self, refusal: Refusal, why: str) -> bytes:
        """Reject the login, behind the reason if the client asked for it; the connection is to be closed after these
        bytes.
        """
        told = Debug(f"{soup.TOLD_REFUSED}{why}").packet() if self._tells else b""
        return told + self.reject(_REJECT_CODES[refusal])

    def take(self, region: memoryview, stop: int, now_ns: int) -> Taken:
        """Take the first packet, which is not one for the kernels."""
        try:
            size = soup.packet_bytes(region, 0, soup.PAYLOAD_BYTES_MAX)
        except ProtocolError as error:
            return Taken(0, str(error))
        kind, payload = region[2], bytes(region[soup.HEAD_BYTES : size])
        if stop == BROKEN:
            return Taken(0, self.why_unreadable(payload))
        try:
            event = self.packet(kind, payload, now_ns)
        except ProtocolError as error:
            return Taken(size, str(error))
        return Taken(size, "the client logged out", tells=False) if isinstance(event, Logout) else Taken(size)

    def survey(self, region: memoryview) -> tuple[int, bool]:
        """(bytes of heartbeats at the front, True if a packet follows that is no message)."""
        at = 0
        while region[at : at + len(_CLIENT_HEARTBEAT)] == _CLIENT_HEARTBEAT:
            at += len(_CLIENT_HEARTBEAT)
        rest = region[at:]
        try:
            whole = soup.packet_bytes(rest, 0, soup.PAYLOAD_BYTES_MAX) > 0
        except ProtocolError:
            whole = True  # it is refused as if it were there
        return at, whole and len(rest) > 2 and rest[2] != soup.PacketType.UNSEQUENCED

    def outgoing(self, stored: bytes) -> tuple[int, bytes]:
        """The stored bytes: streams are kept as they are sent."""
        return len(stored), stored

    def notice(self, why: str) -> bytes:
        """Debug packet with the reason for the end of the connection."""
        return Debug(f"closed: {why}").packet()

    def farewell(self) -> bytes:
        """End of Session."""
        return soup.packet(soup.PacketType.END_OF_SESSION)

    def shown(self, data: bytes) -> tuple[str, bool]:
        """The first packet in hexadecimal; of what may be a login, which has a password, the size alone."""
        if self.state is not State.LIVE or data[2:3] == bytes([PacketType.LOGIN_REQUEST]):
            return f"{len(data)} bytes of a login", True
        return data[: 2 + int.from_bytes(data[:2], "big")].hex(), False
