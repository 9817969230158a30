"""`lockstep serve` with faults that a test asks for: python -m tests.faulty_node FAULT,FAULT serve --data DIR ...

often        checkpoints follow each other without a pause
slow-disk    every commit of the journal takes 30 ms longer
stalls       one commit in 200 stands still for 3 seconds, longer than an ``impatient`` node bears silence
clock-steps  the wall clock is up to 30 minutes off and steps every second, on the same UTC day
turn-jump    the wall clock steps ahead by 10 s once, as the compiled turn finds, which reads the system's own
tells-early  what happened is told before it is durable: the hole that the crash loop has to find
impatient    silence, and a reader that takes nothing, are borne for 2 seconds
patient      they are borne for an hour
by-peer      the primary's link is reached at --peer, which may be a proxy, and not where the arbiter's record says
acknowledges-early  a standby acknowledges a block at once, takes it 0.4 s later, and forgets those that wait with the
             connection: the hole that the history of answers has to show
ignores-epochs  a primary tells what is on its own disk, without a lease, and goes on when another reign has begun
ends-deposed a node gets SIGTERM after it was deposed, while it ends
late-blocks  a primary seals the blocks of rows that it has sent ahead only after 0.1 s
forgets-rows  a standby takes over without the rows that it has acknowledged ahead of their block
drops-quarantine  what an old primary sets aside is lost
small-programs  gateways are small programs that listen on nothing and read their input; no fault
broken-programs  gateways end at once, with a sentence
lines        clients of the line protocol connect at a port of their own (``tests.line_protocol``); no fault
patient-end  at its end a node waits an hour for its own disk
short-grace  users that cancel on disconnect have one second to come back
line-gateways  `lockstep gateway` knows that protocol; no fault
debug-strikes  a debug packet of a client strikes a fault in its session
small-room   a disk is full when less than 2 MiB are free, and 4 MiB are held in reserve
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final


def often() -> None:
    import node.core.checkpointing

    node.core.checkpointing.APART_S = 0.05  # type: ignore[misc]


def slow_disk() -> None:
    from journal.group import GroupWriter

    made = GroupWriter.__init__

    def slow(self: Any, commit: Callable[[Any], None], *arguments: Any, **named: Any) -> None:
        def late(group: Any) -> None:
            time.sleep(0.03)
            commit(group)

        made(self, late, *arguments, **named)

    GroupWriter.__init__ = slow  # type: ignore[method-assign]


def stalls() -> None:
    from journal.group import GroupWriter

    made = GroupWriter.__init__
    chance = random.Random(os.getpid())

    def stalling(self: Any, commit: Callable[[Any], None], *arguments: Any, **named: Any) -> None:
        def late(group: Any) -> None:
            if chance.random() < 1 / 200:
                time.sleep(3)
            commit(group)

        made(self, late, *arguments, **named)

    GroupWriter.__init__ = stalling  # type: ignore[method-assign]


def clock_steps() -> None:
    from sequencer.clock import MarketClock

    made = MarketClock.__init__
    day_ns = 86_400_000_000_000

    def wall() -> int:
        now_ns = time.time_ns()
        stepped_ns = now_ns + random.Random(now_ns // 1_000_000_000).randrange(-1_800, 1_800) * 1_000_000_000
        return stepped_ns if stepped_ns // day_ns == now_ns // day_ns else now_ns

    def stepping(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **{**named, "wall": wall})

    MarketClock.__init__ = stepping  # type: ignore[method-assign]


def turn_jump() -> None:
    from gateway.direct import DirectLines
    from node.core.clock_watch import ClockWatch
    from node.core.timekeeping import Timekeeping
    from sequencer.clock import WALL_NS

    sound, turns = DirectLines._run, [0]

    def run(self: Any) -> None:
        turns[0] += 1
        if turns[0] == 1:
            Timekeeping.look = lambda _: None  # type: ignore[method-assign,assignment]
            ClockWatch.look = lambda _: None  # type: ignore[method-assign,assignment]
            self._clock.words[WALL_NS] -= 10_000_000_000
        sound(self)

    DirectLines._run = run  # type: ignore[method-assign]


def tells_early() -> None:
    from sequencer.pump import ReleaseQueue

    made = ReleaseQueue.__init__

    def early(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        self._waits = False

    ReleaseQueue.__init__ = early  # type: ignore[method-assign]


def impatient(patience_ns: int = 2_000_000_000) -> None:
    import gateway.connection
    import gateway.tls
    import wire.soup_session

    # A login is borne for less than a silence, as in a sound node, so that its reason is the one that is told.
    login_ns = 3 * patience_ns // 4
    gateway.connection.SLOW_NS, gateway.connection.LOGIN_NS = patience_ns, login_ns  # type: ignore[misc]
    gateway.tls.LOGIN_NS = login_ns  # type: ignore[attr-defined]
    wire.soup_session.SILENCE_NS = patience_ns  # type: ignore[misc]


def patient() -> None:
    import node.programs.core_silence

    impatient(3_600 * 10**9)
    node.programs.core_silence.PATIENCE_NS = 3_600 * 10**9  # type: ignore[misc]


def patient_end() -> None:
    import node.core.checkpointing
    import node.node

    node.node.END_S = node.core.checkpointing.BEGIN_S = 3_600.0  # type: ignore[misc]


def small_room() -> None:
    import node.node
    from sequencer.room import Bounds, RoomWatch

    def small(directory: Any, map_room: Any) -> RoomWatch:
        return RoomWatch(directory, map_room, bounds=Bounds(full_bytes=2 << 20), reserve_bytes=4 << 20)

    node.node.RoomWatch = small  # type: ignore[attr-defined]


def debug_strikes() -> None:
    from gateway.soup import SoupSession
    from wire.soup import PacketType

    sound = SoupSession.take

    def take(self: Any, region: memoryview, *arguments: Any) -> Any:
        if region[2] == PacketType.DEBUG:
            raise ZeroDivisionError
        return sound(self, region, *arguments)

    SoupSession.take = take  # type: ignore[method-assign]


def by_peer() -> None:
    from node.pair.member import Pair

    Pair._address = lambda self: self.options.peer  # type: ignore[method-assign]


def acknowledges_early() -> None:
    from journal import frame as block_frame
    from replication import link
    from replication.link import Kind
    from replication.standby import Standby

    sound_block, sound_blocks, sound_disconnect = Standby._on_block, Standby.take_blocks, Standby.disconnect
    arrived_s: list[float] = []
    claimed = [0]

    def on_block(self: Any, sealed: bytes) -> None:
        sound_block(self, sealed)
        announced = block_frame.peek(sealed)
        assert announced is not None
        claimed[0] = block_frame.decode(sealed, announced[0], 64).last_seq
        arrived_s.append(time.monotonic())
        acknowledge(self, 0)

    def acknowledge(self: Any, _now_ns: int) -> None:
        if self.state == "following":
            told = max(claimed[0], self.taken_seq)
            self._out.append(link.encode(Kind.ACK, self.epoch, link.pack_ack(told, told, self._digests)))
            self._digests = []

    def take_blocks(self: Any) -> list[bytes]:
        ripe = sum(time.monotonic() - each_s > 0.4 for each_s in arrived_s)
        waiting = list(self._blocks)
        self._blocks.clear()
        self._blocks.extend(waiting[:ripe])
        del arrived_s[:ripe]
        self._checks.clear()  # their places count blocks that are held back
        taken = sound_blocks(self)
        self._blocks.extend(waiting[ripe:])
        return taken

    def disconnect(self: Any) -> None:
        sound_disconnect(self)
        self._blocks.clear()
        arrived_s.clear()
        claimed[0] = 0

    Standby._on_block = on_block  # type: ignore[method-assign]
    Standby.acknowledge = Standby.acknowledge_taken = acknowledge  # type: ignore[method-assign]
    Standby.take_blocks, Standby.disconnect = take_blocks, disconnect  # type: ignore[method-assign]


def ends_deposed() -> None:
    from node.pair.member import Pair

    sound = Pair.note_end

    async def signaled(self: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.1)  # the loop sees the signal
        await sound(self)

    Pair.note_end = signaled  # type: ignore[method-assign]


def ignores_epochs() -> None:
    from node.pair.member import Pair
    from replication.primary import Primary
    from replication.tenure import Tenure

    def tick(self: Any, primary: Any, _tenure: Any, now_ns: int) -> None:
        primary.tick(now_ns, time.time_ns())
        self.send_all()
        self._node.market.release()

    def released(self: Any, **_lease_holds: bool) -> int:
        return int(self.journaled_seq)

    Tenure.holds = lambda _self, _now_ns: True  # type: ignore[method-assign]
    Primary.released_seq = released  # type: ignore[method-assign]
    sound = Pair._tick_primary

    def tick_primary(self: Any, primary: Any, tenure: Any, now_ns: int) -> None:
        (tick if tenure.why or primary.superseded else sound)(self, primary, tenure, now_ns)

    Pair._tick_primary = tick_primary  # type: ignore[method-assign]


def late_blocks() -> None:
    import gateway.direct

    gateway.direct.STAY_AHEAD_NS = 100_000_000  # type: ignore[misc]


def short_turns() -> None:
    from gateway.direct import DirectLines

    sound, rows_max = DirectLines.__init__, 64

    def begin(self: Any, *arguments: Any, **named: Any) -> None:
        sound(self, *arguments, **{**named, "rows_max": rows_max})

    DirectLines.__init__ = begin  # type: ignore[method-assign]
    DirectLines.limit_rows = lambda *_: None  # type: ignore[method-assign]


def forgets_rows() -> None:
    from replication.standby import Standby

    sound = Standby.rows_without_block

    def forget(self: Any, standing: Any, *, won: bool = False) -> None:
        if sound(self, standing, won=won) is not None:
            self.drop_ahead()

    Standby.rows_without_block = forget  # type: ignore[assignment]


def drops_quarantine() -> None:
    import directory.set_aside

    directory.set_aside.write_quarantine = lambda *_: None  # type: ignore[attr-defined]
    directory.set_aside.check_quarantine = lambda *_: None  # type: ignore[attr-defined]


def lines() -> None:
    from dataclasses import replace

    import node.program
    from tests.line_protocol import LINES

    sound = node.program._opened_and_served

    def with_lines(options: Any, *arguments: Any) -> None:
        sound(replace(options, protocols=((LINES, 0),)), *arguments)

    node.program._opened_and_served = with_lines


def small_programs() -> None:
    import node.gateways.programs
    import node.programs.supervisor

    node.programs.supervisor.STEADY_S = 0.0  # type: ignore[misc]
    node.programs.supervisor.SILENT_S = 3_600.0  # type: ignore[misc]
    source = "import json, sys; print(json.dumps({'listening': {'port': 7}, 'figures': {'orders': 5}}), flush=True); "
    words = (sys.executable, "-c", f"{source}sys.stdin.read()")
    node.gateways.programs.command = lambda *_: words  # type: ignore[assignment]


def broken_programs() -> None:
    import node.gateways.programs

    words = (sys.executable, "-c", "import sys; sys.exit('no port is free')")
    node.gateways.programs.command = lambda *_: words  # type: ignore[assignment]


def short_grace() -> None:
    from dataclasses import replace

    import node.program

    sound = node.program._opened_and_served

    def with_grace(options: Any, *arguments: Any) -> None:
        sound(replace(options, grace_s=1.0), *arguments)

    node.program._opened_and_served = with_grace


def line_gateways() -> None:
    from node.gateways.protocols import PROTOCOLS
    from tests.line_protocol import LINES

    PROTOCOLS[LINES.name] = LINES


def flips() -> None:
    """Flip a bit of the node's state once DIR/flip names a part (``tests.flipping_node``)."""
    from tests.flipping_node import install

    install()


FAULTS: Final = {
    "often": often,
    "slow-disk": slow_disk,
    "stalls": stalls,
    "clock-steps": clock_steps,
    "turn-jump": turn_jump,
    "tells-early": tells_early,
    "impatient": impatient,
    "patient": patient,
    "patient-end": patient_end,
    "debug-strikes": debug_strikes,
    "small-room": small_room,
    "by-peer": by_peer,
    "acknowledges-early": acknowledges_early,
    "ends-deposed": ends_deposed,
    "ignores-epochs": ignores_epochs,
    "late-blocks": late_blocks,
    "short-turns": short_turns,
    "forgets-rows": forgets_rows,
    "drops-quarantine": drops_quarantine,
    "flips": flips,
    "lines": lines,
    "small-programs": small_programs,
    "broken-programs": broken_programs,
    "short-grace": short_grace,
    "line-gateways": line_gateways,
}

if __name__ == "__main__":
    for name in sys.argv.pop(1).split(","):
        FAULTS[name]()
    from cli.main import main

    sys.exit(main())
