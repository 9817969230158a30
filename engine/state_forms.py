"""Forms of the state in images of this and of earlier releases, as far as one can be converted into the present form.

The dtype of most rows is in the image. An image does not record the dtype of rows of which it keeps pages
(``parts.Region``), so that it is declared here for each STATE_VERSION, in full: a later change in ``state.py`` must
not change what an old image means. STATE_VERSION 0 is that of checkpoints which do not say it.

Fields are carried over by name. A field that an image does not have begins with the value in ``DEFAULTS``.

After a change in ``state.py``, add what an image of before needs: a default for each new field, the old name of a
renamed one, and a new form where rows of pages, STATE_VERSION or RULES_VERSION have changed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from engine.calls import is_call
from engine.depth import count_depth, count_far_depth
from engine.ending import list_all_ending
from engine.jit import Packed, called, quiet
from engine.owned import own_all
from engine.parts import is_of_earlier_day, is_stale
from engine.pending import set_pending
from engine.records import TimeInForce
from engine.state import ID_LINE_ROWS, Pending, State, unpack_state

#: Bit of the slot in a row of ids: the id is of an earlier day (``index.py``).
CARRIED: Final = 2**31

Dtype = np.dtype[Any]


class Change(NamedTuple):
    """Result of a ``Step``: sentences about it, and the number of day orders of an earlier day, which end with this
    one."""

    notes: tuple[str, ...] = ()
    day_orders_that_end: int = 0


#: Change of a state whose fields are carried over, which its new rules need.
Step = Callable[[State], Change]


class Default(NamedTuple):
    """Value with which a field begins that an image does not have; and the sentence about it, "" where a step sets it
    to what the rest of the image says."""

    value: int
    note: str


class Form(NamedTuple):
    """Form of the state in images of one STATE_VERSION and RULES_VERSION.

    ``paged``: dtypes of rows of which an image keeps pages, by name. ``renamed``: a field of this release (array,
    field) to its name in such an image. ``steps``: in their order, after all fields are carried over. ``lacks``: names
    of regions (``parts.Region``) that such an image does not have, which begin empty.
    """

    paged: Mapping[str, Dtype]
    renamed: Mapping[tuple[str, str], str] = {}
    steps: tuple[Step, ...] = ()
    lacks: frozenset[str] = frozenset()


#: Fields that images of earlier releases do not have: (array, field).
DEFAULTS: Final[Mapping[tuple[str, str], Default]] = {
    ("venue", "epoch"): Default(0, "the venue has a new field epoch, which is 0 until a primary begins its reign"),
    ("participants", "ids_used"): Default(0, "participants have a new field ids_used, counted from the ids in use"),
    ("limits", "max_open_orders"): Default(0, "limits have a new field max_open_orders, which is set for nobody"),
    ("venue", "pending"): Default(0, ""),
    ("venue", "slices"): Default(0, ""),
    ("venue", "expiries"): Default(0, ""),
    ("instruments", "midpoint"): Default(0, ""),
    ("books", "hidden_tick"): Default(0, ""),
    ("instruments", "pending"): Default(0, ""),
    ("instruments", "band"): Default(0, ""),
    ("instruments", "volatility"): Default(0, ""),
    ("instruments", "volatility_window_s"): Default(0, ""),
    ("instruments", "volatility_halt_ns"): Default(0, ""),
    ("instruments", "memory_first"): Default(0, ""),
    ("instruments", "memory_count"): Default(0, ""),
    ("instruments", "memory_base_e4"): Default(0, ""),
    ("venue", "looked_trade_number"): Default(0, ""),
    ("venue", "weighed_trade_number"): Default(0, ""),
    ("venue", "indices"): Default(0, ""),
    ("venue", "index_levels"): Default(0, ""),
    ("venue", "gathered"): Default(0, ""),
    ("venue", "gathered_name"): Default(0, ""),
    **{("instruments", name): Default(0, "") for name in ("ending_first", "ending_last")},
    ("venue", "days"): Default(0, ""),
    **{(tree, "day"): Default(0, "") for tree in ("id_tree", "old_id_tree")},
    ("venue", "day_start_ns"): Default(0, ""),
    ("venue", "speed_bump_ns"): Default(0, ""),
    ("venue", "waiting"): Default(0, ""),
    ("venue", "waiting_first"): Default(0, ""),
    ("venue", "halfway"): Default(0, ""),
    **{("venue", name): Default(0, "") for name in ("id_day", "id_half", "id_word", "id_leaf", "aged_slot")},
    **{("venue", f"old_id_{name}"): Default(0, "") for name in ("leaves", "root", "leaf")},
    ("venue", "last_time"): Default(0, ""),
    ("venue", "schedules"): Default(0, ""),
    ("venue", "schedules_of_all"): Default(0, ""),
    ("venue", "phase_changes"): Default(0, ""),
    ("books", "head"): Default(0, ""),
    ("books", "tail"): Default(0, ""),
    ("books", "qty"): Default(0, ""),
    ("instruments", "cancel_on_halt"): Default(0, ""),
    ("books", "pegs_tick"): Default(0, ""),
    **{("venue", name): Default(0, "") for name in ("fresh_stop", "pegs", "fresh_peg", "peg_prices", "peg_seq")},
    ("instruments", "pegs"): Default(0, ""),
    ("books", "price_e4"): Default(0, ""),
    ("nodes", "qty"): Default(0, ""),
    ("nodes", "first_time"): Default(0, ""),
    ("limits", "max_ids"): Default(0, "limits have a new field max_ids, which is set for nobody"),
}


def live_ids(state: State) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows of ids in use, of the table first and then of the tree; and the slot of the open order of each, or 0.

    The slot of a row has the bit ``CARRIED`` where the id is of an earlier day. The row of such an id whose order is
    gone is not among them: its id is free.
    """
    fields = ["participant", "client_order_id", "slot"]
    in_table = np.flatnonzero(state.ids["participant"])
    table = np.array(state.ids[in_table][fields], _ID_ROW)
    # What is of the day before counts only where an open order bears it.
    table["slot"][is_stale(state.stale_lines, in_table // ID_LINE_ROWS)] |= CARRIED
    venue, half = state.venue[0], len(state.id_tree) // 2
    today = state.id_tree[half * int(venue["id_half"]) :][1 : int(venue["id_leaves"]) + 1]
    before = state.id_tree[half * (1 - int(venue["id_half"])) :][1 : int(venue["old_id_leaves"]) + 1]
    tree, old = np.array(today[fields], _ID_ROW), np.array(before[fields], _ID_ROW)
    tree["slot"][is_of_earlier_day(today, int(venue["days"]))] |= CARRIED
    old["slot"] |= CARRIED
    rows = np.concatenate((table, tree, old))
    slots = rows["slot"] & (CARRIED - 1)
    if len(slots) and int(slots.max()) >= len(state.orders):
        raise ValueError("an id leads to an order beyond the end of the orders")
    orders = state.orders[slots]
    bears = (orders["participant"] == rows["participant"]) & (orders["client_order_id"] == rows["client_order_id"])
    in_use = bears | (rows["slot"] < CARRIED)
    return rows[in_use], np.where(bears, slots, 0)[in_use].astype(np.int64)


_ID_ROW: Final = np.dtype([("participant", "<i8"), ("client_order_id", "<i8"), ("slot", "<i8")])


def _count_ids_of_participants(state: State) -> Change:
    """Before RULES_VERSION 4 only the venue counted the ids in use."""
    rows, _ = live_ids(state)
    count = int(state.venue[0]["participants"])
    if len(rows) and not 1 <= int(rows["participant"].min()) <= int(rows["participant"].max()) <= count:
        raise ValueError("an id is of a participant who is not defined")
    state.participants["ids_used"][:count] = np.bincount(rows["participant"], minlength=count + 1)[1:]
    return Change()


def _take_day_orders_into_this_day(state: State) -> Change:
    """Before RULES_VERSION 4 a day order could outlive its trading day; no order good for the day is of an earlier one.

    Its id counts as one of this day from now on: it stays in use until the day ends.
    """
    orders = state.orders
    late = (orders["participant"] != 0) & (orders["time_in_force"] == TimeInForce.DAY) & (orders["id_day"] != 0)
    count = int(np.count_nonzero(late))
    for ids in (state.ids, state.id_tree):
        slots = ids["slot"] & (CARRIED - 1)
        if int(slots.max()) >= len(orders):
            raise ValueError("an id leads to an order beyond the end of the orders")
        bears = (ids["participant"] == orders["participant"][slots]) & (
            ids["client_order_id"] == orders["client_order_id"][slots]
        )
        ids["slot"][bears & late[slots]] &= CARRIED - 1
    orders["id_day"][late] = 0
    if not count:
        return Change()
    orders_are = "open order good for the day is" if count == 1 else "open orders good for the day are"
    return Change((f"{count:,} {orders_are} of an earlier trading day; with this day they end too",), count)


_LIMITS_1: Final = np.dtype(
    [
        ("limits", "<i4"),
        ("max_order_qty", "<i4"),
        ("rate_orders", "<i4"),
        ("margin_bps", "<i4"),
        ("adv_share_bps", "<i4"),
        ("max_open_orders", "<i4"),
        ("max_order_value_e4", "<i8"),
        ("rate_window_ns", "<i8"),
        ("max_position_qty", "<i8"),
        ("credit_e4", "<i8"),
        ("max_ids", "<i4"),
        ("reserved", "<i4"),
    ]
)

#: Of RULES_VERSION 3.
_LIMITS_0: Final = np.dtype(
    [
        ("limits", "<i4"),
        ("max_order_qty", "<i4"),
        ("rate_orders", "<i4"),
        ("margin_bps", "<i4"),
        ("adv_share_bps", "<i4"),
        ("reserved", "<i4"),
        ("max_order_value_e4", "<i8"),
        ("rate_window_ns", "<i8"),
        ("max_position_qty", "<i8"),
        ("credit_e4", "<i8"),
        ("reserved_2", "<i8"),
    ]
)

_TRADE_SECONDS_3: Final = np.dtype([("second", "<i8"), ("price_e4", "<i8")])
_WINDOW_3: Final = np.dtype([("head", "<u4"), ("tail", "<u4"), ("qty", "<i8")])
_TERMS_3: Final = np.dtype(
    [
        ("stop_tick", "<i8"),
        ("display_qty", "<i4"),
        ("shown_qty", "<i4"),
        ("slices", "<i4"),
        ("peg", "<i4"),
        ("until_ns", "<i8"),
        ("expiry_place", "<i8"),
        ("offset_e4", "<i8"),
        ("peg_e4", "<i8"),
        ("peg_before", "<u4"),
        ("peg_after", "<u4"),
    ]
)

_TERMS_6: Final = np.dtype(
    [
        ("stop_tick", "<i8"),
        ("display_qty", "<i4"),
        ("shown_qty", "<i4"),
        ("slices", "<i4"),
        ("peg", "<i4"),
        ("until_ns", "<i8"),
        ("expiry_place", "<i8"),
        ("offset_e4", "<i8"),
        ("peg_e4", "<i8"),
        ("before", "<u4"),
        ("after", "<u4"),
    ]
)

#: Fields of images of earlier releases in which no release wrote anything.
NEVER_WRITTEN: Final = frozenset({"hidden_head", "hidden_tail", "hidden_qty"})

#: Fields of images of earlier releases instead of which a step makes others.
MADE_ANEW: Final = frozenset({"auction_only"})

_PAGED_1: Final[Mapping[str, Dtype]] = {
    "ids": np.dtype([("client_order_id", "<i8"), ("participant", "<u4"), ("slot", "<u4")]),
    "window": np.dtype(
        [
            ("head", "<u4"),
            ("tail", "<u4"),
            ("qty", "<i8"),
            ("hidden_head", "<u4"),
            ("hidden_tail", "<u4"),
            ("hidden_qty", "<i8"),
        ]
    ),
    "exposures": np.dtype(
        [("position_qty", "<i8"), ("open_buy_qty", "<i8"), ("open_sell_qty", "<i8"), ("limits", "<i8")]
    ),
    "limits": _LIMITS_1,
    "entry_times": np.dtype([("time_ns", "<i8"), ("entries", "<i8")]),
}

#: Names of fields before STATE_VERSION 6.
_NAMES_5: Final[Mapping[tuple[str, str], str]] = {("terms", "before"): "peg_before", ("terms", "after"): "peg_after"}

#: The same before STATE_VERSION 2.
_NAMES_1: Final[Mapping[tuple[str, str], str]] = {
    ("venue", "last_order_number"): "orders_accepted",
    ("venue", "last_trade_number"): "trades",
    ("venue", "special"): "extended",
    **{("venue", f"continuation_{place}"): f"extended_{place}" for place in (0, 8, 16, 24, 32, 40)},
    ("instruments", "paired_qty"): "indicative_qty",
    ("instruments", "imbalance_qty"): "indicative_surplus",
    ("participants", "limits_count"): "limited",
    ("participants", "entry_time_count"): "entry_times",
    ("orders", "order_number"): "number",
    ("orders", "id_day"): "carried",
}

#: The same before STATE_VERSION 3.
_NAMES_2: Final[Mapping[tuple[str, str], str]] = {
    ("venue", "special"): "continuation",
    ("orders", "id_day"): "carried",
}

#: The same before STATE_VERSION 4.
_NAMES_3: Final[Mapping[tuple[str, str], str]] = {**_NAMES_5, ("orders", "id_day"): "carried"}


def _look_at_calls(state: State) -> Change:
    """Before STATE_VERSION 3 no instrument had a word of what is pending, and no book its depth in a call."""
    for number in range(1, int(state.venue[0]["instruments"]) + 1):
        if is_call(state.instruments[number - 1]["phase"]):
            _begin_depth(Packed(state).pointers, number)
    return Change()


def _give_times(state: State) -> Change:
    """Before STATE_VERSION 3 no order had a time beside its place in its queue, and there were no schedules."""
    time = 0
    for first in np.flatnonzero((state.orders["participant"] != 0) & (state.orders["prev"] == 0)).tolist():
        slot = first
        while slot and not state.times[slot]:
            time += 1
            state.times[slot] = time
            slot = int(state.orders["next"][slot])
    state.venue[0]["last_time"] = time
    state.venue[0]["phase_changes"] = state.venue[0]["instruments"]
    return Change()


def _list_owned(state: State) -> Change:
    """Before STATE_VERSION 4 no participant had two lists of its orders, and before 3 none."""
    own_all(state)
    return Change()


@called
def _begin_depth_kernel(pointers: Any, instrument: Any) -> Any:
    state = unpack_state(pointers)
    set_pending(state, instrument, _CALL, True)
    count_depth(state, instrument, True)
    return 0


_begin_depth = quiet(_begin_depth_kernel)


def _count_far(state: State) -> Change:
    """Before STATE_VERSION 5 the far levels of a book were counted in calls alone."""
    state.nodes["qty"] = 0
    for number in range(1, int(state.venue[0]["instruments"]) + 1):
        _count_far_depth(Packed(state).pointers, number)
    return Change()


def _list_ending(state: State) -> Change:
    """Before STATE_VERSION 6 an instrument noted only whether it may have an order that ends at an uncross."""
    list_all_ending(state)
    return Change()


@called
def _count_far_depth_kernel(pointers: Any, instrument: Any) -> Any:
    count_far_depth(unpack_state(pointers), instrument)
    return 0


_count_far_depth = quiet(_count_far_depth_kernel)

_CALL: Final = int(Pending.CALL)
_LACKS_3: Final = frozenset({"lasting_owners", "stale_lines", "old_id_tree"})
_LACKS_2: Final = _LACKS_3 | frozenset(
    {
        "word_qty",
        "stop_books",
        "hidden_books",
        "midpoint_books",
        "peg_books",
        "between_levels",
        "terms",
        "expiries",
        "owned",
        "owners",
        "times",
        "schedules",
        *("trade_seconds", "indices", "members"),
        *("waiting", "waits"),
    }
)

_PAGED_3: Final[Mapping[str, Dtype]] = {
    **_PAGED_1,
    "window": _WINDOW_3,
    "terms": _TERMS_3,
    "trade_seconds": _TRADE_SECONDS_3,
    "waiting": np.dtype(np.int64),
    "waits": np.dtype([("seq", "<i8"), ("due_ns", "<i8")]),
}

_PAGED_6: Final[Mapping[str, Dtype]] = {**_PAGED_3, "terms": _TERMS_6}

#: By (STATE_VERSION, RULES_VERSION). That of this release is among them.
FORMS: Final[Mapping[tuple[int, int], Form]] = {
    (0, 3): Form(
        {**_PAGED_1, "limits": _LIMITS_0},
        _NAMES_1,
        (
            _take_day_orders_into_this_day,
            _count_ids_of_participants,
            _look_at_calls,
            _give_times,
            _list_owned,
            _count_far,
            _list_ending,
        ),
        _LACKS_2,
    ),
    (0, 4): Form(_PAGED_1, _NAMES_1, (_look_at_calls, _give_times, _list_owned, _count_far, _list_ending), _LACKS_2),
    (1, 4): Form(_PAGED_1, _NAMES_1, (_look_at_calls, _give_times, _list_owned, _count_far, _list_ending), _LACKS_2),
    (2, 4): Form(_PAGED_1, _NAMES_2, (_look_at_calls, _give_times, _list_owned, _count_far, _list_ending), _LACKS_2),
    (2, 5): Form(_PAGED_1, _NAMES_2, (_look_at_calls, _give_times, _list_owned, _count_far, _list_ending), _LACKS_2),
    (3, 6): Form(_PAGED_3, _NAMES_3, (_list_owned, _count_far, _list_ending), _LACKS_3),
    (4, 6): Form(_PAGED_3, _NAMES_5, (_count_far, _list_ending)),
    (5, 6): Form(_PAGED_3, _NAMES_5, (_list_ending,)),
    (6, 6): Form(_PAGED_6),
}


def form_of(rules_version: int, state_version: int) -> Form:
    """Declared form of an image. Raises ValueError with a sentence where there is none."""
    form = FORMS.get((state_version, rules_version))
    if form is None:
        known = ", ".join(f"{rules} with {state}" for state, rules in sorted(FORMS, key=lambda each: each[::-1]))
        raise ValueError(
            f"an image of RULES_VERSION {rules_version} with STATE_VERSION {state_version} cannot be converted; this"
            f" release converts images of RULES_VERSION and STATE_VERSION {known}"
        )
    return form
