"""A third opinion: the market of the rulebook, as plain as its text.

Both engines might misread a rule alike. This model is written from docs/RULEBOOK.md alone and shares nothing with
them: it reads lines of a scenario and answers with the lines of its events. Nothing in it is fast. Every queue is
sorted anew, every sum is taken over all orders, and `fok` is tried on a copy of the whole market, so that it can be
read beside the rule.

Each file adds the rules of a section to the one before: `words` (12), `records` (1, 2), `book` (3), `matching`
(3 to 5), `auctions` and `phases` (6, 9), `consequences` (7, 9), `checks` (8), `entry` (4, 8) and `market` (9, 10).
Left out are definitions out of bounds, rows that cannot be interpreted, and the room of an engine. `traffic` writes
random scenarios for it.
"""
