"""The market a second time, as plain Python to be read beside the rulebook: the oracle of the compiled engine.

A subject has the same file and function names as in the compiled engine. Read in this order: ``rows`` (what a command
says), ``ranked`` and ``state`` (instruments, orders, levels, queues) and ``venue`` (all of it), ``exposure``
(positions and what is open), ``entry``, ``replace``, ``cancel`` (orders), ``order_checks`` and ``limit_checks``
(section 8), ``matching`` (an order runs as aggressor), ``uncross``, ``calls``, ``phases``, ``halts``, ``clock``,
``limit_command``, ``kill``, ``users``, ``definitions``, ``events`` (what is answered), ``views``, ``check`` (every
invariant), ``restore`` (out of an image), ``engine`` (the shell).

For every input it gives the same event bytes as the compiled engine, of which it shares only the records, views,
bounds, names and digests, and in ``restore`` the layout of its image.
"""

from engine.errors import InvariantError
from engine.reference.engine import ReferenceEngine

__all__ = ["InvariantError", "ReferenceEngine"]
