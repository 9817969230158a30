"""The market a second time, as plain Python to be read beside the rulebook: the oracle of the compiled engine.

A subject has the same file name as in the compiled engine, and its steps mostly the same names; that engine has more
files, for the trees, lists and windows that are containers here. Read in this order:

- what there is: ``rows`` (what a command says), ``codes``, ``ranked``, ``depth`` and ``state`` (instruments, orders,
  levels, queues), ``venue`` (all of it), ``exposure`` (positions and what is open), ``events`` (what is answered);
- orders: ``entry``, ``replace``, ``cancel``, ``cross``, ``order_checks`` and ``limit_checks`` (section 8), ``matching``
  (an order runs as aggressor), ``midpoint``;
- what follows by itself: ``consequences`` (section 7, step by step), ``breakers``, ``halting``, ``pegs``, ``calls``;
- phases and time: ``phases``, ``uncross``, ``halts``, ``schedules``, ``clock`` (all that a clock value makes due),
  ``delay``;
- the operator: ``definitions``, ``indices``, ``limit_command``, ``kill``, ``users``, ``epoch``;
- around it: ``engine`` (the shell), ``views``, ``check`` (every invariant), ``copying``, ``restore`` (out of an image),
  ``rows_by_part`` with ``venue_rows`` and ``image_rows`` (both engines in one form).

For every input it gives the same event bytes as the compiled engine, of which it shares only the records, views,
bounds, names and digests, and in ``restore`` the layout of its image.
"""

from engine.errors import InvariantError
from engine.reference.engine import ReferenceEngine

__all__ = ["InvariantError", "ReferenceEngine"]
