"""Writing EVENT rows. Each function writes row n of a batch's events, every place of it, and returns n + 1."""

import numpy as np

from engine.jit import called, inlined, rare
from engine.records import EventKind
from engine.seen import pass_by
from engine.state import State

# Kernels know plain integers; these are the registry's.


@inlined
def _codes(event, kind, reason, side, phase):
    event["kind"] = kind
    event["reason"] = reason
    event["side"] = side
    event["phase"] = phase


@inlined
def _order_event(state: State, events, n, kind, reason, order, contra_client_order_id, qty):
    event = events[n]
    event["seq"] = state.venue[0]["seq"]
    event["client_order_id"] = order["client_order_id"]
    event["contra_client_order_id"] = contra_client_order_id
    event["price_e4"] = order["price_e4"]
    event["qty"] = qty
    event["order_number"] = order["order_number"]
    event["participant"] = order["participant"]
    event["contra_participant"] = 0
    event["instrument"] = order["instrument"]
    _codes(event, kind, reason, order["side"], 0)
    return n + 1


@inlined
def emit_accepted(state: State, events, n, order):
    """The answer to an enter that passed every check."""
    return _order_event(state, events, n, EventKind.ACCEPTED, 0, order, 0, order["qty"])


@inlined
def emit_canceled(state: State, events, n, order, qty, reason):
    """An order loses ``qty`` without a trade."""
    return _order_event(state, events, n, EventKind.CANCELED, reason, order, 0, qty)


@inlined
def emit_replaced(state: State, events, n, order, new_client_order_id, qty):
    """An order has its new price and quantity, and still its old id."""
    return _order_event(state, events, n, EventKind.REPLACED, 0, order, new_client_order_id, qty)


@rare
def emit_triggered(state: State, events, n, order):
    """A stop is elected, with what it has open."""
    return _order_event(state, events, n, EventKind.TRIGGERED, 0, order, 0, np.int64(order["leaves_qty"]))


@rare
def emit_replenished(state: State, events, n, order, shown_qty):
    """An iceberg shows its next part."""
    return _order_event(state, events, n, EventKind.REPLENISHED, 0, order, 0, shown_qty)


@inlined
def emit_repriced(state: State, events, n, order, price_e4):
    """A peg has another price, with what it has open; 0: it has none any more."""
    n = _order_event(state, events, n, EventKind.REPRICED, 0, order, 0, np.int64(order["leaves_qty"]))
    events[n - 1]["price_e4"] = price_e4
    return n


@inlined
def emit_trade(state: State, events, n, resting, aggressor, price_e4, qty, side):
    """A trade of a resting order and an aggressor (in an uncross, with side 0, the buy and the sell).

    Takes the next trade number.
    """
    venue = state.venue[0]
    trade_number = venue["last_trade_number"] + 1
    venue["last_trade_number"] = trade_number
    event = events[n]
    event["seq"] = venue["seq"]
    event["client_order_id"] = resting["client_order_id"]
    event["contra_client_order_id"] = aggressor["client_order_id"]
    event["price_e4"] = price_e4
    event["qty"] = qty
    event["trade_number"] = trade_number
    event["participant"] = resting["participant"]
    event["contra_participant"] = aggressor["participant"]
    event["instrument"] = resting["instrument"]
    _codes(event, EventKind.TRADE, 0, side, 0)
    return n + 1


@rare
def _emit_answer(state: State, events, n, kind, subject, participant, instrument, reason, phase):
    event = events[n]
    event["seq"] = state.venue[0]["seq"]
    event["client_order_id"] = subject
    event["contra_client_order_id"] = 0
    event["price_e4"] = 0
    event["qty"] = 0
    event["order_number"] = 0
    event["participant"] = participant
    event["contra_participant"] = 0
    event["instrument"] = instrument
    _codes(event, kind, reason, 0, phase)
    return n + 1


@rare
def emit_rejected(state: State, events, n, subject, participant, instrument, reason):
    """The answer to a command that was refused; ``subject`` is the id or name it is answered to."""
    return _emit_answer(state, events, n, EventKind.REJECTED, subject, participant, instrument, reason, 0)


@rare
def emit_cancel_rejected(state: State, events, n, client_order_id, participant, reason):
    """There is no such open order of that participant, or it cannot be reduced to what a cancel wants."""
    known = participant <= state.venue[0]["participants"]
    shown = participant if known else np.int64(0)
    return _emit_answer(state, events, n, EventKind.CANCEL_REJECTED, client_order_id, shown, 0, reason, 0)


@called
def emit_cross_accepted(state: State, events, n, command):
    """The answer to a cross; it has the newest order number."""
    event = events[n]
    event["seq"] = state.venue[0]["seq"]
    event["client_order_id"] = command["client_order_id"]
    event["contra_client_order_id"] = 0
    event["price_e4"] = command["price_e4"]
    event["qty"] = command["qty"]
    event["order_number"] = state.venue[0]["last_order_number"]
    event["participant"] = command["participant"]
    event["contra_participant"] = 0
    event["instrument"] = command["instrument"]
    _codes(event, EventKind.ACCEPTED, 0, 0, 0)
    return n + 1


@called
def emit_agreed_trade(state: State, events, n, command, buyer, seller):
    """The trade of a cross, with the participants' names in the places of ids. Takes the next trade number."""
    venue = state.venue[0]
    venue["last_trade_number"] += 1
    pass_by(venue)
    event = events[n]
    event["seq"] = venue["seq"]
    event["client_order_id"] = command["buyer"]
    event["contra_client_order_id"] = command["seller"]
    event["price_e4"] = command["price_e4"]
    event["qty"] = command["qty"]
    event["trade_number"] = venue["last_trade_number"]
    event["participant"] = buyer
    event["contra_participant"] = seller
    event["instrument"] = command["instrument"]
    _codes(event, EventKind.TRADE, 0, 0, 0)
    return n + 1


@called
def emit_phase(state: State, events, n, instrument, phase):
    """An instrument has a phase."""
    return _emit_answer(state, events, n, EventKind.PHASE, 0, 0, instrument, 0, phase)


@called
def emit_halted(state: State, events, n, instrument, reason, phase):
    """An instrument is halted."""
    return _emit_answer(state, events, n, EventKind.HALTED, 0, 0, instrument, reason, phase)


@called
def emit_killed(state: State, events, n, participant, killed):
    """A participant's entries are refused from now on (``killed`` 1), or taken again (0)."""
    return _emit_answer(
        state, events, n, EventKind.KILLED if killed != 0 else EventKind.UNKILLED, 0, participant, 0, 0, 0
    )


@called
def emit_indicative(state: State, events, n, instrument, price_e4, paired_qty, imbalance_qty):
    """Result of an uncross of an instrument now; imbalance_qty: buys less sells."""
    event = events[n]
    event["seq"] = state.venue[0]["seq"]
    event["client_order_id"] = 0
    event["contra_client_order_id"] = 0
    event["price_e4"] = price_e4
    event["qty"] = paired_qty
    event["imbalance_qty"] = abs(imbalance_qty)
    event["participant"] = 0
    event["contra_participant"] = 0
    event["instrument"] = instrument
    _codes(event, EventKind.INDICATIVE, 0, np.int64(imbalance_qty > 0) - np.int64(imbalance_qty < 0), 0)
    return n + 1
