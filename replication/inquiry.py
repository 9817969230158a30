"""Question of a node without a journal, at the link of the other one: may it follow there?

It is asked before the whole history is fetched, so that a second directory under the name of a node that follows, or
a second standby, is refused at once. The greeting is that of the link (``replication.link``), with an empty journal id.
"""

import os
import socket
from typing import NamedTuple

from engine.kernel_cache import SOURCE_DIGEST
from engine.records import RULES_VERSION
from replication import link
from replication.history_link import TIMEOUT_S
from replication.link import Frame, FrameReader, Identity, Kind, LinkError


class Place(NamedTuple):
    """Answer of the node that was asked.

    ``history_port``: of its history; 0 if it is not primary now, or serves none. ``why``: sentence on who has the name
    or the place, "" if nobody has.
    """

    history_port: int = 0
    why: str = ""


def ask_place(address: tuple[str, int], secret: bytes, name: str, role: str, *, timeout_s: float = TIMEOUT_S) -> Place:
    """Ask the node at ``address`` whether it takes a copy ``name`` in ``role``, which has no journal yet.

    A primary of an earlier release does not know the question; then nothing is known, and ``why`` is empty.
    """
    reader, nonce = FrameReader(), os.urandom(link.NONCE_BYTES)
    place = Place()
    try:
        with socket.create_connection(address, timeout_s) as connection:
            while data := connection.recv(4_096):
                for frame in reader.feed(data):
                    if frame.kind != Kind.CHALLENGE:
                        return place._replace(why=_why(frame))
                    challenge, history_port = link.unpack_challenge(frame.payload)
                    place = Place(history_port)
                    connection.sendall(_hello(secret, name, role, challenge, nonce))
    except (OSError, LinkError):
        pass
    return place


def _hello(secret: bytes, name: str, role: str, challenge: bytes, nonce: bytes) -> bytes:
    identity = Identity(name, b"", RULES_VERSION, b"", SOURCE_DIGEST, 0)
    claims = link.pack_map({**identity._asdict(), "role": role, "epoch": 0, "directory": b"", "tail": b""})
    proof = link.proof(secret, "copy", challenge, nonce, claims)
    return link.encode(Kind.HELLO, 0, link.pack_map({"claims": claims, "nonce": nonce, "proof": proof}))


def _why(frame: Frame) -> str:
    if frame.kind != Kind.REFUSAL or not link.unpack_flag(frame.payload, link.PLACE_TAKEN):
        return ""
    return str(link.unpack_map(frame.payload, {"why": str})["why"])
