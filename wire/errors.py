"""The one error about a peer: its bytes are not the protocol. The session ends with the reason, the node goes on."""


class ProtocolError(Exception):
    """A peer broke the protocol. The message is one sentence that says what came and what belongs there.

    It never holds a password, nor bytes of a packet that may hold one. answer: bytes that the peer gets before the
    connection is closed.
    """

    answer: bytes = b""


class OtherProtocol(ProtocolError):
    """A server speaks another protocol of this exchange. The message says which, and which one the client has."""
