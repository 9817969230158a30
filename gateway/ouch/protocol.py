"""OUCH 4.2 over SoupBinTCP 3.00 as a protocol of the gateway."""

from pathlib import Path
from typing import Any, Final

from engine.capacity import Capacity
from engine.jit import Packed
from gateway.ouch import context
from gateway.ouch.answering import answer_block
from gateway.ouch.outbox import OuchOutbox
from gateway.ouch.packets import Known, read_streams
from gateway.ouch.session import OuchSession
from gateway.outbox import PAST_DAYS, Outbox
from wire.soup import PASSWORD_CHARACTERS, PacketType, packet
from wire.soup_session import HEARTBEAT_NS, SILENCE_NS


class Ouch:
    """OUCH 4.2 over SoupBinTCP (``gateway.protocol.OrderProtocol``)."""

    name = "ouch"
    number = context.PROTOCOL
    outbox_name = OuchOutbox.name
    password_characters_max = PASSWORD_CHARACTERS
    read_streams = staticmethod(read_streams)
    answer_block = staticmethod(answer_block)
    heartbeat = packet(PacketType.SERVER_HEARTBEAT)
    heartbeat_ns = HEARTBEAT_NS
    silence_ns = SILENCE_NS

    def session(self, now_ns: int) -> OuchSession:
        """Session of a new connection."""
        return OuchSession(now_ns)

    def outbox(
        self, directory: Path, capacity: Capacity, journal_id: bytes, *, past_days: int = PAST_DAYS
    ) -> OuchOutbox:
        """Streams of the users as before the first command."""
        return OuchOutbox(directory, capacity, journal_id, past_days=past_days)

    def known(self, outbox: Outbox[Any]) -> Packed[Known]:
        """Instruments and orders with which messages are explained."""
        streams = outbox.streams
        return Packed(Known(streams.symbols, streams.tables.open, streams.tables.rest, streams.recent))


OUCH: Final = Ouch()
