"""Which trades breakers have looked at, in the row of the venue: the newest by its number (rulebook section 7, a).

While an instrument has a breaker or is of an index, both numbers are that of the newest trade after each command.
"""

from engine.jit import inlined


@inlined
def begin_to_look(venue):
    """Pass by all that has traded so far: a breaker that is new looks at what comes."""
    venue["looked_trade_number"] = venue["last_trade_number"]
    venue["weighed_trade_number"] = venue["last_trade_number"]


@inlined
def pass_by(venue):
    """The newest trade is none of the lit book: no breaker looks at it."""
    venue["looked_trade_number"] += 1
    venue["weighed_trade_number"] += 1
