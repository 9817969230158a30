"""The checks before the book is touched (rulebook section 8), each giving a reason, or 0 when it passes."""

from typing import Final

import numpy as np

from engine.bounds import PRICE_E4_MAX, QTY_MAX, SLICES_MAX, TIME_NS_MAX
from engine.jit import called, inlined, quotient, rare
from engine.records import Instruction, Peg, Phase, Reason, TimeInForce

_MARKET: Final = int(Instruction.MARKET)
_POST_ONLY: Final = int(Instruction.POST_ONLY)
_MIN_QTY: Final = int(Instruction.MIN_QTY)
_STOP: Final = int(Instruction.STOP)
_DISPLAY: Final = int(Instruction.DISPLAY)
_HIDDEN: Final = int(Instruction.HIDDEN)
_UNTIL: Final = int(Instruction.UNTIL)
_PEG: Final = int(Instruction.PEG)
_OFFSET: Final = int(Instruction.OFFSET)
#: Times in force (a bit each) of limit orders without an instruction, and of market orders with no other, that need no
#: closer look.
_MARKET_ALLOWS: Final = 1 << TimeInForce.DAY | 1 << TimeInForce.IOC | 1 << TimeInForce.FOK
_PLAIN_ALLOWS: Final = _MARKET_ALLOWS | 1 << TimeInForce.GTC
_PLAIN_TIMES: Final = 1 << TimeInForce.DAY | 1 << TimeInForce.GTC | 1 << TimeInForce.IOC
#: Of limit orders that may rest.
_RESTING: Final = _POST_ONLY | _DISPLAY | _HIDDEN


@inlined
def check_phase(phase, time_in_force, instructions, book):
    """Reason why an order of that kind may not be entered in the instrument's phase, or 0."""
    if phase == Phase.CONTINUOUS and time_in_force != TimeInForce.OPENING:
        return 0
    return _check_other_phase(phase, time_in_force, instructions, book)


@rare
def _check_other_phase(phase, time_in_force, instructions, book):
    if phase == Phase.CLOSED:
        return Reason.CLOSED
    if phase == Phase.HALTED:
        return Reason.HALTED
    if phase != Phase.CONTINUOUS and (
        time_in_force in (TimeInForce.IOC, TimeInForce.FOK) or instructions & _POST_ONLY or book != 0
    ):
        return Reason.NOT_CONTINUOUS
    if time_in_force == TimeInForce.OPENING and phase not in (Phase.PRE_OPEN, Phase.OPENING_AUCTION):
        return Reason.NOT_AUCTION
    return 0


@inlined
def check_qty(qty, lot):
    """Reason why a quantity is out of bounds or not in whole lots, or 0."""
    if qty < 1 or qty > QTY_MAX:
        return Reason.INVALID_QTY
    if lot != 1 and qty % lot != 0:
        return Reason.INVALID_LOT
    return 0


@inlined
def check_price(price_e4, tick_e4):
    """Check bounds and tick of a limit price: returns (reason or 0, price in ticks)."""
    if price_e4 < 1 or price_e4 > PRICE_E4_MAX:
        return Reason.INVALID_PRICE, np.int64(0)
    tick = quotient(price_e4, tick_e4)
    if tick * tick_e4 != price_e4:
        return Reason.INVALID_TICK, tick
    return 0, tick


@rare
def check_stop(reason, stop_e4, tick_e4):
    """The reason why the limit price is refused, or 0, after bounds and tick of the stop beside it."""
    if reason != 0 and reason != Reason.INVALID_TICK:
        return reason
    if stop_e4 < 1 or stop_e4 > PRICE_E4_MAX:
        return np.int64(Reason.INVALID_PRICE)
    return np.int64(Reason.INVALID_TICK) if reason != 0 or stop_e4 % tick_e4 != 0 else np.int64(0)


@inlined
def may_show(display_qty, qty, lot):
    """True if an iceberg of a quantity may show ``display_qty``: whole lots, and at least a hundredth of it."""
    return (
        display_qty >= 1 and display_qty <= QTY_MAX and display_qty % lot == 0 and display_qty * (SLICES_MAX + 1) >= qty
    )


@inlined
def is_plain_time(time_in_force):
    """True for ``day``, ``gtc`` and ``ioc``."""
    return _PLAIN_TIMES >> time_in_force & 1 != 0


@inlined
def check_instructions(command, instructions, time_in_force, row, now_ns):
    """Reason why the instructions of an enter do not fit together (the table of rulebook section 4), or 0."""
    allowed = _PLAIN_ALLOWS if instructions == 0 else _MARKET_ALLOWS
    if instructions & ~_MARKET == 0 and allowed >> time_in_force & 1 and np.int64(command["book"]) == 0:
        return 0
    return _check_rare_instructions(command, instructions, time_in_force, row, now_ns)


@rare
def _check_rare_instructions(command, instructions, time_in_force, row, now_ns):
    if time_in_force > TimeInForce.FOK and (instructions & ~_MARKET or np.int64(command["book"]) != 0):
        return Reason.INVALID_INSTRUCTION
    may_rest = time_in_force in (TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD)
    if (time_in_force == TimeInForce.GTD) != (instructions & _UNTIL != 0):
        return Reason.INVALID_INSTRUCTION
    if instructions & _UNTIL and (
        instructions & _MIN_QTY or command["until_ns"] <= now_ns or command["until_ns"] > TIME_NS_MAX
    ):
        return Reason.INVALID_INSTRUCTION
    if np.int64(command["book"]) != 0:
        if row["midpoint"] == 0 or instructions & ~(_MARKET | _UNTIL | _MIN_QTY):
            return Reason.INVALID_INSTRUCTION
        return _check_min_qty(command, instructions, time_in_force)
    if instructions & _OFFSET and not _offset_fits(command, instructions, row):
        return Reason.INVALID_INSTRUCTION
    if instructions & (_STOP | _PEG):
        both = instructions & _STOP and instructions & _PEG
        fits = may_rest and not both and not instructions & (_RESTING | _MIN_QTY)
        return 0 if fits else Reason.INVALID_INSTRUCTION
    if instructions & _MARKET and (time_in_force in (TimeInForce.GTC, TimeInForce.GTD) or instructions & _RESTING):
        return Reason.INVALID_INSTRUCTION
    if instructions & _DISPLAY and (
        instructions & _HIDDEN or not may_show(command["display_qty"], command["qty"], row["lot"])
    ):
        return Reason.INVALID_INSTRUCTION
    if instructions & _RESTING and not may_rest:
        return Reason.INVALID_INSTRUCTION
    return _check_min_qty(command, instructions, time_in_force)


@called
def _offset_fits(command, instructions, row):
    """True if a peg may be so far from its reference: whole ticks, none below 0, of the other side's best at least
    one."""
    offset_e4, peg = command["offset_e4"], np.int64(command["peg"])
    if not instructions & _PEG or peg == Peg.MIDPOINT or offset_e4 % row["tick_e4"] != 0:
        return False
    return offset_e4 >= (row["tick_e4"] if peg == Peg.MARKET else 0)


@called
def _check_min_qty(command, instructions, time_in_force):
    if instructions & _MIN_QTY and (
        time_in_force != TimeInForce.IOC or command["min_qty"] < 1 or command["min_qty"] > command["qty"]
    ):
        return Reason.INVALID_INSTRUCTION
    return 0
