"""`python -m benchmarks.wire_cut`: packets cut and framed a second, on one core, by the kernels of ``wire.cut``.

Every packet carries an Enter Order (49 bytes). The bytes are those of one turn of an event loop, cut over and over,
so they are in the processor's cache, as they are just after they were copied out of a socket.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from benchmarks.measure import RUNS, Row, machine, row, seconds
from wire.cut import cut_packets, cut_streams, frame_messages, room_for
from wire.ouch import client_rows
from wire.ouch_codes import ClientMessage
from wire.soup import PAYLOAD_BYTES_MAX, PacketCutter, PacketType, packet

PACKETS: Final = 8_192
STREAMS: Final = 1_000
_TURNS: Final = 200


def _bytes(packets: int) -> bytearray:
    return bytearray(packet(PacketType.UNSEQUENCED, client_rows(ClientMessage.ENTER_ORDER).tobytes()) * packets)


def _rate(turn: Callable[[], int], turns: int = _TURNS) -> list[float]:
    """Packets a second, of several runs of ``turns`` calls; one call before them compiles."""
    packets = turn()
    return [turns * packets / seconds(lambda: [turn() for _ in range(turns)]) for _ in range(RUNS)]


def _cut_one_stream(packets: int) -> Callable[[], int]:
    buffer, room = np.frombuffer(_bytes(packets), np.uint8), room_for(packets)
    return lambda: int(cut_packets(buffer, 0, len(buffer), PAYLOAD_BYTES_MAX, room)[0])


def _cut_many_streams() -> Callable[[], int]:
    buffer, room = np.frombuffer(_bytes(STREAMS), np.uint8), room_for(STREAMS)
    starts = np.arange(STREAMS) * (len(buffer) // STREAMS)
    ends = starts + len(buffer) // STREAMS
    consumed, errors = np.zeros(STREAMS, np.int64), np.zeros(STREAMS, np.int64)
    return lambda: int(cut_streams(buffer, starts, ends, PAYLOAD_BYTES_MAX, room, consumed, errors))


def _frame() -> Callable[[], int]:
    buffer, room = np.frombuffer(_bytes(PACKETS), np.uint8), room_for(PACKETS)
    count = cut_packets(buffer, 0, len(buffer), PAYLOAD_BYTES_MAX, room)[0]
    out = np.zeros(len(buffer), np.uint8)
    return lambda: int(frame_messages(buffer, room.offsets, room.lengths, count, PacketType.SEQUENCED, out)[0])


def _cut_in_python() -> int:
    cutter = PacketCutter()
    cutter.feed(_bytes(PACKETS))
    return sum(1 for _ in iter(cutter.next, None))


def run() -> list[Row]:
    """All measurements."""
    return [
        row(f"cut: one stream of {PACKETS:,} packets a call", _rate(_cut_one_stream(PACKETS)), "packets/s"),
        row(f"cut: {STREAMS:,} streams of one packet a call", _rate(_cut_many_streams()), "packets/s"),
        row("cut: one packet a call", _rate(_cut_one_stream(1), 20_000), "packets/s"),
        row(f"frame: {PACKETS:,} messages a call", _rate(_frame()), "packets/s"),
        row("cut in Python (PacketCutter), for comparison", _rate(_cut_in_python, 2), "packets/s"),
    ]


def main() -> None:
    """Prints the machine and every measurement."""
    for name, value in machine().items():
        print(f"{name:8} {value}")
    print()
    for one in run():
        print(f"{one['name']:50} {one['value']:>12} {one['unit']:10} ({one['min']} - {one['max']}, {one['runs']} runs)")


if __name__ == "__main__":
    main()
