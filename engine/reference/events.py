"""Events of the market: one EVENT row for each, in the order in which they happen.

A row is packed into its 64 bytes at once, in the order of ``EVENT``'s places; at the end all become one array. Which
places an event uses is stated once, in ``EVENT_FIELDS``; every method below writes those and leaves the others zero.
"""

from typing import Any, Final

import numpy as np

from engine.records import EVENT, EventKind, Phase, Reason
from engine.reference.rows import Row
from engine.reference.state import Indicative, Instrument, Order, Participant
from engine.row_bytes import EVENT_ROW

_pack: Final = EVENT_ROW.pack

_ACCEPTED: Final = int(EventKind.ACCEPTED)
_REJECTED: Final = int(EventKind.REJECTED)
_TRADE: Final = int(EventKind.TRADE)
_CANCELED: Final = int(EventKind.CANCELED)
_REPLACED: Final = int(EventKind.REPLACED)
_CANCEL_REJECTED: Final = int(EventKind.CANCEL_REJECTED)
_REPLENISHED: Final = int(EventKind.REPLENISHED)
_TRIGGERED: Final = int(EventKind.TRIGGERED)
_REPRICED: Final = int(EventKind.REPRICED)
_INDICATIVE: Final = int(EventKind.INDICATIVE)
_PHASE: Final = int(EventKind.PHASE)
_HALTED: Final = int(EventKind.HALTED)
_KILLED: Final = int(EventKind.KILLED)
_UNKILLED: Final = int(EventKind.UNKILLED)


class EventLog:
    """The events of a batch. ``seq`` is the command that is being applied; each event bears it.

    ``touched``: numbers of the instruments that events named since the consequences were last looked after.
    """

    __slots__ = ("_rows", "seq", "touched")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.touched: set[int] = set()
        self._rows: list[bytes] = []

    def __len__(self) -> int:
        return len(self._rows)

    def take(self) -> "np.ndarray[Any, Any]":
        """The events so far as EVENT rows, which the log then forgets."""
        rows, self._rows = self._rows, []
        return np.frombuffer(bytearray().join(rows), EVENT) if rows else np.empty(0, EVENT)

    def accepted(self, order: Order) -> None:
        instrument = order.instrument.number
        self.touched.add(instrument)
        self._rows.append(
            _pack(
                self.seq, order.client_order_id, 0, order.price_e4, order.qty, order.order_number,
                order.participant.number, 0, instrument, _ACCEPTED, 0, order.side, 0,
            )
        )  # fmt: skip

    def canceled(self, order: Order, qty: int, reason: Reason) -> None:
        instrument = order.instrument.number
        self.touched.add(instrument)
        self._rows.append(
            _pack(
                self.seq, order.client_order_id, 0, order.price_e4, qty, order.order_number,
                order.participant.number, 0, instrument, _CANCELED, reason, order.side, 0,
            )
        )  # fmt: skip

    def replaced(self, order: Order, old_client_order_id: int) -> None:
        """After the order has its new id, price and quantity."""
        self._append(
            _REPLACED,
            client_order_id=old_client_order_id,
            contra_client_order_id=order.client_order_id,
            price_e4=order.price_e4,
            qty=order.leaves_qty,
            order_number=order.order_number,
            participant=order.participant.number,
            instrument=order.instrument.number,
            side=order.side,
        )

    def replenished(self, order: Order) -> None:
        self._of_order(_REPLENISHED, order, order.shown_qty, order.price_e4)

    def triggered(self, order: Order) -> None:
        self._of_order(_TRIGGERED, order, order.leaves_qty, order.price_e4)

    def repriced(self, order: Order) -> None:
        """After the peg has its new price."""
        self._of_order(_REPRICED, order, order.leaves_qty, order.peg_e4)

    def trade(self, first: Order, second: Order, price_e4: int, qty: int, trade_number: int, side: int) -> None:
        """``first`` is the resting order (uncross: the buy), ``side`` that of the aggressor (uncross: 0)."""
        self.touched.add(first.instrument.number)
        self._rows.append(
            _pack(
                self.seq,
                first.client_order_id,
                second.client_order_id,
                price_e4,
                qty,
                trade_number,
                first.participant.number,
                second.participant.number,
                first.instrument.number,
                _TRADE,
                0,
                side,
                0,
            )
        )

    def rejected(
        self,
        answered: int,
        reason: Reason,
        participant: Participant | None = None,
        instrument: Instrument | None = None,
    ) -> None:
        """``answered`` is the id or name that is refused."""
        self._append(
            _REJECTED,
            client_order_id=answered,
            participant=participant.number if participant else 0,
            instrument=instrument.number if instrument else 0,
            reason=reason,
        )

    def cancel_rejected(
        self, client_order_id: int, participant: Participant | None, reason: Reason = Reason.UNKNOWN_ORDER
    ) -> None:
        self._append(
            _CANCEL_REJECTED,
            client_order_id=client_order_id,
            participant=participant.number if participant else 0,
            reason=reason,
        )

    def cross_accepted(self, row: Row, order_number: int) -> None:
        self._append(
            _ACCEPTED,
            client_order_id=row.client_order_id,
            price_e4=row.price_e4,
            qty=row.qty,
            order_number=order_number,
            participant=row.participant,
            instrument=row.instrument,
        )

    def agreed_trade(self, row: Row, buyer: Participant, seller: Participant, trade_number: int) -> None:
        """The trade of a cross, with the participants' names in the places of ids."""
        self._rows.append(
            _pack(
                self.seq,
                row.buyer,
                row.seller,
                row.price_e4,
                row.qty,
                trade_number,
                buyer.number,
                seller.number,
                row.instrument,
                _TRADE,
                0,
                0,
                0,
            )
        )

    def indicative(self, instrument: Instrument, now: Indicative) -> None:
        imbalance_qty = now.imbalance_qty
        self._append(
            _INDICATIVE,
            price_e4=now.price_e4,
            qty=now.paired_qty,
            imbalance_qty=abs(imbalance_qty),
            instrument=instrument.number,
            side=(imbalance_qty > 0) - (imbalance_qty < 0),
        )

    def phase(self, instrument: Instrument) -> None:
        self._append(_PHASE, instrument=instrument.number, phase=instrument.phase)

    def halted(self, instrument: Instrument, reason: Reason) -> None:
        self._append(_HALTED, instrument=instrument.number, reason=reason, phase=Phase.HALTED)

    def killed(self, participant: Participant) -> None:
        self._append(_KILLED, participant=participant.number)

    def unkilled(self, participant: Participant) -> None:
        self._append(_UNKILLED, participant=participant.number)

    def _of_order(self, kind: int, order: Order, qty: int, price_e4: int) -> None:
        instrument = order.instrument.number
        self.touched.add(instrument)
        self._rows.append(
            _pack(
                self.seq,
                order.client_order_id,
                0,
                price_e4,
                qty,
                order.order_number,
                order.participant.number,
                0,
                instrument,
                kind,
                0,
                order.side,
                0,
            )
        )

    def _append(
        self,
        kind: int,
        *,
        client_order_id: int = 0,
        contra_client_order_id: int = 0,
        price_e4: int = 0,
        qty: int = 0,
        order_number: int = 0,
        imbalance_qty: int = 0,
        participant: int = 0,
        instrument: int = 0,
        reason: int = 0,
        side: int = 0,
        phase: int = 0,
    ) -> None:
        if instrument:
            self.touched.add(instrument)
        self._rows.append(
            _pack(
                self.seq,
                client_order_id,
                contra_client_order_id,
                price_e4,
                qty,
                order_number or imbalance_qty,  # they share a place
                participant,
                0,
                instrument,
                kind,
                reason,
                side,
                phase,
            )
        )
