"""The market a second time, as plain Python to be read beside the rulebook: the oracle of the compiled engine.

Read in this order: ``rows`` (what a command says), ``venue`` (what the market remembers), ``book`` (levels and
queues), ``exposure`` (positions and what is open), ``entry`` and ``risk`` (checks, in the order of section 8),
``matching`` (an order runs as incoming), ``uncross``, ``calls``, ``phases``, ``halts``, ``clock``, ``limits``,
``kill``, ``users``, ``events`` (what is answered), ``views``, ``check`` (every invariant), ``engine`` (the shell).

For every input it gives the same event bytes as the compiled engine, of which it shares only the records, views,
bounds, names and digests.
"""

from engine.errors import InvariantError
from engine.reference.engine import ReferenceEngine

__all__ = ["InvariantError", "ReferenceEngine"]
