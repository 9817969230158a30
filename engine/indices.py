"""Indices: definitions, values, and the opening value of a trading day (rulebook sections 9 and 12).

Members come before their index, in rows of their own, and wait in the first block of ``members``; that of index n is
block n.
"""

from typing import Final

import numpy as np

from engine.bounds import BPS_MAX, DAY_NS, INDICES_MAX, MEMBERS_MAX, WEIGHT_MAX
from engine.definitions import find_instrument, is_name
from engine.events import emit_rejected
from engine.exposure import reference_of
from engine.jit import called
from engine.pending import set_pending
from engine.records import Reason
from engine.seen import begin_to_look
from engine.state import Pending, State

_INDEX: Final = int(Pending.INDEX)


@called
def gather_members(state: State, command):
    """``members NAME SYM:weight[,SYM:weight]``: they wait for the index of that name; another name begins anew."""
    venue = state.venue[0]
    if venue["gathered_name"] != command["name"]:
        _forget(state)
        venue["gathered_name"] = command["name"]
    _gather(state, command["symbol"], command["weight"])
    _gather(state, command["further_symbol"], command["further_weight"])


@called
def _gather(state: State, symbol, weight):
    venue = state.venue[0]
    count = venue["gathered"]
    if symbol == 0 and weight == 0:
        return
    if count < MEMBERS_MAX:
        row = state.members[count]
        row["symbol"] = symbol
        row["weight"] = weight
    venue["gathered"] = min(count + 1, np.int64(MEMBERS_MAX + 1))


@called
def _forget(state: State):
    venue = state.venue[0]
    for place in range(min(venue["gathered"], np.int64(MEMBERS_MAX))):
        row = state.members[place]
        row["symbol"] = 0
        row["weight"] = 0
    venue["gathered"] = 0
    venue["gathered_name"] = 0


@called
def define_index(state: State, command, events, n):
    """``index NAME members= levels=``; its opening value is that of now."""
    venue = state.venue[0]
    reason, subject = _refused(state, command["name"])
    if reason != 0:
        _forget(state)
        return emit_rejected(state, events, n, subject, 0, 0, reason)
    at = venue["indices"]
    venue["indices"] = at + 1
    row = state.indices[at]
    row["name"] = command["name"]
    row["members"] = venue["gathered"]
    row["level_1_bps"] = venue["continuation_0"]
    row["level_1_ns"] = venue["continuation_8"]
    row["level_2_bps"] = venue["continuation_16"]
    row["level_2_ns"] = venue["continuation_24"]
    row["level_3_bps"] = venue["continuation_32"]
    row["level_3_ns"] = venue["continuation_40"]
    levels = np.int64(1) + np.int64(row["level_2_bps"] != 0) + np.int64(row["level_3_bps"] != 0)
    venue["index_levels"] += levels
    venue["phase_changes"] += levels * venue["instruments"]
    for place in range(venue["gathered"]):
        waiting, member = state.members[place], state.members[(at + 1) * MEMBERS_MAX + place]
        instrument = np.int64(find_instrument(state, waiting["symbol"]))
        member["symbol"] = waiting["symbol"]
        member["weight"] = waiting["weight"]
        member["instrument"] = instrument
        set_pending(state, instrument, _INDEX, True)
    _forget(state)
    begin_to_look(venue)
    row["opening_e4"] = index_value(state, at + 1)
    return n


@called
def _refused(state: State, name):
    """The reason for which an index is refused, and what is named then; 0 for none."""
    venue = state.venue[0]
    invalid = np.int64(Reason.INVALID_COMMAND)
    count = venue["gathered"]
    if not is_name(name) or venue["gathered_name"] != name or count < 1 or count > MEMBERS_MAX:
        return invalid, name
    for at in range(venue["indices"]):
        if state.indices[at]["name"] == name:
            return invalid, name
    if not _levels_fit(venue):
        return invalid, name
    for place in range(count):
        row = state.members[place]
        if not is_name(row["symbol"]) or row["weight"] < 1 or row["weight"] > WEIGHT_MAX:
            return invalid, name
        for before in range(place):
            if state.members[before]["symbol"] == row["symbol"]:
                return invalid, name
    for place in range(count):
        symbol = state.members[place]["symbol"]
        if find_instrument(state, symbol) == 0:
            return np.int64(Reason.UNKNOWN_INSTRUMENT), symbol
    if venue["indices"] >= INDICES_MAX:
        return np.int64(Reason.CAPACITY), name
    return np.int64(0), name


@called
def _levels_fit(venue):
    """True if there is a level, each is deeper than the one before, and no halt is longer than a day."""
    first, second, third = venue["continuation_0"], venue["continuation_16"], venue["continuation_32"]
    if first < 1 or first > BPS_MAX or second < 0 or second > BPS_MAX or third < 0 or third > BPS_MAX:
        return False
    if (second != 0 and second <= first) or (third != 0 and (second == 0 or third <= second)):
        return False
    for halt_ns in (venue["continuation_8"], venue["continuation_24"], venue["continuation_40"]):
        if halt_ns < 0 or halt_ns > DAY_NS:
            return False
    return (second != 0 or venue["continuation_24"] == 0) and (third != 0 or venue["continuation_40"] == 0)


@called
def index_value(state: State, index):
    """The sum of weight times reference price."""
    value_e4 = np.int64(0)
    for place in range(state.indices[index - 1]["members"]):
        member = state.members[index * MEMBERS_MAX + place]
        value_e4 += member["weight"] * reference_of(state.instruments[member["instrument"] - 1])
    return value_e4


@called
def open_indices(state: State):
    """A trading day begins: opening values are those of now, and no level was reached."""
    for index in range(1, state.venue[0]["indices"] + 1):
        row = state.indices[index - 1]
        row["opening_e4"] = index_value(state, index)
        row["reached"] = 0
