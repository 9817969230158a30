"""FIX messages of many records, and commands of many messages, at once: what Python makes one by one is the judge."""

import random
from typing import Any

import numpy as np
import pytest

from engine.records import CommandKind, Instruction, Reason, TimeInForce
from gateway.fix import marks, records
from gateway.fix.answers import Answers
from gateway.fix.session import FixSession
from reports.rows import REPORT, Liquidity, ReportKind
from tests.fix_sessions import NOW_NS, live_session
from wire.fix_table import VERSIONS

_KINDS = [kind for kind in ReportKind if kind <= ReportKind.REPRICED]
_USUAL = (ReportKind.NEW, ReportKind.TRADE, ReportKind.CANCELED, ReportKind.REPLACED)
_BITS = (0, *Instruction, Instruction.STOP | Instruction.MARKET, Instruction.POST_ONLY | Instruction.DISPLAY)


def reported(draw: random.Random, number: int, *, usual: float = 0.8) -> bytes:
    """A record of a report with places of all sizes."""
    row = np.zeros(1, REPORT)[0]
    row["kind"] = draw.choice(_USUAL if draw.random() < usual else _KINDS)
    row["command_kind"] = draw.choice([CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE])
    row["seq"], row["number"] = draw.randrange(1 << draw.randrange(1, 50)), draw.randrange(1, 3_000)
    row["time_ns"] = NOW_NS - draw.randrange(1 << draw.randrange(1, 60))
    row["symbol"] = int.from_bytes(draw.choice([b"XYZ", b"A", b"ABCDEFGH", b"a.b-9", b"A B"]), "big")
    row["side"] = draw.choice([1, -1])
    row["time_in_force"] = draw.choice([0, *TimeInForce])
    row["instructions"] = draw.choice(_BITS)
    row["peg"] = draw.choice([1, 2, 3])
    row["qty"], row["order_number"] = draw.randrange(1 << draw.randrange(1, 27)), draw.randrange(3) * 12_345_678
    row["cum_qty"] = draw.choice([0, 1, 3, 7, draw.randrange(1 << 26)])
    row["leaves_qty"] = draw.choice([0, 100, draw.randrange(1 << 26)])
    row["notional_e4"] = int(row["cum_qty"]) * draw.randrange(10**10) + draw.randrange(int(row["cum_qty"]) + 1)
    for place in ("price_e4", "stop_price_e4", "last_price_e4"):
        row[place] = draw.choice([0, 100_000, 100_100, -5, draw.randrange(10**10)])
    for place in ("last_qty", "min_qty", "display_qty"):
        row[place] = draw.choice([0, 1, draw.randrange(1 << 26)])
    row["trade_number"] = draw.randrange(1 << draw.randrange(1, 40))
    row["until_ns"] = draw.choice([0, 0, NOW_NS + draw.randrange(1 << 60)])
    row["reason"] = draw.choice([0, *Reason] if row["kind"] in _USUAL else [*Reason])
    row["liquidity"] = draw.choice([0, *Liquidity])
    text = draw.choice([b"a1", b"x" * 64, b"order-%d" % number])
    return records.record_of(number, records.REPORT, row.tobytes(), text, draw.choice([b"", b"old", b"y" * 64]))


def stream(draw: random.Random, count: int) -> bytes:
    """Records from number 2 on, some of which are no reports."""
    made = []
    for number in range(2, count + 2):
        if draw.random() < 0.1:
            made.append(records.record_of(number, records.MARK, records.OF_MARK.pack(7, 8, marks.Mark.SESSION)))
        else:
            made.append(reported(draw, number))
    return b"".join(made)


def state_of(session: FixSession) -> tuple[Any, ...]:
    """Numbers of a session."""
    core = session._core
    assert core is not None
    return session.next_seq, session._high, session._fills_from, core.store.out_seq, core.store.in_seq


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(20))
def test_frames_of_many_records_are_those_of_each(version: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(f"{version} {seed}")
    both = [live_session(version)[0] for _ in range(2)]
    stored = stream(draw, 60)
    said = [both[0].outgoing(stored)]
    with monkeypatch.context() as patch:
        patch.setattr(Answers, "are_usual", False)
        said.append(both[1].outgoing(stored))
    assert said[0] == said[1]
    assert said[0][0] == len(stored)
    assert state_of(both[0]) == state_of(both[1])
    begin = draw.randrange(1, 60)
    end = draw.choice([0, begin, draw.randrange(begin, 62)])
    for session in both:
        session.resend(begin, end or 61)
        assert session.take_resend() == begin
    assert state_of(both[0]) == state_of(both[1])
    parts = next(stored[place:] for place, number in _places(stored) if number >= max(begin, 2))
    again = [both[0].outgoing(parts)]
    monkeypatch.setattr(Answers, "are_usual", False)
    again.append(both[1].outgoing(parts))
    assert again[0] == again[1]
    assert again[0][1].count(b"\x0143=Y\x01")
    assert state_of(both[0]) == state_of(both[1])


def _places(stored: bytes) -> list[tuple[int, int]]:
    """Place and number of each record."""
    found, at = [], 0
    while size := records.record_bytes(stored, at):
        found.append((at, records.record_at(stored, at, size).number))
        at += size
    return found


def test_most_of_the_usual_records_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above compares Python with itself."""
    seen = []
    before = FixSession._next
    monkeypatch.setattr(FixSession, "_next", lambda self, *rest: (seen.append(1), before(self, *rest))[1])
    draw = random.Random(1)
    session, _ = live_session(VERSIONS[1])
    seen.clear()
    session.outgoing(b"".join(reported(draw, number, usual=1.0) for number in range(2, 1_002)))
    assert len(seen) < 750
