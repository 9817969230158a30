"""Wire formats as pure functions of bytes: SoupBinTCP packets and sessions, OUCH messages."""

from wire.errors import ProtocolError
from wire.session_state import Due, State
from wire.soup import LoginRequest, PacketType, RejectCode
from wire.soup_session import ClientSession, ServerSession

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
