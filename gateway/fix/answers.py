"""Messages to clients out of records: ExecutionReport, OrderCancelReject, and the answers that are no report.

A message is a function of its record and of the version of FIX alone, so the same record gives the same bytes again.
Statuses are those of the specification's matrices of order state changes. An order that a day's end or its time ends
has expired; what the market changes by itself (a peg's price, an elected stop, the next part of an iceberg) is a
restatement, in FIX 5.0 SP2 a trigger has a type of its own.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from engine.names import unpack
from engine.records import CommandKind, Instruction, Peg, Reason, SelfTrade, TimeInForce
from gateway.fix import records
from gateway.fix.records import Record
from reports.rows import Liquidity, ReportFlag, ReportKind
from wire.fix_codec import Times, body

FIX_4_2: Final = "FIX.4.2"
FIX_5: Final = "FIXT.1.1"
EXECUTION_REPORT: Final = b"8"
CANCEL_REJECT: Final = b"9"
BUSINESS_REJECT: Final = b"j"
MASS_CANCEL_REPORT: Final = b"r"

Value = bytes | str | int
#: PartyRole of the participant.
EXECUTING_FIRM: Final = 1
#: CrossType of a cross that is executed whole or not at all.
ALL_OR_NONE: Final = 1
_AVERAGE: Final = Context(prec=40)
#: Digits of an average price behind the point; more than a trade has, so one that needs no more is exact.
_AVERAGE_PLACES: Final = Decimal(1).scaleb(-8)
_PRICE: Final = 10_000

_ENTER, _CANCEL, _REPLACE = int(CommandKind.ENTER), int(CommandKind.CANCEL), int(CommandKind.REPLACE)
TIME_IN_FORCE: Final = {
    TimeInForce.DAY: "0",
    TimeInForce.GTC: "1",
    TimeInForce.OPENING: "2",
    TimeInForce.IOC: "3",
    TimeInForce.FOK: "4",
    TimeInForce.GTD: "6",
    TimeInForce.CLOSING: "7",
}
_PEGS: Final = {Peg.PRIMARY: "R", Peg.MIDPOINT: "M", Peg.MARKET: "P"}
#: OrdRejReason of reasons; 0 and, from FIX 4.4 on, 99 for all others.
_ORDER_REASONS: Final = {
    Reason.UNKNOWN_INSTRUMENT: 1,
    Reason.CLOSED: 2,
    Reason.HALTED: 2,
    Reason.MAX_ORDER_QTY: 3,
    Reason.MAX_ORDER_VALUE: 3,
    Reason.POSITION_LIMIT: 3,
    Reason.CREDIT: 3,
    Reason.ORDER_RATE: 3,
    Reason.UNKNOWN_ORDER: 5,
    Reason.DUPLICATE_ID: 6,
}
#: The same from FIX 4.4 on.
_LATER_ORDER_REASONS: Final = {
    Reason.INVALID_INSTRUCTION: 11,
    Reason.INVALID_QTY: 13,
    Reason.INVALID_LOT: 13,
    Reason.UNKNOWN_PARTICIPANT: 15,
}
_OTHER: Final = 99
#: Reasons of the gateway's refusals, as ``gateway.fix.orders`` has them, and their OrdRejReason from FIX 4.4 on.
_NO_SYMBOL: Final = 2
_BUSINESS_MAX: Final = 18
_LATER_REFUSALS: Final = {0: 11, 101: 13}
#: And their CxlRejReason where it is no other.
_CANCEL_REFUSALS: Final = {100: 1}
_LATER_CANCEL_REFUSALS: Final = {102: 6}
#: CxlRejReason: too late, unknown order, duplicate ClOrdID; 2 and, from FIX 4.4 on, 99 for all others.
_TOO_LATE: Final = 0
_CANCEL_REASONS: Final = {Reason.UNKNOWN_ORDER: 1}
_LATER_CANCEL_REASONS: Final = {Reason.DUPLICATE_ID: 6}
#: SelfMatchPreventionInstruction of FIX Latest; the rulebook's others have none.
SELF_MATCH: Final = {
    SelfTrade.CANCEL_NEWEST: "1",
    SelfTrade.CANCEL_OLDEST: "2",
    SelfTrade.CANCEL_BOTH: "3",
}
_ADDED: Final = (Liquidity.ADDED, Liquidity.MIDPOINT_ADDED)
_REMOVED: Final = (Liquidity.REMOVED, Liquidity.MIDPOINT_REMOVED)


def price_text(price_e4: int) -> str:
    """A price without zeros at its end.

    >>> price_text(101_500), price_text(-5), price_text(100_000)
    ('10.15', '-0.0005', '10')
    """
    whole, part = divmod(abs(price_e4), _PRICE)
    text = f"{whole}.{part:04d}".rstrip("0").rstrip(".")
    return f"-{text}" if price_e4 < 0 else text


def average_text(notional_e4: int, cum_qty: int) -> str:
    """Average price of trades: exact where eight digits behind the point are enough, else the nearest of these.

    >>> average_text(300_100, 3), average_text(100_000, 3), average_text(0, 0)
    ('10.00333333', '3.33333333', '0')
    """
    if not cum_qty:
        return "0"
    exact = _AVERAGE.divide(Decimal(notional_e4), Decimal(cum_qty * _PRICE))
    text = f"{exact.quantize(_AVERAGE_PLACES, ROUND_HALF_EVEN):f}"
    return text.rstrip("0").rstrip(".")


class Answers:
    """Messages of one version."""

    #: True where the kernel of ``writing`` writes the same messages, many at once.
    has_kernel = True

    def __init__(self, version: str) -> None:
        self._version = version
        self._is_fix_4_2 = version == FIX_4_2
        self._times = Times()

    def is_told(self, record: Record) -> bool:
        """True if a record has a message of the application; False: its number is gap-filled."""
        return record.kind != records.MARK

    def message(self, record: Record) -> tuple[bytes, bytes, int]:
        """Type, body and time in ns of the message of a record that is no mark."""
        match record.kind:
            case records.REPORT:
                return self._report(record)
            case records.STATUS:
                return self._status(record)
            case records.BUSINESS:
                return self._business(record)
            case records.CROSSED:
                return self._crossed(record)
            case records.REFUSED:
                return self._refused(record)
            case records.LATE:
                return self._late(record)
            case _:
                return self._mass(record)

    def _report(self, record: Record) -> tuple[bytes, bytes, int]:
        row = _Row(record.data)
        kind, command = row.kind, row.command_kind
        if kind == ReportKind.CANCEL_REJECTED or (kind == ReportKind.REJECTED and command != _ENTER):
            status = self._working(row) if row.order_number else "8"
            return CANCEL_REJECT, self._cancel_reject(record, row, row, status), row.time_ns
        exec_type, status, more = self._exec_type_and_status(row)
        fields = self._order(row, record, status)
        fields += more
        fields.append((150, exec_type))
        fields.append((17, f"{row.seq}-{row.number}"))
        if self._is_fix_4_2:
            fields.append((20, "0"))
        return EXECUTION_REPORT, self._ordered(fields), row.time_ns

    def status_of(self, report: bytes) -> str:
        """OrdStatus of an order whose last REPORT row this is."""
        return self._exec_type_and_status(_Row(report))[1]

    def _late(self, record: Record) -> tuple[bytes, bytes, int]:
        """OrderCancelReject about an order that is not open any more."""
        row, last = _Row(record.data[: records.ROW_BYTES]), _Row(record.data[records.ROW_BYTES :])
        status = self.status_of(record.data[records.ROW_BYTES :])
        return CANCEL_REJECT, self._cancel_reject(record, row, last, status), row.time_ns

    def _crossed(self, record: Record) -> tuple[bytes, bytes, int]:
        """ExecutionReport of one side of a cross."""
        row = _Row(record.data)
        exec_type, status, more = self._exec_type_and_status(row)
        fields = self._order(row, record._replace(orig_cl_ord_id=b""), status)
        fields += more
        fields += [(150, exec_type), (17, f"{row.seq}-{row.number}-{1 if row.side > 0 else 2}")]
        parties: list[tuple[int, Value]] = [(448, unpack(row.participant_name)), (447, "D"), (452, EXECUTING_FIRM)]
        if self._is_fix_4_2:
            fields += [(20, "0"), (76, unpack(row.participant_name))]
            return EXECUTION_REPORT, self._ordered(fields), row.time_ns
        fields += [(548, record.cross_id), (549, ALL_OR_NONE)]
        return EXECUTION_REPORT, self._ordered(fields) + body([(453, 1), *parties]), row.time_ns

    def _status(self, record: Record) -> tuple[bytes, bytes, int]:
        report, asked = record.data[: records.ROW_BYTES], record.data[records.ROW_BYTES :]
        row = _Row(report)
        time_ns: int = records.OF_STATUS.unpack(asked)[0] if asked else row.time_ns
        status = self.status_of(report) if row.kind else "8"
        fields = self._order(row, record, status)
        if not row.kind:
            fields += [(103, 5), (58, "unknown_order")]
        fields.append((17, "0"))  # as the specification has it: nothing was executed
        fields.append((150, status if self._is_fix_4_2 else "I"))
        if self._is_fix_4_2:
            fields.append((20, "3"))
        return EXECUTION_REPORT, self._ordered(fields), time_ns

    def _exec_type_and_status(self, row: "_Row") -> tuple[str, str, list[tuple[int, Value]]]:
        """ExecType, OrdStatus and fields of their own of a report.

        Of the statuses that an order has at once the specification names the highest: filled is above canceled and
        expired, these are above partially filled, and that above replaced (FIX 4.2 alone) and new.
        """
        working = self._working(row)
        match row.kind:
            case ReportKind.NEW:
                return "0", "0", []
            case ReportKind.TRADE:
                status = "1" if row.leaves_qty else "2"
                more: list[tuple[int, Value]] = [(31, price_text(row.last_price_e4)), (32, row.last_qty)]
                if not self._is_fix_4_2 and row.liquidity in (*_ADDED, *_REMOVED):
                    more.append((851, 1 if row.liquidity in _ADDED else 2))
                if self._version == FIX_5:
                    more.append((880, row.trade_number))
                return (status if self._is_fix_4_2 else "F"), status, more
            case ReportKind.CANCELED:
                return "4", "4", [(58, _word(row.reason))]
            case ReportKind.REPLACED:
                if not row.leaves_qty:  # it asked for no more than was executed
                    return "5", "2", []
                return "5", working, []
            case ReportKind.REJECTED:
                return "8", "8", [(103, self._order_reason(row.reason)), (58, _word(row.reason))]
            case ReportKind.EXPIRED | ReportKind.DONE_FOR_DAY:
                return "C", "C", [(58, _word(row.reason))]
            case ReportKind.RESTATED:
                return "D", working, [(378, 5), (58, _word(row.reason))]
            case ReportKind.REPRICED:
                price = price_text(row.last_price_e4) if row.last_price_e4 else "none"
                return "D", working, [(378, 3), (58, f"price {price}")]
            case ReportKind.TRIGGERED if self._version == FIX_5:
                return "L", working, []
            case _:
                return "D", working, [(378, 4 if self._is_fix_4_2 else 8), (58, ReportKind(row.kind).name.lower())]

    def _working(self, row: "_Row") -> str:
        """OrdStatus of an order that is open."""
        if row.cum_qty:
            return "1"
        replaced = row.kind == ReportKind.REPLACED or row.flags & ReportFlag.REPLACED  # older records have no flag
        return "5" if self._is_fix_4_2 and replaced else "0"

    def _order(self, row: "_Row", record: Record, status: str) -> list[tuple[int, Value]]:
        """Fields of the order, whatever happened."""
        bits = row.instructions
        fields: list[tuple[int, Value]] = [
            (6, average_text(row.notional_e4, row.cum_qty)),
            (11, record.cl_ord_id),
            (14, row.cum_qty),
            (37, row.order_number or "NONE"),
            (38, row.qty),
            (39, status),
            (54, "1" if row.side > 0 else "2"),
            (55, unpack(row.symbol)),
            (60, self._times.text(row.time_ns)),
            (151, row.leaves_qty if status not in ("8", "4", "C") else 0),
        ]
        if record.orig_cl_ord_id:
            fields.append((41, record.orig_cl_ord_id))
        if not row.kind:
            return fields
        fields.append((40, _order_type(bits)))
        fields.append((59, TIME_IN_FORCE.get(TimeInForce(row.time_in_force), "0") if row.time_in_force else "0"))
        if row.price_e4:
            fields.append((44, price_text(row.price_e4)))
        if row.stop_price_e4:
            fields.append((99, price_text(row.stop_price_e4)))
        if row.kind == ReportKind.REPRICED and row.last_price_e4 and not self._is_fix_4_2:
            fields.append((839, price_text(row.last_price_e4)))
        if row.offset_e4:
            fields.append((211, price_text(-row.side * row.offset_e4)))  # added to the reference
        if row.until_ns:
            fields.append((126, self._times.text(row.until_ns)))
        if row.min_qty:
            fields.append((110, row.min_qty))
        if bits & (Instruction.DISPLAY | Instruction.HIDDEN):
            fields.append(
                (1138 if self._version == FIX_5 else 111, 0 if bits & Instruction.HIDDEN else row.display_qty)
            )
        inst = ["6"] if bits & Instruction.POST_ONLY else []
        if bits & Instruction.PEG:
            inst.append(_PEGS[Peg(row.peg)])
        if inst:
            fields.append((18, " ".join(inst)))
        return fields

    def _cancel_reject(self, record: Record, row: "_Row", order: "_Row", status: str) -> bytes:
        """Fields of an OrderCancelReject. order: the row that has the order's number, 0: it is not known."""
        reason = _CANCEL_REASONS.get(Reason(row.reason), 2 if self._is_fix_4_2 else _OTHER)
        if not self._is_fix_4_2:
            reason = _LATER_CANCEL_REASONS.get(Reason(row.reason), reason)
        word = _word(row.reason)
        if order.order_number and row.reason == Reason.UNKNOWN_ORDER:
            reason, word = _TOO_LATE, "too_late"  # to the market it is gone; its client knows it well
        fields: list[tuple[int, Value]] = [
            (11, record.cl_ord_id),
            (37, order.order_number or "NONE"),
            (39, status),
            (41, record.orig_cl_ord_id or record.cl_ord_id),
            (58, word),
            (60, self._times.text(row.time_ns)),
            (102, reason),
            (434, "2" if row.command_kind == _REPLACE else "1"),
        ]
        return self._ordered(fields)

    def _order_reason(self, reason: int) -> int:
        found = _ORDER_REASONS.get(Reason(reason))
        if found is None and not self._is_fix_4_2:
            found = _LATER_ORDER_REASONS.get(Reason(reason), _OTHER)
        return found or 0

    def _business(self, record: Record) -> tuple[bytes, bytes, int]:
        time_ns, seq, reason, msg_type = records.OF_BUSINESS.unpack(record.data)
        fields = body([(45, seq), (58, record.text), (372, msg_type.strip(b"\0")), (380, reason)])
        return BUSINESS_REJECT, fields, time_ns

    def _refused(self, record: Record) -> tuple[bytes, bytes, int]:
        """The refusal of a message by the gateway, in the message in which its sender looks for it."""
        head = records.OF_REFUSED
        time_ns, seq, number, qty, order_number, state, word = head.unpack_from(record.data)
        symbol, _, sentence = record.data[head.size :].partition(b"\x01")
        refusal = records.refusal_of(word)
        fields: list[tuple[int, Value]] = [(58, sentence)]
        if refusal.answer == BUSINESS_REJECT:
            reason = refusal.reason if refusal.reason <= _BUSINESS_MAX else 0
            fields += [(45, number), (372, refusal.msg_type), (380, reason)]
            if record.cl_ord_id:  # nothing is left of an id of spaces, and no field is empty
                fields.append((379, record.cl_ord_id))
            return BUSINESS_REJECT, self._ordered(fields), time_ns
        fields += [(11, record.cl_ord_id), (60, self._times.text(time_ns))]
        if refusal.answer == CANCEL_REJECT:
            status = chr(state) if order_number else "8"
            if status == "5" and not self._is_fix_4_2:
                status = "0"
            reason = _CANCEL_REFUSALS.get(refusal.reason, 2 if self._is_fix_4_2 else _OTHER)
            if not self._is_fix_4_2:
                reason = _LATER_CANCEL_REFUSALS.get(refusal.reason, reason)
            fields += [(37, order_number or "NONE"), (39, status), (41, record.orig_cl_ord_id), (102, reason)]
            fields.append((434, "2" if refusal.msg_type == b"G" else "1"))
            return CANCEL_REJECT, self._ordered(fields), time_ns
        fields += [(55, symbol)] if symbol else []
        fields += [(54, refusal.side)] if refusal.side else []
        if refusal.answer == MASS_CANCEL_REPORT:
            reason = 1 if refusal.reason == _NO_SYMBOL else 0
            fields += [(37, f"{seq}"), (530, bytes([qty])), (531, "0"), (532, reason)]
            if self._version == FIX_5:
                fields.append((1369, f"{seq}"))
            return MASS_CANCEL_REPORT, self._ordered(fields), time_ns
        later = _LATER_REFUSALS.get(refusal.reason, _OTHER)
        reason = 1 if refusal.reason == _NO_SYMBOL else 0 if self._is_fix_4_2 else later
        fields += [(6, "0"), (14, 0), (17, f"{seq}-{record.number}"), (37, "NONE"), (39, "8"), (103, reason)]
        fields += [(150, "8"), (151, 0)]
        if qty > 0:
            fields.append((38, qty))
        if self._is_fix_4_2:
            fields.append((20, "0"))
        return EXECUTION_REPORT, self._ordered(fields), time_ns

    def _mass(self, record: Record) -> tuple[bytes, bytes, int]:
        time_ns, seq, symbol, side = records.OF_MASS.unpack(record.data)
        fields: list[tuple[int, Value]] = [
            (11, record.cl_ord_id),
            (37, f"{seq}"),
            (530, "1" if symbol else "7"),
            (531, "1" if symbol else "7"),
            (60, self._times.text(time_ns)),
        ]
        if symbol:
            fields.append((55, unpack(symbol)))
        if side:
            fields.append((54, "1" if side > 0 else "2"))
        if self._version == FIX_5:
            fields.append((1369, f"{seq}"))
        return MASS_CANCEL_REPORT, self._ordered(fields), time_ns

    @staticmethod
    def _ordered(fields: list[tuple[int, Value]]) -> bytes:
        return body(sorted(fields, key=lambda pair: pair[0]))


class _Row:
    """Places of a REPORT row by name."""

    __slots__ = ("_values",)

    def __init__(self, data: bytes) -> None:
        self._values: tuple[int, ...] = records.PLACES.unpack(data)

    def __getattr__(self, name: str) -> int:
        return self._values[records.PLACE[name]]


def _order_type(bits: int) -> str:
    """OrdType of an order's instructions."""
    if bits & Instruction.STOP:
        return "3" if bits & Instruction.MARKET else "4"
    if bits & Instruction.PEG:
        return "P"
    return "1" if bits & Instruction.MARKET else "2"


def _word(reason: int) -> str:
    """Word of a reason, as in the notation."""
    return Reason(reason).name.lower() if reason else ""
