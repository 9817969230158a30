"""Native order entry over SoupBinTCP 3.00 as a protocol of the gateway."""

from pathlib import Path
from typing import Any, Final

from engine.capacity import Capacity
from engine.jit import Packed
from gateway.native.outbox import NativeOutbox
from gateway.native.packets import NUMBER, Known, read_streams
from gateway.native.session import NativeSession
from gateway.outbox import PAST_DAYS, Outbox
from wire.soup import PASSWORD_CHARACTERS, PacketType, packet
from wire.soup_session import HEARTBEAT_NS, SILENCE_NS


class Native:
    """Native order entry (``gateway.protocol.OrderProtocol``)."""

    name = "native"
    number = NUMBER
    outbox_name = NativeOutbox.name
    password_characters_max = PASSWORD_CHARACTERS
    read_streams = staticmethod(read_streams)
    answer_block = None
    heartbeat = packet(PacketType.SERVER_HEARTBEAT)
    heartbeat_ns = HEARTBEAT_NS
    silence_ns = SILENCE_NS

    def session(self, now_ns: int) -> NativeSession:
        """Session of a new connection."""
        return NativeSession(now_ns)

    def outbox(
        self, directory: Path, capacity: Capacity, journal_id: bytes, *, past_days: int = PAST_DAYS
    ) -> NativeOutbox:
        """Streams of the users as before the first command."""
        return NativeOutbox(directory, capacity, journal_id, past_days=past_days)

    def known(self, outbox: Outbox[Any]) -> Packed[Known]:
        """Instruments with which messages are explained."""
        return Packed(Known(outbox.streams.symbols, outbox.streams.price_max_e4))


NATIVE: Final = Native()
