"""Capture files written by hand, and what Wireshark's dissectors read in them."""

import shutil
import struct
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

PORT = 4_000
_CLIENT_PORT = 50_000
_LOOPBACK = 0x7F00_0001
_RAW_IP = 101

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@dataclass(frozen=True)
class Field:
    """A field as a dissector saw it. at: its first byte in the message, ``raw``: its bytes."""

    name: str
    at: int
    raw: bytes


@dataclass(frozen=True)
class Message:
    """What a dissector made of one message: ``soupbintcp`` or ``ouch``."""

    protocol: str
    shown: str
    size: int
    fields: tuple[Field, ...]


def write_pcap(path: Path, segments: "list[tuple[bool, bytes]]") -> None:
    """A TCP connection to ``PORT`` as a capture file: (whether the server sends it, bytes) for each segment."""
    sent = {True: 1, False: 1}
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, _RAW_IP)]
    for number, (by_server, data) in enumerate(segments):
        ports = (PORT, _CLIENT_PORT) if by_server else (_CLIENT_PORT, PORT)
        tcp = struct.pack(">HHIIBBHHH", *ports, sent[by_server], sent[not by_server], 5 << 4, 0x18, 65_535, 0, 0)
        size = 20 + len(tcp) + len(data)
        ip = struct.pack(">BBHHHBBHII", 0x45, 0, size, number, 0, 64, 6, 0, _LOOPBACK, _LOOPBACK)
        out.append(struct.pack("<IIII", number, 0, size, size) + ip + tcp + data)
        sent[by_server] += len(data)
    path.write_bytes(b"".join(out))


def dissect(path: Path) -> list[Message]:
    """The SoupBinTCP and OUCH messages that tshark finds, in their order."""
    done = subprocess.run(
        ["tshark", "-r", str(path), "-d", f"tcp.port=={PORT},soupbintcp", "-T", "pdml"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    found = []
    for proto in ElementTree.fromstring(done.stdout).iter("proto"):
        if proto.get("name") in ("soupbintcp", "ouch"):
            start = int(proto.get("pos", "0"))
            fields = tuple(
                Field(field.get("name", ""), int(field.get("pos", "0")) - start, bytes.fromhex(field.get("value", "")))
                for field in proto.iter("field")
                if field.get("value")
            )
            found.append(Message(proto.get("name", ""), proto.get("showname", ""), int(proto.get("size", "0")), fields))
    return found


@cache
def _values() -> str:
    done = subprocess.run(["tshark", "-G", "values"], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def codes(field: str) -> set[str]:
    """The one-character codes that tshark has a name for in a field."""
    rows = (line.split("\t") for line in _values().splitlines())
    return {row[2][1:-1] for row in rows if row[0] == "V" and row[1] == field}
