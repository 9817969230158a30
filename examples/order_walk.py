"""The path of one order through a node, in process: prints the data at each step as a section of the architecture.

    python examples/order_walk.py                          prints it
    python examples/order_walk.py docs/ARCHITECTURE.md     replaces the section there

BOB offers 100 XYZ at 10.00, then ALICE buys 40. Both log in as clients do. Gateway, sequencer, journal, engine and
spool are those of a node. Only the sockets are replaced, and the clock counts calls, so that every run prints the same
except checksums.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from client import NewOrder, Order, OrderEntry, Phase, Side, Tokens
from directory.recover import create
from engine import Capacity
from engine.names import pack
from engine.records import (
    COMMAND,
    COMMAND_FIELDS,
    COMMAND_PLACES,
    EVENT_FIELDS,
    CommandKind,
    EventKind,
    Permission,
    UserPermission,
    concatenate,
)
from engine.records import Phase as MarketPhase
from gateway.ouch.outbox import OuchOutbox
from gateway.ouch.protocol import OUCH
from gateway.passwords import COST_MIN, credential_row
from gateway.protocol import Entrance
from gateway.server import Gateway
from gateway.streams import Segment
from journal import Block
from notation.print import Printer
from sequencer.pump import Pipeline
from sequencer.stamp import LiveStamp, StampedBlock
from wire import ouch
from wire.ouch_codes import ClientMessage, ServerMessage
from wire.soup import HEAD_BYTES, PacketType

HEADING: Final = "## The path of one order"
#: 2024-01-15 09:30 UTC.
BEGIN_NS: Final = 1_705_311_000_000_000_000
JOURNAL_ID: Final = bytes(range(16))
PASSWORD: Final = "secret"
#: Fields of OUCH messages that are one letter.
LETTERS: Final = {
    *("buy_sell", "display", "capacity", "intermarket_sweep", "cross_type", "customer_type", "liquidity"),
    *("order_state", "bbo_weight"),
}
INTRODUCTION: Final = """\
BOB of participant BETA offers 100 XYZ at 10.00 with token B1. Now ALICE of ALPHA buys 40 with token A1. This is her
order at each step, file by file. `examples/order_walk.py` runs the parts of a node in one process and prints this
section; `tests/test_order_walk.py` compares the two. Only checksums differ from run to run. Numbers in OUCH are
big-endian, in rows little-endian; `price_e4` is in units of 0.0001.
"""
#: Longest wait for anything, in seconds.
PATIENCE_S: Final = 60


class Pipe(asyncio.Transport):
    """The gateway's end of a connection without a socket: what is written waits in ``out`` for the client."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.out = bytearray()

    def write(self, data: Any) -> None:
        """Bytes for the client."""
        self.out += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set no limits."""

    def is_closing(self) -> bool:
        """False: the connection stays."""
        return False


class Trader:
    """A client (``client.OrderEntry``) and its connection to the gateway."""

    def __init__(self, user: str, gateway: Gateway) -> None:
        self.core = OrderEntry(user, PASSWORD, Order, tokens=Tokens(user, 1))
        self.connection, self.pipe = gateway.connection(gateway.entrances[0]), Pipe()
        self.received = b""
        self.connection.connection_made(self.pipe)
        self.core.connected(0)

    def send(self, data: bytes) -> None:
        """Bytes of the client arrive at the gateway, as an event loop hands them over."""
        self.connection.get_buffer(0)[: len(data)] = data
        self.connection.buffer_updated(len(data))

    def exchange_bytes(self) -> None:
        """Carry what waits in either direction to the other side."""
        if sent := self.core.take():
            self.send(sent)
        came = bytes(self.pipe.out)
        self.pipe.out.clear()
        self.received += came
        self.core.receive(came, 0)


class RecordedStamp(LiveStamp):
    """The stamp of a node, whose blocks are kept for the reader."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock=clock)
        self.blocks: list[StampedBlock] = []

    def __call__(self, batch: NDArray[Any]) -> Iterator[StampedBlock]:
        """The batch in blocks."""
        for block in super().__call__(batch):
            self.blocks.append(block)
            yield block


class Node:
    """The parts of a node that an order passes, and the data between them."""

    def __init__(self, directory: Path) -> None:
        capacity = Capacity(orders_max=64, ids_max=64, instruments_max=2, participants_max=4)
        self.journal, engine = create(directory, capacity, journal_id=JOURNAL_ID)
        self.outbox = OuchOutbox(directory, capacity, self.journal.journal_id)
        self.rows: list[NDArray[Any]] = []  # from the gateway, a batch a turn
        self.published: list[tuple[int, NDArray[Any], NDArray[Any]]] = []
        self.segments: list[Segment] = []
        times_ns = iter(range(BEGIN_NS, BEGIN_NS + 10**9, 10**6))
        self.stamp = RecordedStamp(lambda: next(times_ns))
        self.pipeline = Pipeline(self.stamp, self.journal, engine, publishers=[self._publish])
        self.gateway = Gateway(
            [Entrance(OUCH, self.outbox)],
            take=self._take,
            has_room=lambda: not self.pipeline.full,
            on_user_disconnect=lambda _: None,
            on_users_absent=lambda _: None,
            report=lambda *_, **__: None,
            connections_max=16,
        )
        self.outbox.on_segment = self._forward
        loop = asyncio.get_running_loop()
        self.journal.on_durable = lambda: loop.call_soon_threadsafe(self.pipeline.release)

    def _take(self, rows: NDArray[Any], _began_ns: int) -> None:
        self.rows.append(concatenate([rows]))
        self.pipeline.take(rows)

    def _publish(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        self.published.append((first_seq, commands, events))
        self.outbox.observe(first_seq, commands, events)

    def _forward(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.gateway.deliver(self.gateway.entrances[0], segment)

    def close(self) -> None:
        """End journal, logins and spool."""
        self.gateway.close()
        self.journal.close()
        self.outbox.close()


def row(kind: CommandKind, **places: int) -> NDArray[Any]:
    """One COMMAND row."""
    made = np.zeros(1, COMMAND)
    made["kind"] = kind
    for name, value in places.items():
        made[name] = value
    return made


def definitions() -> NDArray[Any]:
    """COMMAND rows of the operator: an instrument that trades, two participants, and a user of each."""
    rows = [row(CommandKind.INSTRUMENT, name=pack("XYZ"), tick_e4=100, lot=1, reference_e4=100_000)]
    for participant, user in (("ALPHA", "ALICE"), ("BETA", "BOB")):
        rows += [
            row(CommandKind.PARTICIPANT, name=pack(participant), permissions=int(Permission.MARKET)),
            row(
                CommandKind.USER,
                name=pack(user),
                participant_name=pack(participant),
                firm=pack(participant[:4]),
                permissions=int(UserPermission.ENABLED),
            ),
            credential_row(user, PASSWORD, COST_MIN),
        ]
    return concatenate([*rows, row(CommandKind.PHASE, name=pack("XYZ"), phase=int(MarketPhase.CONTINUOUS))])


async def until(traders: Iterable[Trader], reached: Callable[[], bool]) -> None:
    """Carry bytes until a condition holds. Raises TimeoutError."""
    end_s = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > end_s:
            raise TimeoutError("the node did not answer")
        for trader in traders:
            trader.exchange_bytes()
        await asyncio.sleep(0)


def table(lines: Iterable[tuple[object, ...]], *widths: int) -> list[str]:
    """Lines of columns; the last column has no width."""
    made = []
    for line in lines:
        cells = [f"{cell!s:<{width}}" for cell, width in zip(line, (*widths, 0), strict=True)]
        made.append("  ".join(cells).rstrip())
    return made


def shown(name: str, value: Any) -> str:
    """A field's value for people: text as it is, codes as letters, ids and names unpacked."""
    if isinstance(value, bytes):
        return value.decode("ascii").rstrip()
    if name in LETTERS and value:
        return f"{chr(int(value))}"
    return str(value)


def message_lines(packet: bytes) -> list[str]:
    """A SoupBinTCP packet with its OUCH message, field by field: bytes, name, value."""
    payload = packet[HEAD_BYTES:]
    from_client = packet[2] == PacketType.UNSEQUENCED
    message = (ouch.read_client if from_client else ouch.read_server)(payload)
    fields: Any = message.dtype.fields
    lines: list[tuple[object, ...]] = [
        (packet[:2].hex(), "packet length", len(packet) - 2),
        (packet[2:3].hex(), "packet type", f"{chr(packet[2])} ({PacketType(packet[2]).name.lower()})"),
    ]
    names = ClientMessage if from_client else ServerMessage
    lines.append((payload[:1].hex(), "kind", f"{chr(payload[0])} ({names(payload[0]).name.lower()})"))
    for name, (dtype, at, *_) in list(fields.items())[1:]:
        lines.append((payload[at : at + dtype.itemsize].hex(), name, shown(name, message[name][0])))
    return table(lines, 28, 22)


def command_lines(command: Any) -> list[str]:
    """A COMMAND row, place by place: offset, bytes, name, value. Places that the kind does not use are left out."""
    raw, kind = command.tobytes(), CommandKind(command["kind"])
    lines: list[tuple[object, ...]] = []
    for at, names in COMMAND_PLACES.items():
        for name in names:
            if name == "kind":
                lines.append((at, f"{raw[at]:02x}", name, f"{kind.value} ({kind.name})"))
            elif name in COMMAND_FIELDS[kind]:
                lines.append((at, raw[at : at + COMMAND[name].itemsize].hex(), name, command[name]))
    return table(lines, 2, 16, 15)


def event_lines(event: Any) -> list[str]:
    """An EVENT row: kind and the fields that it uses."""
    kind = EventKind(event["kind"])
    fields = [f"{name} {event[name]}" for name in ("seq", *EVENT_FIELDS[kind])]
    return [f"{kind.name:<9} {', '.join(fields[:5])},", f"{'':9} {', '.join(fields[5:])}"]


def block_lines(block: Block) -> list[str]:
    """A block of the journal: header and rows."""
    rows = bytes(block.rows)
    header = [
        ("checksum", block.checksum.hex()),
        ("rules_version", block.rules_version),
        ("epoch", block.epoch),
        ("first_seq", block.first_seq),
        ("count", block.count),
        ("time_ns", block.time_ns),
        ("previous", block.previous.hex()),
    ]
    lines = table(header, 13)
    for at in range(0, len(rows), COMMAND.itemsize):
        kind = CommandKind(np.frombuffer(rows[at : at + COMMAND.itemsize], COMMAND)[0]["kind"])
        lines.append(f"row {block.first_seq + at // COMMAND.itemsize:<9}  {kind.name}, {COMMAND.itemsize} bytes")
    return lines


def step(title: str, text: str, lines: Iterable[str]) -> list[str]:
    """A step of the walk as Markdown."""
    return [f"### {title}", "", *text.splitlines(), "", "```", *lines, "```", ""]


async def walk(directory: Path) -> list[str]:
    """Lines of Markdown for one order, from the client's bytes to those of the answers."""
    node = Node(directory)
    try:
        node.pipeline.take(definitions())
        node.pipeline.all()
        alice, bob = traders = [Trader(user, node.gateway) for user in ("ALICE", "BOB")]
        for trader in traders:
            await until([trader], lambda core=trader.core: core.phase is Phase.LIVE)  # type: ignore[misc]
        offer, _ = bob.core.enter(NewOrder("XYZ", Side.SELL, 100, "10.00"), "B1")
        await until(traders, lambda: offer.is_open)
        printer = Printer()
        for first_seq, commands, events in node.published:
            printer.print_block(commands, events, first_seq)
        for record in (node.rows, node.stamp.blocks, node.published, node.segments):
            record.clear()
        order, _ = alice.core.enter(NewOrder("XYZ", Side.BUY, 40, "10.00"), "A1")
        sent = alice.core.take()
        alice.send(sent)
        await until(traders, lambda: order.cum_qty == offer.cum_qty == 40)
        lines = introduction()
        lines += way_in(node, sent)
        lines += market(node, printer)
        lines += way_out(node, traders)
        return [*lines, *result((order, offer))]
    finally:
        node.close()


def introduction() -> list[str]:
    """The heading and the case."""
    return [HEADING, "", *INTRODUCTION.splitlines(), ""]


def way_in(node: Node, sent: bytes) -> list[str]:
    """Steps from the client's bytes to the stamped rows."""
    (rows,), (stamped,), ((first_seq, _, _),) = node.rows, node.stamp.blocks, node.published
    stamps = [
        (first_seq + at, CommandKind(each["kind"]).name, f"time_ns {each['time_ns']}" if at == 0 else "as in step 2")
        for at, each in enumerate(stamped.commands)
    ]
    return [
        *step(
            "1. Packet: `client/messages.py`, `wire/ouch.py`, `wire/soup.py`",
            """\
ALICE's client packs an Enter Order into an unsequenced packet. These bytes arrive at the socket.""",
            message_lines(sent),
        ),
        *step(
            "2. COMMAND row: `gateway/connection.py`, `gateway/arrivals.py`, `gateway/ouch/reading.py`",
            """\
The connection receives into its region of the buffer. A turn cuts the packets of all connections and writes rows of 64
bytes. Token and symbol have become numbers. `context` has, for the answer, the user who sent the order and what else
the message had (`gateway/ouch/context.py`). A longer token would be in an EXTEND row before it.
Offset, bytes, name:""",
            command_lines(rows[0]),
        ),
        *step(
            "3. Stamp: `sequencer/stamp.py`",
            "The time goes in front as a CLOCK row. The place in the journal is the sequence number.",
            table(stamps, 4, 8),
        ),
    ]


def market(node: Node, printer: Printer) -> list[str]:
    """Steps from the journal to the release of the events. printer: after all blocks before."""
    ((first_seq, commands, events),) = node.published
    (block,) = node.journal.blocks(first_seq)
    rows = [line for event in events for line in event_lines(event)]
    notation = printer.print_block(commands, events, first_seq)
    return [
        *step(
            "4. Sealed block: `journal/log.py`, `journal/frame.py`, `journal/group.py`",
            """\
The block is queued. The writer thread links it to the block before, seals it with a checksum and commits it to the
disk, together with all other blocks that wait. `previous` is the checksum of the block before.""",
            block_lines(block),
        ),
        *step(
            "5. EVENT rows: `engine/engine.py`, `engine/apply.py`, `engine/entry.py`, `engine/matching.py`",
            """\
Meanwhile the engine applies the same rows. The trade names the resting order first. Below, the same in the scenario
notation (`notation/print.py`).""",
            [*rows, "", *notation],
        ),
        *step(
            "6. Release: `sequencer/pump.py`",
            "The events are held until the block is durable. Only then may anybody learn of them.",
            table([("last_seq of the block", block.last_seq), ("durable_seq", node.journal.durable_seq)], 21),
        ),
    ]


def way_out(node: Node, traders: Iterable[Trader]) -> list[str]:
    """Steps from the events to the sockets."""
    answers: list[str] = []
    for segment in node.segments:
        at = 0
        for number in range(segment.first_seq, segment.first_seq + segment.messages):
            end = at + 2 + int.from_bytes(segment.data[at : at + 2], "big")
            answers += ["", f"to {node.outbox.streams.name(segment.user)}, message {number} of the day"]
            answers += message_lines(segment.data[at:end])
            at = end
    received = {node.outbox.streams.user(trader.core.user): trader.received for trader in traders}
    places: list[tuple[object, ...]] = []
    for segment in node.segments:
        if not received[segment.user].endswith(segment.data):
            raise AssertionError("the socket has other bytes than the spool")
        name, size = node.outbox.streams.name(segment.user), len(segment.data)
        places.append((name, f"spool from byte {segment.position} on, {size} bytes", f"socket, the same {size} bytes"))
    return [
        *step(
            "7. Messages: `gateway/ouch/streams.py`, `gateway/ouch/answering.py`, `gateway/ouch/writing.py`",
            "The events become the messages of each user whose order they concern, in sequenced packets.",
            answers[1:],
        ),
        *step(
            "8. Spool and socket: `gateway/outbox.py`, `gateway/spool.py`, `gateway/connection.py`",
            "The messages go to the spool first, from which a client that comes back is served, then to the socket. "
            "(The kernel of\ndirect connections sends first under `--durability none`, and Python fills the spool "
            "within 10 ms.)",
            table(places, 5, 38),
        ),
    ]


def result(orders: Iterable[Order]) -> list[str]:
    """The last step: the orders as their clients have them."""
    lines = [
        (each.token, Side(each.side).name, each.state.value, f"cum_qty {each.cum_qty}", f"leaves_qty {each.leaves_qty}")
        for each in orders
    ]
    return step(
        "9. Order: `client/order_entry.py`, `client/orders.py`",
        "Each client reads its stream and keeps its orders.",
        table(lines, 3, 4, 6, 10),
    )


def section() -> str:
    """The section as text."""
    with tempfile.TemporaryDirectory() as directory:
        return "\n".join(asyncio.run(walk(Path(directory)))).rstrip() + "\n"


def split(document: str) -> tuple[str, str, str]:
    """The text before the section, the section (empty where there is none), and the text from the next heading on."""
    before, heading, rest = document.partition(HEADING)
    body, following, after = rest.partition("\n## ")
    return before, heading + body, following + after


def main() -> None:
    """Print the section, or put it into the document that is named."""
    text = section()
    if len(sys.argv) < 2:
        print(text, end="")
        return
    path = Path(sys.argv[1])
    before, _, after = split(path.read_text(encoding="utf-8"))
    path.write_text(before + text + after, encoding="utf-8")


if __name__ == "__main__":
    main()
