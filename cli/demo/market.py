"""The market of `lockstep demo`: a witness, nodes A and B, and the journals of both, read from outside.

The recorded event digests of both nodes are read from their journals beside the running nodes, so what the demo shows
as equal does not depend on what a node says of itself.
"""

import contextlib
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

from cli.demo.nodes import Child, DemoNode, environment
from cli.errors import CheckFailed
from journal.quarantine import quarantines
from load.traders import PARTICIPANTS, SYMBOLS
from notation.words import price
from replay.rebuild import journal_of

#: A user for each participant.
USERS: Final = tuple(f"{name}1" for name in PARTICIPANTS)
_PASSWORD_BYTES: Final = 5
#: Of the first instrument: a trade that far from the price so long ago halts it for that time.
_BREAKER: Final = "10%/5m/5m"
#: More than all that is offered.
_RUNAWAY_QTY: Final = 10_000_000
_LOOK_S: Final = 0.005
#: Time for a node to reign, to follow, or to find a difference.
_SOON_S: Final = 60.0


class SameDigest(NamedTuple):
    """Event digests of nodes A and B after the newest block for which both have recorded one; its first command."""

    first_seq: int
    a: bytes
    b: bytes


class TwoJournals:
    """The journals of both nodes, open for reading, and the newest block whose digest both have recorded."""

    def __init__(self, a: Path, b: Path) -> None:
        self._journals = [journal_of(a), journal_of(b)]
        self._from_seq = 1
        self.newest: SameDigest | None = None

    def look(self) -> SameDigest | None:
        """Digests of the newest block that both have; of the first that differs, if any does."""
        if self.newest is None or self.newest.a == self.newest.b:
            a, b = (dict(journal.digests(self._from_seq)) for journal in self._journals)
            for first_seq in sorted(a.keys() & b.keys()):
                self.newest = SameDigest(first_seq, a[first_seq], b[first_seq])
                self._from_seq = first_seq
                if a[first_seq] != b[first_seq]:
                    break
        return self.newest

    def close(self) -> None:
        """Close both."""
        for journal in self._journals:
            journal.close()


class RanAway(NamedTuple):
    """An order that ran away: what it bought, the last price before it, and how far it came.

    trades: all of it, of which the operator, who entered it, learns alone. with_traders: those of which a trader sold.
    """

    symbol: str
    qty: int
    before_e4: int
    far_e4: int
    trades: int
    with_traders: int


class DemoPair:
    """Witness and nodes under ``folder``. A context manager, which ends all that still runs.

    ``primary``, ``copy``: the nodes by their present roles. Raises CheckFailed if a process fails.
    """

    def __init__(self, folder: Path, ids_max: int) -> None:
        self.folder = folder
        self._ids_max = ids_max
        self._ending = contextlib.ExitStack()
        self._journals: TwoJournals | None = None
        self._journals_from: tuple[int, ...] = ()

    def __enter__(self) -> "DemoPair":
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def _open(self, stack: contextlib.ExitStack) -> None:
        """Start the witness; the nodes are started by ``start``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log_of_witness, log_a, log_b = (_log(stack) for _ in range(3))
        where, children = self.folder / "witness", environment()
        words = ["witness", "--data", str(where), "--port", "0"]
        self._witness = stack.enter_context(Child("the witness", words, children, log_of_witness))
        self._witness.start()
        self.witness_port = int(self._witness.listening()["port"])
        arbiter = f"witness://127.0.0.1:{self.witness_port}"
        self.a, self.b = (
            DemoNode(letter, self.folder / letter.lower(), arbiter, where / "secret", children, log)
            for letter, log in (("A", log_a), ("B", log_b))
        )
        self.primary, self.copy = self.a, self.b
        for node in (self.a, self.b):
            stack.enter_context(node)

    def start(self) -> Sequence[tuple[str, str]]:
        """Start A, which becomes primary, and B on an empty directory, which fetches the journal of A and follows;
        define the market and begin its opening auction; its users and passwords.
        """
        room = {"orders": 1 << 14, "ids": self._ids_max, "instruments": 8, "participants": 16}
        self.a.start(*(word for name, most in room.items() for word in (f"--{name}-max", str(most))))
        self.a.listening()
        self.until(lambda: self.a.pair()["state"] == "reigning", "node A did not become primary")
        self.b.start("--peer", self.a.pair()["primary_address"])
        users = self._set_up()
        self.b.listening()
        self.until_in_sync()
        return users

    def _set_up(self) -> Sequence[tuple[str, str]]:
        lines = [f"instrument {name} tick=0.01 lot=1 reference={price(at_e4)}" for name, at_e4 in SYMBOLS]
        lines[0] += f" volatility={_BREAKER}"
        for participant, user in zip(PARTICIPANTS, USERS, strict=True):
            lines += [f"participant {participant}", f"user {user} participant={participant}"]
        lines += ["participant RUNAWAY", "participant STUB", "phase * opening_auction"]
        answer = self.a.ask("commands", text="\n".join(lines))
        if answer["rejected"]:
            raise CheckFailed(f"the node rejected the definitions: {answer['events']}")
        who = [(user, secrets.token_hex(_PASSWORD_BYTES)) for user in USERS]
        for user, password in who:
            self.a.ask("password", user=user, password=password)
        return who

    def run_away(self) -> RanAway:
        """Enter an order without sense, which buys all of the first instrument up to a price far off, where a stub
        quote stands. Raises CheckFailed if the breaker of the instrument does not halt it."""
        name = SYMBOLS[0][0]
        book = self.primary.ask("books", symbol=name, depth=1)["book"]
        far_e4 = int(book["last_price_e4"]) * 5 // 4 // 100 * 100
        order = f"{_RUNAWAY_QTY} {name} @ {price(far_e4)}"
        events = self.command(
            f"enter STUB stub sell 100 {name} @ {price(far_e4)}\nenter RUNAWAY runaway buy {order} tif=ioc"
        )
        if f"> halted {name} reason=volatility" not in events:
            raise CheckFailed(f"{name} was not halted; the last event: {events[-1]}")
        trades = [each.split() for each in events if each.startswith("> trade ")]
        qty, with_traders = sum(int(words[3]) for words in trades), sum("resting=stub" not in words for words in trades)
        return RanAway(name, qty, int(book["last_price_e4"]), far_e4, len(trades), with_traders)

    def command(self, text: str) -> list[str]:
        """Carry out a command of the operator on the primary; its events as lines. Raises CheckFailed."""
        answer = self.primary.ask("commands", text=text)
        if answer["rejected"]:
            raise CheckFailed(f"the node rejected {text!r}: {answer['events']}")
        return list(answer["events"])

    @property
    def addresses(self) -> str:
        """Addresses of both nodes for clients."""
        return f"127.0.0.1:{self.a.port},127.0.0.1:{self.b.port}"

    def until(self, true: Callable[[], bool], why: str) -> float:
        """Wait until something holds; the seconds that it took. Raises CheckFailed."""
        began_s = time.monotonic()
        while not true():
            if time.monotonic() - began_s > _SOON_S:
                raise CheckFailed(f"{why} within {_SOON_S:.0f} s; run `lockstep doctor`")
            time.sleep(_LOOK_S)
        return time.monotonic() - began_s

    def is_in_sync(self) -> bool:
        """True if the copy could take over now."""
        return len(self.primary.pair()["in_sync"]) == 2 and bool((self.copy.report() or {}).get("can_take_over"))

    def until_in_sync(self) -> None:
        """Wait until the copy can take over."""
        self.until(self.is_in_sync, f"node {self.copy.letter} did not come in sync")

    def kill_primary(self) -> float:
        """Kill the primary; the seconds until the copy reigns. The roles change."""
        self.close_journals()
        self.primary.kill()
        self.primary, self.copy = self.copy, self.primary
        return self.until(
            lambda: self.primary.pair()["state"] == "reigning", f"node {self.primary.letter} did not take over"
        )

    def set_aside(self, node: DemoNode) -> int:
        """Number of commands that a node has in quarantine."""
        return sum(each.last_seq - each.first_seq + 1 for each in quarantines(node.data)[0])

    def digests(self) -> SameDigest | None:
        """Digests of both nodes after the newest block that both have; None before the first."""
        if self._journals is None:
            self._journals = TwoJournals(self.a.data, self.b.data)
        return self._journals.look()

    def close_journals(self) -> None:
        """Close the journals for reading: one is about to be opened anew."""
        if self._journals is not None:
            self._journals.close()
            self._journals = None

    def end(self) -> None:
        """End the copy, the primary and the witness in order."""
        self.close_journals()
        for each in (self.copy, self.primary, self._witness):
            each.end()


def _log(stack: contextlib.ExitStack) -> IO[str]:
    """A temporary file that ends with the stack."""
    return stack.enter_context(tempfile.TemporaryFile("w+"))


def same_blocks(a: Path, b: Path) -> tuple[int, bool]:
    """Last command of the shorter of two journals, and True if the blocks up to there are the same bytes in both."""
    with journal_of(a) as one, journal_of(b) as other:
        last_seq = min(one.last_seq, other.last_seq)
        pairs = zip(one.blocks(to_seq=last_seq), other.blocks(to_seq=last_seq), strict=False)
        return last_seq, all(bytes(mine.sealed) == bytes(theirs.sealed) for mine, theirs in pairs)
