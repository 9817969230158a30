"""The clock, which is input like everything else: a value moves it, and what is due by then happens (section 10).

Those who read a journal without the engine ask ``clock_rows`` which CLOCK rows the engine accepts.
"""

import numpy as np

from engine.bounds import SCHEDULES_MAX, TIME_NS_MAX
from engine.consequences import cancel_listed, consequences
from engine.delay import delayed_due, trading_day_of
from engine.events import emit_rejected
from engine.expiries import next_expiry
from engine.forgetting import begin_to_forget
from engine.form import has_form
from engine.indices import open_indices
from engine.jit import called, inlined
from engine.matching import cancel_resting
from engine.records import CommandKind, Reason
from engine.room import NEXT_WAITED, THROUGH, may_begin, take_place
from engine.schedules import earliest, run_time
from engine.state import State
from engine.sweep import gather_day_orders, sort_slots


@inlined
def may_follow(time_ns, now_ns):
    """True if a clock value is in bounds and not before the clock in force."""
    return (time_ns >= now_ns) & (time_ns <= TIME_NS_MAX)


@inlined
def is_extend(command):
    """True if a row is an EXTEND row that waits for its command."""
    return np.int64(command["kind"]) == CommandKind.EXTEND and has_form(command, CommandKind.EXTEND)


@inlined
def moves_clock(command, now_ns, extended):
    """True if the engine accepts a row as the next clock value.

    now_ns: the clock in force. extended: whether an EXTEND row stands before it, which makes it invalid.
    """
    return (
        np.int64(command["kind"]) == CommandKind.CLOCK
        and not extended
        and has_form(command, CommandKind.CLOCK)
        and may_follow(command["time_ns"], now_ns)
    )


@called
def clock_rows(commands, now_ns, extended, at, values_ns):
    """Write index and value of each accepted CLOCK row to ``at`` and ``values_ns``; gives their number.

    now_ns and extended (0 or 1): before the first of ``commands``.
    """
    count = 0
    waits = extended != 0
    for i in range(len(commands)):
        command = commands[i]
        if moves_clock(command, now_ns, waits):
            now_ns = command["time_ns"]
            at[count] = i
            values_ns[count] = now_ns
            count += 1
        waits = is_extend(command)
    return count


@called
def clock(state: State, command, events, n):
    """The clock has a new value. A new trading day first ends the day orders and frees ids; then halts end and
    schedules are met.
    """
    venue = state.venue[0]
    time_ns = command["time_ns"]
    if not may_follow(time_ns, venue["now_ns"]):
        return emit_rejected(state, events, n, time_ns, 0, 0, Reason.INVALID_COMMAND)
    venue["now_ns"] = time_ns
    day = trading_day_of(time_ns, venue["day_start_ns"])
    if day != venue["trading_day"]:
        n = _end_day(state, events, n)
        venue["trading_day"] = day
        begin_to_forget(state)
        open_indices(state)
    return run_due(state, events, n)


@called
def run_due(state: State, events, n):
    """Run what is due up to the time of the first command that waits, in order of its time.

    Of the same time orders' ends come first, in order of acceptance. The venue is halfway then where a command is due,
    or where there was no room for the next part.
    """
    place, delayed_ns = take_place(state), delayed_due(state)
    # What begins now ends later, so that nothing is due twice.
    for _ in range(state.venue[0]["instruments"] + state.venue[0]["orders_open"] + SCHEDULES_MAX):
        slot, due_ns = next_expiry(state), earliest(state)
        # A command that waits comes before what is due later.
        if slot != 0 and delayed_ns >= 0 and state.terms[slot]["until_ns"] > delayed_ns:
            slot = np.int64(0)
        if delayed_ns >= 0 and due_ns > delayed_ns:
            due_ns = np.int64(-1)
        if slot != 0 and (due_ns < 0 or state.terms[slot]["until_ns"] <= due_ns):
            if not may_begin(state, events, n, np.int64(0)):
                return n
            instrument = np.int64(state.orders[slot]["instrument"])
            n = cancel_resting(state, events, n, slot, Reason.EXPIRED)
            n = consequences(state, events, n, instrument)
        elif due_ns >= 0:
            n = run_time(state, events, n, due_ns, place)
            place = np.int64(0)
            if state.venue[0]["halfway"] != THROUGH:
                return n
        else:
            break
    if delayed_ns >= 0:
        state.venue[0]["halfway"] = NEXT_WAITED
    return n


@called
def _end_day(state: State, events, n):
    """Every order good for the day is canceled, in order of acceptance (rulebook section 13, 27)."""
    count = gather_day_orders(state)
    sort_slots(state, count)
    return cancel_listed(state, events, n, 0, count, Reason.END_OF_DAY)
