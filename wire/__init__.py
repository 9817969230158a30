"""Wire formats as pure functions of bytes: SoupBinTCP packets and sessions, OUCH messages."""

from wire.errors import ProtocolError
from wire.soup import LoginRequest, PacketType, RejectCode
from wire.soup_session import ClientSession, Due, ServerSession, State

__all__ = [
    "ClientSession",
    "Due",
    "LoginRequest",
    "PacketType",
    "ProtocolError",
    "RejectCode",
    "ServerSession",
    "State",
]
