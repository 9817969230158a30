"""Shared memory between the programs of a market: the tape, rings of commands, lines and words; and agents.

It moves rows and knows no rule of the market. What has kernels is in ``tape.writer``, ``tape.reader`` and
``tape.inbound``, so that who only asks for errors does not load Numba.
"""

from tape.errors import TapeBusy, TapeError, TapeRoom

__all__ = ["TapeBusy", "TapeError", "TapeRoom"]
