"""The one switch on the kind of a command: the table of contents of the market."""

from typing import Final

import numpy as np

from engine.ahead import IDS_AHEAD, STEP, ask_ahead, has_many_pairs
from engine.bounds import SLICES_MAX
from engine.cancel import cancel, mass_cancel
from engine.capacity import events_max
from engine.clock import clock, run_due
from engine.consequences import consequences_of_order
from engine.cross import cross_command
from engine.definitions import define_instrument, define_participant
from engine.delay import drop_first_waiting, venue_command, wait_for_effect
from engine.entry import enter
from engine.epoch import epoch_command
from engine.events import emit_rejected
from engine.forgetting import forget_more
from engine.form import has_form
from engine.halts import halt_command, resume_command
from engine.index import ask_for_id
from engine.indices import define_index, gather_members
from engine.jit import called, inlined, prefetch, rare
from engine.kill import emergency_close, kill_command
from engine.limit_command import continuation_command, forget_continuation, limits_command
from engine.phases import phase_command
from engine.records import CommandKind, Reason
from engine.replace import replace
from engine.room import NEXT_WAITED
from engine.schedules import schedule_command
from engine.state import CONTINUED, DELAYED, FORGETTING, State, unpack_state
from engine.users import credential_command, user_command

_events_max = inlined(events_max)

#: COMMAND rows of a page of memory.
_PAGE_ROWS: Final = 64
#: Rows for which the room for events is asked for at once.
_SURE_ROWS: Final = 16
#: No kind of a row: an enter, cancel or replace that waits for its effect.
_WAITS: Final = -1


@called
def apply_batch(pointers, commands, start, events, n):
    """Apply commands from ``start`` on, and write their events from row ``n`` on.

    pointers: of the packed state (``jit.Packed``). Returns (commands applied, events written): it stops before a
    command whose events might not have room, and within one that is many before such a part of it.
    """
    venue = unpack_state(pointers).venue[0]
    at = start
    for _ in range(len(commands) + 1):
        if venue["halfway"] != 0:
            n = _go_on(pointers, commands[at], events, n)
            if venue["halfway"] != 0:
                break
            at += 1
        at, n = _apply_rows(pointers, commands, at, events, n)
        if venue["halfway"] == 0:
            break
    return at, n


@rare
def _go_on(pointers, command, events, n):
    """Go on with a command that is many: with what a clock value makes due, or the instruments of a ``phase``.

    The venue stays halfway where there is no room for the events of the next part.
    """
    state = unpack_state(pointers)
    venue = state.venue[0]
    if np.int64(command["kind"]) == CommandKind.PHASE:
        return phase_command(state, command, events, n)
    for _ in range(venue["waiting"] + 1):
        n = run_due(state, events, n)
        if venue["halfway"] != NEXT_WAITED:
            break
        first = venue["waiting_first"]
        venue["special"] &= ~DELAYED
        venue["peg_seq"] = 0  # each is a command of its own
        there_is_room = n <= len(events) - _events_of_rows(venue, np.int64(0))
        if there_is_room:
            n = _apply_waited(pointers, state.waiting[first], events, n)
        venue["special"] |= DELAYED
        if not there_is_room:
            break
        drop_first_waiting(state)
    return n


@inlined
def _apply_rows(pointers, commands, start, events, n):
    """Apply commands from ``start`` on."""
    state = unpack_state(pointers)
    venue = state.venue[0]
    many_pairs = has_many_pairs(venue)
    # Rows before ``sure`` have room for their events while there are no more than ``most``.
    sure, most = start, n
    for i in range(start, len(commands)):
        if i >= sure or n > most:
            if n > len(events) - _events_of_rows(venue, np.int64(0)):
                return i, n
            sure, most = i + _SURE_ROWS, len(events) - _events_of_rows(venue, np.int64(_SURE_ROWS))
        # The system maps memory in pages, and no processor fetches the next one ahead by itself. Behind the last row
        # nothing is read, whatever is there.
        prefetch(commands, i + _PAGE_ROWS)
        if many_pairs:
            if i & (STEP - 1) == 0:
                ask_ahead(pointers, commands, start, i)
        elif i + IDS_AHEAD < len(commands):
            coming = commands[i + IDS_AHEAD]
            ask_for_id(state, np.int64(coming["participant"]), coming["client_order_id"])
            if np.int64(coming["kind"]) == CommandKind.REPLACE:
                ask_for_id(state, np.int64(coming["participant"]), coming["new_client_order_id"])
        command = commands[i]
        venue["seq"] += 1
        kind = np.int64(command["kind"])
        if venue["special"] != 0:
            kind = _kind_in_special(state, command, kind)
        if kind == CommandKind.ENTER:
            n = enter(pointers, state, command, events, n, True)
        elif kind == CommandKind.CANCEL:
            n = cancel(state, command, events, n)
        elif kind == CommandKind.REPLACE:
            n = replace(state, command, events, n)
        else:
            n = _apply_rare(state, command, kind, events, n)
            if venue["halfway"] != 0:
                return i, n
            sure = i  # it may have brought what the room was not asked for
            continue
        if venue["pending"] != 0:
            n = consequences_of_order(pointers, state, events, n)
    return len(commands), n


@rare
def _apply_waited(pointers, command, events, n):
    """An enter, cancel or replace that has waited takes effect. Its sequence number is given."""
    state = unpack_state(pointers)
    kind = np.int64(command["kind"])
    if state.venue[0]["special"] != 0:
        kind = _kind_in_special(state, command, kind)
    if kind == CommandKind.ENTER:
        n = enter(pointers, state, command, events, n, False)
    elif kind == CommandKind.CANCEL:
        n = cancel(state, command, events, n)
    elif kind == CommandKind.REPLACE:
        n = replace(state, command, events, n)
    if state.venue[0]["pending"] != 0:
        n = consequences_of_order(pointers, state, events, n)
    return n


@rare
def _events_of_rows(venue, rows):
    """The most events of one command after ``rows`` more enters, cancels and replaces, each an iceberg and a peg."""
    return _events_max(
        venue["orders_open"] + rows,
        venue["slices"] + rows * SLICES_MAX,
        venue["phase_changes"],
        venue["participants"],
        venue["pegs"] + rows,
    )


@rare
def _kind_in_special(state: State, command, kind):
    """Kind of a row as it is to be applied: after a continuation row, and while there is an entry delay.

    A venue that is forgetting goes on with it first.
    """
    venue = state.venue[0]
    if venue["special"] & FORGETTING:
        forget_more(state, command, kind)
    if venue["special"] & CONTINUED:
        kind = _use_continuation(venue, kind)
    if venue["special"] & DELAYED and (
        kind == CommandKind.ENTER or kind == CommandKind.CANCEL or kind == CommandKind.REPLACE
    ):
        return np.int64(_WAITS)
    return kind


@called
def _use_continuation(venue, kind):
    """Kind of the row after a continuation row (EXTEND); 0, which is no kind, where that kind has no use for one."""
    venue["special"] &= ~CONTINUED
    if kind == CommandKind.LIMITS or kind == CommandKind.INSTRUMENT or kind == CommandKind.INDEX:
        return kind
    forget_continuation(venue)
    if (
        kind == CommandKind.ENTER
        or kind == CommandKind.CANCEL
        or kind == CommandKind.REPLACE
        or kind == CommandKind.CROSS
    ):
        return kind
    # A primary may have failed between an EXTEND row and its command: the reign of the next one begins all the same.
    return kind if kind == CommandKind.EXTEND or kind == CommandKind.EPOCH else np.int64(0)


@rare
def _apply_rare(state: State, command, kind, events, n):
    if kind == _WAITS:
        return wait_for_effect(state, command, events, n)
    if not has_form(command, kind):
        return _reject(state, command, events, n)
    if kind == CommandKind.CLOCK:
        return clock(state, command, events, n)
    if kind == CommandKind.VENUE:
        return venue_command(state, command, events, n)
    if kind == CommandKind.INSTRUMENT:
        n = define_instrument(state, command, events, n)
        forget_continuation(state.venue[0])
        return n
    if kind == CommandKind.PARTICIPANT:
        return define_participant(state, command, events, n)
    if kind == CommandKind.CROSS:
        return cross_command(state, command, events, n)
    if kind == CommandKind.MASS_CANCEL:
        return mass_cancel(state, command, events, n)
    if kind == CommandKind.PHASE:
        return phase_command(state, command, events, n)
    if kind == CommandKind.HALT:
        return halt_command(state, command, events, n)
    if kind == CommandKind.RESUME:
        return resume_command(state, command, events, n)
    if kind == CommandKind.LIMITS:
        return limits_command(state, command, events, n)
    if kind == CommandKind.KILL or kind == CommandKind.UNKILL:
        return kill_command(state, command, events, n, 1 if kind == CommandKind.KILL else 0)
    if kind == CommandKind.EMERGENCY_CLOSE:
        return emergency_close(state, events, n)
    if kind == CommandKind.USER:
        return user_command(state, command, events, n)
    if kind == CommandKind.CREDENTIAL:
        return credential_command(state, command, events, n)
    if kind == CommandKind.EPOCH:
        return epoch_command(state, command, events, n)
    if kind == CommandKind.CLOCK_JUMP:
        return n  # for the record (rulebook section 13, 26): the market's clock goes by CLOCK rows only
    if kind == CommandKind.SCHEDULE:
        return schedule_command(state, command, events, n)
    if kind == CommandKind.MEMBERS:
        gather_members(state, command)
        return n
    if kind == CommandKind.INDEX:
        n = define_index(state, command, events, n)
        forget_continuation(state.venue[0])
        return n
    if kind == CommandKind.EXTEND:
        continuation_command(state.venue[0], command)
        return n
    return _reject(state, command, events, n)


@rare
def _reject(state: State, command, events, n):
    """Reject a row that cannot be interpreted, whatever its kind, by its first place."""
    forget_continuation(state.venue[0])
    return emit_rejected(state, events, n, command["name"], 0, 0, Reason.INVALID_COMMAND)
