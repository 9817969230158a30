"""Messages of drop copies: ExecutionReports of others with CopyMsgIndicator, and TradeCaptureReports.

FIX 4.2 has neither the indicator nor the capture: a copy is an ExecutionReport there, and the number of a capture is
gap-filled.
"""

from typing import Final

from engine.names import unpack
from gateway.fix import records
from gateway.fix.answers import EXECUTING_FIRM, EXECUTION_REPORT, FIX_5, Answers, Value, price_text
from gateway.fix.records import PLACE, PLACES, Record
from wire.fix_codec import body

TRADE_CAPTURE_REPORT: Final = b"AE"
#: PartyRole of the firm that a user trades for, and of that user.
CLEARING_FIRM: Final = 4
ENTERING_TRADER: Final = 36
#: Fields of a copy in FIX 4.2 for the same three.
_OLD_FIELDS: Final = {EXECUTING_FIRM: 76, CLEARING_FIRM: 439, ENTERING_TRADER: 109}


class CopyAnswers(Answers):
    """Messages of one version."""

    has_kernel = False

    def is_told(self, record: Record) -> bool:
        """True if a record has a message in this version."""
        return super().is_told(record) and not (self._is_fix_4_2 and record.kind == records.CAPTURE)

    def message(self, record: Record) -> tuple[bytes, bytes, int]:
        """Type, body and time in ns of the message of a record that ``is_told``."""
        match record.kind:
            case records.COPY:
                return self._copy(record)
            case records.CAPTURE:
                return self._capture(record)
            case _:
                return super().message(record)

    def _copy(self, record: Record) -> tuple[bytes, bytes, int]:
        _, fields, time_ns = self._report(record)
        parties = _parties(record)
        if self._is_fix_4_2:
            return EXECUTION_REPORT, fields + body((_OLD_FIELDS[role], name) for role, name in parties), time_ns
        return EXECUTION_REPORT, fields + _group(parties) + body([(797, "Y")]), time_ns

    def _capture(self, record: Record) -> tuple[bytes, bytes, int]:
        places = PLACES.unpack(record.data)

        def of(name: str) -> int:
            return int(places[PLACE[name]])

        time = self._times.text(of("time_ns"))
        report_id = f"{of('seq')}-{of('number')}"
        fields: list[tuple[int, Value]] = [
            *((17, report_id), (31, price_text(of("last_price_e4"))), (32, of("last_qty")), (55, unpack(of("symbol")))),
            *((60, time), (75, time[:8]), (150, "F"), (487, 0), (570, "N"), (571, report_id), (797, "Y")),
            *((856, 0), (880, of("trade_number")), (552, 1), (54, "1" if of("side") > 0 else "2")),
        ]
        # Fields of a group have an order, which is another in FIX 5.0 SP2.
        order = body([(37, of("order_number")), (11, record.cl_ord_id)])
        parties = _group(_parties(record))
        side = parties + order if self._version == FIX_5 else order + parties
        return TRADE_CAPTURE_REPORT, body(fields) + side, of("time_ns")


def _parties(record: Record) -> list[tuple[int, str]]:
    """Roles and names of those to whom an order belongs."""
    places = PLACES.unpack(record.data)
    named = (
        (EXECUTING_FIRM, places[PLACE["participant_name"]]),
        (CLEARING_FIRM, places[PLACE["firm"]]),
        (ENTERING_TRADER, places[PLACE["user_name"]]),
    )
    return [(role, unpack(name)) for role, name in named if name]


def _group(parties: list[tuple[int, str]]) -> bytes:
    """The group of parties, field 453."""
    fields: list[tuple[int, Value]] = [(453, len(parties))]
    for role, name in parties:
        fields += [(448, name), (447, "D"), (452, role)]
    return body(fields)
