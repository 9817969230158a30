"""A journal of each RULES_VERSION, kept as it was written: what any later release must replay or refuse.

`python -m tests.golden` writes the one of the version in force, once; nothing here is ever written again.
"""
