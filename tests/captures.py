"""Capture files of a connection, and what Wireshark's dissectors read in them."""

import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

PORT = 4_000
_CLIENT_PORT = 50_000
_LOOPBACK = 0x7F00_0001
_RAW_IP = 101

#: (whether the server sends it, bytes): what one side sent at once.
Segment = tuple[bool, bytes]

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@dataclass(frozen=True)
class Field:
    """A field as a dissector saw it. at: its first byte in the message, ``raw``: its bytes, ``shown``: its value."""

    name: str
    at: int
    raw: bytes
    shown: str = ""


@dataclass(frozen=True)
class Message:
    """One message as a dissector reads it: ``soupbintcp`` or ``ouch``."""

    protocol: str
    shown: str
    size: int
    fields: tuple[Field, ...]


def write_pcap(path: Path, segments: list[Segment]) -> None:
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


def _read(path: Path) -> ElementTree.Element:
    return _dissected(str(path), path.read_bytes())


@lru_cache(4)
def _dissected(path: str, _content: bytes) -> ElementTree.Element:
    done = subprocess.run(
        ["tshark", "-r", path, "-d", f"tcp.port=={PORT},soupbintcp", "-T", "pdml"],
        check=True,
        capture_output=True,
        timeout=600,
    )
    return ElementTree.fromstring(done.stdout)


def dissect(path: Path) -> list[Message]:
    """The SoupBinTCP and OUCH messages that tshark finds, in their order."""
    found = []
    for proto in _read(path).iter("proto"):
        if proto.get("name") in ("soupbintcp", "ouch"):
            start = int(proto.get("pos", "0"))
            fields = tuple(
                Field(
                    field.get("name", ""),
                    int(field.get("pos", "0")) - start,
                    bytes.fromhex(field.get("value", "")),
                    field.get("show", ""),
                )
                for field in proto.iter("field")
                if field.get("value")
            )
            found.append(Message(proto.get("name", ""), proto.get("showname", ""), int(proto.get("size", "0")), fields))
    return found


def complaints(path: Path) -> list[str]:
    """Faults that tshark finds: malformed packets, types and codes without a name, messages it cannot read."""
    found = []
    for element in _read(path).iter():
        name, shown = element.get("name", ""), element.get("showname", "")
        if name == "_ws.malformed" or (name.startswith(("soupbintcp", "ouch")) and "Unknown" in shown):
            found.append(shown)
        elif name == "soupbintcp.message":
            found.append(f"no message of OUCH: {element.get('show', '')}")
    return found


@cache
def _values() -> dict[str, set[str]]:
    """The codes that tshark has a name for, by field of OUCH: of a few hundred thousand lines about all protocols."""
    done = subprocess.run(["tshark", "-G", "values"], check=True, capture_output=True, text=True, timeout=600)
    found: dict[str, set[str]] = {}
    for piece in done.stdout.split("\nV\touch.")[1:]:
        field, code, _ = piece.split("\t", 2)
        found.setdefault(f"ouch.{field}", set()).add(code[1:-1])
    return found


def codes(field: str) -> set[str]:
    """The one-character codes that tshark has a name for in a field."""
    return _values().get(field, set())


class Tap:
    """A relay before a server on loopback: keeps what goes through it, a list of segments for each connection.

    ``change``: gives what is sent on instead of a segment's bytes, for controls.
    """

    def __init__(self, port: int, change: Callable[[bool, bytes], bytes] = lambda _by_server, data: data) -> None:
        self.said: list[list[Segment]] = []
        self._to = port
        self._change = change
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._ends: list[socket.socket] = []

    def __enter__(self) -> "Tap":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listening.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._ends += [client, server]
            segments: list[Segment] = []
            self.said.append(segments)
            for source, target, by_server in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._relay, args=(source, target, by_server, segments), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, by_server: bool, segments: list[Segment]) -> None:
        try:
            while data := source.recv(16_384):
                with self._lock:
                    data = self._change(by_server, data)
                    segments.append((by_server, data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return  # one of both is gone; the other is told by its own end
