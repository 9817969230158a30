"""Invariants of calls, indicative events and timers; the result of an uncross is computed anew, price by price."""

import numpy as np

from engine.bounds import CALL_AFTER_HALT_NS, TIME_NS_MAX, VOLATILITY_HALT_NS_MAX
from engine.errors import require
from engine.places import midpoint_row, side_row, stop_row
from engine.records import CommandKind, Instruction, Phase, Side
from engine.state import ASIDE, CONTINUED, DELAYED, FORGETTING, IN_MIDPOINT, WINDOW_WORDS, Pending, State

CALLS = (Phase.OPENING_AUCTION, Phase.AUCTION, Phase.CLOSING_AUCTION)


def check_calls(state: State) -> None:
    """Check calls and timers. Raises InvariantError with the first invariant that does not hold."""
    venue = state.venue[0]
    rows = state.instruments[: int(venue["instruments"])]
    calls = [number for number, row in enumerate(rows, 1) if row["phase"] in CALLS]
    require(venue["calls"] == len(calls), "the venue counts the instruments in a call")
    require(venue["pending"] == np.count_nonzero(rows["pending"]), "the venue counts the instruments that wait")
    members = set(state.members["instrument"].tolist()) - {0}
    for number, row in enumerate(rows, 1):
        published = (int(row["indicative_e4"]), int(row["paired_qty"]), int(row["imbalance_qty"]))
        expected = uncross_outcome(state, number) if number in calls else (0, 0, 0)
        require(published == expected, "the last indicative event of a call is what its uncross would give")
        require(row["touched"] == 0, "nothing is left to look at after a command")
        stops = any(state.books[stop_row(state, number, side)]["far_root"] for side in (1, -1))
        meets = all(state.books[midpoint_row(state, number, side)]["far_root"] for side in (1, -1))
        waits = (Pending.CALL if number in calls else 0) | (Pending.STOPS if stops else 0)
        waits |= (Pending.MIDPOINT if meets else 0) | (Pending.PEGS if row["pegs"] else 0)
        waits |= Pending.BREAKERS if row["volatility"] else 0
        waits |= Pending.INDEX if number in members else 0
        require(row["pending"] == waits, "an instrument knows what it waits for")
        _check_depth(state, number, number in calls)
    continuation = [int(venue[f"continuation_{place}"]) for place in (0, 8, 16, 24, 32, 40)]
    require(
        venue["special"] & CONTINUED or not any(continuation), "the numbers of a continuation row are used up with it"
    )
    _check_timers(state)
    _check_schedules(state)
    _check_waiting(state)


def _check_timers(state: State) -> None:
    venue = state.venue[0]
    chain: list[tuple[int, int]] = []
    number, before = int(venue["timers_first"]), 0
    while number:
        row = state.instruments[number - 1]
        require(row["timer_before"] == before, "a timer knows the one before it")
        chain.append((int(row["due_ns"]), number))
        require(len(chain) <= venue["instruments"], "the chain of timers ends")
        before, number = number, int(row["timer_after"])
    require(venue["timers_last"] == before, "the venue knows the last timer")
    require(chain == sorted(chain), "timers are in order of time and definition")
    timed = [number for number, row in enumerate(state.instruments, 1) if row["due_ns"] != 0]
    require(sorted(number for _, number in chain) == timed, "every timer is in the chain")
    for due_ns, number in chain:
        phase = state.instruments[number - 1]["phase"]
        require(phase in (Phase.HALTED, Phase.AUCTION), "only a halt and the call after it end by the clock")
        require(due_ns > venue["now_ns"], "what is due has happened")
        # A halt by command ends in time. That of a breaker may begin at the last clock value, and then a call.
        longest_ns = VOLATILITY_HALT_NS_MAX + (CALL_AFTER_HALT_NS if phase == Phase.AUCTION else 0)
        require(due_ns <= TIME_NS_MAX + longest_ns, "a timer ends in time")


def _check_schedules(state: State) -> None:
    venue = state.venue[0]
    waiting = state.schedules[: int(venue["schedules"])]
    times_ns = waiting["due_ns"].tolist()
    require(times_ns == sorted(times_ns), "schedules are in order of time")
    require(not state.schedules[len(waiting) :].view(np.uint8).any(), "a schedule that was met is gone")
    of_all = int(np.count_nonzero(waiting["instrument"] == 0))
    require(of_all == venue["schedules_of_all"], "schedules of all instruments are counted")
    changes = venue["instruments"] * (1 + of_all + venue["index_levels"]) + len(waiting) - of_all
    require(changes == venue["phase_changes"], "the changes of phases that a command may bring are counted")


def _check_waiting(state: State) -> None:
    venue = state.venue[0]
    delayed = DELAYED if venue["speed_bump_ns"] else 0
    require(venue["special"] & ~(CONTINUED | FORGETTING) == delayed, "commands wait while there is an entry delay")
    require(venue["halfway"] == 0, "a command is through")
    first, count, room = int(venue["waiting_first"]), int(venue["waiting"]), len(state.waits)
    require(0 <= count <= room and 0 <= first < room, "commands that wait are in their ring")
    require(count == 0 or bool(delayed), "no command waits without an entry delay")
    places = (first + np.arange(count)) % room
    due_ns, seqs = state.waits["due_ns"][places], state.waits["seq"][places]
    require(bool((np.diff(due_ns) >= 0).all() and (np.diff(seqs) > 0).all()), "commands wait in their order")
    require(count == 0 or int(due_ns[0]) > venue["now_ns"], "a command that is due has had its effect")
    kinds = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
    require(bool(np.isin(state.waiting["kind"][places], kinds).all()), "only enters, cancels and replaces wait")
    others = np.setdiff1d(np.arange(room), places)
    words = state.waiting_words.reshape(room, -1)
    require(not words[others].any() and not state.waits["due_ns"][others].any(), "a row that nothing waits in is zero")


def _check_depth(state: State, instrument: int, counted: bool) -> None:
    """Branchings of the far tree have the sum of what is below them, and in a call words of the window do."""
    for b in (side_row(instrument, Side.BUY), side_row(instrument, Side.SELL)):
        words = range(b * WINDOW_WORDS, (b + 1) * WINDOW_WORDS)
        qty = state.levels["qty"][words[0] * 64 : (words[-1] + 1) * 64].reshape(-1, 64).sum(axis=1)
        expected = qty if counted else qty * 0
        require((state.word_qty[words[0] : words[-1] + 1] == expected).all(), "a word of a call has its 64 levels' sum")
        for row in (b, b + 4 * len(state.instruments)):
            _check_branching(state, int(state.books[row]["far_root"]))


def _check_branching(state: State, ref: int) -> int:
    if ref == 0:
        return 0
    if ref & 1:
        return int(state.levels[len(state.levels) - len(state.leaf_ticks) + (ref >> 1)]["qty"])
    node = state.nodes[ref >> 1]
    qty = sum(_check_branching(state, int(node[way])) for way in ("zero", "one"))
    require(node["qty"] == qty, "a branching of a book has the sum of the levels below it")
    return qty


def uncross_outcome(state: State, instrument: int) -> tuple[int, int, int]:
    """(price_e4, paired quantity, buys less sells) of an uncross now, by the words of rulebook section 6."""
    row = state.instruments[instrument - 1]
    tick_e4 = int(row["tick_e4"])
    reference = max(int(row["last_trade_e4"] or row["reference_e4"]) // tick_e4, 1)
    here = state.orders[state.orders["participant"] != 0]
    elsewhere = Instruction.STOP | Instruction.PEG | IN_MIDPOINT | ASIDE
    here = here[(here["instrument"] == instrument) & (here["instructions"] & elsewhere == 0)]
    orders = [(int(o["side"]), int(o["tick"]), int(o["leaves_qty"])) for o in here]
    outcomes = []
    for tick in {reference} | {tick for _, tick, _ in orders if tick > 0}:
        buys = sum(qty for side, limit, qty in orders if side > 0 and (limit < 0 or limit >= tick))
        sells = sum(qty for side, limit, qty in orders if side < 0 and (limit < 0 or limit <= tick))
        outcomes.append((min(buys, sells), buys - sells, tick))
    most = max(paired for paired, _, _ in outcomes)
    if most == 0:
        return 0, 0, 0
    outcomes = [outcome for outcome in outcomes if outcome[0] == most]
    least = min(abs(imbalance) for _, imbalance, _ in outcomes)
    left = {tick: imbalance for _, imbalance, tick in outcomes if abs(imbalance) == least}
    if all(imbalance > 0 for imbalance in left.values()):
        best = max(left)
    elif all(imbalance < 0 for imbalance in left.values()):
        best = min(left)
    else:
        best = min(left, key=lambda tick: abs(tick - reference))
    return best * tick_e4, most, left[best]
