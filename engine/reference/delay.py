"""The entry delay: enters, cancels and replaces wait for their effect (section 10); and the ``venue`` command."""

from collections.abc import Callable
from typing import Final

from engine.bounds import DAY_NS, MINUTE_NS, SPEED_BUMP_NS_MAX
from engine.capacity import waiting_max
from engine.names import pack
from engine.records import CommandKind, Reason, VenueSetting
from engine.reference.cancel import cancel
from engine.reference.consequences import consequences
from engine.reference.entry import enter
from engine.reference.events import EventLog
from engine.reference.replace import replace
from engine.reference.rows import Row, can_be_interpreted
from engine.reference.venue import Venue, Waiting

_EFFECTS: Final[dict[int, Callable[[Venue, Row, EventLog], None]]] = {
    int(CommandKind.ENTER): enter,
    int(CommandKind.CANCEL): cancel,
    int(CommandKind.REPLACE): replace,
}
_CANCEL: Final = int(CommandKind.CANCEL)
_REPLACE: Final = int(CommandKind.REPLACE)
_VENUE_NAME: Final = pack("venue")
_EVERY_SETTING: Final = sum(int(setting) for setting in VenueSetting)


def venue_command(venue: Venue, row: Row, events: EventLog) -> None:
    """Set what it names; the rest stays."""
    bumps, starts = row.settings & VenueSetting.SPEED_BUMP, row.settings & VenueSetting.DAY_START
    acceptable = (
        not venue.waiting
        and not row.settings & ~_EVERY_SETTING
        and 0 <= row.speed_bump_ns <= (SPEED_BUMP_NS_MAX if bumps else 0)
        and 0 <= row.day_start_ns < (DAY_NS if starts else 1)
        and row.day_start_ns % MINUTE_NS == 0
    )
    if not acceptable:
        events.rejected(_VENUE_NAME, Reason.INVALID_COMMAND)
        return
    if bumps:
        venue.speed_bump_ns = row.speed_bump_ns
    if starts:
        venue.day_start_ns = row.day_start_ns
        # The day goes on under the date that it has by now: only a clock value ends one.
        day = venue.day_of(venue.now_ns)
        for participant in venue.participants:
            for order in participant.open_orders.values():
                order.id_day += day - venue.trading_day
        venue.trading_day = day


def is_delayed(row: Row) -> bool:
    """True of a command that waits for its effect while there is an entry delay, whatever else it holds."""
    return row.kind in _EFFECTS


def wait_for_effect(venue: Venue, row: Row, events: EventLog) -> None:
    """It causes nothing now; where no room is left it is refused at once."""
    if len(venue.waiting) < waiting_max(venue.capacity.orders_max):
        venue.waiting.append(Waiting(events.seq, venue.now_ns + venue.speed_bump_ns, row))
        return
    participant = venue.participant(row.participant)
    if row.kind == _CANCEL:
        events.cancel_rejected(row.client_order_id, participant, Reason.CAPACITY)
    elif row.kind == _REPLACE:
        events.rejected(row.new_client_order_id, Reason.CAPACITY, participant)
    else:
        events.rejected(row.client_order_id, Reason.CAPACITY, participant, venue.instrument(row.instrument))


def take_effect(venue: Venue, events: EventLog) -> None:
    """The first command that waits acts like one that comes now, complete with its consequences."""
    seq, _, row = venue.waiting.popleft()
    witness, first_event = venue.witness, len(events)
    if witness is not None and witness.before_effect is not None:
        witness.before_effect(seq, venue)
    venue.begin_part()
    if can_be_interpreted(row):
        _EFFECTS[row.kind](venue, row, events)
        consequences(venue, events)
    else:
        events.rejected(row.client_order_id, Reason.INVALID_COMMAND)
    if witness is not None:
        witness.effects.append((seq, first_event, len(events)))
