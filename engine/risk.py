"""The checks before the book is touched (rulebook section 8), each giving a reason, or 0 when it passes."""

from typing import Final

import numpy as np

from engine.jit import inlined, rare
from engine.limits import PRICE_E4_MAX, QTY_MAX
from engine.records import Instruction, Phase, Reason, TimeInForce

_CLOSED: Final = int(Phase.CLOSED)
_HALTED: Final = int(Phase.HALTED)
_PRE_OPEN: Final = int(Phase.PRE_OPEN)
_OPENING_AUCTION: Final = int(Phase.OPENING_AUCTION)
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_DAY: Final = int(TimeInForce.DAY)
_GTC: Final = int(TimeInForce.GTC)
_GTD: Final = int(TimeInForce.GTD)
_IOC: Final = int(TimeInForce.IOC)
_FOK: Final = int(TimeInForce.FOK)
_OPENING: Final = int(TimeInForce.OPENING)
_MARKET: Final = int(Instruction.MARKET)
_POST_ONLY: Final = int(Instruction.POST_ONLY)
_MIN_QTY: Final = int(Instruction.MIN_QTY)
_BUILT: Final = _MARKET | _POST_ONLY | _MIN_QTY
_REASON_CLOSED: Final = int(Reason.CLOSED)
_REASON_HALTED: Final = int(Reason.HALTED)
_NOT_CONTINUOUS: Final = int(Reason.NOT_CONTINUOUS)
_NOT_AUCTION: Final = int(Reason.NOT_AUCTION)
_INVALID_QTY: Final = int(Reason.INVALID_QTY)
_INVALID_LOT: Final = int(Reason.INVALID_LOT)
_INVALID_PRICE: Final = int(Reason.INVALID_PRICE)
_INVALID_TICK: Final = int(Reason.INVALID_TICK)
_INVALID_INSTRUCTION: Final = int(Reason.INVALID_INSTRUCTION)


@inlined
def check_phase(phase, time_in_force, instructions, book):
    """Reason why an order of that kind may not be entered in the instrument's phase, or 0."""
    if phase == _CONTINUOUS and time_in_force != _OPENING:
        return 0
    return _check_other_phase(phase, time_in_force, instructions, book)


@rare
def _check_other_phase(phase, time_in_force, instructions, book):
    if phase == _CLOSED:
        return _REASON_CLOSED
    if phase == _HALTED:
        return _REASON_HALTED
    if phase != _CONTINUOUS and (time_in_force in (_IOC, _FOK) or instructions & _POST_ONLY or book != 0):
        return _NOT_CONTINUOUS
    if time_in_force == _OPENING and phase not in (_PRE_OPEN, _OPENING_AUCTION):
        return _NOT_AUCTION
    return 0


@inlined
def check_qty(qty, lot):
    """Reason why a quantity is out of bounds or not in whole lots, or 0."""
    if qty < 1 or qty > QTY_MAX:
        return _INVALID_QTY
    if lot != 1 and qty % lot != 0:
        return _INVALID_LOT
    return 0


@inlined
def check_price(price_e4, tick_e4):
    """Check bounds and tick of a limit price: returns (reason or 0, price in ticks)."""
    if price_e4 < 1 or price_e4 > PRICE_E4_MAX:
        return _INVALID_PRICE, np.int64(0)
    tick = price_e4 // tick_e4
    if tick * tick_e4 != price_e4:
        return _INVALID_TICK, tick
    return 0, tick


@inlined
def check_instructions(command, instructions, time_in_force):
    """Reason why the instructions of an enter do not fit together (the table of rulebook section 4), or 0."""
    if instructions == 0 and time_in_force != _GTD and time_in_force <= _FOK and np.int64(command["book"]) == 0:
        return 0
    return _check_rare_instructions(command, instructions, time_in_force)


@rare
def _check_rare_instructions(command, instructions, time_in_force):
    if instructions & ~_BUILT or np.int64(command["book"]) != 0 or time_in_force == _GTD or time_in_force > _FOK:
        return _INVALID_INSTRUCTION
    if instructions & _MARKET and (time_in_force == _GTC or instructions & _POST_ONLY):
        return _INVALID_INSTRUCTION
    if instructions & _POST_ONLY and time_in_force not in (_DAY, _GTC):
        return _INVALID_INSTRUCTION
    if instructions & _MIN_QTY and (
        time_in_force != _IOC or command["min_qty"] < 1 or command["min_qty"] > command["qty"]
    ):
        return _INVALID_INSTRUCTION
    return 0
