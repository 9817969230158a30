"""`lockstep` that notes the times of each step of a message by FIX, for ``benchmarks.fix_round_trip``.

Run it as ``python -m benchmarks.stamped_fix_node serve ...`` with the name of a folder in ``LOCKSTEP_STAMPS``: its
gateways note theirs too. Each process writes there what it noted when it ends. A stamp costs about half a microsecond.
"""

import atexit
import os
import runpy
import time
from array import array
from pathlib import Path
from typing import Any, Final

from gateway.connection import Connection
from gateway.direct import MadeBlock
from gateway.fix.session import FixSession
from gateway.outbox import Outbox
from gateway.server import Gateway
from journal.store import Store
from node.core.market import Market
from node.gateways import programs as gateway_programs
from node.gateways.process import GatewayProcess
from replay.feed import Feed

#: Steps, by the order in which a message passes them: up to the ring, in the core, and back from the tape.
STEPS: Final = (
    "gateway has read",
    "turn of the gateway",
    "message is a command",
    "short way begins",
    "core reads the ring",
    "command is applied",
    "command in the ring",
    "short way: in the ring",
    "block goes to the journal",
    "commit begins",
    "commit ends",
    "core releases",
    "answers of the core begin",
    "block is released",
    "answers of the core end",
    "gateway is woken",
    "gateway looks at the tape",
    "block is taken",
    "streams are made",
    "answer is written",
    "turn over",
    "short way: answer is sent",
    "short way: records are kept",
)
#: Those with which the way back begins.
IN_THE_RING: Final = ("command in the ring", "short way: in the ring")
_MOST: Final = 2 * 2_000_000
_found = array("q")


def _note(step: str) -> None:
    if len(_found) < _MOST:
        _found.extend((STEPS.index(step), time.perf_counter_ns()))


def _stamp(owner: Any, name: str, before: str = "", after: str = "") -> None:
    plain = getattr(owner, name)

    def stamped(self: Any, *given: Any, **named: Any) -> Any:
        if before:
            _note(before)
        found = plain(self, *given, **named)
        if after:
            _note(after)
        return found

    setattr(owner, name, stamped)


def _stamp_blocks() -> None:
    """Note the times that the compiled turn has measured by itself, as it hands a block to the market."""
    plain = Market.adopt

    def stamped(self: Market, block: MadeBlock) -> None:
        if len(_found) < _MOST:
            for moments in block.moments.tolist():
                for step, place in (("core reads the ring", 0), ("command is applied", 3)):
                    _found.extend((STEPS.index(step), moments[place]))
        plain(self, block)

    Market.adopt = stamped  # type: ignore[method-assign]


def _stamp_all() -> None:
    _stamp(Connection, "buffer_updated", before="gateway has read")
    _stamp(Gateway, "turn", before="turn of the gateway")
    _stamp(GatewayProcess, "_put", before="message is a command", after="command in the ring")
    _stamp(Market, "adopt", before="block goes to the journal")
    _stamp_blocks()
    _stamp(Store, "commit", before="commit begins", after="commit ends")
    _stamp(Market, "release", before="core releases")
    _stamp(Market, "_published", before="answers of the core begin", after="answers of the core end")
    _stamp(Market, "_note_published", after="block is released")
    _stamp(GatewayProcess, "_on_bell", before="gateway is woken")
    _stamp(GatewayProcess, "_turn", before="gateway looks at the tape")
    _stamp(Feed, "take", after="block is taken")
    _stamp(Outbox, "observe", after="streams are made")
    _stamp(Connection, "_write", before="answer is written")
    _stamp(GatewayProcess, "_take_blocks", after="turn over")
    _stamp(FixSession, "put", before="short way begins", after="short way: in the ring")
    _stamp(FixSession, "answer", after="short way: answer is sent")
    _stamp(Gateway, "_go_on", before="short way: records are kept")


def _of_gateway(*given: Any) -> tuple[str, ...]:
    """Command of a gateway's process that notes its times too."""
    return tuple("benchmarks.stamped_fix_node" if word == "cli.main" else word for word in _plain_command(*given))


_plain_command: Final = gateway_programs.command


def _write() -> None:
    folder = Path(os.environ["LOCKSTEP_STAMPS"])
    (folder / f"{os.getpid()}.stamps").write_bytes(_found.tobytes())


if __name__ == "__main__":
    _stamp_all()
    gateway_programs.command = _of_gateway  # type: ignore[assignment]
    atexit.register(_write)
    runpy.run_module("cli.main", run_name="__main__", alter_sys=True)
