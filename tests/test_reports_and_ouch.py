"""Each message of OUCH is in a report: the users' streams, derived from reports alone, are those of the gateway.

So the gateway can make its messages of reports. Sessions are random: clients send bytes, the operator intervenes.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.names import EVERY, pack
from engine.records import CommandKind, Phase, Reason, SelfTrade, TimeInForce, UserPermission, VenueSetting
from reports import ReportFlag, ReportKind, Reports
from reports.contexts import OF_DISCONNECT
from reports.rows import joined
from tests.ouch_messages import IOC, MARKET_HOURS, SYSTEM_HOURS, cancel, enter, modify, replace
from tests.ouch_of_reports import OuchOfReports
from tests.test_gateway import BEGIN_NS, CAPACITY, DAY_NS, Venue, row
from wire.ouch_codes import ServerMessage
from wire.soup import packets


class Session(Venue):
    """A venue whose users are random, and the reports of all that they do."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.reports = Reports(CAPACITY, users_max=8, room_rows=int(self.rng.integers(3, 40)))
        self.ouch = OuchOfReports()
        self.gateway: dict[int, bytes] = {}
        self.made: list[NDArray[Any]] = []
        self.now_ns = BEGIN_NS
        #: Tokens of each participant's orders, the newest last.
        self.tokens: dict[int, list[str]] = {1: [], 2: []}
        #: Token and shares of each participant's last sale.
        self.sales: dict[int, tuple[str, int]] = {}
        super().__init__()

    def take(self, rows: NDArray[Any]) -> None:
        first_seq = self.engine.seq + 1
        self.sent = {}
        events = self.engine.apply(rows)
        self.streams(first_seq, rows, events)
        for user, data in self.sent.items():
            self.gateway[user] = self.gateway.get(user, b"") + data
        made = self.reports.make(first_seq, rows, events)
        self.ouch.take(made)
        self.made.append(made)

    def send(self, *sent: tuple[int, bytes]) -> None:
        """Send messages, a part of which comes by another protocol: its bytes in the context are none of OUCH."""
        rows = self.read(*sent)[0]
        for at in np.flatnonzero((self.rng.random(len(rows)) < 0.15) & (rows["kind"] != CommandKind.EXTEND)).tolist():
            place = "new_context" if rows["kind"][at] == CommandKind.REPLACE else "context"
            rows[place][at] |= np.int64(-1) << 60
        self.take(rows)

    def run(self, turns: int) -> None:
        """Turns of the gateway, with commands of the operator between them."""
        for _ in range(turns):
            users = self.rng.permutation(np.arange(1, 4))[: int(self.rng.integers(1, 4))].tolist()
            self.send(
                *((user, b"".join(self._message(user) for _ in range(self.rng.integers(1, 6)))) for user in users)
            )
            if self.rng.random() < 0.2:
                self.take(self._operator())

    def _known(self, user: int) -> str:
        tokens = self.tokens[1 if user == 1 else 2]
        return tokens[-1 - int(self.rng.integers(0, min(len(tokens), 12)))] if tokens else "NONE"

    def _fresh(self, user: int) -> str:
        number = sum(map(len, self.tokens.values()))
        name = f"T{number}" if self.rng.random() < 0.7 else f"TOKEN-{number:08}"
        self.tokens[1 if user == 1 else 2].append(name)
        return name

    def _message(self, user: int) -> bytes:
        rng, what = self.rng, self.rng.random()
        price_e4, shares = 100_000 + 100 * int(rng.integers(-3, 4)), int(rng.integers(1, 60))
        side = str(rng.choice(list("BBBSTE")))
        tif_s = int(rng.choice([MARKET_HOURS, MARKET_HOURS, SYSTEM_HOURS, IOC, 60]))
        display = str(rng.choice(list("YYYAPQN")))
        minimum = int(rng.choice([0, 0, 0, 5]))
        if what < 0.6:
            name = self._fresh(user) if rng.random() < 0.95 else self._known(user)
            if side != "B":
                self.sales[1 if user == 1 else 2] = name, shares
            market = 0x7FFF_FFFF if rng.random() < 0.05 else price_e4
            return enter(
                *(name, side, shares, market),
                tif_s=tif_s,
                display=display,
                min_qty=minimum if tif_s == IOC else int(rng.random() < 0.02),
                stock="XYZ" if rng.random() < 0.97 else "NONE",
                cross="N" if rng.random() < 0.97 else str(rng.choice(list("OC"))),
                capacity=str(rng.choice(list("APRO"))),
            )
        name = self._known(user)
        if what < 0.75:
            return replace(
                *(name, self._fresh(user), shares, price_e4),
                tif_s=int(rng.choice([MARKET_HOURS, SYSTEM_HOURS])),
                display=str(rng.choice(list("YYAPQ"))),
                min_qty=int(rng.random() < 0.05),
            )
        if what < 0.85:
            return cancel(name, int(rng.choice([0, 1, shares])))
        if rng.random() < 0.4:  # perhaps only the mark of a sale changes
            name, shares = self.sales.get(1 if user == 1 else 2, (name, shares))
        return modify(name, str(rng.choice(list("BSTE"))), shares)

    def _operator(self) -> NDArray[Any]:
        rng = self.rng
        participant = int(rng.integers(1, 3))
        symbol, name = pack("XYZ"), pack(("ALPHA", "BETA")[participant - 1])
        what = int(rng.integers(0, 13))
        if what == 12:  # refused while a command waits
            delay_ns = int(rng.choice([0, 0, 10**6, 10**9]))
            return row(CommandKind.VENUE, settings=int(VenueSetting.SPEED_BUMP), speed_bump_ns=delay_ns)
        if what <= 3:
            self.now_ns += int(rng.choice([1, 10**6, 61 * 10**9, DAY_NS // 3, DAY_NS]))
            return row(CommandKind.CLOCK, time_ns=self.now_ns)
        if what == 4:
            phase = rng.choice([*Phase, Phase.CONTINUOUS])
            rows = [row(CommandKind.PHASE, name=symbol, phase=int(phase))]
            return _batch(*rows, row(CommandKind.PHASE, name=EVERY, phase=int(Phase.CONTINUOUS)))
        if what == 5:
            halted = row(CommandKind.HALT, name=symbol)
            return _batch(halted, row(CommandKind.RESUME, name=symbol)) if rng.random() < 0.7 else halted
        if what == 6:
            reason = int(rng.choice([Reason.MASS_CANCEL, Reason.DISCONNECT]))
            return row(CommandKind.MASS_CANCEL, name=name, side=int(rng.integers(-1, 2)), reason=reason)
        if what == 7:
            return _batch(row(CommandKind.KILL, name=name), row(CommandKind.UNKILL, name=name))
        if what == 8:
            return row(
                CommandKind.USER,
                name=pack(str(rng.choice(["UA", "UB", "UD", "UE"]))),
                participant_name=name,
                firm=pack(str(rng.choice(["F1", "FIRM"]))),
                permissions=int(UserPermission.ENABLED),
            )
        return self._order(participant, what)

    def _order(self, participant: int, what: int) -> NDArray[Any]:
        """An order of no user, or a command about one that a user may have entered."""
        rng = self.rng
        name = self._fresh(participant)[:8]
        price_e4, qty = 100_000 + 100 * int(rng.integers(-3, 4)), int(rng.integers(1, 60))
        if what <= 9:
            return row(
                CommandKind.ENTER,
                client_order_id=pack(name),
                price_e4=price_e4,
                qty=qty,
                participant=participant,
                instrument=1,
                side=int(rng.choice([1, -1])),
                time_in_force=int(TimeInForce.GTC),
                self_trade=int(rng.integers(1, SelfTrade.NONE)),
            )
        known = pack(self._known(participant)[:8])
        if what == 10:
            context, qty = int(rng.choice([0, OF_DISCONNECT])), int(rng.choice([0, 1]))
            return row(CommandKind.CANCEL, client_order_id=known, participant=participant, qty=qty, context=context)
        return row(
            CommandKind.REPLACE,
            client_order_id=known,
            new_client_order_id=pack(name),
            price_e4=price_e4,
            qty=qty,
            participant=participant,
        )


def _batch(*rows: NDArray[Any]) -> NDArray[Any]:
    return np.frombuffer(b"".join(each.tobytes() for each in rows), rows[0].dtype)


@cache
def session_of(seed: int) -> Session:
    """A finished session."""
    session = Session(seed)
    session.run(120)
    return session


SEEDS = range(8)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_streams_of_users_derived_from_reports_alone_are_those_of_the_gateway(seed: int) -> None:
    session = session_of(seed)
    assert set(session.ouch.streams) == set(session.gateway)
    for user, stream in session.gateway.items():
        expected, found = list(packets(stream)), list(packets(session.ouch.streams[user]))
        apart = next((n for n, (one, other) in enumerate(zip(expected, found, strict=False)) if one != other), None)
        if apart is not None:
            pytest.fail(f"seed {seed}, user {user}, message {apart}: {expected[apart]} is not {found[apart]}")
        assert stream == session.ouch.streams[user]


@pytest.mark.slow
def test_the_sessions_have_every_message_that_the_gateway_sends_and_the_rare_reports() -> None:
    kinds: set[int] = set()
    made: list[NDArray[Any]] = []
    for session in map(session_of, SEEDS):
        kinds |= {payload[0] for stream in session.gateway.values() for _, payload in packets(stream)}
        made += session.made
    sent = {ServerMessage(kind).name for kind in kinds}
    assert sent >= {"SYSTEM_EVENT", "ACCEPTED", "REPLACED", "CANCELED", "AIQ_CANCELED", "EXECUTED", "REJECTED"}
    assert sent >= {"CANCEL_REJECT", "ORDER_MODIFIED"}
    reports = joined(made)
    assert (reports["other_user"][reports["kind"] == ReportKind.REPLACED] != 0).any()
    assert (reports["other_user"][reports["kind"] == ReportKind.CANCELED] != 0).any()
    assert (reports["flags"][reports["kind"] == ReportKind.CANCEL_REJECTED] & ReportFlag.REMARKED).any()
    assert (reports["client_order_id"] < 0).any()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 150))
def test_the_streams_of_long_sessions_are_those_of_the_gateway(seed: int) -> None:
    session = Session(seed)
    session.run(600)
    assert session.ouch.streams == session.gateway


@pytest.mark.parametrize("name", ["context", "firm", "leaves_qty", "liquidity", "token_head", "user", "other_user"])
def test_a_report_without_one_of_its_places_gives_other_messages(name: str) -> None:
    session, ouch = session_of(3), OuchOfReports()
    reports = joined(session.made)
    orders = reports["kind"] < 20
    if name == "liquidity":
        reports[name][orders & (reports[name] != 0)] ^= 3
    else:
        reports[name][orders] = 0
    try:
        ouch.take(reports)
    except KeyError:
        return
    assert ouch.streams != session.ouch.streams
